//! Which paths of the MCP server are reachable.
//!
//! | path | what passes |
//! |---|---|
//! | the MCP endpoint: the path of `--upstream`, with or without a slash at its end, or `/` | everything; calls are limited |
//! | a path that a stream of the older transport announces (`announced`) | POST; calls are limited |
//! | `/.well-known/*` | GET, for clients that discover how to sign in |
//! | `--pass-path` | everything that is not JSON-RPC, without authentication or limits |
//! | any other | 404 |
//!
//! Paths are compared byte for byte, so that `/mcp/../admin`, `/%6dcp` and `//mcp` are other paths, whatever the server makes of them.

use std::{str::FromStr, sync::Arc};

use axum::response::Response;
use http::{Method, Uri};
use thiserror::Error;

use super::{announced::Announced, clean::is_clean, events::Answers};
use crate::gate::answer::{Turned, plain};

const WELL_KNOWN: &str = "/.well-known/";

/// A path of `--pass-path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassPath(String);

/// Not such a path.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadPassPath {
    /// Not the path of a URL.
    #[error("{0:?} is not a path: write it as in URLs, such as /token, without a query")]
    Path(String),
    /// The endpoint's own path, whose calls would then pass without limits.
    #[error("{0} is the MCP endpoint itself (the path of --upstream, or /): its calls would not be limited")]
    Endpoint(String),
}

/// The destination of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Calls are limited there.
    Endpoint,
    /// Named with `--pass-path`.
    Passed,
    /// How to sign in.
    WellKnown,
}

/// The paths of one server.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    endpoint: String,
    passed: Vec<PassPath>,
    pub(super) announced: Arc<Announced>,
}

impl FromStr for PassPath {
    type Err = BadPassPath;

    fn from_str(text: &str) -> Result<Self, BadPassPath> {
        if is_clean(text) { Ok(Self(text.to_owned())) } else { Err(BadPassPath::Path(text.to_owned())) }
    }
}

impl Paths {
    /// `endpoint` is the path of `--upstream`.
    pub(super) fn new(endpoint: &str, passed: Vec<PassPath>) -> Result<Self, BadPassPath> {
        let paths = Self { endpoint: endpoint.to_owned(), passed, announced: Arc::default() };
        match paths.passed.iter().find(|PassPath(path)| paths.is_endpoint(path)) {
            Some(PassPath(path)) => Err(BadPassPath::Endpoint(path.clone())),
            None => Ok(paths),
        }
    }

    /// The path that clients use.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The destination of a request, if any.
    pub(super) fn route(&self, method: &Method, path: &str) -> Result<Route, Turned> {
        if self.is_endpoint(path) {
            return Ok(Route::Endpoint);
        }
        if self.passed.iter().any(|PassPath(passed)| passed == path) {
            return Ok(Route::Passed);
        }
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) && path.starts_with(WELL_KNOWN) && is_clean(path) {
            return Ok(Route::WellKnown);
        }
        if matches!(*method, Method::POST | Method::OPTIONS) && self.announced.has(path) {
            return Ok(Route::Endpoint);
        }
        Err(Turned::with(self.not_found()))
    }

    /// Where the client of a POST reads the proxy's own responses.
    pub(super) fn answers(&self, posted: &Uri, user: Option<&str>) -> Answers {
        match self.announced.events(posted, user) {
            None if self.is_endpoint(posted.path()) => Answers::Here,
            events => Answers::Stream(events),
        }
    }

    /// The endpoint, also as a redirect of the server would have it: with or without a slash at its end.
    pub(super) fn is_endpoint(&self, path: &str) -> bool {
        matches!(path, "" | "/") || bare(path) == bare(&self.endpoint)
    }

    /// The endpoint by its own path; `/` leads there, but other servers have it too.
    pub(super) fn is_named(&self, path: &str) -> bool {
        !bare(path).is_empty() && bare(path) == bare(&self.endpoint)
    }

    fn not_found(&self) -> Response {
        plain(404, &format!("nothing is served at this path; the MCP endpoint is {}", self.endpoint))
    }
}

fn bare(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(endpoint: &str, passed: &[&str]) -> Paths {
        let passed = passed.iter().map(|path| path.parse().expect("a path")).collect();
        Paths::new(endpoint, passed).expect("none is the endpoint")
    }

    fn leads(paths: &Paths, method: &str, path: &str) -> Option<Route> {
        paths.route(&method.parse().expect("a method"), path).ok()
    }

    #[test]
    fn only_what_is_meant_leads_anywhere() {
        let paths = paths("/mcp", &["/token", "/oauth/register"]);
        for path in ["/mcp", "/mcp/", "/", ""] {
            assert_eq!(leads(&paths, "POST", path), Some(Route::Endpoint), "{path}");
        }
        assert_eq!(leads(&paths, "POST", "/token"), Some(Route::Passed));
        assert_eq!(leads(&paths, "GET", "/.well-known/oauth-protected-resource/mcp"), Some(Route::WellKnown));
        for (method, path) in [
            ("GET", "/admin/debug"),
            ("POST", "/mcp/admin"),
            ("POST", "/mcp//"),
            ("POST", "//mcp"),
            ("POST", "/MCP"),
            ("POST", "/%6dcp"),
            ("POST", "/mcp/../admin"),
            ("POST", "/mcp;x"),
            ("POST", "/token/"),
            ("POST", "/oauth"),
            ("POST", "/.well-known/jwks.json"),
            ("GET", "/.well-known"),
            ("GET", "/.well-known/../admin"),
            ("GET", "/.well-known/%2e%2e/admin"),
            ("GET", "/.well-known/..%2fadmin"),
            ("GET", "/.well-known/..%5cadmin"),
            ("GET", "/.well-known/%252e%252e/admin"),
            ("GET", "/.well-known/..;/admin"),
            ("GET", "/.well-known//admin"),
            ("OPTIONS", "*"),
        ] {
            assert_eq!(leads(&paths, method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn a_server_at_the_root_has_no_other_endpoint() {
        let paths = paths("/", &[]);
        assert_eq!(leads(&paths, "POST", "/"), Some(Route::Endpoint));
        assert_eq!(leads(&paths, "POST", "/mcp"), None);
    }

    #[test]
    fn the_endpoint_cannot_be_passed() {
        for path in ["/mcp", "/mcp/", "/"] {
            let refused = Paths::new("/mcp", vec![path.parse().expect("a path")]).err();
            assert_eq!(refused, Some(BadPassPath::Endpoint(path.to_owned())));
        }
        for path in ["", "token", "/a?b", "/a#b", "/../a", "/a/./b", "/a//b", "/a b", "/%2e%2e/a", "/.."] {
            assert_eq!(path.parse::<PassPath>(), Err(BadPassPath::Path(path.to_owned())), "{path}");
        }
    }
}
