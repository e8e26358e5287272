//! One view over `MCPServer` and `VirtualMCPServer`: where their limits, their storage and their sign-in are.
//!
//! The view borrows the object as it was received. Nothing is decoded into structs, so unknown fields are retained, and rules can also
//! describe an object with the wrong structure.

use serde_json::Value;

use super::path::FieldPath;

/// The kinds with limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `MCPServer`: one MCP server.
    McpServer,
    /// `VirtualMCPServer`: several servers behind one endpoint.
    VirtualMcpServer,
}

/// The key of the limits, at each of [`Kind::places`].
pub const RATE_LIMITING: &str = "rateLimiting";
/// The key of the per-tool limits inside the limits.
pub const TOOLS: &str = "tools";

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::McpServer, Self::VirtualMcpServer];

    /// The kind with this name, if it is one of ours.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The name in a manifest's `kind`.
    pub fn name(self) -> &'static str {
        match self {
            Self::McpServer => "MCPServer",
            Self::VirtualMcpServer => "VirtualMCPServer",
        }
    }

    /// The name in an API path.
    pub fn plural(self) -> &'static str {
        match self {
            Self::McpServer => "mcpservers",
            Self::VirtualMcpServer => "virtualmcpservers",
        }
    }

    /// The places of limits, as keys from the root.
    pub fn places(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::McpServer => &[&["spec", RATE_LIMITING]],
            Self::VirtualMcpServer => &[&["spec", RATE_LIMITING], &["spec", "config", RATE_LIMITING]],
        }
    }
}

/// Which calls a bucket counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScopeKey {
    /// All calls of the server or tool, under the name `global`.
    Global,
    /// The same, under the deprecated name `shared`.
    Shared,
    /// The calls of each caller separately.
    PerUser,
}

impl ScopeKey {
    /// Every scope, in the order in which limits are documented.
    pub const ALL: [Self; 3] = [Self::Global, Self::Shared, Self::PerUser];

    /// The key in a manifest.
    pub fn key(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Shared => "shared",
            Self::PerUser => "perUser",
        }
    }
}

/// An object of one of our kinds.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Which kind.
    pub kind: Kind,
    /// The whole object, as received.
    pub object: &'a Value,
}

impl<'a> Subject<'a> {
    /// A view of `object`.
    pub fn new(kind: Kind, object: &'a Value) -> Self {
        Self { kind, object }
    }

    /// The limits that exist, at any place and of any type.
    pub fn blocks(&self) -> Vec<Block<'a>> {
        let places = self.kind.places().iter().enumerate();
        places
            .filter_map(|(place, keys)| {
                let path = FieldPath::new(keys.iter().copied());
                path.find(self.object).map(|value| Block { place, path, value })
            })
            .collect()
    }

    /// `spec.sessionStorage`, if it exists.
    pub fn storage(&self) -> Option<&'a Value> {
        storage_path().find(self.object)
    }

    /// Whether the object requires its callers to sign in, so that there are users to count.
    pub fn signs_in(&self) -> bool {
        match self.kind {
            Kind::McpServer => MCP_SERVER_SIGN_IN.iter().any(|key| FieldPath::new(["spec", key]).find(self.object).is_some()),
            Kind::VirtualMcpServer => {
                FieldPath::new(["spec", "incomingAuth", "type"]).find(self.object).and_then(Value::as_str) == Some("oidc")
            }
        }
    }

    /// What to set so that callers sign in.
    pub fn sign_in_hint(&self) -> &'static str {
        match self.kind {
            Kind::McpServer => "set spec.oidcConfigRef or spec.externalAuthConfigRef",
            Kind::VirtualMcpServer => "set spec.incomingAuth.type to oidc",
        }
    }

    /// The objects that sign-in and storage refer to, all in the object's own namespace.
    pub fn references(&self) -> Vec<Reference<'a>> {
        let named: &[(&[&str], RefKind)] = match self.kind {
            Kind::McpServer => &[
                (&["spec", "oidcConfigRef", "name"], RefKind::OidcConfig),
                (&["spec", "externalAuthConfigRef", "name"], RefKind::ExternalAuthConfig),
                (&["spec", "sessionStorage", "passwordRef", "name"], RefKind::Secret),
                (&["spec", "sessionStorage", "tls", "caCertSecretRef", "name"], RefKind::Secret),
            ],
            Kind::VirtualMcpServer => &[
                (&["spec", "incomingAuth", "oidcConfigRef", "name"], RefKind::OidcConfig),
                (&["spec", "sessionStorage", "passwordRef", "name"], RefKind::Secret),
                (&["spec", "sessionStorage", "tls", "caCertSecretRef", "name"], RefKind::Secret),
            ],
        };
        let found = named.iter().filter_map(|(keys, kind)| {
            let path = FieldPath::new(keys.iter().copied());
            let name = path.find(self.object)?.as_str().filter(|name| !name.is_empty())?;
            Some(Reference { kind: *kind, name, path })
        });
        found.collect()
    }

    /// `metadata.namespace`.
    pub fn namespace(&self) -> Option<&'a str> {
        FieldPath::new(["metadata", "namespace"]).find(self.object)?.as_str()
    }
}

/// The fields of an `MCPServer` that each make callers sign in. `oidcConfig` exists only in v1alpha1 of ToolHive before v0.21.
const MCP_SERVER_SIGN_IN: [&str; 3] = ["oidcConfig", "oidcConfigRef", "externalAuthConfigRef"];

/// `spec.sessionStorage`.
pub fn storage_path() -> FieldPath {
    FieldPath::new(["spec", "sessionStorage"])
}

/// A kind of object that ours refer to by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefKind {
    /// How callers sign in.
    OidcConfig,
    /// How callers sign in, the older way.
    ExternalAuthConfig,
    /// The password of Redis, or its CA.
    Secret,
}

impl RefKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::OidcConfig, Self::ExternalAuthConfig, Self::Secret];

    /// The name in a manifest's `kind`.
    pub fn name(self) -> &'static str {
        match self {
            Self::OidcConfig => "MCPOIDCConfig",
            Self::ExternalAuthConfig => "MCPExternalAuthConfig",
            Self::Secret => "Secret",
        }
    }

    /// The name in an API path.
    pub fn plural(self) -> &'static str {
        match self {
            Self::OidcConfig => "mcpoidcconfigs",
            Self::ExternalAuthConfig => "mcpexternalauthconfigs",
            Self::Secret => "secrets",
        }
    }
}

/// A reference to another object.
#[derive(Clone, Debug)]
pub struct Reference<'a> {
    /// The kind of the referenced object.
    pub kind: RefKind,
    /// Its name.
    pub name: &'a str,
    /// The path of the reference.
    pub path: FieldPath,
}

/// Limits at one place of an object: the value of a `rateLimiting` key that is not null, whatever its type.
#[derive(Clone, Debug)]
pub struct Block<'a> {
    /// Index into [`Kind::places`].
    pub place: usize,
    /// The path of the block.
    pub path: FieldPath,
    /// The value of the block.
    pub value: &'a Value,
}

impl<'a> Block<'a> {
    /// The server level, then each entry of `tools` that is a map.
    pub fn levels(&self) -> Vec<LevelOf<'a>> {
        let server = LevelOf { place: self.place, path: self.path.clone(), tool: None, value: self.value };
        std::iter::once(server).chain(self.tools()).collect()
    }

    /// Each entry of `tools` that is a map.
    pub fn tools(&self) -> impl Iterator<Item = LevelOf<'a>> + use<'a> {
        let (place, path) = (self.place, self.path.key(TOOLS));
        let entries = self.value.get(TOOLS).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        entries.iter().enumerate().filter(|(_, entry)| entry.is_object()).map(move |(index, value)| {
            let name = value.get("name").and_then(Value::as_str).unwrap_or_default();
            LevelOf { place, path: path.index(index), tool: Some(name), value }
        })
    }

    /// Every bucket of every level, of whatever type.
    pub fn buckets(&self) -> impl Iterator<Item = BucketAt<'a>> + use<'a> {
        self.levels().into_iter().flat_map(|level| level.buckets())
    }
}

/// The server level of a block, or one entry of its `tools`.
#[derive(Clone, Debug)]
pub struct LevelOf<'a> {
    /// Index into [`Kind::places`].
    pub place: usize,
    /// The path of the level.
    pub path: FieldPath,
    /// The tool's name, empty when it has none; `None` at the server level.
    pub tool: Option<&'a str>,
    /// The value of the level.
    pub value: &'a Value,
}

impl<'a> LevelOf<'a> {
    /// The bucket of one scope, unless absent or null.
    pub fn bucket(&self, scope: ScopeKey) -> Option<&'a Value> {
        self.value.get(scope.key()).filter(|value| !value.is_null())
    }

    /// The bucket that counts all calls, under either name.
    pub fn global(&self) -> Option<&'a Value> {
        self.bucket(ScopeKey::Global).or_else(|| self.bucket(ScopeKey::Shared))
    }

    /// The buckets that exist, of whatever type.
    pub fn buckets(&self) -> Vec<BucketAt<'a>> {
        let present = ScopeKey::ALL.into_iter().filter_map(|scope| self.bucket(scope).map(|value| (scope, value)));
        present.map(|(scope, value)| BucketAt { path: self.path.key(scope.key()), scope, value }).collect()
    }
}

/// One bucket, of whatever type.
#[derive(Clone, Debug)]
pub struct BucketAt<'a> {
    /// The path of the bucket.
    pub path: FieldPath,
    /// What it counts.
    pub scope: ScopeKey,
    /// The value of the bucket.
    pub value: &'a Value,
}
