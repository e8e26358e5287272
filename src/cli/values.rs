//! Values that flags of several commands take.

use std::{str::FromStr, time::Duration};

use clap::ValueEnum;

use crate::{
    cluster::client::Found,
    model::period::{BadPeriod, parse_go_duration},
};

/// The name of both webhook configurations as they are shipped.
pub(super) const CONFIGURATIONS: &str = "tollgate";

/// A time to drain or to wait: a Go duration, 0 included.
#[derive(Clone, Copy, Debug)]
pub(super) struct DrainTime(pub(super) Duration);

impl FromStr for DrainTime {
    type Err = BadPeriod;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let nanos = u64::try_from(parse_go_duration(text)?).map_err(|_| BadPeriod::NotPositive)?;
        Ok(Self(Duration::from_nanos(nanos)))
    }
}

/// The format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    /// For people.
    Human,
    /// For programs.
    Json,
}

/// A Secret as typed: `[NAMESPACE/]NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SecretName {
    pub(super) namespace: Option<String>,
    pub(super) name: String,
}

impl FromStr for SecretName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, name) = text.split_once('/').map_or((None, text), |(namespace, name)| (Some(namespace.to_owned()), name));
        if name.is_empty() || name.contains('/') || namespace.as_deref() == Some("") {
            return Err("a Secret is named NAMESPACE/NAME, or NAME in the namespace of the pod or context");
        }
        Ok(Self { namespace, name: name.to_owned() })
    }
}

impl SecretName {
    /// The namespace, or the one of the pod or context.
    pub(super) fn namespace_in(&self, cluster: &Found) -> String {
        self.namespace.clone().unwrap_or_else(|| cluster.config.default_namespace.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_may_name_their_namespace() {
        let named = |namespace: Option<&str>, name: &str| Ok(SecretName { namespace: namespace.map(str::to_owned), name: name.to_owned() });
        assert_eq!("tollgate-certs".parse(), named(None, "tollgate-certs"));
        assert_eq!("here/tollgate-certs".parse(), named(Some("here"), "tollgate-certs"));
        for bad in ["", "/", "here/", "/certs", "a/b/c"] {
            assert!(bad.parse::<SecretName>().is_err(), "{bad}");
        }
    }
}
