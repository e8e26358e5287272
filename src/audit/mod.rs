//! What a cluster holds already, judged by the rules and by what only a stored object and its neighbours show.
//!
//! | file | what is found there |
//! |---|---|
//! | [`stored`] | managers that still apply `shared`; limits that were applied and are not held (`metadata` says both) |
//! | [`around`] | what an object refers to: is it there, does it sign callers in |
//! | [`rendered`] | limits that are stored, and missing in what ToolHive's operator rendered |
//! | [`watch`] | all of it whenever something changes: metrics, and the condition `RateLimitConfigValid` |
//!
//! ```
//! use serde_json::json;
//! use tollgate::{audit::{around::Neighbours, judge}, model::subject::{Kind, Subject}};
//!
//! let object = json!({
//!     "metadata": {"namespace": "demo", "name": "fetch"},
//!     "spec": {
//!         "externalAuthConfigRef": {"name": "api"},
//!         "sessionStorage": {"provider": "redis", "address": "redis:6379"},
//!         "rateLimiting": {"perUser": {"maxTokens": 5, "refillPeriod": "1m0s"}},
//!     },
//! });
//! let mut around = Neighbours::default();
//! around.add_external_auth("demo", "api", "headerInjection");
//! let found = judge(Subject::new(Kind::McpServer, &object), &around);
//! assert_eq!(found[0].id, "outgoing-auth");
//! ```

pub mod around;
pub mod rendered;
pub mod stored;
pub mod watch;

use self::rendered::{Of, Rendered};
use crate::{
    model::subject::Subject,
    report::Finding,
    rules::{Context, References, check},
};

/// What is known of the objects around one.
pub trait Around: References {
    /// `spec.type` of an MCPExternalAuthConfig, where it is known.
    fn external_auth_type(&self, namespace: &str, name: &str) -> Option<String>;

    /// What ToolHive's operator rendered for an object, where it did and that is known.
    fn rendered(&self, of: &Of) -> Option<Rendered>;
}

/// Everything found in a stored object, sorted by path, then by id.
pub fn judge(subject: Subject<'_>, around: &dyn Around) -> Vec<Finding> {
    let rules = check(&Context::new(subject).references(Some(around)));
    let mut found: Vec<_> = rules.into_iter().map(Finding::from).collect();
    found.extend(stored::shared_applied(subject));
    found.extend(stored::lost(subject));
    found.extend(around::outgoing_auth(subject, around));
    found.extend(rendered::not_enforced(subject, around));
    found.sort_by(|a, b| (&a.path, a.id).cmp(&(&b.path, b.id)));
    found
}
