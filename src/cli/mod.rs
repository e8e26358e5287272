//! The command line: arguments as typed, settings as resolved, a run, an exit code.
//!
//! Data goes to stdout, logs and errors to stderr. This is the only module that uses `anyhow`.

mod args;
mod audit;
mod authz;
mod callers;
mod certs;
mod check;
mod completions;
mod crd_files;
mod crds;
mod doctor;
mod exit;
mod explain;
mod findings;
mod fronts;
mod ignores;
mod in_order;
mod inputs;
mod kustomize;
mod limits;
mod man;
mod migrate;
mod open_files;
mod output;
mod proxy;
mod redis;
mod runtime;
mod serve;
mod signals;
mod table;
mod target;
mod telemetry;
#[cfg(feature = "top")]
mod top;
mod trust;
mod values;
mod version;

use std::process::ExitCode;

use clap::{ArgAction, Command as Clap, CommandFactory, FromArgMatches, builder::BoolishValueParser};

use self::{
    args::{Args, Command},
    exit::Exit,
    output::print_error,
    target::Unworkable,
};

/// Parses the command line, runs the command, and returns its exit code.
pub fn main() -> ExitCode {
    let args = Args::from_arg_matches(&lenient(command()).get_matches()).unwrap_or_else(|error| error.exit());
    telemetry::init(args.verbose, args.log_format);
    let result = match args.command {
        Command::Serve(args) => serve::run(*args),
        Command::Proxy(args) => proxy::run(*args),
        Command::Authz(args) => authz::run(*args),
        Command::Limits(args) => limits::run(*args),
        #[cfg(feature = "top")]
        Command::Top(args) => top::run(*args),
        Command::Audit(args) => audit::run(*args),
        Command::Check(args) => check::run(args),
        Command::Crds(args) => crds::run(&args),
        Command::Explain(args) => explain::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Certs(args) => certs::run(args),
        Command::Completions(args) => completions::run(&args, command()),
        Command::Man(args) => man::run(&args, command()),
        Command::Migrate(args) => migrate::run(args),
    };
    let exit = result.unwrap_or_else(|error| {
        print_error(&error);
        if error.is::<Unworkable>() { Exit::Found } else { Exit::Failed }
    });
    exit.into()
}

/// The commands that run for long, and get their flags from a pod's environment. What others print should not depend on it.
const SERVICES: [&str; 4] = ["serve", "proxy", "authz", "audit"];

/// All commands. Flags have environment variables, `TOLLGATE_` and the flag's name, where a service has them.
fn command() -> Clap {
    Args::command().mut_subcommands(|command| if SERVICES.contains(&command.get_name()) { command } else { without_variables(command) })
}

fn without_variables(command: Clap) -> Clap {
    command.mut_args(|arg| arg.env(None::<&str>)).mut_subcommands(without_variables)
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
