//! Names of buckets: the keys that ToolHive's Go proxies use, made so that no two buckets share one.
//!
//! | bucket | key |
//! |---|---|
//! | global | `thv:rl:{NAMESPACE:NAME}:shared` |
//! | tool | `thv:rl:{NAMESPACE:NAME}:shared:tool:TOOL` |
//! | user | `thv:rl:{NAMESPACE:NAME}:user:USER` |
//! | user and tool | `thv:rl:{NAMESPACE:NAME}:user-tool:TOOL:USER` |
//!
//! The braces are Redis Cluster's hash tag: all buckets of a server live on one node. What the config calls `global` keeps the word
//! `shared` here, so renaming it in a manifest resets nothing.
//!
//! Go writes the parts as they come, and there `user-tool:a:b:c` is two callers. Here a part is escaped only where it would be ambiguous,
//! so that almost every key is Go's:
//!
//! | part | escaped | because |
//! |---|---|---|
//! | NAMESPACE, NAME | `%` `:` `{` `}` as `%25` `%3A` `%7B` `%7D` | they stand inside the tag; Kubernetes allows none of these |
//! | TOOL after `shared:tool:` | nothing | it is the last part |
//! | TOOL after `user-tool:` | `%` and `:` as `%25` and `%3A` | USER follows; MCP advises against both |
//! | USER | a `%` at the very front, as `%25` | it is the last part, and `%sha256:` is taken by the next line |
//! | USER of more than 255 bytes | replaced by `%sha256:` and 64 hex digits | bounds the key; OpenID Connect ends a `sub` at 255 |

use std::{borrow::Cow, fmt::Write as _};

use sha2::{Digest, Sha256};

/// The longest user id that is written as it is, in bytes.
pub const LONGEST_USER: usize = 255;

/// Which server the limits are of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerId {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl ServerId {
    /// A server by its namespace and name.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of all calls.
    pub fn global_key(&self) -> String {
        format!("thv:rl:{{{}:{}}}:shared", tag_part(&self.namespace), tag_part(&self.name))
    }

    /// The key of all calls of a tool.
    pub fn tool_key(&self, tool: &str) -> String {
        format!("{}:tool:{tool}", self.global_key())
    }

    /// The key of a user's calls, up to the [`user_part`].
    pub fn user_prefix(&self) -> String {
        format!("thv:rl:{{{}:{}}}:user:", tag_part(&self.namespace), tag_part(&self.name))
    }

    /// The key of a user's calls of a tool, up to the [`user_part`].
    pub fn user_tool_prefix(&self, tool: &str) -> String {
        let tool = escape(tool, &['%', ':']);
        format!("thv:rl:{{{}:{}}}:user-tool:{tool}:", tag_part(&self.namespace), tag_part(&self.name))
    }
}

/// A user id as the end of a key.
pub fn user_part(user: &str) -> Cow<'_, str> {
    if user.len() > LONGEST_USER {
        return Cow::Owned(hashed(user));
    }
    match user.strip_prefix('%') {
        Some(rest) => Cow::Owned(format!("%25{rest}")),
        None => Cow::Borrowed(user),
    }
}

fn hashed(user: &str) -> String {
    let mut part = String::from("%sha256:");
    for byte in Sha256::digest(user.as_bytes()) {
        // Writing to a string cannot fail.
        let _ = write!(part, "{byte:02x}");
    }
    part
}

fn tag_part(part: &str) -> Cow<'_, str> {
    escape(part, &['%', ':', '{', '}'])
}

/// Writes some ASCII characters as `%` and two hex digits.
fn escape<'a>(part: &'a str, special: &[char]) -> Cow<'a, str> {
    if !part.contains(special) {
        return Cow::Borrowed(part);
    }
    let mut escaped = String::with_capacity(part.len() + 8);
    for char in part.chars() {
        if special.contains(&char) {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{:02X}", u32::from(char));
        } else {
            escaped.push(char);
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A bucket by what it counts.
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Named {
        Global(ServerId),
        Tool(ServerId, String),
        User(ServerId, String),
        UserTool(ServerId, String, String),
    }

    impl Named {
        fn key(&self) -> String {
            match self {
                Self::Global(server) => server.global_key(),
                Self::Tool(server, tool) => server.tool_key(tool),
                Self::User(server, user) => server.user_prefix() + &user_part(user),
                Self::UserTool(server, tool, user) => server.user_tool_prefix(tool) + &user_part(user),
            }
        }
    }

    #[test]
    fn plain_names_have_the_keys_of_go() {
        let server = ServerId::new("ns", "search-server");
        for (named, key) in [
            (Named::Global(server.clone()), "thv:rl:{ns:search-server}:shared"),
            (Named::Tool(server.clone(), "ns:web.search".to_owned()), "thv:rl:{ns:search-server}:shared:tool:ns:web.search"),
            (Named::User(server.clone(), "auth0|5f7".to_owned()), "thv:rl:{ns:search-server}:user:auth0|5f7"),
            (
                Named::UserTool(server, "web_search".to_owned(), "system:serviceaccount:a:b".to_owned()),
                "thv:rl:{ns:search-server}:user-tool:web_search:system:serviceaccount:a:b",
            ),
        ] {
            assert_eq!(named.key(), key);
        }
    }

    #[test]
    fn what_is_ambiguous_is_escaped() {
        assert_eq!(ServerId::new("a}:{b", "c%d").global_key(), "thv:rl:{a%7D%3A%7Bb:c%25d}:shared");
        assert_eq!(ServerId::new("a", "b").user_tool_prefix("x:y%"), "thv:rl:{a:b}:user-tool:x%3Ay%25:");
        assert_eq!(user_part("%sha256:x%"), "%25sha256:x%");
    }

    #[test]
    fn a_long_user_is_hashed() {
        assert_eq!(user_part(&"u".repeat(LONGEST_USER)), "u".repeat(LONGEST_USER));
        // printf 'u%.0s' $(seq 256) | sha256sum
        assert_eq!(user_part(&"u".repeat(LONGEST_USER + 1)), "%sha256:eeea0b989db6a9440839f6b7aace67ddd53bc773d6c42b81404a48acb1626307");
    }

    /// Few letters, all of them that could confuse, so that collisions are found.
    fn part() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "[a:%{}]{0,4}",
            1 => "(tool|shared|user|user-tool|%3A|%25|%7D|:|\\}|%sha256:){0,3}",
        ]
    }

    fn named() -> impl Strategy<Value = Named> {
        let server = || (part(), part()).prop_map(|(namespace, name)| ServerId { namespace, name });
        prop_oneof![
            server().prop_map(Named::Global),
            (server(), part()).prop_map(|(server, tool)| Named::Tool(server, tool)),
            (server(), part()).prop_map(|(server, user)| Named::User(server, user)),
            (server(), part(), part()).prop_map(|(server, tool, user)| Named::UserTool(server, tool, user)),
        ]
    }

    /// Reads a key back: what can be read back in one way only has one owner.
    fn read_back(key: &str) -> Named {
        let (tag, rest) = key.strip_prefix("thv:rl:{").and_then(|rest| rest.split_once("}:")).expect("a tag");
        let (namespace, name) = tag.split_once(':').expect("two parts");
        let server = ServerId::new(unescape(namespace), unescape(name));
        let user = |part: &str| part.strip_prefix("%25").map_or(part.to_owned(), |rest| format!("%{rest}"));
        if rest == "shared" {
            Named::Global(server)
        } else if let Some(tool) = rest.strip_prefix("shared:tool:") {
            Named::Tool(server, tool.to_owned())
        } else if let Some(part) = rest.strip_prefix("user:") {
            Named::User(server, user(part))
        } else {
            let (tool, part) = rest.strip_prefix("user-tool:").and_then(|rest| rest.split_once(':')).expect("two parts");
            Named::UserTool(server, unescape(tool), user(part))
        }
    }

    fn unescape(part: &str) -> String {
        part.replace("%3A", ":").replace("%7B", "{").replace("%7D", "}").replace("%25", "%")
    }

    proptest! {
        #[test]
        fn a_key_says_whose_it_is(named in named()) {
            prop_assert_eq!(read_back(&named.key()), named);
        }

        #[test]
        fn two_buckets_never_share_a_key(a in named(), b in named()) {
            prop_assert_eq!(a == b, a.key() == b.key());
        }

        #[test]
        fn the_hash_tag_is_the_server(named in named()) {
            let key = named.key();
            let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag.to_owned());
            let (Named::Global(server) | Named::Tool(server, _) | Named::User(server, _) | Named::UserTool(server, ..)) = named;
            let expected = format!("thv:rl:{{{}}}:shared", tag.unwrap_or_default());
            prop_assert_eq!(server.global_key(), expected);
        }
    }
}
