//! How callers sign in, as configured by a resource.
//!
//! | where | contains | refers to |
//! |---|---|---|
//! | `MCPServer` `spec.oidcConfig`, type `inline` or `kubernetes` (v1alpha1 before ToolHive v0.21) | everything | |
//! | the same, type `configMap` | nothing | a ConfigMap |
//! | `MCPServer` `spec.oidcConfigRef`, `VirtualMCPServer` `spec.incomingAuth.oidcConfigRef` | audience, scopes, the server's URL | an `MCPOIDCConfig` |
//! | `MCPServer` `spec.externalAuthConfigRef` alone | nothing | an `MCPExternalAuthConfig` |
//!
//! What is left to another object is filled in from that object ([`SignIn::described_by`]) or by hand: all fields are public. A resource
//! never holds the client secret that introspection of opaque tokens needs.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::model::{
    GROUP,
    path::FieldPath,
    subject::{Kind, RefKind, Subject},
};

/// How callers sign in, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignIn {
    /// The issuer of tokens.
    pub issuer: Option<String>,
    /// The audience of tokens.
    pub audience: Option<String>,
    /// Where the issuer's keys are, if not in its discovery document.
    pub jwks_url: Option<String>,
    /// The CA of the issuer's certificate, if the system does not trust it.
    pub ca_file: Option<PathBuf>,
    /// A file with a bearer token for reading keys.
    pub bearer_file: Option<PathBuf>,
    /// The issuer's introspection endpoint, for opaque tokens.
    pub introspection_url: Option<String>,
    /// The client ID to use there.
    pub client_id: Option<String>,
    /// Where the resource itself names the token file; `None` for the file that ToolHive fills in for service accounts.
    pub bearer_named_at: Option<FieldPath>,
    /// Whether keys may be read over plain HTTP.
    pub allow_http: bool,
    /// The URL that clients call.
    pub resource_url: Option<String>,
    /// The scopes that clients should ask for.
    pub scopes: Vec<String>,
    /// The object that contains the rest, until that is filled in.
    pub elsewhere: Option<Elsewhere>,
    /// The object that contains the CA.
    pub ca_elsewhere: Option<Elsewhere>,
}

/// A reference to another object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Elsewhere {
    /// The path of the reference.
    pub path: FieldPath,
    /// The object's kind.
    pub kind: &'static str,
    /// The object's name.
    pub name: String,
}

/// What ToolHive fills in for service accounts of the cluster.
const CLUSTER_ISSUER: &str = "https://kubernetes.default.svc";
const CLUSTER_AUDIENCE: &str = "toolhive";
const CLUSTER_CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
/// The token of a pod's own service account.
pub const CLUSTER_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

impl SignIn {
    /// Reads a resource. `None` if callers do not sign in.
    pub fn of(subject: Subject<'_>) -> Option<Self> {
        if !subject.signs_in() {
            return None;
        }
        let reference: &[&str] = match subject.kind {
            Kind::McpServer => &["spec", "oidcConfigRef"],
            Kind::VirtualMcpServer => &["spec", "incomingAuth", "oidcConfigRef"],
        };
        let in_place = FieldPath::new(["spec", "oidcConfig"]);
        let mut sign_in = Self::default();
        if let Some(found) = FieldPath::new(reference.iter().copied()).find(subject.object) {
            sign_in.take_shared(found);
        } else if let Some(config) = in_place.find(subject.object).filter(|_| subject.kind == Kind::McpServer) {
            sign_in.take_in_place(config, &in_place);
        }
        let named = subject.references().into_iter().find(|reference| reference.kind != RefKind::Secret);
        if let (None, None, Some(named)) = (&sign_in.issuer, &sign_in.elsewhere, named) {
            sign_in.elsewhere = Some(Elsewhere { path: named.path, kind: named.kind.name(), name: named.name.to_owned() });
        }
        Some(sign_in)
    }

    /// Fills in the settings of the referenced `MCPOIDCConfig`; any other object is ignored. The caller compares namespaces.
    #[must_use]
    pub fn described_by(mut self, object: &Value) -> Self {
        let is_named = self.elsewhere.as_ref().is_some_and(|at| {
            at.kind == RefKind::OidcConfig.name()
                && text(object, "kind").as_deref() == Some(at.kind)
                && text(object, "apiVersion").is_some_and(|version| version.split('/').next() == Some(GROUP))
                && object.pointer("/metadata/name").and_then(Value::as_str) == Some(&at.name)
        });
        if !is_named {
            return self;
        }
        let path = FieldPath::new(["spec"]);
        if let Some(inline) = object.pointer("/spec/inline") {
            self.elsewhere = None;
            self.take_issuer(inline, &path.key("inline"));
        } else if let Some(cluster) = object.pointer("/spec/kubernetesServiceAccount") {
            self.elsewhere = None;
            self.take_cluster(cluster);
        }
        self
    }

    /// The server's own part, next to a reference or type.
    fn take_shared(&mut self, config: &Value) {
        self.audience = text(config, "audience").or(self.audience.take());
        self.resource_url = text(config, "resourceUrl").or(self.resource_url.take());
        let scopes = config.get("scopes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        self.scopes.extend(scopes.iter().filter_map(Value::as_str).map(str::to_owned));
    }

    fn take_in_place(&mut self, config: &Value, path: &FieldPath) {
        self.take_shared(config);
        match text(config, "type").as_deref().unwrap_or("kubernetes") {
            "inline" => {
                let inline = config.get("inline").unwrap_or(&Value::Null);
                self.take_shared(inline);
                self.take_issuer(inline, &path.key("inline"));
            }
            "kubernetes" => {
                let cluster = config.get("kubernetes").unwrap_or(&Value::Null);
                self.audience = Some(text(cluster, "audience").unwrap_or_else(|| CLUSTER_AUDIENCE.to_owned()));
                self.take_cluster(cluster);
            }
            _ => self.elsewhere = config_map(config.get("configMap"), path.key("configMap").key("name")),
        }
    }

    fn take_issuer(&mut self, inline: &Value, path: &FieldPath) {
        self.issuer = text(inline, "issuer");
        self.jwks_url = text(inline, "jwksUrl");
        self.bearer_file = text(inline, "jwksAuthTokenPath").map(PathBuf::from);
        self.introspection_url = text(inline, "introspectionUrl");
        self.client_id = text(inline, "clientId");
        self.bearer_named_at = self.bearer_file.is_some().then(|| path.key("jwksAuthTokenPath"));
        self.allow_http = inline.get("insecureAllowHTTP").and_then(Value::as_bool).unwrap_or_default();
        let ca = path.key("caBundleRef").key("configMapRef").key("name");
        self.ca_elsewhere = config_map(inline.pointer("/caBundleRef/configMapRef"), ca);
    }

    fn take_cluster(&mut self, cluster: &Value) {
        self.issuer = Some(text(cluster, "issuer").unwrap_or_else(|| CLUSTER_ISSUER.to_owned()));
        self.jwks_url = text(cluster, "jwksUrl");
        self.introspection_url = text(cluster, "introspectionUrl");
        if cluster.get("useClusterAuth").and_then(Value::as_bool).unwrap_or(true) {
            self.ca_file = Some(Path::new(CLUSTER_CA).to_owned());
            self.bearer_file = Some(Path::new(CLUSTER_TOKEN).to_owned());
        }
    }
}

fn config_map(reference: Option<&Value>, path: FieldPath) -> Option<Elsewhere> {
    Some(Elsewhere { path, kind: "ConfigMap", name: text(reference?, "name")? })
}

/// A non-empty string: Go omits empty ones.
fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn server(spec: &Value) -> SignIn {
        SignIn::of(Subject::new(Kind::McpServer, &json!({"spec": spec}))).expect("callers sign in")
    }

    #[test]
    fn an_inline_form_says_everything() {
        let sign_in = server(&json!({"oidcConfig": {"type": "inline", "resourceUrl": "https://mcp.example/mcp", "inline": {
            "issuer": "http://issuer.example", "audience": "mcp", "jwksUrl": "http://issuer.example/keys", "insecureAllowHTTP": true,
            "jwksAuthTokenPath": "/token", "scopes": ["tools"], "clientId": "x", "introspectionUrl": "https://x",
        }}}));
        let all = SignIn {
            issuer: Some("http://issuer.example".to_owned()),
            audience: Some("mcp".to_owned()),
            jwks_url: Some("http://issuer.example/keys".to_owned()),
            ca_file: None,
            bearer_file: Some(PathBuf::from("/token")),
            introspection_url: Some("https://x".to_owned()),
            client_id: Some("x".to_owned()),
            bearer_named_at: Some(FieldPath::new(["spec", "oidcConfig", "inline", "jwksAuthTokenPath"])),
            allow_http: true,
            resource_url: Some("https://mcp.example/mcp".to_owned()),
            scopes: vec!["tools".to_owned()],
            elsewhere: None,
            ca_elsewhere: None,
        };
        assert_eq!(sign_in, all);
    }

    #[test]
    fn service_accounts_have_the_defaults_of_toolhive() {
        for spec in [json!({"oidcConfig": {}}), json!({"oidcConfig": {"type": "kubernetes", "kubernetes": {}}})] {
            let sign_in = server(&spec);
            assert_eq!((sign_in.issuer.as_deref(), sign_in.audience.as_deref()), (Some(CLUSTER_ISSUER), Some("toolhive")));
            assert_eq!(sign_in.ca_file.as_deref(), Some(Path::new(CLUSTER_CA)));
            assert_eq!((sign_in.bearer_file.as_deref(), sign_in.bearer_named_at), (Some(Path::new(CLUSTER_TOKEN)), None));
        }
        let own = server(
            &json!({"oidcConfig": {"type": "kubernetes", "kubernetes": {"useClusterAuth": false, "audience": "a", "issuer": "https://i"}}}),
        );
        assert_eq!(
            (own.issuer.as_deref(), own.audience.as_deref(), own.ca_file, own.bearer_file),
            (Some("https://i"), Some("a"), None, None)
        );
    }

    #[test]
    fn without_sign_in_there_are_no_settings() {
        for (kind, spec) in [(Kind::McpServer, json!({})), (Kind::VirtualMcpServer, json!({"incomingAuth": {"type": "anonymous"}}))] {
            assert_eq!(SignIn::of(Subject::new(kind, &json!({"spec": spec}))), None);
        }
    }
}
