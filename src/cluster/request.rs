//! Single requests to the API server, sent once and with a deadline.

use std::{fmt, time::Duration};

use http::{HeaderMap, Request, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Access, ClusterError};

/// For one request. Two hooks that hang for 10 s each fit into it.
const DEADLINE: Duration = Duration::from_secs(30);

/// A cluster to look at.
pub struct Cluster {
    /// Makes the requests.
    pub client: Client,
    /// Of its API server.
    pub url: String,
}

/// An answer to a create.
#[derive(Debug)]
pub struct Created {
    /// The HTTP status.
    pub code: u16,
    /// The object, or a `Status`.
    pub body: Value,
    /// The texts of the `Warning` headers.
    pub warnings: String,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Cluster {
    /// The cluster that the user names. Within a runtime; nothing is asked yet.
    ///
    /// # Errors
    /// When none is found, or what names it cannot be used.
    pub fn connect(access: &Access) -> Result<Self, ClusterError> {
        let mut found = access.find()?;
        found.config.default_retry = false;
        found.config.read_timeout = Some(DEADLINE);
        let url = found.config.cluster_url.to_string();
        Ok(Self { client: found.client()?, url })
    }

    /// GET of a path, as JSON.
    ///
    /// # Errors
    /// When the API server does not answer, or not to us.
    pub async fn get(&self, path: &str) -> Result<Value, ClusterError> {
        Ok(get(&self.client, path).await?)
    }

    /// The `items` of a list.
    ///
    /// # Errors
    /// When the API server does not answer, or not to us.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>, ClusterError> {
        let mut list = self.get(path).await?;
        Ok(match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        })
    }

    /// POST of an object, with whatever answer.
    ///
    /// # Errors
    /// When the API server does not answer, or not to us.
    pub async fn create(&self, path: &str, object: &Value) -> Result<Created, ClusterError> {
        let request = Request::post(path).header(CONTENT_TYPE, "application/json").header("Accept", "application/json");
        let request = request.body(Body::from(object.to_string().into_bytes())).map_err(ClusterError::failed)?;
        let (head, body) = self.client.send(request).await?.into_parts();
        let body = body.collect().await.map_err(ClusterError::failed)?.to_bytes();
        let body = serde_json::from_slice(&body).map_err(ClusterError::failed)?;
        Ok(Created { code: head.status.as_u16(), body, warnings: warnings(&head.headers) })
    }
}

/// GET of a path, as JSON.
pub(super) async fn get<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T, kube::Error> {
    let request = Request::get(path).header("Accept", "application/json").body(Vec::new());
    client.request(request.map_err(kube::Error::HttpError)?).await
}

fn warnings(headers: &HeaderMap) -> String {
    let texts = headers.get_all("warning").iter().filter_map(|value| value.to_str().ok());
    texts.collect::<Vec<_>>().join("\n")
}

/// A text of an object, empty when it is not there.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A list of an object, empty when it is not there.
pub fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
