//! The objects of a cluster, page by page, as JSON.
//!
//! A page is asked for with `limit`, the next with the `continue` token of the one before it. A token lives about five minutes; when it has
//! expired, the API server's answer (410) holds one that goes on from the same place in a newer state of the cluster, which is all that an
//! audit needs: each object is reported as it was when its page was read.

use std::fmt;

use http::Request;
use kube::{Client, core::Status};
use serde_json::Value;

use super::{
    ClusterError,
    request::{get, items, text},
};
use crate::model::{GROUP, VERSIONS};

/// What is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource<'a> {
    /// `/apis/GROUP/VERSION`, or `/api/v1`.
    pub api: &'a str,
    /// As in paths.
    pub plural: &'a str,
    /// One namespace, or all.
    pub namespace: Option<&'a str>,
    /// Whether names will do: then nothing else of an object is sent, which for Secrets is the point.
    pub names_only: bool,
    /// A label selector; empty for all.
    pub labels: &'a str,
}

impl Resource<'_> {
    fn path(&self) -> String {
        let namespace = self.namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
        format!("{}{namespace}/{}", self.api, self.plural)
    }

    fn selector(&self) -> String {
        let encoded = |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        if self.labels.is_empty() {
            String::new()
        } else {
            format!("&labelSelector={}", self.labels.bytes().map(encoded).collect::<String>())
        }
    }

    fn accept(&self) -> &'static str {
        if self.names_only { "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1" } else { "application/json" }
    }
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.plural)?;
        self.namespace.map_or(Ok(()), |namespace| write!(f, " in {namespace}"))
    }
}

/// A list under way.
pub struct Pages<'a> {
    client: &'a Client,
    resource: Resource<'a>,
    limit: u16,
    /// The next token; empty at first.
    token: Option<String>,
}

impl<'a> Pages<'a> {
    /// Before the first page; a page holds no more than `limit` objects.
    pub fn of(client: &'a Client, resource: Resource<'a>, limit: u16) -> Self {
        Self { client, resource, limit, token: Some(String::new()) }
    }

    /// The next page; `None` after the last.
    ///
    /// # Errors
    /// When the API server does not answer, or not to us. The pages before stay true.
    pub async fn next(&mut self) -> Result<Option<Vec<Value>>, ClusterError> {
        let Some(token) = self.token.take() else { return Ok(None) };
        let mut page = match self.ask(&token).await {
            Err(kube::Error::Api(status)) if status.code == 410 && !token.is_empty() => match newer_token(&status) {
                Some(token) => self.ask(token).await?,
                None => return Err(kube::Error::Api(status).into()),
            },
            answer => answer?,
        };
        let token = text(&page, "/metadata/continue");
        self.token = (!token.is_empty()).then(|| token.to_owned());
        Ok(match page.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Some(items),
            _ => Some(Vec::new()),
        })
    }

    async fn ask(&self, token: &str) -> Result<Value, kube::Error> {
        let go_on = if token.is_empty() { String::new() } else { format!("&continue={token}") };
        let request = Request::get(format!("{}?limit={}{}{go_on}", self.resource.path(), self.limit, self.resource.selector()));
        let request = request.header("Accept", self.resource.accept());
        self.client.request(request.body(Vec::new()).map_err(kube::Error::HttpError)?).await
    }
}

impl fmt::Debug for Pages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("resource", &self.resource).field("token", &self.token).finish_non_exhaustive()
    }
}

fn newer_token(status: &Status) -> Option<&str> {
    status.metadata.as_ref()?.continue_.as_deref().filter(|token| !token.is_empty())
}

/// The newest version of our group that is served; `None` where the group is not installed.
///
/// # Errors
/// When the API server does not answer, or not to us.
pub async fn newest_version(client: &Client) -> Result<Option<&'static str>, ClusterError> {
    let group: Value = match get(client, &format!("/apis/{GROUP}")).await {
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
        group => group?,
    };
    let served = items(&group, "/versions");
    Ok(VERSIONS.into_iter().find(|version| served.iter().any(|served| text(served, "/version") == *version)))
}
