//! How callers are authenticated, from the flags and the resource.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use http::HeaderName;
use tracing::warn;

use super::trust::Trust;
use crate::{
    auth::{self, Auth, AuthMode, ProtectedResource, Secret, TrustedPeers, UserHeader, Verifier},
    gate::callers::Callers,
    manifest::{server::LimitedServer, sign_in::SignIn},
};

/// How callers are authenticated.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Callers")]
pub(super) struct CallerArgs {
    /// Whether callers need a token [default: required if an issuer is known, else none]
    #[arg(long, env = "TOLLGATE_AUTH", value_name = "MODE")]
    auth: Option<AuthMode>,

    /// Token issuer [default: the resource's]
    #[arg(long, env = "TOLLGATE_OIDC_ISSUER", value_name = "URL")]
    oidc_issuer: Option<String>,

    /// Audience required in tokens [default: the resource's]
    #[arg(long, env = "TOLLGATE_OIDC_AUDIENCE", value_name = "TEXT")]
    oidc_audience: Option<String>,

    /// URL of the issuer's keys [default: from its discovery document]
    #[arg(long, env = "TOLLGATE_OIDC_JWKS_URL", value_name = "URL")]
    oidc_jwks_url: Option<String>,

    /// CA of the issuer's certificate, PEM
    #[arg(long, env = "TOLLGATE_OIDC_CA", value_name = "FILE")]
    oidc_ca: Option<PathBuf>,

    /// Introspection endpoint of the issuer, for opaque tokens (RFC 7662) [default: the resource's]
    #[arg(long, env = "TOLLGATE_OIDC_INTROSPECTION_URL", value_name = "URL")]
    oidc_introspection_url: Option<String>,

    /// Client ID for introspection [default: the resource's]
    #[arg(long, env = "TOLLGATE_OIDC_CLIENT_ID", value_name = "ID")]
    oidc_client_id: Option<String>,

    /// File with the client secret [default: the environment variable TOLLGATE_OIDC_CLIENT_SECRET, or ToolHive's TOOLHIVE_OIDC_CLIENT_SECRET]
    #[arg(long, env = "TOLLGATE_OIDC_CLIENT_SECRET_FILE", value_name = "FILE")]
    oidc_client_secret_file: Option<PathBuf>,

    /// Public URL of this proxy, for clients that discover how to sign in (RFC 9728)
    #[arg(long, env = "TOLLGATE_RESOURCE_URL", value_name = "URL")]
    resource_url: Option<String>,

    /// Forward tokens to the MCP server, which verifies them itself
    #[arg(long, env = "TOLLGATE_PASS_TOKEN")]
    pass_token: bool,

    /// Header that names the user; trusted only from the peers in --user-header-from
    #[arg(long, env = "TOLLGATE_USER_HEADER", value_name = "HEADER")]
    user_header: Option<String>,

    /// Peer that may set the user header: loopback (everything on this machine or in this pod, port-forwards included), or the name in a client
    /// certificate (common name or DNS name; needs --client-ca); may be repeated
    #[arg(
        long,
        env = "TOLLGATE_USER_HEADER_FROM",
        value_name = "loopback|CERTIFICATE-NAME",
        requires = "user_header",
        value_delimiter = ','
    )]
    user_header_from: Vec<String>,
}

/// How callers will be authenticated.
#[derive(Debug)]
pub(super) struct CallerSettings {
    mode: AuthMode,
    identity: Option<auth::VerifierSettings>,
    user_header: Option<UserHeader>,
    resource: Option<Arc<ProtectedResource>>,
    pass_token: bool,
    within: Option<Duration>,
}

/// Environment variables that may hold the client secret.
const SECRET_VARIABLES: [&str; 2] = ["TOLLGATE_OIDC_CLIENT_SECRET", "TOOLHIVE_OIDC_CLIENT_SECRET"];

/// Flags take precedence over the resource, which is trusted as far as `trust` says. `asks_certificates` if clients need a certificate.
pub(super) fn resolve(args: CallerArgs, source: &LimitedServer, trust: &Trust, asks_certificates: bool) -> anyhow::Result<CallerSettings> {
    let CallerArgs {
        auth,
        oidc_issuer,
        oidc_audience,
        oidc_jwks_url,
        oidc_ca,
        oidc_introspection_url,
        oidc_client_id,
        oidc_client_secret_file,
        resource_url,
        pass_token,
        user_header,
        user_header_from,
    } = args;
    let said = source.sign_in.clone().unwrap_or_default();
    let client_secret = secret(oidc_client_secret_file);
    if let (Trust::Object(_), Some(url), None, Some(_)) = (trust, &said.introspection_url, &oidc_introspection_url, &client_secret) {
        // Anyone who may write the object could have it sent anywhere.
        bail!("the object asks to send the client secret to {url}: confirm with --oidc-introspection-url {url}");
    }
    let sign_in = SignIn {
        issuer: oidc_issuer.or(said.issuer),
        audience: oidc_audience.or(said.audience),
        jwks_url: oidc_jwks_url.or(said.jwks_url),
        ca_elsewhere: said.ca_elsewhere.filter(|_| oidc_ca.is_none()),
        ca_file: oidc_ca.or(said.ca_file),
        introspection_url: oidc_introspection_url.or(said.introspection_url),
        client_id: oidc_client_id.or(said.client_id),
        resource_url: resource_url.or(said.resource_url),
        ..said
    };
    let mode = match auth {
        Some(mode) => mode,
        None if sign_in.issuer.is_some() => AuthMode::Required,
        None => AuthMode::None,
    };
    let user_header = trusted_header(user_header.as_deref(), &user_header_from, asks_certificates)?;
    let by_header_alone = user_header.is_some() && sign_in.issuer.is_none();
    let identity = if mode == AuthMode::None || by_header_alone { None } else { Some(trust.settings(&sign_in, client_secret.as_ref())?) };
    if mode == AuthMode::None && user_header.is_none() && source.limits.has_per_user() {
        let why =
            source.sign_in.as_ref().and_then(|sign_in| sign_in.settings(None).err()).map(|error| format!(" ({error})")).unwrap_or_default();
        warn!("callers are not authenticated; per-user limits are disabled{why}");
    }
    let introspects = sign_in.may_introspect(client_secret.is_some());
    warn_of_gaps(&sign_in, mode, source, introspects, identity.is_some() && !pass_token);
    let resource = sign_in.resource_url.as_deref().zip(sign_in.issuer.as_deref()).filter(|_| identity.is_some() && !pass_token);
    let resource = resource.map(|(url, issuer)| ProtectedResource::new(url, issuer, &sign_in.scopes)).transpose()?;
    Ok(CallerSettings { mode, identity, user_header, resource: resource.map(Arc::new), pass_token, within: None })
}

/// From the file, else from the environment.
fn secret(file: Option<PathBuf>) -> Option<Secret> {
    let from_environment = || SECRET_VARIABLES.iter().find_map(|name| std::env::var(name).ok().filter(|secret| !secret.is_empty()));
    file.map(Secret::File).or_else(|| from_environment().map(Secret::Text))
}

/// Warns about settings that work but leave a gap. `signs_in`: clients sign in for this proxy, not for the server behind it.
fn warn_of_gaps(sign_in: &SignIn, mode: AuthMode, server: &LimitedServer, introspects: bool, signs_in: bool) {
    if signs_in && sign_in.resource_url.is_none() {
        warn!(
            "no --resource-url: clients without a token cannot discover the issuer, and MCP clients then try /authorize on this proxy; \
             set it to the URL that clients call"
        );
    }
    if let (Some(url), false, true) = (&sign_in.introspection_url, introspects, mode != AuthMode::None) {
        let missing = if sign_in.client_id.is_some() { "the client's secret (--oidc-client-secret-file)" } else { "--oidc-client-id" };
        warn!("opaque tokens are rejected: introspection at {url} needs {missing}");
    }
    if mode == AuthMode::Optional && server.limits.has_per_user() {
        warn!("--auth optional: callers without a token are counted only by global limits, not by per-user limits");
    }
}

/// The header that names the user, and the peers that may set it. Neither has a default.
fn trusted_header(name: Option<&str>, from: &[String], asks_certificates: bool) -> anyhow::Result<Option<UserHeader>> {
    let Some(name) = name else { return Ok(None) };
    let header = HeaderName::try_from(name).with_context(|| format!("--user-header {name:?} is not a header name"))?;
    ensure!(
        !from.is_empty(),
        "--user-header {name} needs --user-header-from, since any client could set it: add loopback to trust everything on this machine or in \
         this pod, port-forwards included, or the name in the certificate of the proxy that sets it"
    );
    let from: TrustedPeers = from.iter().cloned().collect();
    ensure!(
        asks_certificates || !from.need_certificates(),
        "--user-header-from names a certificate, but client certificates are not enabled: add --client-ca, --tls-cert and --tls-key"
    );
    Ok(Some(UserHeader { name: header, from }))
}

impl CallerArgs {
    /// Whether the resource has to name the token issuer.
    pub(super) fn needs_issuer(&self) -> bool {
        self.oidc_issuer.is_none() && !matches!(self.auth, Some(AuthMode::None))
    }

    /// The header that names the user, if it is trusted from anyone.
    pub(super) fn user_header(&self, asks_certificates: bool) -> anyhow::Result<Option<HeaderName>> {
        Ok(trusted_header(self.user_header.as_deref(), &self.user_header_from, asks_certificates)?.map(|header| header.name))
    }
}

impl CallerSettings {
    /// Bounds how long a request waits to know its caller.
    pub(super) fn within(self, time: Duration) -> Self {
        Self { within: Some(time), ..self }
    }

    /// Starts reading the issuer's keys; call it in a runtime.
    pub(super) fn start(self) -> anyhow::Result<Callers> {
        let verifier = self.identity.as_ref().map(Verifier::start).transpose()?;
        let auth = Auth::new(self.mode, verifier, self.user_header).context("--auth")?;
        Ok(Callers { auth, resource: self.resource, pass_token: self.pass_token, within: self.within })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::trust::ObjectArgs;

    fn resolved(trust: &Trust, url: Option<&str>, secret: Option<&str>) -> anyhow::Result<CallerSettings> {
        let inline = json!({"issuer": "https://i.example", "introspectionUrl": "https://evil.example", "clientId": "c"});
        let described = json!({"apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPOIDCConfig", "metadata": {"name": "sso"}, "spec": {"type": "inline", "inline": inline}});
        let server = json!({
            "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPServer", "metadata": {"name": "s"},
            "spec": {"oidcConfigRef": {"name": "sso", "audience": "a"}},
        });
        let source = LimitedServer::of_object(&server).expect("no limits are fine").described_by(&described, "default");
        let args = CallerArgs {
            auth: None,
            oidc_issuer: None,
            oidc_audience: None,
            oidc_jwks_url: None,
            oidc_ca: None,
            oidc_introspection_url: url.map(str::to_owned),
            oidc_client_id: None,
            oidc_client_secret_file: secret.map(PathBuf::from),
            resource_url: None,
            pass_token: false,
            user_header: None,
            user_header_from: Vec::new(),
        };
        resolve(args, &source, trust, false)
    }

    #[test]
    fn a_watched_object_does_not_choose_where_the_secret_goes() {
        let object = ObjectArgs::default().trust(Vec::new());
        let refused = resolved(&object, None, Some("secret")).expect_err("anyone who may write the object gets the secret").to_string();
        assert!(refused.ends_with("https://evil.example: confirm with --oidc-introspection-url https://evil.example"), "{refused}");
        assert!(resolved(&object, Some("https://good.example"), Some("secret")).is_ok());
        assert!(resolved(&object, None, None).is_ok(), "nothing is sent anywhere");
        assert!(resolved(&Trust::Whole, None, Some("secret")).is_ok(), "a file is the operator's own");
    }
}
