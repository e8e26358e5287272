//! Keys of buckets, as ToolHive's Go proxies write them, made unambiguous so that no two buckets share one.
//!
//! | bucket | key |
//! |---|---|
//! | global | `thv:rl:{NAMESPACE:NAME}:shared` |
//! | tool | `thv:rl:{NAMESPACE:NAME}:shared:tool:TOOL` |
//! | user | `thv:rl:{NAMESPACE:NAME}:user:USER` |
//! | user and tool | `thv:rl:{NAMESPACE:NAME}:user-tool:TOOL:USER` |
//!
//! There is also `tollgate:{NAMESPACE:NAME}:digest-key`, which only tollgate uses.
//!
//! The braces are Redis Cluster's hash tag: all buckets of a server are on one node. What manifests call `global` remains `shared` here, so
//! renaming it in a manifest resets nothing.
//!
//! Go does not escape the parts, so that its `user-tool:a:b:c` could be two callers. Here a part is escaped only where it would be
//! ambiguous, so that almost every key is identical to Go's:
//!
//! | part | escaped | because |
//! |---|---|---|
//! | NAMESPACE, NAME | `%` `:` `{` `}` as `%25` `%3A` `%7B` `%7D` | they are inside the tag; Kubernetes allows none of these |
//! | TOOL after `shared:tool:` | nothing | it is the last part |
//! | TOOL after `user-tool:` | `%` and `:` as `%25` and `%3A` | USER follows; MCP advises against both |
//! | USER | a leading `%`, as `%25` | it is the last part, and `%sha256:` is used by the next row |
//! | USER of more than 255 bytes | replaced by `%sha256:` and 64 hex digits | bounds the key; OpenID Connect limits a `sub` to 255 |

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    hash::{Hash, Hasher},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The prefix of the keys of all buckets.
pub const PREFIX: &str = "thv:rl:";
/// The prefix of tollgate's other keys in Redis.
const DIGESTS: &str = "tollgate:";
/// The longest user id that is written unhashed, in bytes.
pub const LONGEST_USER: usize = 255;
/// The prefix of the hash of a longer one.
const HASHED: &str = "%sha256:";

/// The server that limits belong to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServerId {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

/// `NAMESPACE/NAME`
impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl ServerId {
    /// A server with this namespace and name.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The prefix of all keys of the server.
    pub fn key_prefix(&self) -> String {
        format!("{PREFIX}{{{}:{}}}:", tag_part(&self.namespace), tag_part(&self.name))
    }

    /// The key that holds the key for digests of users. It is not a bucket; in a cluster it is on the same node.
    pub fn digest_key(&self) -> String {
        format!("{DIGESTS}{{{}:{}}}:digest-key", tag_part(&self.namespace), tag_part(&self.name))
    }

    /// The key of the bucket of all calls.
    pub fn global_key(&self) -> String {
        self.key_prefix() + "shared"
    }

    /// The key of the bucket of all calls of a tool.
    pub fn tool_key(&self, tool: &str) -> String {
        format!("{}:tool:{tool}", self.global_key())
    }

    /// The key of a user's bucket, up to the [`user_part`].
    pub fn user_prefix(&self) -> String {
        self.key_prefix() + "user:"
    }

    /// The key of a user's bucket for a tool, up to the [`user_part`].
    pub fn user_tool_prefix(&self, tool: &str) -> String {
        format!("{}user-tool:{}:", self.key_prefix(), escape(tool, &['%', ':']))
    }
}

/// A bucket's key in two parts: all before the user, and the user's part, which is empty for a shared bucket. There is one way to divide a
/// key, so that equal keys have equal hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyParts<'a> {
    pub(crate) front: &'a str,
    pub(crate) user: &'a str,
}

impl<'a> KeyParts<'a> {
    /// The parts of a joined key.
    pub(crate) fn of(key: &'a str) -> Self {
        let of_server = key.split_once("}:").map_or("", |(_, rest)| rest);
        let of_tool = || of_server.strip_prefix("user-tool:")?.split_once(':').map(|(_, user)| user);
        let user = of_server.strip_prefix("user:").or_else(of_tool).unwrap_or_default();
        let (front, user) = key.split_at(key.len() - user.len());
        Self { front, user }
    }

    /// Whether a joined key is this one.
    pub(crate) fn is(&self, key: &str) -> bool {
        key.strip_prefix(self.front) == Some(self.user)
    }

    /// The joined key.
    pub(crate) fn joined(&self) -> Cow<'a, str> {
        if self.user.is_empty() { Cow::Borrowed(self.front) } else { Cow::Owned([self.front, self.user].concat()) }
    }
}

impl Hash for KeyParts<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.front.as_bytes());
        state.write(self.user.as_bytes());
    }
}

/// A user id as the last part of a key.
pub fn user_part(user: &str) -> Cow<'_, str> {
    if user.len() > LONGEST_USER {
        return Cow::Owned(hash_part(&Sha256::digest(user.as_bytes()).into()));
    }
    match user.strip_prefix('%') {
        Some(rest) => Cow::Owned(format!("%25{rest}")),
        None => Cow::Borrowed(user),
    }
}

/// The SHA-256 of a user id as the last part of a key.
pub(crate) fn hash_part(hash: &[u8; 32]) -> String {
    let mut part = String::from(HASHED);
    for byte in hash {
        // Writing to a string cannot fail.
        let _ = write!(part, "{byte:02x}");
    }
    part
}

/// The hash in the last part of a key, if it holds one.
pub(crate) fn hash_of(part: &str) -> Option<[u8; 32]> {
    let digits = part.strip_prefix(HASHED).filter(|digits| digits.len() == 64 && digits.is_ascii())?;
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

fn tag_part(part: &str) -> Cow<'_, str> {
    escape(part, &['%', ':', '{', '}'])
}

/// Percent-encodes some ASCII characters.
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
    use super::*;

    #[test]
    fn what_is_ambiguous_is_escaped() {
        assert_eq!(ServerId::new("a}:{b", "c%d").global_key(), "thv:rl:{a%7D%3A%7Bb:c%25d}:shared");
        assert_eq!(ServerId::new("a", "b").user_tool_prefix("x:y%"), "thv:rl:{a:b}:user-tool:x%3Ay%25:");
        assert_eq!(user_part("%sha256:x%"), "%25sha256:x%");
    }

    #[test]
    fn a_key_is_divided_before_its_user() {
        let server = ServerId::new("a}:user:b", "c");
        for tool in ["search", "user:x", "a:b%", ":", ""] {
            let front = server.tool_key(tool);
            assert_eq!(KeyParts::of(&front), KeyParts { front: &front, user: "" });
            for user in ["alice", "a:b", "user:x", "}:user:", "%sha256:x", &"u".repeat(256)] {
                let user = user_part(user);
                for front in [server.user_prefix(), server.user_tool_prefix(tool)] {
                    let key = KeyParts { front: &front, user: &user };
                    let joined = key.joined();
                    assert_eq!(KeyParts::of(&joined), key);
                    assert!(key.is(&joined) && !key.is(&front) && !key.is(&format!("{joined}x")));
                }
            }
        }
        for front in [server.global_key(), server.digest_key(), "elsewhere".to_owned()] {
            assert_eq!(KeyParts::of(&front), KeyParts { front: &front, user: "" });
        }
    }

    #[test]
    fn a_long_user_is_hashed() {
        assert_eq!(user_part(&"u".repeat(LONGEST_USER)), "u".repeat(LONGEST_USER));
        // printf 'u%.0s' $(seq 256) | sha256sum
        assert_eq!(user_part(&"u".repeat(LONGEST_USER + 1)), "%sha256:eeea0b989db6a9440839f6b7aace67ddd53bc773d6c42b81404a48acb1626307");
    }
}
