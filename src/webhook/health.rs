//! What the webhook's readiness is made of.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use time::OffsetDateTime;
use tokio::sync::watch;

use super::authority::Trust;
use crate::server::{Phase, operations::Check, tls::ServerCertificate};

/// What readiness is made of.
#[derive(Debug)]
pub(super) struct Health {
    dialed: AtomicBool,
    certificate: Arc<ServerCertificate>,
    /// Of a certificate that the replicas issue themselves.
    trust: Option<watch::Receiver<Trust>>,
    phase: watch::Receiver<Phase>,
    schema_answered: watch::Receiver<bool>,
}

impl Health {
    pub(super) fn new(
        certificate: Arc<ServerCertificate>,
        trust: Option<watch::Receiver<Trust>>,
        phase: watch::Receiver<Phase>,
        schema_answered: watch::Receiver<bool>,
    ) -> Self {
        Self { dialed: AtomicBool::new(false), certificate, trust, phase, schema_answered }
    }

    /// Notes how the last TLS dial to ourselves went; true when that is news.
    pub(super) fn dialed(&self, well: bool) -> bool {
        self.dialed.swap(well, Ordering::AcqRel) != well
    }

    /// Asked of the clock each time: a certificate expires between two dials, too.
    pub(super) fn checks(&self) -> Vec<Check> {
        let invalid = self.certificate.validity().err().map(|error| error.to_string());
        let answers = invalid.is_none() && self.dialed.load(Ordering::Acquire);
        let mut checks = vec![
            Check::not_stopping(&self.phase),
            Check::new("answers TLS on its own port", answers).because(invalid),
            Check::new("installed CRDs read", *self.schema_answered.borrow()),
        ];
        checks.extend(self.trust.as_ref().map(|trust| {
            let trusted = trust.borrow().check(OffsetDateTime::now_utc());
            Check::new("callers trust the certificate", trusted.is_ok()).because(trusted.err())
        }));
        checks
    }
}
