//! What a watched object may decide for its proxy. A person who may write the object does not necessarily run the proxy, so with `--watch` the
//! object chooses neither a file of the pod nor a receiver of the pod's credentials:
//!
//! | the object sets | what is allowed |
//! |---|---|
//! | `jwksAuthTokenPath` | only with `--allow-object-token-path`, and only the pod's own service account token |
//! | the URLs that this token is sent to, also with `useClusterAuth` | only the cluster's own API server, over HTTPS |
//! | `sessionStorage.address` | the Redis password is sent there only if `--redis-password-for` lists it |
//!
//! A file given with `-f` belongs to the operator and is not restricted.

use std::path::Path;

use anyhow::ensure;

use super::redis::Address;
use crate::{
    auth::{Secret, VerifierSettings},
    manifest::sign_in::{CLUSTER_TOKEN, SignIn},
};

/// What a watched object may do.
#[derive(Debug, Default, clap::Args)]
pub(super) struct ObjectArgs {
    /// Redis address in a watched object that may receive the password; may be repeated
    #[arg(long, env = "TOLLGATE_REDIS_PASSWORD_FOR", value_name = "HOST:PORT", conflicts_with = "file", value_delimiter = ',')]
    redis_password_for: Vec<Address>,

    /// Allow jwksAuthTokenPath in a watched object: only the pod's service account token, sent only to the cluster's API server
    #[arg(long, env = "TOLLGATE_ALLOW_OBJECT_TOKEN_PATH", conflicts_with = "file")]
    allow_object_token_path: bool,
}

/// How far a resource is trusted.
#[derive(Debug)]
pub(super) enum Trust {
    /// It belongs to the operator.
    Whole,
    /// It was found in a cluster.
    Object(Confines),
}

/// What a watched object is confined to.
#[derive(Debug)]
pub(super) struct Confines {
    redis_password_for: Vec<Address>,
    may_name_token: bool,
    api_servers: Vec<String>,
}

impl ObjectArgs {
    /// The trust in an object of the cluster with these API servers.
    pub(super) fn trust(self, api_servers: Vec<String>) -> Trust {
        let Self { redis_password_for, allow_object_token_path } = self;
        Trust::Object(Confines { redis_password_for, may_name_token: allow_object_token_path, api_servers })
    }
}

impl Trust {
    /// The only addresses that may receive the Redis password; `None` where the resource may choose.
    pub(super) fn redis_password_for(&self) -> Option<&[Address]> {
        match self {
            Self::Whole => None,
            Self::Object(confines) => Some(&confines.redis_password_for),
        }
    }

    /// Settings to verify tokens with, within what the resource is allowed.
    pub(super) fn settings(&self, sign_in: &SignIn, client_secret: Option<&Secret>) -> anyhow::Result<VerifierSettings> {
        let Self::Object(confines) = self else { return Ok(sign_in.settings(client_secret)?) };
        confines.check_token_path(sign_in)?;
        Ok(sign_in.settings(client_secret)?.bearer_only_to(confines.api_servers.clone()))
    }
}

impl Confines {
    fn check_token_path(&self, sign_in: &SignIn) -> anyhow::Result<()> {
        let (Some(at), Some(file)) = (&sign_in.bearer_named_at, &sign_in.bearer_file) else { return Ok(()) };
        ensure!(
            self.may_name_token,
            "{at} names a file to send to the issuer as a token: remove it, or add --allow-object-token-path to allow the pod's service account token"
        );
        ensure!(
            file == Path::new(CLUSTER_TOKEN),
            "{at} is {:?}: in a watched object it may only be the pod's service account token, {CLUSTER_TOKEN}",
            file.display()
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::subject::{Kind, Subject};

    fn sign_in(config: serde_json::Value) -> SignIn {
        SignIn::of(Subject::new(Kind::McpServer, &json!({"spec": {"oidcConfig": config}}))).expect("callers sign in")
    }

    fn trust(may_name_token: bool) -> Trust {
        let redis_password_for = Vec::new();
        Trust::Object(Confines { redis_password_for, may_name_token, api_servers: vec!["kubernetes.default.svc:443".to_owned()] })
    }

    fn refusal(trust: &Trust, path: &str) -> Option<String> {
        let inline = json!({"issuer": "https://kubernetes.default.svc", "audience": "mcp", "jwksAuthTokenPath": path});
        trust.settings(&sign_in(json!({"type": "inline", "inline": inline})), None).err().map(|error| error.to_string())
    }

    #[test]
    fn an_object_names_a_file_only_where_allowed_and_only_the_token() {
        let says = "spec.oidcConfig.inline.jwksAuthTokenPath names a file to send to the issuer as a token";
        assert!(refusal(&trust(false), CLUSTER_TOKEN).is_some_and(|error| error.starts_with(says)));
        assert_eq!(refusal(&trust(true), CLUSTER_TOKEN), None);
        for other in ["/etc/passwd", "/var/run/secrets/kubernetes.io/serviceaccount/../serviceaccount/token", "token"] {
            let says = "it may only be the pod's service account token, /var/run/secrets/kubernetes.io/serviceaccount/token";
            assert!(refusal(&trust(true), other).is_some_and(|error| error.ends_with(says)), "{other}");
            assert_eq!(refusal(&Trust::Whole, other), None, "the file belongs to the operator");
        }
    }
}
