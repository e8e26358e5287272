//! `tollgate explain`

mod args;
mod picture;

use std::{fs, io, path::PathBuf};

use anyhow::{Context, anyhow, bail};

pub(super) use self::args::ExplainArgs;
use self::picture::Picture;
use super::{
    exit::Exit,
    inputs::{Input, expand},
    output::{print, print_error},
    values::ReportFormat,
};
use crate::{
    explain::{Answer, Calls, Explained, FileExplained, RuleExplained, Simulated, meant, svg},
    model::period::Period,
    report::MORE,
    rules::{RULES, Rule},
};

pub(super) fn run(args: ExplainArgs) -> anyhow::Result<Exit> {
    if args.what.is_empty() {
        return list(args.output);
    }
    let (mut answers, mut faults) = (Vec::new(), Vec::new());
    for what in &args.what {
        answers.extend(explain(what, args.users, &mut faults)?);
    }
    // What cannot be read does not take the rest along.
    faults.iter().for_each(print_error);
    if let Some(name) = &args.name {
        keep_only(name, &mut answers)?;
    }
    let ExplainArgs { load, duration, tool, callers, plot, .. } = args;
    simulate_in(&mut answers, Calls { tool, load, duration: duration.map(Period::as_duration), callers }, plot.as_ref())?;
    print(&match args.output {
        ReportFormat::Human => answers.iter().map(Answer::human).collect::<Vec<_>>().join("\n"),
        ReportFormat::Json => format!("{}\n", serde_json::to_string_pretty(&answers)?),
    })?;
    Ok(match answers.iter().any(Answer::is_denied) {
        _ if !faults.is_empty() => Exit::Failed,
        true => Exit::Found,
        false => Exit::Clean,
    })
}

fn list(output: ReportFormat) -> anyhow::Result<Exit> {
    let rules = RULES.iter().map(RuleExplained::new);
    print(&match output {
        ReportFormat::Human => RULES.iter().map(|rule| format!("{}  {}  {}\n", rule.id, rule.level.name(), rule.says)).collect(),
        ReportFormat::Json => format!("{}\n", serde_json::to_string_pretty(&rules.collect::<Result<Vec<_>, _>>()?)?),
    })?;
    Ok(Exit::Clean)
}

/// What there is to say about an argument. What of its files cannot be read goes to `faults`.
fn explain(what: &str, users: u32, faults: &mut Vec<anyhow::Error>) -> anyhow::Result<Vec<Answer>> {
    if let Some(rule) = Rule::by_id(what) {
        return Ok(vec![Answer::Rule(RuleExplained::new(rule)?)]);
    }
    if let Some(row) = MORE.iter().find(|row| row.id.eq_ignore_ascii_case(what)) {
        return Ok(vec![Answer::Finding(row.into())]);
    }
    if what != "-" && fs::symlink_metadata(what).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        bail!("{what} is neither a rule nor a file: {}", meant(what));
    }
    let paths = [PathBuf::from(what)];
    let mut files = Vec::new();
    for input in expand(&paths, &|_| false) {
        match input {
            Ok(input) => files.extend(file(&input, users, faults).map(Answer::File)),
            Err(missing) => faults.push(anyhow!("{}: {}", missing.name, missing.message)),
        }
    }
    Ok(files)
}

/// The objects of a file, as far as they can be read; none where that is nothing.
fn file(input: &Input, users: u32, faults: &mut Vec<anyhow::Error>) -> Option<FileExplained> {
    let mut file = FileExplained::new(input.name());
    let before = faults.len();
    let documents = input.each_document(&mut |raw| {
        if let Err((at, message)) = file.add(raw, users) {
            faults.push(anyhow!("{}:{}:{}: {message}", file.file, at.line, at.column));
        }
    });
    if let Err(error) = documents.with_context(|| format!("cannot read {}", file.file)) {
        faults.push(error);
    }
    (faults.len() == before || !file.objects.is_empty()).then_some(file)
}

fn files(answers: &mut [Answer]) -> impl Iterator<Item = &mut FileExplained> {
    answers.iter_mut().filter_map(|answer| if let Answer::File(file) = answer { Some(file) } else { None })
}

/// Keeps only the objects with a name.
fn keep_only(name: &str, answers: &mut [Answer]) -> anyhow::Result<()> {
    let names: Vec<_> = files(answers).flat_map(|file| &file.objects).map(Explained::qualified_name).collect();
    let is_meant = |object: &Explained| object.qualified_name() == name || object.name == name;
    files(answers).for_each(|file| file.objects.retain(is_meant));
    if files(answers).all(|file| file.objects.is_empty()) {
        bail!("{name} not found among {}", if names.is_empty() { "the arguments".to_owned() } else { names.join(", ") });
    }
    Ok(())
}

/// Simulates calls and draws a plot, as requested.
fn simulate_in(answers: &mut [Answer], calls: Calls, plot: Option<&Picture>) -> anyhow::Result<()> {
    if calls.load.is_none() && calls.duration.is_none() && plot.is_none() {
        return Ok(());
    }
    let mut limited: Vec<_> = files(answers).flat_map(|file| &mut file.objects).filter(|object| object.limits().is_some()).collect();
    let [object] = limited.as_mut_slice() else {
        let count = limited.len();
        let of = files(answers).map(|file| file.objects.len()).sum::<usize>();
        let choice = if count > 1 { ": choose one with --name" } else { "" };
        bail!("--load, --for and --plot are about one object with limits that pass the rules, and {count} of {of} here do{choice}");
    };
    let Some(limits) = object.limits().cloned() else { return Ok(()) };
    let simulated = Simulated::run(&object.server(), &limits, calls)?;
    if let Some(picture) = plot {
        picture.write(&svg(&object.title(), &simulated))?;
    }
    object.simulated = Some(simulated);
    Ok(())
}
