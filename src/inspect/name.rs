//! What a bucket counts, converted to and from its key.

use thiserror::Error;

use crate::limiter::{
    key::{ServerId, hash_of, hash_part, user_part},
    policy::{Limit, Scope},
};

/// A bucket of one server, by what it counts: all calls, those of a tool, those of a user, or a user's calls of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BucketName {
    /// The tool whose calls it counts; all calls when `None`.
    pub tool: Option<String>,
    /// The user whose calls it counts; all users when `None`.
    pub user: Option<User>,
}

/// A user, as far as a key reveals.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum User {
    /// By id.
    Known(String),
    /// By the SHA-256 of an id that is too long for a key.
    Hashed([u8; 32]),
}

/// Why a key cannot be parsed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// The key of another server, or of something else.
    #[error("the key does not belong to this server, whose keys begin with {0}")]
    Stranger(String),
    /// Nothing that a limit counts.
    #[error("expected shared, shared:tool:TOOL, user:USER or user-tool:TOOL:USER after {0}")]
    Form(String),
    /// A name that tollgate writes differently, so that it never reads this key.
    #[error("tollgate encodes this name as {0} and never reads this key")]
    Spelling(String),
}

impl User {
    /// A user by id; hashed if a key would hold the hash.
    pub fn new(id: &str) -> Self {
        Self::from_part(&user_part(id))
    }

    fn from_part(part: &str) -> Self {
        match (hash_of(part), part.strip_prefix("%25")) {
            (Some(hash), _) => Self::Hashed(hash),
            (None, Some(rest)) => Self::Known(format!("%{rest}")),
            (None, None) => Self::Known(part.to_owned()),
        }
    }

    fn part(&self) -> String {
        match self {
            Self::Known(id) => user_part(id).into_owned(),
            Self::Hashed(hash) => hash_part(hash),
        }
    }
}

impl BucketName {
    /// The bucket of all calls.
    pub fn global() -> Self {
        Self { tool: None, user: None }
    }

    /// The bucket of a limit: for a per-user limit, that of `user`; `None` for a per-user limit without a user.
    pub fn of(limit: &Limit, user: Option<&str>) -> Option<Self> {
        let tool = limit.tool.as_deref().map(str::to_owned);
        match limit.scope {
            Scope::Global => Some(Self { tool, user: None }),
            Scope::PerUser => user.map(|user| Self { tool, user: Some(User::new(user)) }),
        }
    }

    /// Parses the key of a bucket of `server`.
    ///
    /// # Errors
    /// When tollgate would not write this key for a bucket of this server.
    pub fn parse(server: &ServerId, key: &str) -> Result<Self, NameError> {
        let prefix = server.key_prefix();
        let Some(rest) = key.strip_prefix(&prefix) else { return Err(NameError::Stranger(prefix)) };
        let name = if rest == "shared" {
            Some(Self::global())
        } else if let Some(tool) = rest.strip_prefix("shared:tool:") {
            Some(Self { tool: Some(tool.to_owned()), user: None })
        } else if let Some(user) = rest.strip_prefix("user:") {
            Some(Self { tool: None, user: Some(User::from_part(user)) })
        } else {
            let parts = rest.strip_prefix("user-tool:").and_then(|rest| rest.split_once(':'));
            parts.map(|(tool, user)| Self { tool: Some(unescape(tool)), user: Some(User::from_part(user)) })
        };
        let name = name.ok_or(NameError::Form(prefix))?;
        let written = name.key(server);
        if written == key { Ok(name) } else { Err(NameError::Spelling(written)) }
    }

    /// Its key among the buckets of `server`.
    pub fn key(&self, server: &ServerId) -> String {
        match (&self.tool, &self.user) {
            (None, None) => server.global_key(),
            (Some(tool), None) => server.tool_key(tool),
            (None, Some(user)) => server.user_prefix() + &user.part(),
            (Some(tool), Some(user)) => server.user_tool_prefix(tool) + &user.part(),
        }
    }

    /// The limit that it belongs to.
    pub fn limit(&self) -> Limit {
        let scope = if self.user.is_some() { Scope::PerUser } else { Scope::Global };
        Limit { scope, tool: self.tool.as_deref().map(Into::into) }
    }
}

/// Undoes the escapes of a tool that is followed by a user. The percent sign comes last, so that nothing is unescaped twice.
fn unescape(tool: &str) -> String {
    tool.replace("%3A", ":").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(tool: Option<&str>, user: Option<&str>) -> BucketName {
        BucketName { tool: tool.map(str::to_owned), user: user.map(User::new) }
    }

    #[test]
    fn plain_names_have_the_keys_of_go() {
        let server = ServerId::new("ns", "search-server");
        for (name, key) in [
            (name(None, None), "thv:rl:{ns:search-server}:shared"),
            (name(Some("ns:web.search"), None), "thv:rl:{ns:search-server}:shared:tool:ns:web.search"),
            (name(None, Some("auth0|5f7")), "thv:rl:{ns:search-server}:user:auth0|5f7"),
            (
                name(Some("web_search"), Some("system:serviceaccount:a:b")),
                "thv:rl:{ns:search-server}:user-tool:web_search:system:serviceaccount:a:b",
            ),
        ] {
            assert_eq!(name.key(&server), key);
        }
    }

    #[test]
    fn what_tollgate_does_not_write_is_no_name() {
        let server = ServerId::new("ns", "mcp");
        let prefix = || "thv:rl:{ns:mcp}:".to_owned();
        let spelling = |key: &str| NameError::Spelling(prefix() + key);
        for (key, error) in [
            ("thv:rl:{ns:other}:shared", NameError::Stranger(prefix())),
            ("session:1", NameError::Stranger(prefix())),
            ("thv:rl:{ns:mcp}:", NameError::Form(prefix())),
            ("thv:rl:{ns:mcp}:sharedx", NameError::Form(prefix())),
            ("thv:rl:{ns:mcp}:user-tool:search", NameError::Form(prefix())),
            // Go writes a user unchanged, wherever a percent sign is and however long it is.
            ("thv:rl:{ns:mcp}:user:%61", spelling("user:%2561")),
            ("thv:rl:{ns:mcp}:user-tool:a%3ab:c", spelling("user-tool:a%253ab:c")),
            ("thv:rl:{ns:mcp}:user:%sha256:+1", spelling("user:%25sha256:+1")),
            (&format!("thv:rl:{{ns:mcp}}:user:%sha256:{}", "AB".repeat(32)), spelling(&format!("user:%sha256:{}", "ab".repeat(32)))),
            (&format!("thv:rl:{{ns:mcp}}:user:%sha256:{}", "+1".repeat(32)), spelling(&format!("user:%sha256:{}", "01".repeat(32)))),
        ] {
            assert_eq!(BucketName::parse(&server, key), Err(error), "{key}");
        }
    }

    #[test]
    fn a_hashed_user_stays_hashed() {
        let (server, long) = (ServerId::new("ns", "mcp"), name(Some("search"), Some(&"u".repeat(256))));
        assert!(matches!(long.user, Some(User::Hashed([0xee, 0xea, .., 0x63, 0x07]))), "{long:?}");
        assert_eq!(BucketName::parse(&server, &long.key(&server)), Ok(long));
    }

    /// Few letters, all of which could cause collisions.
    fn part() -> impl Strategy<Value = String> {
        prop_oneof![
            8 => "[a:%{}]{0,4}",
            2 => "(tool|shared|user|user-tool|%3A|%25|%7D|:|\\}|%sha256:){0,3}",
            1 => "u{254,257}",
        ]
    }

    fn server() -> impl Strategy<Value = ServerId> {
        (part(), part()).prop_map(|(namespace, name)| ServerId { namespace, name })
    }

    fn names() -> impl Strategy<Value = BucketName> {
        let user = proptest::option::of(part().prop_map(|id| User::new(&id)));
        (proptest::option::of(part()), user).prop_map(|(tool, user)| BucketName { tool, user })
    }

    proptest! {
        #[test]
        fn a_key_says_what_it_counts(server in server(), name in names()) {
            prop_assert_eq!(BucketName::parse(&server, &name.key(&server)), Ok(name));
        }

        #[test]
        fn two_buckets_never_share_a_key(a in (server(), names()), b in (server(), names())) {
            prop_assert_eq!(a == b, a.1.key(&a.0) == b.1.key(&b.0));
        }

        #[test]
        fn the_hash_tag_is_the_server(server in server(), name in names()) {
            let key = name.key(&server);
            let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
            prop_assert_eq!(server.key_prefix(), format!("thv:rl:{{{}}}:", tag.unwrap_or_default()));
        }
    }
}
