//! What an object refers to: whether it is there, and whether an external auth config signs callers in.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use serde_json::Value;

use super::{
    Around,
    rendered::{Of, Rendered},
};
use crate::{
    model::{
        bucket::quoted,
        path::FieldPath,
        problem::Problem,
        subject::{Kind, RefKind, ScopeKey, Subject},
    },
    report::Finding,
    rules::References,
};

/// The types of MCPExternalAuthConfig by which a server signs in elsewhere, and no caller signs in to the server.
/// `embeddedAuthServer` is the one that is left out; a type that tollgate does not know is taken for one that signs callers in.
const OUTGOING: [&str; 8] =
    ["awsSts", "bearerToken", "headerInjection", "obo", "tokenExchange", "unauthenticated", "upstreamInject", "xaa"];

/// `perUser` of a server whose only sign-in is its own, elsewhere: no rule of a single object can see it, and the limiter, having no user,
/// skips the bucket without a word.
pub fn outgoing_auth(subject: Subject<'_>, around: &dyn Around) -> Option<Finding> {
    let has = |key| FieldPath::new(["spec", key]).find(subject.object).is_some();
    let counts_users = || subject.blocks().iter().any(|block| block.buckets().any(|bucket| bucket.scope == ScopeKey::PerUser));
    if subject.kind != Kind::McpServer || has("oidcConfig") || has("oidcConfigRef") || !counts_users() {
        return None;
    }
    let path = FieldPath::new(["spec", "externalAuthConfigRef"]);
    let name = path.key("name").find(subject.object)?.as_str()?;
    let of_type = around.external_auth_type(subject.namespace()?, name)?;
    let signs_out = OUTGOING.contains(&of_type.as_str());
    let name = quoted(name);
    let problem = Problem::new(format!("perUser finds no users: {name} is of type {of_type}, which signs no caller in"));
    signs_out.then(|| Finding::new("outgoing-auth", problem.advice("set spec.oidcConfigRef")).on(path))
}

/// Objects that were listed.
#[derive(Default)]
pub struct Neighbours {
    /// By kind and namespace; a pair that is not there is unknown, unless the kind is in `whole`.
    names: HashMap<(RefKind, String), HashSet<String>>,
    /// Kinds that are known in every namespace.
    whole: HashSet<RefKind>,
    /// Of external auth configs, by namespace and name.
    types: HashMap<(String, String), String>,
    rendered: HashMap<Of, Rendered>,
}

impl Neighbours {
    /// All objects of this kind will have been added: in one namespace, or in all.
    pub fn is_whole(&mut self, kind: RefKind, namespace: Option<&str>) {
        match namespace {
            Some(namespace) => drop(self.names.entry((kind, namespace.to_owned())).or_default()),
            None => drop(self.whole.insert(kind)),
        }
    }

    /// Whether it is known of a namespace which objects of this kind it has.
    pub fn knows(&self, kind: RefKind, namespace: &str) -> bool {
        self.whole.contains(&kind) || self.names.contains_key(&(kind, namespace.to_owned()))
    }

    /// Adds an object, and with it the knowledge that its namespace was looked at.
    pub fn add(&mut self, kind: RefKind, object: &Value) {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
        let (Some(namespace), Some(name)) = (text("/metadata/namespace"), text("/metadata/name")) else { return };
        match text("/spec/type") {
            Some(of_type) if kind == RefKind::ExternalAuthConfig => self.add_external_auth(namespace, name, of_type),
            _ => self.add_name(kind, namespace, name),
        }
    }

    /// Adds an MCPExternalAuthConfig of a type.
    pub fn add_external_auth(&mut self, namespace: &str, name: &str, of_type: &str) {
        self.types.insert((namespace.to_owned(), name.to_owned()), of_type.to_owned());
        self.add_name(RefKind::ExternalAuthConfig, namespace, name);
    }

    /// Adds a ConfigMap, where it is one that ToolHive's operator rendered.
    pub fn add_config_map(&mut self, config_map: &Value) {
        self.rendered.extend(Rendered::read(config_map));
    }

    fn add_name(&mut self, kind: RefKind, namespace: &str, name: &str) {
        self.names.entry((kind, namespace.to_owned())).or_default().insert(name.to_owned());
    }
}

impl References for Neighbours {
    fn exists(&self, kind: RefKind, namespace: &str, name: &str) -> Option<bool> {
        let names = self.names.get(&(kind, namespace.to_owned()));
        names.map(|names| names.contains(name)).or_else(|| self.whole.contains(&kind).then_some(false))
    }
}

impl Around for Neighbours {
    fn external_auth_type(&self, namespace: &str, name: &str) -> Option<String> {
        self.types.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    fn rendered(&self, of: &Of) -> Option<Rendered> {
        self.rendered.get(of).cloned()
    }
}

impl fmt::Debug for Neighbours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Neighbours").field("known", &self.names.keys()).field("whole", &self.whole).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn finding_of(of_type: &str, spec: &Value) -> Option<String> {
        let object = json!({"metadata": {"namespace": "n", "name": "s"}, "spec": spec});
        let mut around = Neighbours::default();
        around.add_external_auth("n", "api", of_type);
        outgoing_auth(Subject::new(Kind::McpServer, &object), &around).map(|found| found.message_with_field())
    }

    #[test]
    fn only_a_server_without_other_sign_in_gets_the_finding() {
        let spec = json!({"externalAuthConfigRef": {"name": "api"}, "rateLimiting": {"tools": [{"name": "t", "perUser": {}}]}});
        let says =
            "spec.externalAuthConfigRef: perUser finds no users: \"api\" is of type xaa, which signs no caller in: set spec.oidcConfigRef";
        assert_eq!(finding_of("xaa", &spec).as_deref(), Some(says));
        assert_eq!(finding_of("embeddedAuthServer", &spec), None);
        assert_eq!(finding_of("inventedLater", &spec), None);
        let changed = |key: &str, value: Value| {
            let mut spec = spec.clone();
            spec[key] = value;
            spec
        };
        assert_eq!(finding_of("xaa", &changed("oidcConfigRef", json!({"name": "corp"}))), None);
        assert_eq!(finding_of("xaa", &changed("rateLimiting", json!({"global": {}}))), None);
        assert_eq!(finding_of("xaa", &changed("externalAuthConfigRef", json!({"name": "unknown"}))), None);
    }

    #[test]
    fn absent_is_only_what_was_looked_for() {
        let mut around = Neighbours::default();
        let there = |around: &Neighbours, namespace| around.exists(RefKind::Secret, namespace, "s");
        assert_eq!(there(&around, "a"), None);
        around.is_whole(RefKind::Secret, Some("a"));
        assert_eq!((there(&around, "a"), there(&around, "b")), (Some(false), None));
        around.add(RefKind::Secret, &json!({"metadata": {"namespace": "b", "name": "s"}}));
        assert_eq!(there(&around, "b"), Some(true));
        around.is_whole(RefKind::Secret, None);
        assert_eq!((there(&around, "b"), there(&around, "c")), (Some(true), Some(false)));
    }
}
