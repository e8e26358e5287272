//! The command line: arguments as typed, settings as resolved, a run, an exit code.
//!
//! Data goes to stdout, logs and errors to stderr. This is the only module that uses `anyhow`.

mod args;
mod audit;
mod check;
mod cluster;
mod completions;
mod crds;
mod doctor;
mod exit;
mod explain;
mod inputs;
mod kustomize;
mod limits;
mod man;
mod migrate;
mod open_files;
mod proxy;
mod redis;
mod reporter;
mod serve;
mod settings;
mod signals;
mod surroundings;
mod table;
mod target;
mod telemetry;
#[cfg(feature = "top")]
mod top;
mod version;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::{ArgAction, Command as Clap, CommandFactory, FromArgMatches, builder::BoolishValueParser};

use self::{
    args::{Args, Command},
    exit::Exit,
};

/// Parses the command line, runs the command, and returns its exit code.
pub fn main() -> ExitCode {
    let args = Args::from_arg_matches(&lenient(Args::command()).get_matches()).unwrap_or_else(|error| error.exit());
    telemetry::init(args.verbose, args.log_format);
    let result = match args.command {
        Command::Serve(args) => serve::run(*args),
        Command::Proxy(args) => proxy::run(*args),
        Command::Limits(args) => limits::run(*args),
        #[cfg(feature = "top")]
        Command::Top(args) => top::run(*args),
        Command::Audit(args) => audit::run(*args),
        Command::Check(args) => check::run(args),
        Command::Crds(args) => crds::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Migrate(args) => migrate::run(args),
    };
    let exit = result.unwrap_or_else(|error| {
        tell_error(&error);
        Exit::Failed
    });
    exit.into()
}

/// The variable of a flag that takes no value may say 1, yes or on, as well as true; and a variable that is empty says nothing.
fn lenient(command: Clap) -> Clap {
    let lenient_arg = |arg: clap::Arg| {
        let is_empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        let arg = if is_empty { arg.env(None::<&str>) } else { arg };
        match arg.get_action() {
            ArgAction::SetTrue => arg.value_parser(BoolishValueParser::new()),
            _ => arg,
        }
    };
    command.mut_args(lenient_arg).mut_subcommands(lenient)
}

#[expect(clippy::print_stderr, reason = "the one place where errors are shown")]
fn tell_error(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

/// Writes data to stdout. A reader that has left early, such as `head`, is not an error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    unless_reader_left(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())).context("cannot write to stdout")
}

/// Whether the terminal shows colours and the user has nothing against them: <https://no-color.org>.
fn wants_color() -> bool {
    let is_dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    !is_dumb && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// The result of a write; a reader that has left early is not an error.
fn unless_reader_left(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}
