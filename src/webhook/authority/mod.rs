//! The webhook's own CA at work: follows one Secret and both webhook configurations, and does what [`crate::certs::authority`] plans.
//!
//! Every replica does the same, and none waits for another. A write is based on the state that it was planned from, by `resourceVersion`;
//! where another replica was faster, the next look shows what is left to do. What fails is tried again, and logged once.

mod configuration;
mod secret;
mod trust;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, api::DynamicObject};
use time::OffsetDateTime;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

pub(super) use self::trust::Trust;
use self::{
    configuration::{Configuration, KINDS},
    secret::kept,
};
use crate::{
    certs::authority::{Ca, Kept, Leaf, Lives, Published, Step, plan, plan_leaf},
    cluster::{
        ClusterError,
        named::{Sight, follow},
        watch::{api, webhook_configurations},
    },
    server::tls::{Pair, Refreshed, ServerCertificate},
};

/// Which Secret, and which webhook configurations.
#[derive(Clone)]
pub struct AuthoritySettings {
    /// Of the cluster.
    pub client: Client,
    /// Where the Secret is.
    pub namespace: String,
    /// Its name.
    pub secret: String,
    /// The name of the MutatingWebhookConfiguration and the ValidatingWebhookConfiguration.
    pub configurations: String,
    /// How long certificates live.
    pub lives: Lives,
}

impl std::fmt::Debug for AuthoritySettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthoritySettings").field("secret", &self.secret).finish_non_exhaustive()
    }
}

/// Owns the `caBundle`, and nothing else, of the webhook configurations.
const MANAGER: &str = "tollgate";
/// For one write.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks at least, so that a dispute about a `caBundle` does not become a load.
const SPACING: Duration = Duration::from_millis(100);
/// After a write that failed.
const RETRY: Duration = Duration::from_secs(1);
/// At the latest.
const LOOK: Duration = Duration::from_secs(30);

/// A certificate to serve until there is one that callers trust. No one accepts it.
pub(super) fn placeholder() -> Result<Pair, rcgen::Error> {
    let (now, life) = (OffsetDateTime::now_utc(), time::Duration::DAY);
    let leaf = Leaf::sign(&Ca::create(life, now)?, &["not-issued.tollgate.invalid".to_owned()], life, now)?;
    Ok(Pair { cert: leaf.certificate.into_bytes(), key: leaf.key.into_bytes() })
}

/// One replica's part in the authority.
pub(super) struct Keeper {
    settings: AuthoritySettings,
    certificate: Arc<ServerCertificate>,
    trust: watch::Sender<Trust>,
    secret: watch::Receiver<Sight<Secret>>,
    configurations: [watch::Receiver<Sight<DynamicObject>>; 2],
    published: Published,
    leaf: Option<Leaf>,
    /// What fails at the moment, by what was tried.
    troubles: BTreeMap<&'static str, String>,
    _following: JoinSet<()>,
}

impl Keeper {
    pub(super) fn new(settings: AuthoritySettings, certificate: Arc<ServerCertificate>, trust: watch::Sender<Trust>) -> Self {
        let mut following = JoinSet::new();
        let AuthoritySettings { client, namespace, secret, configurations, .. } = &settings;
        let secret = follow(Api::namespaced(client.clone(), namespace), secret, &mut following);
        let configurations = KINDS.map(|(kind, plural)| {
            let api = api(client.clone(), None, &webhook_configurations(kind, plural));
            follow(api, configurations, &mut following)
        });
        let (published, troubles) = (Published::default(), BTreeMap::new());
        Self { settings, certificate, trust, secret, configurations, published, leaf: None, troubles, _following: following }
    }

    /// Keeps the certificate good until the task is aborted.
    pub(super) async fn run(mut self) {
        loop {
            let again = self.turn().await;
            sleep(SPACING).await;
            let [mutating, validating] = &mut self.configurations;
            tokio::select! {
                () = sleep(again) => {}
                Ok(()) = self.secret.changed() => {}
                Ok(()) = mutating.changed() => {}
                Ok(()) = validating.changed() => {}
            }
        }
    }

    /// Looks, and does what is due; returns when to look again.
    async fn turn(&mut self) -> Duration {
        // Certificates know whole seconds.
        let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let secret = self.secret.borrow_and_update().clone();
        let configurations = self.configurations.each_mut().map(|sight| sight.borrow_and_update().clone());
        let configurations = configurations.map(Configuration::read);
        for (bundle, configuration) in self.published.0.iter_mut().zip(&configurations) {
            if let Some(found) = configuration.found() {
                bundle.observe(found, now);
            }
        }
        let kept = kept(&secret);
        let mut names: Vec<_> = configurations.iter().flat_map(Configuration::names).collect();
        names.sort();
        names.dedup();
        let mut all_well = self.publish(&configurations, &kept, now).await;
        let mut again = Vec::new();
        if let Sight::There(secret) = &secret {
            let plan = plan(&kept, &self.published, &self.settings.lives, now);
            all_well &= match plan.step {
                Some(step) => self.advance(secret, &kept, step, now).await,
                None => true,
            };
            again.extend(plan.again);
        }
        again.extend(self.sign(&kept, &names, now));
        let unread = self.unread(&secret, &configurations);
        self.report(&kept, unread);
        let until = again.into_iter().min().map_or(LOOK, |again| (again - now).try_into().unwrap_or_default());
        if all_well { until.clamp(SPACING, LOOK) } else { RETRY }
    }

    /// Writes the CAs that callers have to trust, and removes the ones that are over.
    async fn publish(&mut self, configurations: &[Configuration; 2], kept: &Kept, now: OffsetDateTime) -> bool {
        let in_use = self.leaf.as_ref().filter(|leaf| leaf.not_after >= now).map(|leaf| leaf.issuer.clone());
        let mut all_well = true;
        for (configuration, (kind, plural)) in configurations.iter().zip(KINDS) {
            let Some(patch) = configuration.patch(kind, kept, in_use.as_ref(), &self.settings.lives, now) else { continue };
            let api: Api<DynamicObject> = api(self.settings.client.clone(), None, &webhook_configurations(kind, plural));
            let params = kube::api::PatchParams::apply(MANAGER).force();
            let patch = kube::api::Patch::Apply(patch);
            let written = within_deadline(api.patch(&self.settings.configurations, &params, &patch)).await;
            all_well &= self.outcome(kind, written, || info!(configuration = kind, "caBundle written"));
        }
        all_well
    }

    /// Takes a step in the Secret.
    async fn advance(&mut self, secret: &Secret, kept: &Kept, step: Step, now: OffsetDateTime) -> bool {
        let after = match kept.after(step, &self.published.anywhere(), &self.settings.lives, now) {
            Ok(after) => secret::with(secret, &after),
            Err(error) => return self.outcome("CA", Err(Some(error.to_string())), || {}),
        };
        let api: Api<Secret> = Api::namespaced(self.settings.client.clone(), &self.settings.namespace);
        let params = kube::api::PostParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
        let written = within_deadline(api.replace(&self.settings.secret, &params, &after)).await;
        self.outcome("Secret", written, || info!(step = step.name(), secret = secret.metadata.name, "took a step of the CA's rotation"))
    }

    /// Serves a new leaf when one is due; returns when the next may be.
    fn sign(&mut self, kept: &Kept, names: &[String], now: OffsetDateTime) -> Option<OffsetDateTime> {
        let lives = self.settings.lives;
        let signing = plan_leaf(self.leaf.as_ref(), names, kept, &self.published, &lives, now);
        let Some(ca) = kept.current.as_ref().filter(|_| signing.now) else { return signing.again };
        let signed = Leaf::sign(ca, names, lives.leaf, now).map_err(|error| format!("for {}: {error}", names.join(", ")));
        let served = signed.and_then(|leaf| self.serve(leaf));
        if !self.outcome("leaf", served.map_err(Some), || {}) {
            return Some(now + time::Duration::SECOND);
        }
        plan_leaf(self.leaf.as_ref(), names, kept, &self.published, &lives, now).again
    }

    /// Puts a leaf in the place of the one before.
    fn serve(&mut self, leaf: Leaf) -> Result<(), String> {
        let pair = Pair { cert: leaf.certificate.clone().into_bytes(), key: leaf.key.clone().into_bytes() };
        if let Refreshed::Kept(error) = self.certificate.issue(pair) {
            return Err(error.to_string());
        }
        info!(names = leaf.names.join(","), not_after = leaf.not_after.unix_timestamp(), "serving a new certificate");
        self.leaf = Some(leaf);
        Ok(())
    }

    /// Notes how a try went, and logs it when that is news; whether no other try is needed soon. `Err(None)`: another replica was faster.
    fn outcome(&mut self, what: &'static str, result: Result<(), Option<String>>, done: impl FnOnce()) -> bool {
        match result {
            Ok(()) => {
                self.troubles.remove(what);
                done();
                true
            }
            Err(None) => {
                debug!(what, "another replica was faster");
                false
            }
            Err(Some(error)) => {
                if self.troubles.get(what) != Some(&error) {
                    warn!(what, error, "cannot write; trying again");
                }
                self.troubles.insert(what, error);
                false
            }
        }
    }

    /// What could not be read so far, or is not there.
    fn unread(&self, secret: &Sight<Secret>, configurations: &[Configuration; 2]) -> Option<String> {
        let AuthoritySettings { namespace, secret: name, configurations: hooks, .. } = &self.settings;
        let of_secret = match secret {
            Sight::Waiting => Some(format!("reading Secret {namespace}/{name}")),
            Sight::Unread(why) => Some(format!("cannot read Secret {namespace}/{name}: {why}")),
            Sight::Absent => Some(format!("Secret {namespace}/{name} is not there: create an empty one")),
            Sight::There(_) => None,
        };
        let of_hooks = configurations.iter().zip(KINDS).filter_map(|(configuration, (kind, _))| configuration.trouble(kind, hooks));
        let all: Vec<_> = of_secret.into_iter().chain(of_hooks).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    fn report(&mut self, kept: &Kept, unread: Option<String>) {
        if self.trust.borrow().unread != unread {
            match &unread {
                Some(why) => warn!(why, "not everything that the certificate depends on is there"),
                None => info!("the Secret and both webhook configurations are there"),
            }
        }
        let troubles: Vec<_> = self.troubles.iter().map(|(what, why)| format!("{what}: {why}")).collect();
        self.trust.send_replace(Trust {
            leaf: self.leaf.clone(),
            published: self.published.clone(),
            ca_not_after: kept.current.as_ref().map(|ca| ca.root().not_after()),
            unread,
            troubles: (!troubles.is_empty()).then(|| troubles.join("; ")),
        });
    }
}

/// The outcome of a write: `Err(None)` if what it was based on has changed.
async fn within_deadline<T>(write: impl Future<Output = Result<T, kube::Error>>) -> Result<(), Option<String>> {
    match timeout(DEADLINE, write).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(None),
        Ok(Err(error)) => Err(Some(ClusterError::from(error).to_string())),
        Err(_) => Err(Some(format!("the API server did not answer within {DEADLINE:?}"))),
    }
}
