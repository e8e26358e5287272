//! `tollgate completions`

use clap::{CommandFactory, Parser};
use clap_complete::Shell;

use super::{args::Args, exit::Exit, output::print};

/// Print a completion script for a shell.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tollgate completions bash > ~/.local/share/bash-completion/completions/tollgate
  tollgate completions zsh > ~/.zfunc/_tollgate
      With ~/.zfunc in fpath
  tollgate completions fish > ~/.config/fish/completions/tollgate.fish

Exit codes: 0 printed, 2 failed")]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "tollgate", &mut script);
    print(&String::from_utf8(script)?)?;
    Ok(Exit::Clean)
}
