//! `tollgate explain`: a rule in full, or what a file's limits mean in practice.
//!
//! | file | contents |
//! |---|---|
//! | [`finding`] | findings that are not rules; suggestions for mistyped ids |
//! | [`rule`] | a rule: why, an example that breaks it and one that passes, what CRD and webhook do |
//! | [`limits`] | the limits of an object in words, and the keys they need in Redis |
//! | [`load`] | loads of calls: `40,1/s` |
//! | [`simulate`] | the limiter's decisions on them |
//! | [`plot`] | the same as a drawing |
//! | [`picture`] | the file that it is written to |
//! | [`text`] | paragraphs and large numbers |

mod finding;
mod limits;
mod load;
mod picture;
mod plot;
mod rule;
mod simulate;
mod text;

use std::{fs, io, num::NonZeroU32, path::PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Parser;
use serde::Serialize;

use self::{
    finding::{FindingExplained, meant},
    limits::{Explained, Outcome},
    load::Load,
    picture::Picture,
    rule::RuleExplained,
    simulate::Simulated,
};
use super::{
    exit::Exit,
    inputs::{Input, expand},
    output::{print, print_error},
    values::ReportFormat,
};
use crate::{
    manifest::{MARK, Piece, Position, Raw, gives_ours, kind_and_version, read, template},
    model::{period::Period, subject::Subject},
    report::MORE,
    rules::{RULES, Rule},
};

/// Explain rules by id, or the limits of files in plain language.
///
/// With --load, simulates calls against the real limiter, on a simulated clock: how many are allowed, and which limit denies the others.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate explain
      List the rules
  tollgate explain TG002 crd-pruned
  tollgate explain manifests/samples/good/mcpserver-per-user.yaml --users 2000
  kubectl get mcpservers -A -o yaml | tollgate explain -
  tollgate explain manifests/samples/good/mcpserver-per-user.yaml --load 10,1/m --for 30m
      Ten calls at once and one more every minute, by one user
  tollgate explain manifests/samples/good/mcpserver-per-user.yaml --plot calls.svg
      A plot of the calls made and the calls allowed

Exit codes: 0 explained, 1 a rule denies the limits, 2 unknown rule, or a file that cannot be read")]
pub(super) struct ExplainArgs {
    /// Ids of rules and other findings, files and folders of manifests (YAML or JSON), - for stdin; without any, all rules are listed
    #[arg(value_name = "RULE|FILE")]
    what: Vec<String>,

    /// Only the server with this name, or namespace/name
    #[arg(long, env = "TOLLGATE_NAME", value_name = "NAME")]
    name: Option<String>,

    /// Number of users for the estimate of keys in Redis
    #[arg(long, env = "TOLLGATE_USERS", value_name = "N", default_value_t = 500)]
    users: u32,

    /// Calls to simulate: N at once, N@TIME at once after a time, N/TIME steadily; comma-separated [default: twice what the tightest limit
    /// allows]
    #[arg(long, env = "TOLLGATE_LOAD", value_name = "CALLS")]
    load: Option<Load>,

    /// Duration of the simulation [default: three times the tightest limit's refillPeriod]
    #[arg(long = "for", env = "TOLLGATE_FOR", value_name = "DURATION")]
    duration: Option<Period>,

    /// Tool to call [default: the first with limits of its own]
    #[arg(long, env = "TOLLGATE_TOOL", value_name = "NAME")]
    tool: Option<String>,

    /// Number of users that make the calls in turn
    #[arg(long, env = "TOLLGATE_CALLERS", value_name = "N", default_value = "1")]
    callers: NonZeroU32,

    /// Plot the calls to this file, as SVG
    #[arg(long, env = "TOLLGATE_PLOT", value_name = "FILE.svg")]
    plot: Option<Picture>,

    /// Format
    #[arg(long, short, env = "TOLLGATE_OUTPUT", default_value = "human")]
    output: ReportFormat,
}

/// The explanation of one argument.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Answer {
    Rule(RuleExplained),
    Finding(FindingExplained),
    File(FileExplained),
}

/// The objects of a file.
#[derive(Debug, Serialize)]
struct FileExplained {
    file: String,
    objects: Vec<Explained>,
    /// Objects of other kinds.
    skipped: usize,
}

pub(super) fn run(args: &ExplainArgs) -> anyhow::Result<Exit> {
    if args.what.is_empty() {
        return list(args.output);
    }
    let (mut answers, mut faults) = (Vec::new(), Vec::new());
    for what in &args.what {
        answers.extend(explain(what, args, &mut faults)?);
    }
    // What cannot be read does not take the rest along.
    faults.iter().for_each(print_error);
    if let Some(name) = &args.name {
        keep_only(name, &mut answers)?;
    }
    simulate_in(&mut answers, args)?;
    print(&match args.output {
        ReportFormat::Human => answers.iter().map(human).collect::<Vec<_>>().join("\n"),
        ReportFormat::Json => format!("{}\n", serde_json::to_string_pretty(&answers)?),
    })?;
    Ok(match answers.iter().any(is_denied) {
        _ if !faults.is_empty() => Exit::Failed,
        true => Exit::Found,
        false => Exit::Clean,
    })
}

fn list(output: ReportFormat) -> anyhow::Result<Exit> {
    let rules = RULES.iter().map(RuleExplained::new);
    print(&match output {
        ReportFormat::Human => RULES.iter().map(|rule| format!("{}  {}  {}\n", rule.id, rule.level.name(), rule.says)).collect(),
        ReportFormat::Json => format!("{}\n", serde_json::to_string_pretty(&rules.collect::<anyhow::Result<Vec<_>>>()?)?),
    })?;
    Ok(Exit::Clean)
}

/// What there is to say about an argument. What of its files cannot be read goes to `faults`.
fn explain(what: &str, args: &ExplainArgs, faults: &mut Vec<anyhow::Error>) -> anyhow::Result<Vec<Answer>> {
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
            Ok(input) => files.extend(FileExplained::read(&input, args.users, faults).map(Answer::File)),
            Err(missing) => faults.push(anyhow!("{}: {}", missing.name, missing.message)),
        }
    }
    Ok(files)
}

impl FileExplained {
    /// The objects of a file, as far as they can be read; none where that is nothing.
    fn read(input: &Input, users: u32, faults: &mut Vec<anyhow::Error>) -> Option<Self> {
        let mut file = Self { file: input.name(), objects: Vec::new(), skipped: 0 };
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

    /// Explains every object of a document. A document that cannot be read and does not name our kinds is not ours.
    fn add(&mut self, raw: Raw, users: u32) -> Result<(), (Position, String)> {
        let mut each = |piece| {
            let Piece::Object(node) = piece else { return };
            match kind_and_version(&node) {
                Some((kind, _)) => self.objects.push(Explained::new(Subject::new(kind, &node.to_value()), users)),
                None => self.skipped += 1,
            }
        };
        let (text, end) = match raw.text() {
            Ok(text) => {
                let end = read(text.as_str(), &mut each);
                (text, end)
            }
            Err((text, broken)) => (text, Err(broken)),
        };
        match end {
            Err(broken) if text.as_str().contains(MARK) && (template(text.as_str()).is_none() || gives_ours(text.as_str())) => {
                Err((text.position(broken.at), broken.message))
            }
            Err(_) => {
                self.skipped += 1;
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
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
fn simulate_in(answers: &mut [Answer], args: &ExplainArgs) -> anyhow::Result<()> {
    let asked = args.load.is_some() || args.plot.is_some() || args.duration.is_some();
    if !asked {
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
    let simulated = Simulated::run(&object.server(), &limits, args)?;
    if let Some(picture) = &args.plot {
        picture.write(&plot::svg(&object.title(), &simulated))?;
    }
    object.simulated = Some(simulated);
    Ok(())
}

fn human(answer: &Answer) -> String {
    match answer {
        Answer::Rule(rule) => rule.human(),
        Answer::Finding(found) => found.human(),
        Answer::File(file) => {
            let mut parts: Vec<_> = file.objects.iter().map(Explained::human).collect();
            if file.objects.is_empty() {
                parts.push(format!("{}: no MCPServer or VirtualMCPServer ({} other objects)\n", file.file, file.skipped));
            }
            parts.join("\n")
        }
    }
}

fn is_denied(answer: &Answer) -> bool {
    matches!(answer, Answer::File(file) if file.objects.iter().any(|object| matches!(object.outcome, Outcome::Denied { .. })))
}
