//! `tollgate man`

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Command, Parser};
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use super::{exit::Exit, output::print, version::VERSION};

/// Print the manual page of a command, or write the pages of all commands.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate man > tollgate.1
  tollgate man limits ls > tollgate-limits-ls.1
  tollgate man --dir ~/.local/share/man/man1
      A page for each command; the folder is created if needed

Exit codes: 0 printed or written, 2 failed")]
pub(super) struct ManArgs {
    /// The command, such as serve or limits ls [default: tollgate itself]
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    command: Vec<String>,

    /// Write all pages into this folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// `tollgate` is the whole command line.
pub(super) fn run(args: &ManArgs, tollgate: Command) -> anyhow::Result<Exit> {
    let mut tollgate = tollgate.disable_help_subcommand(true);
    tollgate.build();
    if let Some(dir) = &args.dir {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        write_all(&tollgate, dir)?;
        return Ok(Exit::Clean);
    }
    let mut command = &tollgate;
    for name in &args.command {
        command = match command.find_subcommand(name) {
            Some(command) => command,
            None => bail!("unknown command {}: `tollgate --help` lists them", args.command.join(" ")),
        };
    }
    print(&page(command)?)?;
    Ok(Exit::Clean)
}

/// Writes the page of a command, and those of its subcommands, to which it refers.
fn write_all(command: &Command, dir: &Path) -> anyhow::Result<()> {
    let path = dir.join(Man::new(command.clone()).get_filename());
    std::fs::write(&path, page(command)?).with_context(|| format!("cannot write {}", path.display()))?;
    command.get_subcommands().try_for_each(|below| write_all(below, dir))
}

/// A page: the generator's text for the arguments, with the examples and exit codes as sections of their own.
fn page(command: &Command) -> anyhow::Result<String> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    title(command).to_writer(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    if let Some(help) = command.get_after_help() {
        after_help(&help.to_string(), &mut rest);
    }
    rest.to_writer(&mut page)?;
    Ok(String::from_utf8(page)?)
}

/// The generator's own leaves the date out, so that troff takes the version for it.
fn title(command: &Command) -> Roff {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let mut title = Roff::new();
    title.control("TH", [name, "1", "\"\"", &format!("tollgate {VERSION}")]);
    title
}

/// `Examples:` and `Exit codes: ..` become sections, other paragraphs notes.
fn after_help(help: &str, page: &mut Roff) {
    let mut in_notes = false;
    for paragraph in help.split("\n\n") {
        let titled = paragraph.split_once(':').filter(|(title, _)| TITLES.contains(title));
        let title = titled.map_or("NOTES".to_owned(), |(title, _)| title.to_uppercase());
        if titled.is_some() || !in_notes {
            page.control("SH", [title.as_str()]);
        } else {
            page.control("PP", []);
        }
        in_notes = titled.is_none();
        lines(titled.map_or(paragraph, |(_, text)| text), page);
    }
}

/// What makes a paragraph a section.
const TITLES: [&str; 2] = ["Examples", "Exit codes"];

/// Indented lines are printed verbatim; others are filled.
fn lines(text: &str, page: &mut Roff) {
    let mut is_verbatim = false;
    for line in text.trim_matches('\n').lines() {
        let is_indented = line.starts_with("  ");
        if is_indented != is_verbatim {
            page.control(if is_indented { "nf" } else { "fi" }, []);
        }
        is_verbatim = is_indented;
        page.text([roman(line.strip_prefix(' ').unwrap_or(line))]);
    }
    if is_verbatim {
        page.control("fi", []);
    }
}
