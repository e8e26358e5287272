//! Opaque tokens: introspected at the issuer (RFC 7662), with cached results.
//!
//! | the service's response | age | the caller |
//! |---|---|---|
//! | active | up to a minute | is identified, without a request |
//! | not active, or invalid claims | up to ten seconds | is rejected, without a request |
//! | none for this token yet | | waits for the response, together with all callers that send the same token, for at most [`WITHIN`] |
//! | failed, or unusable | up to 1 s, 2 s, .. 30 s | is rejected at once, unless the token was active within five minutes |
//!
//! So a service that hangs only delays callers with unknown tokens, for three seconds now and then. Both caches are bounded, and so is the
//! number of requests in flight.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use tokio::{
    sync::{OnceCell, Semaphore},
    time::{Instant, timeout},
};
use tracing::{info, warn};

use super::{
    Caller,
    claims::{Claims, Expected},
    credentials::Credentials,
    fetch_error::{FetchError, answer},
    rejection::Rejection,
    remembered::{Fingerprint, Known, Now, Remembered},
    settings::VerifierSettings,
    settings_error::VerifierSettingsError,
    token::object,
    url::{KeyUrl, PlainHttp, percent_encoded},
    web::{Document, Web},
};

/// Deadline for a response.
const WITHIN: Duration = Duration::from_secs(3);
/// How long an active result is cached: a revoked token is accepted for up to this long.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// How long a negative result is cached. Shorter, since clocks get set and mistakes get fixed.
const BAD_FOR: Duration = Duration::from_secs(10);
/// Maximum number of requests in flight.
const MOST_QUESTIONS: usize = 64;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Introspects tokens.
pub(super) struct Introspection {
    url: KeyUrl,
    web: Web,
    credentials: Option<Credentials>,
    good: Remembered<Arc<Caller>>,
    bad: Remembered<Rejection>,
    questions: Mutex<HashMap<Fingerprint, Question>>,
    slots: Semaphore,
    health: Mutex<Health>,
}

/// Requests in flight, one per token, shared by all callers waiting for it.
type Question = Arc<OnceCell<Result<Arc<Caller>, Rejection>>>;

/// The health of the service.
#[derive(Debug, Default)]
struct Health {
    /// Consecutive failures; requests that were in flight together count once.
    failures: u32,
    failed_at: Option<Instant>,
    /// Not asked before this time.
    rests_until: Option<Instant>,
}

#[derive(Deserialize)]
struct Answer {
    active: bool,
}

/// Removes a request that no caller is waiting for anymore.
struct Waiting<'a> {
    all: &'a Mutex<HashMap<Fingerprint, Question>>,
    token: Fingerprint,
    question: Question,
}

impl Introspection {
    pub(super) fn new(settings: &VerifierSettings) -> Result<Option<Self>, VerifierSettingsError> {
        let Some((url, credentials)) = &settings.introspection else { return Ok(None) };
        let url = KeyUrl::parse(url, if settings.allow_http { PlainHttp::AnyHost } else { PlainHttp::Loopback })?;
        Ok(Some(Self {
            web: Web::new(settings, url.is_https())?,
            url,
            credentials: credentials.clone(),
            good: Remembered::new(settings.most_remembered),
            bad: Remembered::new(settings.most_remembered),
            questions: Mutex::default(),
            slots: Semaphore::new(MOST_QUESTIONS),
            health: Mutex::default(),
        }))
    }

    /// Identifies the caller of this token.
    pub(super) async fn verify(
        &self,
        token: &str,
        fingerprint: Fingerprint,
        expected: &Expected,
        now: Now,
    ) -> Result<Arc<Caller>, Rejection> {
        if let Some(caller) = self.good.found_within(&fingerprint, 0, now, GOOD_FOR) {
            return Ok(caller);
        }
        if let Some(rejection) = self.bad.found_within(&fingerprint, 0, now, BAD_FOR) {
            return Err(rejection);
        }
        let waiting = Waiting::begin(&self.questions, fingerprint);
        let asked = waiting.question.get_or_init(|| self.ask(token, fingerprint, expected, now)).await.clone();
        match asked {
            Err(Rejection::IntrospectionAway) => self.good.found(&fingerprint, 0, now).ok_or(Rejection::IntrospectionAway),
            decided => decided,
        }
    }

    async fn ask(&self, token: &str, fingerprint: Fingerprint, expected: &Expected, now: Now) -> Result<Arc<Caller>, Rejection> {
        if !self.health().may_ask() {
            return Err(Rejection::IntrospectionAway);
        }
        let began = Instant::now();
        let answered = timeout(WITHIN, async {
            let _slot = self.slots.acquire().await;
            // While this request was queued, the service may have started to hang.
            if self.health().has_failed_since(began) { Err(FetchError::Late(WITHIN)) } else { self.claims(token).await }
        });
        let claims = match answered.await.unwrap_or(Err(FetchError::Late(WITHIN))) {
            Ok(claims) => claims,
            Err(error) => {
                self.failed(began, &error);
                return Err(Rejection::IntrospectionAway);
            }
        };
        self.recovered();
        let accepted = claims.ok_or(Rejection::Inactive).and_then(|claims| expected.accepts_active(claims, now.time));
        let found = accepted.map(|accepted| (Arc::new(Caller::new(accepted.subject, Some(expected.issuer.as_str()))), accepted.until));
        match &found {
            Ok((caller, until)) => {
                let known = Known { found: Arc::clone(caller), until: *until, generation: 0, verified_at: now.instant };
                self.good.put(fingerprint, known);
            }
            Err(rejection) => {
                self.good.forget(&fingerprint);
                self.bad.put(fingerprint, Known::always(*rejection, now.instant));
            }
        }
        found.map(|(caller, _)| caller)
    }

    /// The claims of a token; `None` if it is not active.
    async fn claims(&self, token: &str) -> Result<Option<Claims>, FetchError> {
        let form = format!("token={}&token_type_hint=access_token", percent_encoded(token));
        let Document { body, .. } = self.web.post(&self.url, form, self.credentials.as_ref()).await?;
        let malformed = || answer(&self.url, "does not return an object with active and claims of the right types");
        let Answer { active } = object(&body).ok_or_else(malformed)?;
        if active { object(&body).ok_or_else(malformed).map(Some) } else { Ok(None) }
    }

    fn failed(&self, began: Instant, error: &FetchError) {
        if self.health().failed(began, Instant::now()) {
            warn!("opaque tokens cannot be introspected: {error}");
        }
    }

    fn recovered(&self) {
        let failures = std::mem::take(&mut *self.health()).failures;
        if failures > 0 {
            info!(failures, "opaque tokens are introspected again");
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Health {
    /// Whether to ask the service. After a pause, a single caller tries; the others are rejected until it has succeeded.
    fn may_ask(&mut self) -> bool {
        let now = Instant::now();
        if self.rests_until.is_some_and(|until| now < until) {
            return false;
        }
        self.rests_until = (self.failures > 0).then(|| now + WITHIN);
        true
    }

    fn has_failed_since(&self, began: Instant) -> bool {
        self.failed_at.is_some_and(|failed_at| began < failed_at)
    }

    /// Records a failure; returns whether it is the first.
    fn failed(&mut self, began: Instant, now: Instant) -> bool {
        if self.has_failed_since(began) {
            return false;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        (self.failed_at, self.rests_until) = (Some(now), Some(now + pause));
        self.failures == 1
    }
}

impl<'a> Waiting<'a> {
    fn begin(all: &'a Mutex<HashMap<Fingerprint, Question>>, token: Fingerprint) -> Self {
        let question = Arc::clone(all.lock().unwrap_or_else(PoisonError::into_inner).entry(token).or_default());
        Self { all, token, question }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let is_this = all.get(&self.token).is_some_and(|question| Arc::ptr_eq(question, &self.question));
        // The result goes to the callers waiting for it; later callers find it in the cache, or ask again.
        if is_this && (self.question.initialized() || Arc::strong_count(&self.question) <= 2) {
            all.remove(&self.token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failure_the_service_rests_and_one_tries() {
        let (mut health, began) = (Health::default(), Instant::now());
        assert!(health.may_ask() && health.may_ask(), "it is well");
        assert!(health.failed(began, began + FIRST_PAUSE), "news");
        assert!(!health.failed(began, began + FIRST_PAUSE), "it was under way with the other");
        assert_eq!((health.failures, health.rests_until), (1, Some(began + 2 * FIRST_PAUSE)));
        assert!(!health.may_ask());
        health.rests_until = Some(began);
        assert!(health.may_ask() && !health.may_ask(), "one tries");
        let later = began + 2 * FIRST_PAUSE;
        assert!(!health.failed(later, later), "no news");
        assert_eq!(health.rests_until, Some(later + 2 * FIRST_PAUSE));
        for times in 0..40 {
            health.failed(later + Duration::from_secs(times), later + Duration::from_secs(times));
        }
        assert_eq!(health.rests_until, Some(later + Duration::from_secs(39) + LONGEST_PAUSE));
    }
}
