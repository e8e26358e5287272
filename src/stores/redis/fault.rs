//! What a failure means: the kind of error, whether tokens may have been taken, and whether the connection is still usable.
//!
//! | Redis returns, or does | tokens taken? | connection |
//! |---|---|---|
//! | no response in time | maybe | dropped |
//! | connection broken, or malformed response | maybe | dropped |
//! | `READONLY`, `MASTERDOWN`: not a master, or no longer | no: a script stops at its first write, before taking | dropped, so that the master is looked up |
//! | `NOAUTH`, `WRONGPASS`, `NOPERM` | no | dropped, so that new credentials are used |
//! | a command inside the script that the user may not run | no, if it is named and nothing was written before it; else maybe | dropped, likewise |
//! | `OOM`, `MISCONF`, `NOREPLICAS`: no writes now | no: as for `READONLY` | kept |
//! | `LOADING`, `BUSY`, `CLUSTERDOWN`, `TRYAGAIN`, `MOVED`, `ASK` | no: the script did not begin | kept |
//! | any other error | maybe | kept |
//!
//! `NOSCRIPT` is handled earlier: the whole script is sent instead ([`link`](super::link)). Nothing else is ever sent twice, except for
//! cluster redirects.

use redis::{ErrorKind, RedisError};
use thiserror::Error;

use crate::limiter::{Cause, StoreError};

/// A failure and its meaning.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) error: StoreError,
    /// Whether to make another connection.
    pub(super) drop_connection: bool,
}

/// What Redis returned, as far as it may be repeated: messages that quote keys would reveal user ids.
#[derive(Debug, Error)]
#[error("{0}")]
struct SafeMessage(String);

/// Error codes with which Redis rejects a whole script before it takes anything, the kind of error, and whether to reconnect.
const REFUSALS: [(&str, Cause, bool); 15] = [
    ("READONLY", Cause::Other, true),
    ("MASTERDOWN", Cause::Other, true),
    ("NOAUTH", Cause::Auth, true),
    ("WRONGPASS", Cause::Auth, true),
    ("NOPERM", Cause::Auth, true),
    ("OOM", Cause::Other, false),
    ("MISCONF", Cause::Other, false),
    ("NOREPLICAS", Cause::Other, false),
    ("LOADING", Cause::Other, false),
    ("BUSY", Cause::Other, false),
    ("CLUSTERDOWN", Cause::Other, false),
    ("TRYAGAIN", Cause::Other, false),
    ("MOVED", Cause::Other, false),
    ("ASK", Cause::Other, false),
    ("NOSCRIPT", Cause::Other, false),
];

/// How servers report that an ACL stopped a script: Redis up to 7.0; Redis from 7.2 and Valkey, which add the reason. The code is `ERR` or
/// `NOPERM`.
const FORBIDDEN_INSIDE: [&str; 2] = ["The user executing the script can't", "ACL failure in script"];
/// The commands of the scripts that come before any write. A call that fails because one of these is forbidden has taken nothing, even in a
/// batch: a server names the command only if the ACL forbids it for every key.
const BEFORE_TAKING: [&str; 4] = ["time", "hmget", "pttl", "hset"];

/// A failure of a script.
pub(super) fn of_script(error: &RedisError) -> Fault {
    let message = SafeMessage(redacted(error));
    if let Some(detail) = forbidden_inside(error) {
        let may_have_taken = !is_before_taking(detail);
        let error = if may_have_taken { StoreError::unknown(Cause::Auth, message) } else { StoreError::untaken(Cause::Auth, message) };
        return Fault { error, drop_connection: true };
    }
    if let Some((_, cause, drop_connection)) = refusal(error) {
        return Fault { error: StoreError::untaken(cause, message), drop_connection };
    }
    let (error, drop_connection) = match error.kind() {
        ErrorKind::AuthenticationFailed => (StoreError::untaken(Cause::Auth, message), true),
        ErrorKind::ClusterConnectionNotFound => (StoreError::untaken(Cause::Connection, message), false),
        _ if error.is_timeout() => (StoreError::unknown(Cause::Timeout, message), true),
        ErrorKind::Io | ErrorKind::Parse => (StoreError::unknown(Cause::Connection, message), true),
        _ => (StoreError::unknown(Cause::Other, message), false),
    };
    Fault { error, drop_connection }
}

/// A failure to connect.
pub(super) fn of_connecting(error: &RedisError) -> StoreError {
    let cause = match refusal(error) {
        Some((_, cause, _)) => cause,
        None if error.kind() == ErrorKind::AuthenticationFailed => Cause::Auth,
        None if error.is_timeout() => Cause::Timeout,
        None => Cause::Connection,
    };
    StoreError::untaken(cause, SafeMessage(format!("no connection: {}", redacted(error))))
}

/// A malformed response.
pub(super) fn malformed() -> Fault {
    let message = SafeMessage("malformed response to the script".to_owned());
    Fault { error: StoreError::unknown(Cause::Other, message), drop_connection: true }
}

/// Up to Redis 6.2, the error code of a command in a script is inside the message: `ERR Error running script (...): @user_script: 9: -OOM
/// ...`.
fn refusal(error: &RedisError) -> Option<(&'static str, Cause, bool)> {
    let code = error.code()?;
    let inner = || error.detail().into_iter().flat_map(str::split_whitespace).find_map(|word| word.strip_prefix('-'));
    let code = if code == "ERR" { inner()? } else { code };
    REFUSALS.into_iter().find(|(refusal, ..)| *refusal == code)
}

/// The message of an ACL that stopped a script midway.
fn forbidden_inside(error: &RedisError) -> Option<&str> {
    error.detail().filter(|detail| FORBIDDEN_INSIDE.iter().any(|says| detail.contains(says)))
}

/// Whether the forbidden command is named, and nothing is written before it: `.. no permissions to run the 'hset' command ..`. A key that
/// may not be accessed could be any key of a batch.
fn is_before_taking(detail: &str) -> bool {
    let command = detail.split_once("to run the '").and_then(|(_, rest)| rest.split_once("' command"));
    command.is_some_and(|(command, _)| BEFORE_TAKING.iter().any(|before| before.eq_ignore_ascii_case(command)))
}

fn redacted(error: &RedisError) -> String {
    let message = error.to_string();
    match message.split_once("thv:rl:") {
        Some((before, _)) => format!("{}[cut]", before.trim_end_matches(['\'', '"', '`'])),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use redis::make_extension_error;

    use super::*;

    fn server(code: &str, detail: &str) -> RedisError {
        make_extension_error(code.to_owned(), Some(detail.to_owned()))
    }

    #[test]
    fn a_refusal_has_taken_nothing() {
        for (error, cause, drop_connection) in [
            (server("READONLY", "You can't write against a read only replica."), Cause::Other, true),
            (server("OOM", "command not allowed when used memory > 'maxmemory'."), Cause::Other, false),
            (server("NOAUTH", "Authentication required."), Cause::Auth, true),
            (server("ERR", "Error running script (call to f_1): @user_script: 9: -OOM command not allowed"), Cause::Other, false),
        ] {
            let fault = of_script(&error);
            assert!(!fault.error.may_have_taken(), "{error}");
            assert_eq!((fault.error.cause(), fault.drop_connection), (cause, drop_connection), "{error}");
        }
    }

    #[test]
    fn silence_may_have_taken() {
        for (error, cause, drop_connection) in [
            (RedisError::from(io::Error::from(io::ErrorKind::TimedOut)), Cause::Timeout, true),
            (RedisError::from(io::Error::from(io::ErrorKind::BrokenPipe)), Cause::Connection, true),
            (server("ERR", "Error running script: @user_script: 9: oh no"), Cause::Other, false),
            (
                server("ERR", "The user executing the script can't run this command or subcommand script: 80, on @user_script:9."),
                Cause::Auth,
                true,
            ),
        ] {
            let fault = of_script(&error);
            assert!(fault.error.may_have_taken(), "{error}");
            assert_eq!((fault.error.cause(), fault.drop_connection), (cause, drop_connection), "{error}");
        }
    }

    /// As Redis up to 7.0, Redis from 7.2, and Valkey 9.1 report it; the codes differ.
    #[test]
    fn a_forbidden_command_may_have_taken_unless_it_comes_before_any_write() {
        let forbids = |command: &str| format!("ACL failure in script: User tollgate has no permissions to run the '{command}' command");
        for (detail, may_have_taken) in [
            ("The user executing the script can't run this command or subcommand script: 1, on @user_script:90.".to_owned(), true),
            (forbids("hset"), false),
            (forbids("hmget"), false),
            (forbids("time") + " script: on @user_script:17.", false),
            (forbids("hset") + " script: 80c4f5a1, on @user_script:163.", false),
            (forbids("expire") + " script: on @user_script:166.", true),
            (forbids("hset|x"), true),
            ("ACL failure in script: No permissions to access a key script: on @user_script:163.".to_owned(), true),
        ] {
            for code in ["ERR", "NOPERM"] {
                let fault = of_script(&server(code, &detail));
                let found = (fault.error.cause(), fault.error.may_have_taken(), fault.drop_connection);
                assert_eq!(found, (Cause::Auth, may_have_taken, true), "{code} {detail}");
            }
        }
    }

    #[test]
    fn no_key_leaks() {
        let quoting = server("ERR", "unknown command 'EVALSHA', with args beginning with: 'abc' '1' 'thv:rl:{ns:mcp}:user:alice'");
        let message = of_script(&quoting).error.to_string();
        assert!(message.contains("unknown command 'EVALSHA'") && !message.contains("alice"), "{message}");
    }
}
