//! `tollgate completions`

use clap::{Command, Parser};
use clap_complete::Shell;

use super::{exit::Exit, output::print};

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

/// `tollgate` is the whole command line.
pub(super) fn run(args: &CompletionsArgs, mut tollgate: Command) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut tollgate, "tollgate", &mut script);
    print(&String::from_utf8(script)?)?;
    Ok(Exit::Clean)
}
