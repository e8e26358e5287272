//! What clients receive with a rejection: the `WWW-Authenticate` header (RFC 6750, 3) and the metadata that it points to (RFC 9728).
//!
//! An MCP client that receives
//!
//! ```text
//! HTTP/1.1 401 Unauthorized
//! WWW-Authenticate: Bearer resource_metadata="https://mcp.example/.well-known/oauth-protected-resource/mcp", scope="tools"
//! ```
//!
//! reads that document, finds the issuer in it and signs in there. For an invalid token, `error` and `error_description` give the reason.

use std::fmt::Write;

use http::Uri;
use serde_json::json;

use super::{rejection::Rejection, settings_error::VerifierSettingsError};

/// RFC 9728's path prefix of the metadata; the resource's own path follows.
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The server that tokens are issued for, as advertised to clients.
#[derive(Clone, Debug)]
pub struct ProtectedResource {
    metadata_url: String,
    metadata_path: String,
    metadata: String,
    scopes: String,
}

impl ProtectedResource {
    /// Takes the URL that clients call (`https://mcp.example/mcp`), the issuer of its tokens, and the scopes to request, if any.
    ///
    /// # Errors
    /// If the URL is not a valid server URL, or a scope is invalid.
    pub fn new(url: &str, issuer: &str, scopes: &[String]) -> Result<Self, VerifierSettingsError> {
        let no_url = || VerifierSettingsError::Resource(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| no_url())?;
        let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme)).ok_or_else(no_url)?;
        let authority = uri.authority().map(http::uri::Authority::as_str).ok_or_else(no_url)?;
        if url.contains(['#', '?']) || authority.contains('@') {
            return Err(no_url());
        }
        if let Some(scope) = scopes.iter().find(|scope| !is_scope(scope)) {
            return Err(VerifierSettingsError::Scope(scope.clone()));
        }
        let metadata_path = format!("{WELL_KNOWN}{}", uri.path().trim_end_matches('/'));
        let mut metadata = json!({"resource": url, "authorization_servers": [issuer], "bearer_methods_supported": ["header"]});
        if let Some(metadata) = metadata.as_object_mut().filter(|_| !scopes.is_empty()) {
            metadata.insert("scopes_supported".to_owned(), json!(scopes));
        }
        Ok(Self {
            metadata_url: format!("{scheme}://{authority}{metadata_path}"),
            metadata_path,
            metadata: metadata.to_string(),
            scopes: scopes.join(" "),
        })
    }

    /// The path at which to serve [`ProtectedResource::metadata`]: [`WELL_KNOWN`] followed by the resource's path.
    pub fn metadata_path(&self) -> &str {
        &self.metadata_path
    }

    /// The metadata document, `application/json`.
    pub fn metadata(&self) -> &str {
        &self.metadata
    }
}

/// The value of `WWW-Authenticate` for a rejection; `None` unless its status is 401 or 400.
pub fn challenge(rejection: Rejection, resource: Option<&ProtectedResource>) -> Option<String> {
    if rejection.status() == 503 {
        return None;
    }
    let mut value = String::from("Bearer");
    let mut separator = ' ';
    let mut add = |name: &str, text: &str| {
        // Writing to a string cannot fail.
        let _ = write!(value, "{separator}{name}=\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        separator = ',';
    };
    if let Some(code) = rejection.code() {
        add("error", code);
        add("error_description", &rejection.to_string());
    }
    if let Some(resource) = resource {
        add("resource_metadata", &resource.metadata_url);
        if !resource.scopes.is_empty() {
            add("scope", &resource.scopes);
        }
    }
    Some(value)
}

/// RFC 6750's scope-token.
fn is_scope(scope: &str) -> bool {
    !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(url: &str) -> Result<ProtectedResource, VerifierSettingsError> {
        ProtectedResource::new(url, "https://issuer.example", &[])
    }

    #[test]
    fn the_well_known_part_goes_between_host_and_path() {
        for (url, path) in [
            ("https://mcp.example", ""),
            ("https://mcp.example/", ""),
            ("https://mcp.example/mcp", "/mcp"),
            ("https://mcp.example/a/b/", "/a/b"),
        ] {
            let resource = resource(url).expect(url);
            assert_eq!(resource.metadata_path(), format!("{WELL_KNOWN}{path}"));
            assert_eq!(resource.metadata_url, format!("https://mcp.example{WELL_KNOWN}{path}"));
            let metadata: serde_json::Value = serde_json::from_str(resource.metadata()).expect("JSON");
            let authorization_servers = ["https://issuer.example"];
            assert_eq!(
                metadata,
                json!({"resource": url, "authorization_servers": authorization_servers, "bearer_methods_supported": ["header"]})
            );
        }
    }

    #[test]
    fn what_clients_cannot_call_is_refused() {
        for url in ["", "mcp.example", "/mcp", "ftp://mcp.example", "https://", "https://a?b", "https://a/#b", "https://me@a/"] {
            assert_eq!(resource(url).err(), Some(VerifierSettingsError::Resource(url.to_owned())));
        }
        for scope in ["", "a b", "a\"", "é", "a\n"] {
            let refused = ProtectedResource::new("https://mcp.example", "https://issuer.example", &[scope.to_owned()]);
            assert_eq!(refused.err(), Some(VerifierSettingsError::Scope(scope.to_owned())));
        }
    }

    #[test]
    fn challenges_say_what_rfc_6750_and_9728_have_them_say() {
        let resource =
            ProtectedResource::new("https://mcp.example/mcp", "https://issuer.example", &["tools".to_owned(), "more".to_owned()]);
        let resource = resource.expect("a good one");
        let metadata = "resource_metadata=\"https://mcp.example/.well-known/oauth-protected-resource/mcp\",scope=\"tools more\"";
        assert!(resource.metadata().contains("\"scopes_supported\":[\"tools\",\"more\"]"), "{}", resource.metadata());
        assert_eq!(challenge(Rejection::Missing, Some(&resource)), Some(format!("Bearer {metadata}")));
        let expired = "error=\"invalid_token\",error_description=\"the token has expired\"";
        assert_eq!(challenge(Rejection::Expired, Some(&resource)), Some(format!("Bearer {expired},{metadata}")));
        assert_eq!(challenge(Rejection::Expired, None), Some(format!("Bearer {expired}")));
        assert_eq!(challenge(Rejection::Missing, None).as_deref(), Some("Bearer"));
        assert_eq!(challenge(Rejection::IssuerAway, Some(&resource)), None);
        let ambiguous = challenge(Rejection::Ambiguous, None);
        assert_eq!(
            ambiguous.as_deref(),
            Some("Bearer error=\"invalid_request\",error_description=\"the request carries more than one credential\"")
        );
    }

    #[test]
    fn quotes_in_a_url_do_not_end_the_field() {
        let resource = resource("https://mcp.example/a\"b").expect("http takes it");
        let value = challenge(Rejection::Missing, Some(&resource));
        assert_eq!(value.as_deref(), Some("Bearer resource_metadata=\"https://mcp.example/.well-known/oauth-protected-resource/a\\\"b\""));
    }
}
