//! `tollgate man`

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Command, CommandFactory, Parser};
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use super::{args::Args, exit::Exit, print, version::VERSION};

/// Print the manual page of a command, or write those of all.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate man > tollgate.1
  tollgate man serve > tollgate-serve.1
  tollgate man --dir ~/.local/share/man/man1
      A page for each command; the folder is made when it is not there

Exit codes: 0 printed or written, 2 failed")]
pub(super) struct ManArgs {
    /// The command; without, tollgate itself
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    command: Option<String>,

    /// Write all pages into this folder
    #[arg(long, env = "TOLLGATE_DIR", value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &ManArgs) -> anyhow::Result<Exit> {
    let mut tollgate = Args::command().disable_help_subcommand(true);
    tollgate.build();
    match (&args.dir, &args.command) {
        (Some(dir), _) => write_all(&tollgate, dir)?,
        (None, None) => print(&page(&tollgate)?)?,
        (None, Some(name)) => match tollgate.find_subcommand(name) {
            Some(command) => print(&page(command)?)?,
            None => bail!("there is no command {name}: `tollgate --help` lists them"),
        },
    }
    Ok(Exit::Clean)
}

fn write_all(tollgate: &Command, dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for command in std::iter::once(tollgate).chain(tollgate.get_subcommands()) {
        let path = dir.join(Man::new(command.clone()).get_filename());
        std::fs::write(&path, page(command)?).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// A page: what the generator makes of the arguments, and the examples and exit codes as sections of their own.
fn page(command: &Command) -> anyhow::Result<String> {
    let man = Man::new(command.clone()).source(format!("tollgate {VERSION}"));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
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

/// `Title: text` becomes a section with that title, and what is indented stays as it is.
fn after_help(help: &str, page: &mut Roff) {
    for section in help.split("\n\n") {
        let Some((title, text)) = section.split_once(':') else { continue };
        page.control("SH", [title.to_uppercase().as_str()]);
        page.control("nf", []);
        text.trim_matches('\n').lines().for_each(|line| {
            page.text([roman(line.strip_prefix(' ').unwrap_or(line))]);
        });
        page.control("fi", []);
    }
}
