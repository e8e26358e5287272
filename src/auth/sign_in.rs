//! Converts how a resource lets callers sign in into the settings of a token verifier.

use thiserror::Error;

use super::{
    credentials::{Credentials, Secret},
    file,
    settings::VerifierSettings,
    settings_error::VerifierSettingsError,
};
use crate::{
    manifest::sign_in::{Elsewhere, SignIn},
    model::subject::RefKind,
};

/// Why a resource does not suffice to verify tokens.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SignInError {
    /// Another object contains the missing setting.
    #[error("{} names the {} {:?}, which contains the {missing}: add {flag}{}", .at.path, .at.kind, .at.name, same_file(.at))]
    Elsewhere {
        /// The object.
        at: Box<Elsewhere>,
        /// The missing setting.
        missing: &'static str,
        /// The flag to add instead.
        flag: &'static str,
    },
    /// The setting is missing.
    #[error("the {missing} of tokens is not configured: add {flag}")]
    Missing {
        /// The missing setting.
        missing: &'static str,
        /// The flag to add.
        flag: &'static str,
    },
    /// A setting is present but invalid.
    #[error(transparent)]
    Settings(#[from] VerifierSettingsError),
}

impl SignIn {
    /// Settings to verify tokens with. Reads the CA, if one is named. The client secret is never in a resource.
    ///
    /// # Errors
    /// When a setting is missing, with the flag to add.
    pub fn settings(&self, client_secret: Option<&Secret>) -> Result<VerifierSettings, SignInError> {
        let issuer = self.issuer.as_deref().ok_or_else(|| missing("issuer", "--oidc-issuer URL", self.elsewhere.as_ref()))?;
        let audience = self.audience.as_deref();
        // An MCPOIDCConfig has no audience: it is next to the reference.
        let elsewhere = self.elsewhere.as_ref().filter(|at| at.kind != RefKind::OidcConfig.name());
        let audience = audience.ok_or_else(|| missing("audience", "--oidc-audience TEXT", elsewhere))?;
        let mut settings = VerifierSettings::new(issuer, audience).allow_http(self.allow_http);
        if let Some(url) = &self.jwks_url {
            settings = settings.jwks_url(url);
        }
        if let Some(path) = &self.bearer_file {
            settings = settings.bearer_file(path);
        }
        if let Some(url) = self.introspection_url.as_ref().filter(|_| self.may_introspect(client_secret.is_some())) {
            let client = self.client_id.as_ref().zip(client_secret.cloned());
            settings = settings.introspection(url, client.map(|(id, secret)| Credentials::new(id, secret)));
        }
        match (&self.ca_file, &self.ca_elsewhere) {
            (Some(path), _) => Ok(settings.ca_pem(file::read(path, file::LARGEST_CA)?)),
            (None, Some(at)) => Err(missing("CA of the issuer", "--oidc-ca FILE", Some(at))),
            (None, None) => Ok(settings),
        }
    }

    /// Whether opaque tokens can be introspected: there is a URL to ask, and a client that asks has its secret.
    pub fn may_introspect(&self, has_secret: bool) -> bool {
        self.introspection_url.is_some() && self.client_id.is_some() == has_secret
    }
}

fn missing(missing: &'static str, flag: &'static str, at: Option<&Elsewhere>) -> SignInError {
    match at {
        Some(at) => SignInError::Elsewhere { at: Box::new(at.clone()), missing, flag },
        None => SignInError::Missing { missing, flag },
    }
}

fn same_file(at: &Elsewhere) -> &'static str {
    if at.kind == RefKind::OidcConfig.name() { ", or the object itself to the same file" } else { "" }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::subject::{Kind, Subject};

    fn server(spec: &Value) -> SignIn {
        SignIn::of(Subject::new(Kind::McpServer, &json!({"spec": spec}))).expect("callers sign in")
    }

    fn complaint(sign_in: &SignIn) -> String {
        sign_in.settings(None).expect_err("something is missing").to_string()
    }

    #[test]
    fn introspection_needs_the_secret_of_its_client() {
        let sign_in = server(&json!({"oidcConfig": {"type": "inline", "inline": {
            "issuer": "https://i", "audience": "mcp", "clientId": "x", "introspectionUrl": "https://x",
        }}}));
        assert!(sign_in.settings(None).is_ok_and(|settings| settings.introspection.is_none()), "the client secret is missing");
        let secret = Secret::Text("s".to_owned());
        let settings = sign_in.settings(Some(&secret)).expect("good");
        assert_eq!(settings.introspection, Some(("https://x".to_owned(), Some(Credentials::new("x", secret)))));
    }

    #[test]
    fn a_reference_is_filled_in_from_the_object_that_it_names() {
        let spec =
            json!({"oidcConfigRef": {"name": "sso", "audience": "fetch", "scopes": ["openid"], "resourceUrl": "https://mcp.example"}});
        let config = json!({
            "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPOIDCConfig", "metadata": {"name": "sso"},
            "spec": {"type": "inline", "inline": {"issuer": "https://i"}},
        });
        let mut others = [config.clone(), config.clone(), config.clone(), config.clone()];
        others[0]["metadata"]["name"] = json!("another");
        others[1]["kind"] = json!("MCPExternalAuthConfig");
        others[2]["apiVersion"] = json!("example.com/v1beta1");
        others[3]["apiVersion"] = Value::Null;
        let virtual_server = json!({"spec": {"incomingAuth": {"type": "oidc", "oidcConfigRef": spec["oidcConfigRef"]}}});
        let of_virtual = SignIn::of(Subject::new(Kind::VirtualMcpServer, &virtual_server)).expect("callers sign in");
        for (sign_in, path) in [(server(&spec), "spec.oidcConfigRef.name"), (of_virtual, "spec.incomingAuth.oidcConfigRef.name")] {
            let sign_in = others.iter().fold(sign_in, SignIn::described_by);
            let says =
                "names the MCPOIDCConfig \"sso\", which contains the issuer: add --oidc-issuer URL, or the object itself to the same file";
            assert_eq!(complaint(&sign_in), format!("{path} {says}"));
            let sign_in = sign_in.described_by(&config);
            assert_eq!((sign_in.issuer.as_deref(), sign_in.audience.as_deref()), (Some("https://i"), Some("fetch")));
            assert_eq!(
                (sign_in.resource_url.as_deref(), sign_in.scopes.as_slice()),
                (Some("https://mcp.example"), &["openid".to_owned()][..])
            );
            assert!(sign_in.settings(None).is_ok());
        }
        let mut cluster = config.clone();
        cluster["spec"] = json!({"kubernetesServiceAccount": {}});
        let sign_in = server(&spec).described_by(&cluster);
        assert_eq!((sign_in.issuer.as_deref(), sign_in.audience.as_deref()), (Some("https://kubernetes.default.svc"), Some("fetch")));
    }

    #[test]
    fn what_no_file_can_say_is_asked_for_by_its_flag() {
        let external = server(&json!({"externalAuthConfigRef": {"name": "x"}}));
        let says =
            "spec.externalAuthConfigRef.name names the MCPExternalAuthConfig \"x\", which contains the issuer: add --oidc-issuer URL";
        assert_eq!(complaint(&external), says);
        let with_flag = |sign_in| SignIn { issuer: Some("https://i".to_owned()), ..sign_in };
        assert_eq!(complaint(&with_flag(external)), says.replace("issuer URL", "audience TEXT").replace("the issuer", "the audience"));
        let config_map = server(&json!({"oidcConfig": {"type": "configMap", "configMap": {"name": "m"}}}));
        let says = "spec.oidcConfig.configMap.name names the ConfigMap \"m\", which contains the issuer: add --oidc-issuer URL";
        assert_eq!(complaint(&config_map), says);
        let with_flags = SignIn { audience: Some("a".to_owned()), ..with_flag(config_map) };
        assert!(with_flags.settings(None).is_ok(), "the flags say everything that the ConfigMap would");
        let ca = json!({"issuer": "https://i", "audience": "a", "caBundleRef": {"configMapRef": {"name": "m", "key": "ca.crt"}}});
        let says = "spec.oidcConfig.inline.caBundleRef.configMapRef.name names the ConfigMap \"m\", which contains the CA of the issuer: add --oidc-ca FILE";
        assert_eq!(complaint(&server(&json!({"oidcConfig": {"type": "inline", "inline": ca}}))), says);
        assert_eq!(complaint(&SignIn::default()), "the issuer of tokens is not configured: add --oidc-issuer URL");
    }
}
