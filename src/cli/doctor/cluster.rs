//! Requests to the API server, with answers in terms of what a doctor can say: there, absent, forbidden, failed.

use std::{path::Path, time::Duration};

use http::{HeaderMap, Request, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use serde_json::Value;
use thiserror::Error;

use crate::webhook::cluster::connect::{cause, find};

/// For one request. Two hooks that hang for 10 s each fit into it.
const DEADLINE: Duration = Duration::from_secs(30);

/// A cluster to look at.
#[derive(Clone)]
pub(in crate::cli) struct Cluster {
    pub(in crate::cli) client: Client,
    /// Of its API server.
    pub(super) url: String,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(in crate::cli) enum Trouble {
    /// It is not there.
    #[error("{0}")]
    Absent(String),
    /// We may not read it.
    #[error("{0}")]
    Forbidden(String),
    /// The credentials are not accepted.
    #[error("{0}")]
    Unauthorized(String),
    /// No API server responds.
    #[error("{0}")]
    Unreachable(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl Trouble {
    /// What to do about it; `grant` where it is rights that are missing.
    pub(in crate::cli) fn todo(&self, grant: String) -> String {
        let other = match self {
            Self::Forbidden(_) => return grant,
            Self::Unauthorized(_) => "log in again: the API server does not accept the credentials of the kubeconfig",
            Self::Unreachable(_) => "check the address in the kubeconfig, the network and its proxies",
            Self::Absent(_) | Self::Failed(_) => "check the API server: kubectl get --raw '/readyz?verbose'",
        };
        other.to_owned()
    }
}

/// An answer to a create.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: u16,
    /// The object, or a `Status`.
    pub(super) body: Value,
    /// The texts of the `Warning` headers.
    pub(super) warnings: String,
}

impl Cluster {
    /// The cluster of a kubeconfig, or of the pod; requests are sent once and have a deadline.
    pub(in crate::cli) async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> anyhow::Result<Self> {
        let mut found = find(kubeconfig, context)?;
        found.config.default_retry = false;
        found.config.read_timeout = Some(DEADLINE);
        let url = found.config.cluster_url.to_string();
        Ok(Self { client: found.client()?, url })
    }

    /// GET of a path, as JSON.
    pub(super) async fn get(&self, path: &str) -> Result<Value, Trouble> {
        let failed = |error: &(dyn std::error::Error + 'static)| Trouble::Failed(cause(error));
        let request = Request::get(path).header("Accept", "application/json").body(Vec::new()).map_err(|error| failed(&error))?;
        self.client.request(request).await.map_err(Trouble::from)
    }

    /// The `items` of a list.
    pub(super) async fn list(&self, path: &str) -> Result<Vec<Value>, Trouble> {
        let mut list = self.get(path).await?;
        Ok(match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        })
    }

    /// POST of an object, with whatever answer.
    pub(super) async fn create(&self, path: &str, object: &Value) -> Result<Answer, Trouble> {
        let failed = |error: &(dyn std::error::Error + 'static)| Trouble::Failed(cause(error));
        let request = Request::post(path).header(CONTENT_TYPE, "application/json").header("Accept", "application/json");
        let request = request.body(Body::from(object.to_string().into_bytes())).map_err(|error| failed(&error))?;
        let (head, body) = self.client.send(request).await?.into_parts();
        let body = body.collect().await.map_err(|error| failed(&error))?.to_bytes();
        let body = serde_json::from_slice(&body).map_err(|error| failed(&error))?;
        Ok(Answer { code: head.status.as_u16(), body, warnings: warnings(&head.headers) })
    }
}

impl From<kube::Error> for Trouble {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 404 => Self::Absent(status.message),
            kube::Error::Api(status) if status.code == 401 => Self::Unauthorized(status.message),
            kube::Error::Api(status) if status.code == 403 => Self::Forbidden(status.message),
            kube::Error::Api(status) => Self::Failed(status.message),
            other => Self::Unreachable(cause(&other)),
        }
    }
}

fn warnings(headers: &HeaderMap) -> String {
    let texts = headers.get_all("warning").iter().filter_map(|value| value.to_str().ok());
    texts.collect::<Vec<_>>().join("\n")
}

/// A text of an object, empty when it is not there.
pub(in crate::cli) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A list of an object, empty when it is not there.
pub(super) fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
