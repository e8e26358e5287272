//! The Rust types behind the definitions. They are never used to decode an object: see [`crate::model::subject`] for that.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What limits depend on. All other fields are preserved.
#[derive(Clone, Debug, CustomResource, Deserialize, KubeSchema, Serialize)]
#[kube(
    group = "toolhive.stacklok.dev",
    version = "v1beta1",
    kind = "MCPServer",
    doc = "A server of MCP tools, with limits on tools/call.",
    singular = "mcpserver",
    plural = "mcpservers",
    shortname = "mcp",
    category = "toolhive",
    namespaced,
    status = "Status"
)]
#[x_kube(
    validation = Rule::new("!has(self.rateLimiting) || (has(self.sessionStorage) && has(self.sessionStorage.provider) && self.sessionStorage.provider == 'redis')")
        .message("TG001: limits are counted in Redis: set spec.sessionStorage.provider to redis, and its address"),
    validation = Rule::new("!has(self.rateLimiting) || !has(self.rateLimiting.perUser) || has(self.oidcConfig) || has(self.oidcConfigRef) || has(self.externalAuthConfigRef)")
        .message("TG002: perUser needs callers that sign in: set spec.oidcConfigRef or spec.externalAuthConfigRef, or use global"),
    validation = Rule::new("!has(self.rateLimiting) || !has(self.rateLimiting.tools) || self.rateLimiting.tools.all(t, !has(t.perUser)) || has(self.oidcConfig) || has(self.oidcConfigRef) || has(self.externalAuthConfigRef)")
        .message("TG002: perUser of a tool needs callers that sign in: set spec.oidcConfigRef or spec.externalAuthConfigRef, or use global")
)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
#[serde(rename_all = "camelCase")]
pub(super) struct McpServerSpec {
    /// Limits of tools/call. Calls over a limit are answered with HTTP 429 and the time to wait. Needs sessionStorage.provider: redis.
    pub(super) rate_limiting: Option<RateLimiting>,
    /// Where sessions and the buckets of limits are held.
    pub(super) session_storage: Option<SessionStorage>,
    /// Callers sign in with OpenID Connect, as the named MCPOIDCConfig says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub(super) oidc_config_ref: Option<serde_json::Value>,
    /// Callers sign in as the named MCPExternalAuthConfig says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub(super) external_auth_config_ref: Option<serde_json::Value>,
    /// Callers sign in with OpenID Connect, described in place. Deprecated: use oidcConfigRef.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub(super) oidc_config: Option<serde_json::Value>,
}

/// What limits depend on. All other fields are preserved.
#[derive(Clone, Debug, CustomResource, Deserialize, KubeSchema, Serialize)]
#[kube(
    group = "toolhive.stacklok.dev",
    version = "v1beta1",
    kind = "VirtualMCPServer",
    doc = "Several servers of MCP tools behind one endpoint, with limits on tools/call.",
    singular = "virtualmcpserver",
    plural = "virtualmcpservers",
    shortname = "vmcp",
    shortname = "virtualmcp",
    category = "toolhive",
    namespaced,
    status = "Status"
)]
#[x_kube(
    validation = Rule::new("(!has(self.rateLimiting) && (!has(self.config) || !has(self.config.rateLimiting))) || (has(self.sessionStorage) && has(self.sessionStorage.provider) && self.sessionStorage.provider == 'redis')")
        .message("TG001: limits are counted in Redis: set spec.sessionStorage.provider to redis, and its address"),
    validation = Rule::new("!has(self.rateLimiting) || (!has(self.rateLimiting.perUser) && (!has(self.rateLimiting.tools) || self.rateLimiting.tools.all(t, !has(t.perUser)))) || (has(self.incomingAuth) && has(self.incomingAuth.type) && self.incomingAuth.type == 'oidc')")
        .message("TG002: perUser needs callers that sign in: set spec.incomingAuth.type to oidc, or use global"),
    validation = Rule::new("!has(self.config) || !has(self.config.rateLimiting) || (!has(self.config.rateLimiting.perUser) && (!has(self.config.rateLimiting.tools) || self.config.rateLimiting.tools.all(t, !has(t.perUser)))) || (has(self.incomingAuth) && has(self.incomingAuth.type) && self.incomingAuth.type == 'oidc')")
        .message("TG002: perUser needs callers that sign in: set spec.incomingAuth.type to oidc, or use global"),
    validation = Rule::new("!has(self.rateLimiting) || !has(self.config) || !has(self.config.rateLimiting)")
        .message("TG010: limits are set at spec.rateLimiting and at spec.config.rateLimiting: keep one of the two")
)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
#[serde(rename_all = "camelCase")]
pub(super) struct VirtualMcpServerSpec {
    /// Limits of tools/call. Calls over a limit are answered with HTTP 429 and the time to wait. Needs sessionStorage.provider: redis.
    pub(super) rate_limiting: Option<RateLimiting>,
    /// Where sessions and the buckets of limits are held.
    pub(super) session_storage: Option<SessionStorage>,
    /// How callers sign in.
    pub(super) incoming_auth: Option<IncomingAuth>,
    /// How the server runs; limits may be set here instead of at spec.rateLimiting.
    pub(super) config: Option<VirtualConfig>,
}

/// How callers of a VirtualMCPServer sign in.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub(super) struct IncomingAuth {
    /// oidc: callers sign in with OpenID Connect, so that perUser has users to count. anonymous: callers do not sign in.
    pub(super) r#type: Option<String>,
}

/// How a VirtualMCPServer runs.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
#[serde(rename_all = "camelCase")]
pub(super) struct VirtualConfig {
    /// Limits of tools/call; the same as spec.rateLimiting, which is the better place.
    pub(super) rate_limiting: Option<RateLimiting>,
}

/// Limits of tools/call: token buckets.
///
/// A call draws one token from every bucket that applies, from all or from none: with global, perUser and a tool that has both, that is
/// four buckets. maxTokens 60 with refillPeriod 1m0s means 60 calls at once, then one a second.
#[derive(Clone, Debug, Deserialize, KubeSchema, Serialize)]
#[x_kube(
    validation = Rule::new("has(self.global) || has(self.shared) || has(self.perUser) || (has(self.tools) && size(self.tools) > 0)")
        .message("TG003: limits nothing: set global, perUser or tools, or remove rateLimiting"),
    validation = Rule::new("!has(self.shared) || !has(self.global) || (self.shared.maxTokens == self.global.maxTokens && self.shared.refillPeriod == self.global.refillPeriod)")
        .message("TG008: shared and global disagree: keep only global, with the limit you want")
)]
#[serde(rename_all = "camelCase")]
pub(super) struct RateLimiting {
    /// All calls of the server, of all callers together.
    pub(super) global: Option<Bucket>,
    /// Deprecated name of global. With tollgate's webhook it is renamed when the object is written.
    pub(super) shared: Option<Bucket>,
    /// The calls of each caller separately, by the subject they signed in as. Needs callers that sign in.
    ///
    /// Redis holds one key for each user seen in 2 x refillPeriod, and one more for each tool with perUser:
    /// (users seen in 2 x refillPeriod) x (1 + tools with perUser). 1,000 users within two minutes, refillPeriod 1m0s and two such tools:
    /// 3,000 keys of about 200 bytes.
    pub(super) per_user: Option<Bucket>,
    /// Further limits for single tools, by name; a call of the tool has to pass these and the server's own.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub(super) tools: Option<Vec<ToolLimits>>,
}

/// Limits of one tool.
#[derive(Clone, Debug, Deserialize, KubeSchema, Serialize)]
#[x_kube(
    validation = Rule::new("has(self.global) || has(self.shared) || has(self.perUser)")
        .message("TG004: limits nothing: set global or perUser, or remove the entry"),
    validation = Rule::new("!has(self.shared) || !has(self.global) || (self.shared.maxTokens == self.global.maxTokens && self.shared.refillPeriod == self.global.refillPeriod)")
        .message("TG008: shared and global disagree: keep only global, with the limit you want")
)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolLimits {
    /// The tool's name, as tools/list gives it.
    #[schemars(length(min = 1))]
    pub(super) name: String,
    /// All calls of the tool, of all callers together.
    pub(super) global: Option<Bucket>,
    /// Deprecated name of global. With tollgate's webhook it is renamed when the object is written.
    pub(super) shared: Option<Bucket>,
    /// The calls of the tool by each caller separately. Needs callers that sign in.
    pub(super) per_user: Option<Bucket>,
}

/// A token bucket.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Bucket {
    /// How many calls may be made at once, from a full bucket. At least 1.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub(super) max_tokens: i32,
    /// The time in which an empty bucket is full again, as a Go duration above zero: 500ms, 1m0s, 1h30m. All tokens, not one: maxTokens 60
    /// with 1m0s gives one back every second.
    #[schemars(length(min = 1, max = 32))]
    pub(super) refill_period: String,
}

/// Where sessions and the buckets of limits are held.
#[derive(Clone, Debug, Deserialize, KubeSchema, Serialize)]
#[x_kube(
    validation = Rule::new("self.provider != 'redis' || has(self.address)")
        .message("TG009: redis needs an address: write host:port")
)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionStorage {
    /// memory or redis. Limits need redis: replicas share their buckets there.
    pub(super) provider: String,
    /// host:port of Redis.
    pub(super) address: Option<String>,
    /// Number of the Redis database.
    #[schemars(range(min = 0))]
    pub(super) db: Option<i32>,
    /// Prefix of the sessions' keys. The buckets' keys have their own: thv:rl:.
    pub(super) key_prefix: Option<String>,
    /// The Secret that holds Redis' password.
    pub(super) password_ref: Option<SecretKeyRef>,
    /// TLS for connections to Redis. Present means TLS: {} trusts the CAs of the system.
    pub(super) tls: Option<StorageTls>,
}

/// How the certificate of Redis is verified.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
#[serde(rename_all = "camelCase")]
pub(super) struct StorageTls {
    /// Accept any certificate. Not for production: any server that responds receives the password.
    pub(super) insecure_skip_verify: Option<bool>,
    /// The Secret that holds the CA certificate of Redis, PEM, instead of the CAs of the system.
    pub(super) ca_cert_secret_ref: Option<SecretKeyRef>,
}

/// A key of a Secret in the same namespace.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub(super) struct SecretKeyRef {
    /// The Secret's name.
    pub(super) name: String,
    /// The key in it.
    pub(super) key: String,
}

/// Written by the operator; of tollgate's, only the condition RateLimitConfigValid, where `tollgate audit --watch --write-conditions` runs.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, Serialize)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub(super) struct Status {
    /// What is true of the object, one entry for each type.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub(super) conditions: Option<Vec<Condition>>,
}

/// One thing that is true of the object, or not.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    /// What it is about.
    pub(super) r#type: String,
    /// True, False or Unknown.
    pub(super) status: Option<String>,
    /// Why, in one word.
    pub(super) reason: Option<String>,
    /// Why, for people.
    pub(super) message: Option<String>,
    /// The generation of the object that was checked.
    pub(super) observed_generation: Option<i64>,
    /// When the status last changed.
    pub(super) last_transition_time: Option<String>,
}

fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}
