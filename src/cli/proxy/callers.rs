//! Who is calling, from the flags and from what the resource says.

use std::sync::Arc;

use anyhow::Context;
use http::HeaderName;
use tracing::warn;

use super::args::{AuthArg, CallerArgs};
use crate::{
    gateway::{callers::Callers, source::Source},
    identity::{self, Auth, AuthMode, ProtectedResource, SignIn, Verifier},
};

/// How callers will be known.
#[derive(Debug)]
pub(super) struct CallerSettings {
    mode: AuthMode,
    identity: Option<identity::Settings>,
    user_header: Option<HeaderName>,
    resource: Option<Arc<ProtectedResource>>,
    pass_token: bool,
}

/// Flags come before the resource.
pub(super) fn resolve(args: CallerArgs, source: &Source) -> anyhow::Result<CallerSettings> {
    let CallerArgs { auth, oidc_issuer, oidc_audience, oidc_jwks_url, oidc_ca, resource_url, pass_token, user_header } = args;
    let said = source.sign_in.clone().unwrap_or_default();
    let sign_in = SignIn {
        issuer: oidc_issuer.or(said.issuer),
        audience: oidc_audience.or(said.audience),
        jwks_url: oidc_jwks_url.or(said.jwks_url),
        ca_elsewhere: said.ca_elsewhere.filter(|_| oidc_ca.is_none()),
        ca_file: oidc_ca.or(said.ca_file),
        resource_url: resource_url.or(said.resource_url),
        ..said
    };
    let mode = match auth {
        Some(AuthArg::Required) => AuthMode::Required,
        Some(AuthArg::Optional) => AuthMode::Optional,
        Some(AuthArg::None) => AuthMode::None,
        None if sign_in.issuer.is_some() => AuthMode::Required,
        None => AuthMode::None,
    };
    let user_header =
        user_header.map(|name| HeaderName::try_from(&name).with_context(|| format!("--user-header {name:?} is no header name")));
    let user_header = user_header.transpose()?;
    let by_header_alone = user_header.is_some() && sign_in.issuer.is_none();
    let identity = if mode == AuthMode::None || by_header_alone { None } else { Some(sign_in.settings()?) };
    if mode == AuthMode::None && user_header.is_none() && source.limits.has_per_user() {
        let why =
            source.sign_in.as_ref().and_then(|sign_in| sign_in.settings().err()).map(|error| format!(" ({error})")).unwrap_or_default();
        warn!("nobody knows who is calling, so limits per user do not apply{why}");
    }
    warn_of_gaps(&sign_in, mode, source, identity.is_some() && !pass_token);
    let resource = sign_in.resource_url.as_deref().zip(sign_in.issuer.as_deref()).filter(|_| identity.is_some() && !pass_token);
    let resource = resource.map(|(url, issuer)| ProtectedResource::new(url, issuer, &sign_in.scopes)).transpose()?;
    Ok(CallerSettings { mode, identity, user_header, resource: resource.map(Arc::new), pass_token })
}

/// What works and is hardly meant. `signs_in` where this proxy is the one that clients sign in for.
fn warn_of_gaps(sign_in: &SignIn, mode: AuthMode, source: &Source, signs_in: bool) {
    if signs_in && sign_in.resource_url.is_none() {
        warn!(
            "no --resource-url: clients without a token are not told who issues them, and MCP clients then look for /authorize on this proxy; \
             set it to the URL that clients call"
        );
    }
    if mode == AuthMode::Optional && source.limits.has_per_user() {
        warn!("--auth optional: callers without a token are not counted by limits per user, only by the global ones");
    }
}

impl CallerArgs {
    /// Whether the resource has to say who issues tokens.
    pub(super) fn needs_issuer(&self) -> bool {
        self.oidc_issuer.is_none() && !matches!(self.auth, Some(AuthArg::None))
    }
}

impl CallerSettings {
    /// Begins to read the issuer's keys; in a runtime.
    pub(super) fn start(self) -> anyhow::Result<Callers> {
        let verifier = self.identity.as_ref().map(Verifier::start).transpose()?;
        let auth = Auth::new(self.mode, verifier, self.user_header).context("--auth")?;
        Ok(Callers { auth, resource: self.resource, pass_token: self.pass_token })
    }
}
