//! What a server reports about itself, as far as it matters to buckets: its version, and what it evicts when its memory is full.

use redis::Value;

/// The oldest version that supports the script: `HMGET` and `TIME` in one script that writes, with effects replication.
pub const OLDEST: (u32, u32) = (6, 2);

/// Parts of the response to `INFO`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisFacts {
    /// `redis_version`; Valkey reports the version that it is compatible with.
    pub version: String,
    /// `maxmemory` in bytes; 0 means unlimited.
    pub max_memory: u64,
    /// `maxmemory_policy`.
    pub max_memory_policy: String,
}

impl RedisFacts {
    /// Whether the server supports the script; `None` if the version cannot be parsed.
    pub fn is_new_enough(&self) -> Option<bool> {
        let mut numbers = self.version.split('.').map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??) >= OLDEST)
    }

    /// Whether full memory evicts buckets, each of which is then full again. With `volatile-*`, buckets are among the keys with a TTL as
    /// well, but `volatile-ttl` evicts those that are nearly full anyway.
    pub fn evicts_any_key(&self) -> bool {
        self.max_memory_policy.starts_with("allkeys")
    }
}

/// The response of one server, or of each.
pub(super) fn read(answer: &Value) -> Vec<RedisFacts> {
    match answer {
        Value::BulkString(text) => vec![of(&String::from_utf8_lossy(text))],
        Value::VerbatimString { text, .. } => vec![of(text)],
        Value::Map(nodes) => nodes.iter().flat_map(|(_, answer)| read(answer)).collect(),
        _ => Vec::new(),
    }
}

fn of(info: &str) -> RedisFacts {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim();
    RedisFacts {
        version: field("redis_version").to_owned(),
        max_memory: field("maxmemory").parse().unwrap_or_default(),
        max_memory_policy: field("maxmemory_policy").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(version: &str, policy: &str) -> RedisFacts {
        of(&format!("# Server\r\nredis_version:{version}\r\nmaxmemory:1048576\r\nmaxmemory_human:1.00M\r\nmaxmemory_policy:{policy}\r\n"))
    }

    #[test]
    fn reported_facts_are_parsed() {
        let parsed = facts("7.2.4", "allkeys-lru");
        assert_eq!((parsed.max_memory, parsed.evicts_any_key()), (1_048_576, true));
        assert!(!facts("7.2.4", "noeviction").evicts_any_key() && !facts("7.2.4", "volatile-ttl").evicts_any_key());
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let verdicts = ["6.2.0", "7.0.1", "10.0", "6.0.16", "5.9", "unknown", ""].map(|version| facts(version, "").is_new_enough());
        assert_eq!(verdicts, [Some(true), Some(true), Some(true), Some(false), Some(false), None, None]);
    }
}
