//! The flags of `tollgate serve` for certificates that it issues itself, and what they mean.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;

use crate::{
    certs::authority::Lives,
    cli::values::{CONFIGURATIONS, SecretName},
    cluster::{Access, ClusterError, client::Found},
    model::period::Period,
    webhook::authority::AuthoritySettings,
};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
const LONGEST_SOAK: Duration = Duration::from_secs(600);

/// The certificate that replicas issue themselves, from a CA in a Secret.
#[derive(Debug, Parser)]
#[command(next_help_heading = "Certificates of its own")]
pub(super) struct AuthorityArgs {
    /// Secret for a CA that the replicas make, rotate and publish as caBundle; it must exist and may be empty
    #[arg(long, env = "TOLLGATE_CERTS_SECRET", value_name = "[NAMESPACE/]NAME", conflicts_with_all = ["tls_cert", "tls_dev", "no_cluster"])]
    certs_secret: Option<SecretName>,

    /// Name of the MutatingWebhookConfiguration and the ValidatingWebhookConfiguration whose caBundle is written
    #[arg(long, env = "TOLLGATE_CERTS_CONFIGURATIONS", value_name = "NAME", default_value = CONFIGURATIONS)]
    certs_configurations: String,

    /// How long a CA lives; after two thirds it is replaced [default: 1 year]
    #[arg(long, env = "TOLLGATE_CERTS_CA_LIFE", value_name = "DURATION")]
    certs_ca_life: Option<Period>,

    /// How long a certificate of a replica lives [default: 7 days, or a quarter of the CA's life if that is less]
    #[arg(long, env = "TOLLGATE_CERTS_LEAF_LIFE", value_name = "DURATION")]
    certs_leaf_life: Option<Period>,

    /// How long a new CA is in both caBundles before it signs [default: 10 minutes, or a tenth of the CA's life if that is less]
    #[arg(long, env = "TOLLGATE_CERTS_SOAK", value_name = "DURATION")]
    certs_soak: Option<Period>,
}

impl AuthorityArgs {
    pub(super) fn is_used(&self) -> bool {
        self.certs_secret.is_some()
    }

    /// What the flags mean; `None` without the Secret. Finds the cluster, and asks it nothing.
    pub(super) fn resolve(self, access: &Access) -> anyhow::Result<Option<Authority>> {
        let Self { certs_secret, certs_configurations, certs_ca_life, certs_leaf_life, certs_soak } = self;
        let Some(secret) = certs_secret else { return Ok(None) };
        let lives = lives(certs_ca_life, certs_leaf_life, certs_soak)?;
        let cluster = access.find().context("--certs-secret needs a cluster")?;
        let namespace = secret.namespace_in(&cluster);
        Ok(Some(Authority { cluster, namespace, secret: secret.name, configurations: certs_configurations, lives }))
    }
}

/// An authority whose cluster is found.
#[derive(Debug)]
pub(super) struct Authority {
    cluster: Found,
    namespace: String,
    secret: String,
    configurations: String,
    lives: Lives,
}

impl Authority {
    /// Makes the client.
    pub(super) async fn connect(self) -> Result<AuthoritySettings, ClusterError> {
        let Self { cluster, namespace, secret, configurations, lives } = self;
        Ok(AuthoritySettings { client: cluster.client_in_time().await?, namespace, secret, configurations, lives })
    }
}

fn lives(ca: Option<Period>, leaf: Option<Period>, soak: Option<Period>) -> anyhow::Result<Lives> {
    let ca = ca.map_or(YEAR, |life| life.as_duration());
    let leaf = leaf.map_or(WEEK.min(ca / 4), |life| life.as_duration());
    let soak = soak.map_or(LONGEST_SOAK.min(ca / 10), |time| time.as_duration());
    if ca < Duration::from_secs(10) {
        bail!("--certs-ca-life must be at least 10s");
    }
    if leaf >= ca {
        bail!("--certs-leaf-life must be shorter than --certs-ca-life");
    }
    if soak >= ca / 3 {
        bail!("--certs-soak must be shorter than a third of --certs-ca-life, which is what is left when a CA is replaced");
    }
    let exact = |life: Duration| time::Duration::try_from(life).context("too long");
    Ok(Lives { ca: exact(ca)?, leaf: exact(leaf)?, soak: exact(soak)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(text: &str) -> Option<Period> {
        Some(text.parse().expect("a duration"))
    }

    #[test]
    fn short_lives_shorten_what_depends_on_them() {
        let days = |days| time::Duration::days(days);
        assert_eq!(
            lives(None, None, None).expect("the defaults"),
            Lives { ca: days(365), leaf: days(7), soak: time::Duration::minutes(10) }
        );
        let short = lives(period("60s"), None, None).expect("short");
        assert_eq!((short.leaf.whole_seconds(), short.soak.whole_seconds()), (15, 6));
        for (ca, leaf, soak, reason) in [
            (period("5s"), None, None, "--certs-ca-life must be"),
            (period("60s"), period("60s"), None, "--certs-leaf-life must be"),
            (period("60s"), None, period("20s"), "--certs-soak must be"),
        ] {
            let refused = lives(ca, leaf, soak).expect_err("refused").to_string();
            assert!(refused.starts_with(reason), "{refused}");
        }
    }
}
