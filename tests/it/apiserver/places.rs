//! The places where a bucket may be, each with a manifest around it.

use serde_json::{Value, json};

/// One of the places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Server,
    Tool,
    VirtualSpec,
    VirtualConfig,
}

impl Place {
    pub const ALL: [Self; 4] = [Self::Server, Self::Tool, Self::VirtualSpec, Self::VirtualConfig];

    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Tool => "tool",
            Self::VirtualSpec => "virtual-spec",
            Self::VirtualConfig => "virtual-config",
        }
    }

    /// JSON pointer of the level that holds `shared` and `global`.
    pub fn level(self) -> &'static str {
        match self {
            Self::Server | Self::VirtualSpec => "/spec/rateLimiting",
            Self::Tool => "/spec/rateLimiting/tools/0",
            Self::VirtualConfig => "/spec/config/rateLimiting",
        }
    }

    /// JSON pointer of the whole limits.
    pub fn block(self) -> &'static str {
        if self == Self::VirtualConfig { "/spec/config/rateLimiting" } else { "/spec/rateLimiting" }
    }

    /// A manifest without limits.
    pub fn bare(self, namespace: &str) -> Value {
        let storage = json!({"provider": "redis", "address": "redis:6379"});
        let (kind, spec) = match self {
            Self::Server | Self::Tool => (
                "MCPServer",
                json!({"image": "example.com/mcp:1", "sessionStorage": storage, "oidcConfigRef": {"name": "corp", "audience": "mcp"}}),
            ),
            Self::VirtualSpec | Self::VirtualConfig => {
                ("VirtualMCPServer", json!({"groupRef": {"name": "g"}, "sessionStorage": storage, "incomingAuth": {"type": "oidc"}}))
            }
        };
        json!({
            "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": kind,
            "metadata": {"name": self.name(), "namespace": namespace},
            "spec": spec,
        })
    }

    /// A manifest with these keys at the level. A tool has its name besides, and a neighbour.
    pub fn with(self, namespace: &str, keys: &Value) -> Value {
        let mut manifest = self.bare(namespace);
        match self {
            Self::Server | Self::VirtualSpec => manifest["spec"]["rateLimiting"] = keys.clone(),
            Self::VirtualConfig => manifest["spec"]["config"] = json!({"rateLimiting": keys, "operational": {"logLevel": "debug"}}),
            Self::Tool => {
                let mut tool = keys.clone();
                tool["name"] = json!("search");
                let neighbour = json!({"name": "fetch", "perUser": bucket(3)});
                manifest["spec"]["rateLimiting"] = json!({"perUser": bucket(2), "tools": [tool, neighbour]});
            }
        }
        manifest
    }
}

/// So many tokens a minute.
pub fn bucket(tokens: u32) -> Value {
    json!({"maxTokens": tokens, "refillPeriod": "1m0s"})
}
