//! Rules about the storage that limits are counted in: TG001, TG009.

use serde_json::Value;

use super::{Context, Found};
use crate::model::{
    bucket::{quoted, type_name},
    subject::storage_path,
};

pub(super) fn limits_without_redis(context: &Context<'_>) -> Vec<Found> {
    let blocks = context.subject.blocks();
    let Some(block) = blocks.first() else { return Vec::new() };
    let storage = context.subject.storage();
    let path = storage_path();
    let advice = "set spec.sessionStorage.provider to redis, and its address";
    let found = match storage.map(|storage| storage.get("provider").unwrap_or(&Value::Null)) {
        Some(Value::String(provider)) if provider == "redis" => return Vec::new(),
        None => Found::new(path, format!("limits are counted in Redis, and there is none: {advice}")),
        Some(Value::String(provider)) => {
            Found::new(path.key("provider"), format!("limits are counted in Redis, and this is {}: {advice}", quoted(provider)))
        }
        Some(_) => Found::new(path.key("provider"), format!("limits are counted in Redis: {advice}")),
    };
    vec![found.on(block.path.clone())]
}

pub(super) fn unusable_storage(context: &Context<'_>) -> Vec<Found> {
    let Some(storage) = context.subject.storage() else { return Vec::new() };
    if context.subject.blocks().is_empty() || storage.get("provider").and_then(Value::as_str) != Some("redis") {
        return Vec::new();
    }
    let path = storage_path();
    let mut found = Vec::new();
    let mut report = |keys: &[&str], fault: Option<String>| {
        let at = keys.iter().fold(path.clone(), |at, key| at.key(key));
        found.extend(fault.map(|fault| Found::new(at, fault).on(path.clone())));
    };
    report(&["address"], address_fault(storage.get("address").unwrap_or(&Value::Null)));
    report(&["db"], db_fault(storage.get("db").unwrap_or(&Value::Null)));
    secret_faults(storage.get("passwordRef"), &["passwordRef"], "password", &mut report);
    tls_faults(storage.get("tls"), &mut report);
    found
}

/// Connections use TLS wherever `tls` is set, even if it is empty.
fn tls_faults(tls: Option<&Value>, report: &mut impl FnMut(&[&str], Option<String>)) {
    let tls = match tls {
        None | Some(Value::Null) => return,
        Some(Value::Object(tls)) => tls,
        Some(other) => {
            let advice = "write {} for TLS with the CAs of the system, or remove it for connections without TLS";
            return report(&["tls"], Some(format!("is {}: {advice}", type_name(other))));
        }
    };
    let skip = tls.get("insecureSkipVerify").filter(|skip| !skip.is_null() && !skip.is_boolean());
    report(&["tls", "insecureSkipVerify"], skip.map(|skip| format!("is {}: write true or false", type_name(skip))));
    secret_faults(tls.get("caCertSecretRef"), &["tls", "caCertSecretRef"], "CA certificate", report);
}

/// Checks a reference to a key of a Secret.
fn secret_faults(reference: Option<&Value>, at: &[&str], holds: &str, report: &mut impl FnMut(&[&str], Option<String>)) {
    match reference {
        None | Some(Value::Null) => {}
        Some(Value::Object(reference)) => {
            for key in ["name", "key"] {
                let filled = reference.get(key).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
                let fault = (!filled).then(|| format!("is missing: write the {key} of the Secret that holds the {holds}"));
                report(&[at, &[key]].concat(), fault);
            }
        }
        Some(other) => report(at, Some(format!("is {}: write a map with name and key of a Secret", type_name(other)))),
    }
}

fn address_fault(address: &Value) -> Option<String> {
    let advice = "write host:port, such as redis.default.svc:6379";
    let text = match address {
        Value::Null => return Some(format!("is missing: {advice}")),
        Value::String(text) if text.is_empty() => return Some(format!("is empty: {advice}")),
        Value::String(text) => text,
        other => return Some(format!("is {}: {advice}", type_name(other))),
    };
    if text.contains("://") {
        // A URL may contain a password, so it is not repeated.
        return Some(format!("is a URL: {advice}"));
    }
    let usable = text.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host_is_plain = !host.contains([':', '[', ']']) && !host.chars().any(|c| c.is_whitespace() || c == '/' || c == '@');
        let host_is_ipv6 = bracketed.is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
        !host.is_empty() && (host_is_plain || host_is_ipv6) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    (!usable).then(|| format!("{} is not host:port: {advice}", quoted(text)))
}

fn db_fault(db: &Value) -> Option<String> {
    let advice = "write the number of the Redis database, 0 or higher";
    match db {
        Value::Null => None,
        Value::Number(number) => match number.as_i64() {
            Some(db) if (0..=i64::from(i32::MAX)).contains(&db) => None,
            _ => Some(format!("is {number}: {advice}")),
        },
        other => Some(format!("is {}: {advice}", type_name(other))),
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
            assert!(address_fault(&json!(bad)).is_some_and(|fault| fault.contains("is not host:port")), "{bad}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_repeated() {
        let fault = address_fault(&json!("redis://:hunter2@redis:6379")).expect("a URL is not an address");
        assert!(!fault.contains("hunter2"), "{fault}");
    }
}
