//! `RateLimit-Policy` and `RateLimit`, the response fields of draft-ietf-httpapi-ratelimit-headers-11.
//!
//! ```text
//! RateLimit-Policy: "global";q=100;w=60, "tools[search].perUser";q=5;w=20
//! RateLimit: "tools[search].perUser";r=0;t=4
//! ```
//!
//! `q` is `maxTokens` and `w` the `refillPeriod` in seconds, omitted if it is not a whole number. `r` is the number of calls left at once,
//! `t` the number of seconds until there are more. The identity of the caller is not exposed: the draft's `pk` is omitted.

use std::fmt::Write as _;

use crate::limiter::{Decision, Limit, Plan};

/// The value of `RateLimit-Policy`: the enforced limits that count a call. `None` without any.
pub fn rate_limit_policy(plan: &Plan<'_>) -> Option<String> {
    let members = plan.draws().filter(|draw| draw.enforced()).map(|draw| {
        let mut member = format!("{};q={}", identifier(draw.limit()), draw.shape().capacity());
        let period_us = draw.shape().two_periods_us() / 2;
        if period_us > 0 && period_us.is_multiple_of(1_000_000) {
            // Writing to a string cannot fail.
            let _ = write!(member, ";w={}", period_us / 1_000_000);
        }
        member
    });
    Some(members.collect::<Vec<_>>().join(", ")).filter(|list| !list.is_empty())
}

/// The value of `RateLimit`: the limit that denies, or what is left. `None` if the decision does not name a limit.
pub fn rate_limit(plan: &Plan<'_>, decision: &Decision) -> Option<String> {
    match decision {
        Decision::Denied(denial) => {
            let wait = denial.retry_after_secs().map(|secs| format!(";t={secs}"));
            Some(format!("{};r=0{}", identifier(&denial.limit), wait.unwrap_or_default()))
        }
        Decision::Allowed { remaining, .. } => {
            let mut enforced = plan.draws().filter(|draw| draw.enforced());
            let only = enforced.next().filter(|_| enforced.next().is_none())?;
            Some(format!("{};r={}", identifier(only.limit()), (*remaining)?))
        }
    }
}

/// A limit's name as a structured field string, which is ASCII: other bytes are percent-encoded, and so is `%`.
fn identifier(limit: &Limit) -> String {
    let mut quoted = String::from("\"");
    for byte in limit.to_string().bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b'%' | ..b' ' | 0x7f.. => {
                // Writing to a string cannot fail.
                let _ = write!(quoted, "%{byte:02X}");
            }
            _ => quoted.push(char::from(byte)),
        }
    }
    quoted.push('"');
    quoted
}
