//! Rules about the storage that limits are counted in: TG001, TG009.

use serde_json::Value;

use super::{Context, Found, is_a};
use crate::model::{bucket::quoted, problem::Problem, subject::storage_path};

pub(super) fn limits_without_redis(context: &Context<'_>) -> Vec<Found> {
    let Some(block) = context.limits.blocks.first() else { return Vec::new() };
    let storage = context.subject.storage();
    let path = storage_path();
    let advice = "set spec.sessionStorage.provider to redis, and its address";
    let (path, fault) = match storage.map(|storage| storage.get("provider").unwrap_or(&Value::Null)) {
        Some(Value::String(provider)) if provider == "redis" => return Vec::new(),
        None => (path, "limits are counted in Redis, and there is none".to_owned()),
        Some(Value::String(provider)) => (path.key("provider"), format!("limits are counted in Redis, and this is {}", quoted(provider))),
        Some(_) => (path.key("provider"), "limits are counted in Redis".to_owned()),
    };
    vec![Found::new(path, Problem::new(fault).advice(advice)).on(block.path.clone())]
}

pub(super) fn unusable_storage(context: &Context<'_>) -> Vec<Found> {
    let Some(storage) = context.subject.storage() else { return Vec::new() };
    if context.limits.blocks.is_empty() || storage.get("provider").and_then(Value::as_str) != Some("redis") {
        return Vec::new();
    }
    let path = storage_path();
    let mut found = Vec::new();
    let mut report = |keys: &[&'static str], problem: Option<Problem>| {
        let at = || keys.iter().fold(path.clone(), |at, key| at.key(*key));
        found.extend(problem.map(|problem| Found::new(at(), problem).on(path.clone())));
    };
    report(&["address"], address_fault(storage.get("address").unwrap_or(&Value::Null)));
    report(&["db"], db_fault(storage.get("db").unwrap_or(&Value::Null)));
    secret_faults(storage.get("passwordRef"), &["passwordRef"], "password", &mut report);
    tls_faults(storage.get("tls"), &mut report);
    found
}

/// Connections use TLS wherever `tls` is set, even if it is empty.
fn tls_faults(tls: Option<&Value>, report: &mut impl FnMut(&[&'static str], Option<Problem>)) {
    let tls = match tls {
        None | Some(Value::Null) => return,
        Some(Value::Object(tls)) => tls,
        Some(other) => {
            let advice = "write {} for TLS with the CAs of the system, or remove it for connections without TLS";
            return report(&["tls"], Some(is_a(other).advice(advice)));
        }
    };
    let skip = tls.get("insecureSkipVerify").filter(|skip| !skip.is_null() && !skip.is_boolean());
    report(&["tls", "insecureSkipVerify"], skip.map(|skip| is_a(skip).advice("write true or false")));
    secret_faults(tls.get("caCertSecretRef"), &["tls", "caCertSecretRef"], "CA certificate", report);
}

/// Checks a reference to a key of a Secret.
fn secret_faults(reference: Option<&Value>, at: &[&'static str], holds: &str, report: &mut impl FnMut(&[&'static str], Option<Problem>)) {
    match reference {
        None | Some(Value::Null) => {}
        Some(Value::Object(reference)) => {
            for key in ["name", "key"] {
                let filled = reference.get(key).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
                let advice = || format!("write the {key} of the Secret that holds the {holds}");
                report(&[at, &[key]].concat(), (!filled).then(|| Problem::new("is missing").advice(advice())));
            }
        }
        Some(other) => report(at, Some(is_a(other).advice("write a map with name and key of a Secret"))),
    }
}

fn address_fault(address: &Value) -> Option<Problem> {
    let advised = |fault: Problem| Some(fault.advice("write host:port, such as redis.default.svc:6379"));
    let text = match address {
        Value::Null => return advised(Problem::new("is missing")),
        Value::String(text) if text.is_empty() => return advised(Problem::new("is empty")),
        Value::String(text) => text,
        other => return advised(is_a(other)),
    };
    if text.contains("://") {
        // A URL may contain a password, so it is not repeated.
        return advised(Problem::new("is a URL"));
    }
    let usable = text.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host_is_plain = !host.contains([':', '[', ']']) && !host.chars().any(|c| c.is_whitespace() || c == '/' || c == '@');
        let host_is_ipv6 = bracketed.is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
        !host.is_empty() && (host_is_plain || host_is_ipv6) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if usable { None } else { advised(Problem::new(format!("{} is not host:port", quoted(text)))) }
}

fn db_fault(db: &Value) -> Option<Problem> {
    let advice = "write the number of the Redis database, 0 or higher";
    match db {
        Value::Null => None,
        Value::Number(number) => match number.as_i64() {
            Some(db) if (0..=i64::from(i32::MAX)).contains(&db) => None,
            _ => Some(Problem::new(format!("is {number}")).advice(advice)),
        },
        other => Some(is_a(other).advice(advice)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses() {
        for good in ["redis:6379", "redis.default.svc.cluster.local:1", "10.0.0.1:6379", "[::1]:6379"] {
            assert_eq!(address_fault(&json!(good)), None, "{good}");
        }
        for bad in ["redis", "redis:", ":6379", "redis:0", "redis:65536", "::1:6379", "re dis:6379", "user@redis:6379", "[redis]:6379"] {
            assert!(address_fault(&json!(bad)).is_some_and(|problem| problem.fault.ends_with("is not host:port")), "{bad}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_repeated() {
        let problem = address_fault(&json!("redis://:hunter2@redis:6379")).expect("a URL is not an address").to_string();
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}
