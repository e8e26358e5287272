//! Verifies tokens and identifies their callers.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use super::{
    Caller,
    claims::{Expected, UnixTime},
    fetch::Source,
    introspection::Introspection,
    keyring::Keyring,
    rejection::Rejection,
    remembered::{Fingerprint, Known, Now, Remembered},
    settings::VerifierSettings,
    settings_error::VerifierSettingsError,
    token::{Token, is_opaque},
};

/// The longest token that is processed, in bytes.
pub const LONGEST_TOKEN: usize = 16 * 1024;

/// Verifies the tokens of one issuer. Cheap to clone; all clones share keys and caches.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    expected: Expected,
    keyring: Keyring,
    remembered: Remembered<Arc<Caller>>,
    introspection: Option<Introspection>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("expected", &self.0.expected).finish_non_exhaustive()
    }
}

impl Verifier {
    /// Starts reading the issuer's keys, in a task on the current tokio runtime. The issuer need not be reachable yet.
    ///
    /// # Errors
    /// When the settings are invalid, whatever the issuer says. A key file must exist.
    pub fn start(settings: &VerifierSettings) -> Result<Self, VerifierSettingsError> {
        if settings.issuer.is_empty() {
            return Err(VerifierSettingsError::Issuer);
        }
        if settings.audiences.iter().any(String::is_empty) {
            return Err(VerifierSettingsError::Audience);
        }
        let expected = Expected { issuer: settings.issuer.clone(), audiences: settings.audiences.clone(), leeway: settings.leeway };
        let introspection = Introspection::new(settings)?;
        let keyring = Keyring::start(Source::new(settings)?, settings);
        let remembered = Remembered::new(settings.most_remembered);
        Ok(Self(Arc::new(Inner { expected, keyring, remembered, introspection })))
    }

    /// Identifies the caller of this token, the text after `Bearer`.
    ///
    /// Claims are checked first and the signature last, so that the cheap checks come first and a token of another issuer does not cause
    /// requests to ours. No caller is returned, and nothing is cached, before the signature is verified.
    ///
    /// # Errors
    /// The reason for the rejection.
    pub async fn verify(&self, token: &str) -> Result<Arc<Caller>, Rejection> {
        if token.len() > LONGEST_TOKEN {
            return Err(Rejection::TooLong);
        }
        let Inner { expected, keyring, remembered, introspection } = &*self.0;
        let (fingerprint, now) = (Fingerprint::of(token), now());
        if let Some(held) = keyring.held()
            && let Some(caller) = remembered.found(&fingerprint, held.generation, now)
        {
            return Ok(caller);
        }
        if let Some(introspection) = introspection.as_ref().filter(|_| is_opaque(token)) {
            return introspection.verify(token, fingerprint, expected, now).await;
        }
        let token = Token::parse(token)?;
        let accepted = expected.accepts(&token.claims, now.time)?;
        let generation = keyring.verify(&token).await?;
        let caller = Arc::new(Caller::new(accepted.subject, Some(expected.issuer.as_str())));
        let known = Known { found: Arc::clone(&caller), until: accepted.until, generation, verified_at: now.instant };
        remembered.put(fingerprint, known);
        Ok(caller)
    }

    /// Whether there are keys to verify tokens with.
    pub fn has_keys(&self) -> bool {
        self.0.keyring.held().is_some()
    }

    /// Whether there have been keys since the start, or opaque tokens can be introspected: for a readiness probe. If the issuer becomes
    /// unreachable later, replicas should stay in service, since callers verified before are still accepted.
    pub fn has_had_keys(&self) -> bool {
        self.0.introspection.is_some() || self.0.keyring.has_had_keys()
    }

    /// Time since the keys were last read; before the first read, since the start.
    pub fn keys_age(&self) -> Duration {
        self.0.keyring.age()
    }

    /// Waits until the first attempt to read the keys has completed: then [`Verifier::has_keys`] returns its outcome.
    pub async fn settled(&self) {
        self.0.keyring.settled().await;
    }

    /// The issuer whose tokens are accepted.
    pub fn issuer(&self) -> &str {
        &self.0.expected.issuer
    }
}

fn now() -> Now {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { time: UnixTime(time.as_secs_f64()), instant: Instant::now() }
}
