//! The limits of one server, and what else a proxy needs to know of it: from an `MCPServer` or `VirtualMCPServer` as applied with kubectl, or ToolHive's middleware JSON.
//!
//! Checked by the webhook's rules, with its messages. Other documents in the file are skipped.

use std::path::PathBuf;

use serde_json::{Value, json};
use thiserror::Error;

use crate::{
    limiter::ServerId,
    manifest::{Unreadable, objects, sign_in::SignIn},
    model::{
        DEFAULT_NAMESPACE, GROUP,
        limits::Limits,
        path::FieldPath,
        subject::{Kind, Subject, storage_path},
    },
    rules::{Context, Effect, Violation, check},
};

/// Limits, and what else a proxy needs to know about their server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitedServer {
    /// Whose limits they are.
    pub server: ServerId,
    /// May be empty: everything passes.
    pub limits: Limits,
    /// Where they are counted, if it says so.
    pub storage: Option<Storage>,
    /// How callers sign in, if it says so.
    pub sign_in: Option<SignIn>,
    /// Whether tools are called through vMCP's optimizer.
    pub optimizer: bool,
    /// Warnings of the rules, a line each.
    pub warnings: Vec<String>,
}

/// The Redis that a resource names. The password is in a Secret, or in the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Storage {
    /// `host:port`
    pub address: String,
    /// The number of the database.
    pub db: u32,
    /// How its certificate is verified, where connections are TLS.
    pub tls: Option<StorageTls>,
}

/// How the certificate of Redis is verified. Connections use TLS in any case, even if none of this can be parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StorageTls {
    /// Any certificate is accepted.
    pub insecure: bool,
    /// Where its CA is; `None` for the system's CAs.
    pub ca: Option<StorageCa>,
}

/// Where the CA of Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageCa {
    /// In a Secret of this name, named here.
    Secret(FieldPath, String),
    /// In a file, which the middleware JSON names.
    File(PathBuf),
}

/// Why no limits could be read.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitedServerError {
    /// Neither YAML nor JSON.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// No resource with limits.
    #[error("contains neither an MCPServer or VirtualMCPServer of {GROUP} nor middleware JSON with server_name and config")]
    Nothing,
    /// Several resources with limits.
    #[error("contains several servers: choose one with --name: {}", .0.join(", "))]
    Several(Vec<String>),
    /// No name, which keys are made from.
    #[error("the {0} has no metadata.name")]
    Nameless(&'static str),
    /// The rules deny it, a line each.
    #[error("the limits cannot work:\n  {}", .0.join("\n  "))]
    Violations(Vec<String>),
}

impl LimitedServer {
    /// Reads a text. `name` chooses among several servers, `namespace` is the default for manifests without one.
    ///
    /// # Errors
    /// When it holds no server, several, or one whose limits cannot work.
    pub fn read(text: impl AsRef<[u8]>, name: Option<&str>, namespace: &str) -> Result<Self, LimitedServerError> {
        let documents = objects(text)?;
        let mut servers: Vec<Self> = Vec::new();
        let mut faults = Vec::new();
        for document in &documents {
            match Self::of(document, namespace) {
                Some(Ok(server)) => servers.push(server),
                Some(Err((named, fault))) if name.is_none_or(|name| named.as_deref() == Some(name)) => faults.push(fault),
                Some(Err(_)) | None => {}
            }
        }
        servers.retain(|server| name.is_none_or(|name| server.server.name == name));
        if let Some(fault) = faults.into_iter().next() {
            return Err(fault);
        }
        let names = servers.iter().map(|server| server.server.name.clone()).collect();
        let mut servers = servers.into_iter();
        match (servers.next(), servers.next()) {
            (None, _) => Err(LimitedServerError::Nothing),
            (Some(server), None) => Ok(documents.iter().fold(server, |server, other| server.described_by(other, namespace))),
            (Some(_), Some(_)) => Err(LimitedServerError::Several(names)),
        }
    }

    /// Reads all servers of several texts, text by text. How callers sign in may be said in another text than the server's.
    pub fn read_all<T: AsRef<[u8]>>(texts: &[T], namespace: &str) -> Vec<Result<Vec<Self>, LimitedServerError>> {
        let documents: Vec<_> = texts.iter().map(objects).collect();
        let all = || documents.iter().flatten().flatten();
        let server = |read: Result<Self, (Option<String>, LimitedServerError)>| match read {
            Ok(server) => Ok(all().fold(server, |server, other| server.described_by(other, namespace))),
            Err((_, fault)) => Err(fault),
        };
        let servers = |documents: &Vec<Value>| documents.iter().filter_map(|document| Self::of(document, namespace)).map(server).collect();
        documents.iter().map(|documents| documents.as_ref().map_err(|error| error.clone().into()).and_then(servers)).collect()
    }

    /// Reads an object that the API server holds.
    ///
    /// # Errors
    /// As [`LimitedServer::read`].
    pub fn of_object(object: &Value) -> Result<Self, LimitedServerError> {
        Self::of(object, DEFAULT_NAMESPACE).ok_or(LimitedServerError::Nothing)?.map_err(|(_, fault)| fault)
    }

    /// Fills in how callers sign in from an object that the resource names, in its own namespace; any other object is ignored.
    /// `namespace` is the default for an object without one.
    #[must_use]
    pub fn described_by(self, object: &Value, namespace: &str) -> Self {
        let is_beside = text(object, "/metadata/namespace").as_deref().unwrap_or(namespace) == self.server.namespace;
        Self { sign_in: self.sign_in.map(|sign_in| if is_beside { sign_in.described_by(object) } else { sign_in }), ..self }
    }

    /// `None` for what is neither; a fault with the server's name.
    fn of(document: &Value, namespace: &str) -> Option<Result<Self, (Option<String>, LimitedServerError)>> {
        if document.get("server_name").is_some() && document.get("config").is_some() {
            return Some(Self::of_middleware(document).map_err(|fault| (text(document, "/server_name"), fault)));
        }
        let group = text(document, "/apiVersion")?;
        let kind = Kind::from_name(&text(document, "/kind")?).filter(|_| group.split('/').next() == Some(GROUP))?;
        let name = text(document, "/metadata/name");
        Some(Self::of_resource(kind, document, namespace).map_err(|fault| (name, fault)))
    }

    fn of_resource(kind: Kind, object: &Value, namespace: &str) -> Result<Self, LimitedServerError> {
        let subject = Subject::new(kind, object);
        let name = text(object, "/metadata/name").filter(|name| !name.is_empty()).ok_or(LimitedServerError::Nameless(kind.name()))?;
        let (limits, warnings) = judge(subject, |violation| violation.to_string())?;
        let storage = subject.storage().filter(|storage| text(storage, "/provider").as_deref() == Some("redis"));
        Ok(Self {
            server: ServerId::new(subject.namespace().unwrap_or(namespace), name),
            limits,
            storage: storage.and_then(|storage| Storage::of(storage, "/address", "/db", "/tls")),
            sign_in: SignIn::of(subject),
            optimizer: kind == Kind::VirtualMcpServer
                && object.pointer("/spec/config/optimizer").is_some_and(|optimizer| !optimizer.is_null()),
            warnings,
        })
    }

    /// What ToolHive's operator writes for its own proxies. That users sign in and that there is Redis is its business, not this text's, and
    /// so is the name `shared`: it knows no other.
    fn of_middleware(document: &Value) -> Result<Self, LimitedServerError> {
        let object = json!({"spec": {
            "oidcConfigRef": {"name": "of-the-proxy"},
            "sessionStorage": {"provider": "redis", "address": "of-the-proxy:6379", "tls": document.get("redis_tls")},
            "rateLimiting": document.get("config"),
        }});
        let (limits, warnings) = judge(Subject::new(Kind::McpServer, &object), |violation| {
            let path = violation.path.to_string().replacen("spec.rateLimiting", "config", 1);
            format!("{} {}: {}", violation.rule, path.replacen("spec.sessionStorage.tls", "redis_tls", 1), violation.problem)
        })?;
        let name = text(document, "/server_name").filter(|name| !name.is_empty()).ok_or(LimitedServerError::Nameless("server_name"))?;
        Ok(Self {
            server: ServerId::new(text(document, "/namespace").unwrap_or_else(|| "default".to_owned()), name),
            limits,
            storage: Storage::of(document, "/redis_addr", "/redis_db", "/redis_tls"),
            sign_in: None,
            optimizer: false,
            warnings: warnings.into_iter().filter(|warning| !warning.starts_with("TG101 ")).collect(),
        })
    }
}

impl Storage {
    fn of(value: &Value, address: &str, db: &str, tls: &str) -> Option<Self> {
        let db = value.pointer(db).and_then(Value::as_u64).unwrap_or_default();
        let address = text(value, address).filter(|address| !address.is_empty())?;
        let tls = value.pointer(tls).filter(|tls| !tls.is_null()).map(StorageTls::of);
        Some(Self { address, db: u32::try_from(db).unwrap_or_default(), tls })
    }
}

impl StorageTls {
    fn of(tls: &Value) -> Self {
        let insecure = tls.get("insecureSkipVerify").and_then(Value::as_bool).unwrap_or_default();
        let file = text(tls, "/caCertFile").filter(|file| !file.is_empty()).map(|file| StorageCa::File(file.into()));
        let secret = tls.get("caCertSecretRef").filter(|reference| !reference.is_null()).map(|reference| {
            let at = storage_path().key("tls").key("caCertSecretRef");
            StorageCa::Secret(at, text(reference, "/name").unwrap_or_default())
        });
        Self { insecure, ca: secret.or(file) }
    }
}

/// The limits and the warnings, or the denials.
fn judge(subject: Subject<'_>, line: impl Fn(&Violation) -> String) -> Result<(Limits, Vec<String>), LimitedServerError> {
    let line = |violation: &Violation| in_a_line(&line(violation));
    match Limits::of(subject) {
        Ok(limits) => {
            let found = check(&Context::new(subject));
            let warnings = found.iter().filter(|violation| violation.level == Effect::Warn).map(line).collect();
            Ok((limits.unwrap_or_default(), warnings))
        }
        Err(denials) => Err(LimitedServerError::Violations(denials.iter().map(line).collect())),
    }
}

/// Escapes line breaks, which names in an object may contain and a line of the log must not.
fn in_a_line(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PER_USER: &str = include_str!("../../manifests/samples/good/mcpserver-per-user.yaml");

    #[test]
    fn a_manifest_is_read_whole() {
        let source = LimitedServer::read(PER_USER, None, "elsewhere").expect("a good sample");
        assert_eq!(source.server, ServerId::new("tollgate-demo", "github"));
        assert_eq!(source.storage, Some(Storage { address: "redis.tollgate-demo.svc:6379".to_owned(), db: 0, tls: None }));
        assert!(source.limits.tools.contains_key("create_issue") && !source.optimizer);
    }

    #[test]
    fn middleware_json_is_read_and_judged_as_config() {
        let text = r#"{"namespace": "ns", "server_name": "s", "redis_addr": "r:1", "redis_db": 3,
            "config": {"shared": {"maxTokens": 5, "refillPeriod": "1m0s"}, "perUser": {"maxTokens": 1, "refillPeriod": "1s"}}}"#;
        let source = LimitedServer::read(text, None, "default").expect("it works");
        assert_eq!(
            (source.server, source.storage),
            (ServerId::new("ns", "s"), Some(Storage { address: "r:1".to_owned(), db: 3, tls: None }))
        );
        assert_eq!(source.limits.global.map(|bucket| bucket.max_tokens.get()), Some(5));
        assert_eq!(source.warnings, [""; 0], "ToolHive's own JSON says shared by necessity");
        let bad = text.replace("\"maxTokens\": 5", "\"maxTokens\": 0");
        let Err(LimitedServerError::Violations(lines)) = LimitedServer::read(&bad, None, "default") else { panic!("0 tokens") };
        assert!(lines.iter().any(|line| line.starts_with("TG006 config.shared.maxTokens: ")), "{lines:?}");
    }

    #[test]
    fn tls_is_tls_wherever_something_is_said_of_it() {
        let of_resource = |tls: &str| {
            let text = PER_USER.replace("redis.tollgate-demo.svc:6379", &format!("redis:6379\n    tls: {tls}"));
            LimitedServer::read(&text, None, "x").map(|source| source.storage.expect("Redis").tls)
        };
        let of_middleware = |tls: &str| {
            let text = format!(
                r#"{{"server_name": "s", "redis_addr": "r:1", "redis_tls": {tls}, "config": {{"shared": {{"maxTokens": 5, "refillPeriod": "1m0s"}}}}}}"#
            );
            LimitedServer::read(&text, None, "x").map(|source| source.storage.expect("Redis").tls)
        };
        let insecure = StorageTls { insecure: true, ca: None };
        for (tls, expected) in [("null", None), ("{}", Some(StorageTls::default())), ("{\"insecureSkipVerify\": true}", Some(insecure))] {
            assert_eq!((of_resource(tls), of_middleware(tls)), (Ok(expected.clone()), Ok(expected)), "{tls}");
        }
        let at = FieldPath::new(["spec", "sessionStorage", "tls", "caCertSecretRef"]);
        let in_secret = StorageTls { insecure: false, ca: Some(StorageCa::Secret(at, "redis-ca".to_owned())) };
        assert_eq!(of_resource("{caCertSecretRef: {name: redis-ca, key: ca.crt}}"), Ok(Some(in_secret)));
        let in_file = StorageTls { insecure: false, ca: Some(StorageCa::File("/etc/redis/ca.crt".into())) };
        assert_eq!(of_middleware("{\"caCertFile\": \"/etc/redis/ca.crt\"}"), Ok(Some(in_file)));
        for (read, says) in [
            (of_resource("true"), "TG009 spec.sessionStorage.tls: is a boolean: write {} for TLS"),
            (of_middleware("\"yes\""), "TG009 redis_tls: is a string: write {} for TLS"),
            (of_middleware("{\"insecureSkipVerify\": 1}"), "TG009 redis_tls.insecureSkipVerify: is a number: write true or false"),
        ] {
            let Err(LimitedServerError::Violations(lines)) = read else { panic!("{says}: {read:?}") };
            assert!(lines.iter().any(|line| line.starts_with(says)), "{lines:?}");
        }
    }

    #[test]
    fn a_sign_in_config_is_the_one_of_the_own_namespace_and_group() {
        let config = |group: &str, namespace: &str, issuer: &str| {
            let namespace = if namespace.is_empty() { String::new() } else { format!("  namespace: {namespace}\n") };
            format!(
                "---\napiVersion: {group}/v1beta1\nkind: MCPOIDCConfig\nmetadata:\n  name: corp-oidc\n{namespace}spec:\n  inline: {{issuer: {issuer}}}\n"
            )
        };
        let issuer = |configs: &[String], namespace| {
            let source = LimitedServer::read(format!("{PER_USER}{}", configs.concat()), None, namespace).expect("a good sample");
            source.sign_in.expect("callers sign in").issuer
        };
        let own = config(GROUP, "tollgate-demo", "https://own");
        let foreign_keys = [config(GROUP, "elsewhere", "https://stranger"), config("example.com", "tollgate-demo", "https://stranger")];
        let without = config(GROUP, "", "https://without");
        assert_eq!(issuer(&foreign_keys, "elsewhere"), None);
        assert_eq!(issuer(&[&foreign_keys[..], &[own]].concat(), "elsewhere").as_deref(), Some("https://own"));
        assert_eq!(issuer(std::slice::from_ref(&without), "elsewhere"), None, "it is in another namespace");
        assert_eq!(issuer(&[without], "tollgate-demo").as_deref(), Some("https://without"));
    }

    #[test]
    fn a_number_means_what_it_means_to_kubectl() {
        for (number, tokens) in [("010", 8), ("1e3", 1000), ("100.0", 100), ("1_000", 1000), ("0x10", 16)] {
            let text = format!(
                "apiVersion: {GROUP}/v1beta1\nkind: MCPServer\nmetadata: {{name: x}}\nspec:\n  \
                 sessionStorage: {{provider: redis, address: 'redis:6379'}}\n  \
                 rateLimiting: {{global: {{maxTokens: {number}, refillPeriod: 1m}}}}\n"
            );
            let read = LimitedServer::read(&text, None, "x").map(|server| server.limits.global.map(|bucket| bucket.max_tokens.get()));
            assert_eq!(read, Ok(Some(tokens)), "{number}");
        }
    }

    #[test]
    fn several_servers_have_to_be_chosen_from() {
        let text = format!("{PER_USER}---\n{}---\nkind: Service\napiVersion: v1\n", PER_USER.replace("name: github", "name: other"));
        assert_eq!(LimitedServer::read(&text, None, "x"), Err(LimitedServerError::Several(vec!["github".to_owned(), "other".to_owned()])));
        assert_eq!(LimitedServer::read(&text, Some("other"), "x").map(|source| source.server.name), Ok("other".to_owned()));
        assert_eq!(LimitedServer::read(&text, Some("none"), "x"), Err(LimitedServerError::Nothing));
    }

    #[test]
    fn what_cannot_work_says_why() {
        let bad = PER_USER.replace("oidcConfigRef", "other");
        let Err(LimitedServerError::Violations(lines)) = LimitedServer::read(&bad, None, "x") else { panic!("perUser without sign-in") };
        assert!(lines.iter().any(|line| line.starts_with("TG002 spec.rateLimiting.perUser")), "{lines:?}");
        assert_eq!(
            LimitedServer::read(PER_USER.replace("  name: github\n", "  labels: {}\n"), None, "x"),
            Err(LimitedServerError::Nameless("MCPServer"))
        );
        let unreadable = LimitedServer::read("a: 1\n---\na: [", None, "x").map_err(|error| error.to_string());
        assert!(unreadable.as_ref().is_err_and(|error| error.starts_with("line 3, column ")), "{unreadable:?}");
        assert_eq!(LimitedServer::read("", None, "x"), Err(LimitedServerError::Nothing));
    }
}
