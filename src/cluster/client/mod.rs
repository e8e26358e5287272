//! Finds a cluster as kubectl does, and makes the client: the one way in, for every command.
//!
//! The kubeconfig is the one that is named, else the files of `$KUBECONFIG` that exist, merged, else `~/.kube/config`. Where these name no
//! cluster, a pod uses its service account.

mod proxies;

use std::{
    env,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use http::Uri;
use kube::{
    Client, Config,
    config::{Cluster, ExecAuthCluster, Kubeconfig, KubeconfigError},
};
use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::{runtime::Handle, sync::oneshot, time::timeout};

use self::proxies::Environment;
use super::{ClusterError, origin::Origin};

/// How long a cluster that the user did not name may hold up the start.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Which cluster, as the user names it.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// A kubeconfig; without one, as kubectl finds it, or the service account of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// A context of it; without one, its current context.
    pub context: Option<String>,
}

/// A cluster that was found. Nothing was asked of it yet.
#[derive(Clone, Debug)]
pub struct Found {
    /// How it is reached; may be adjusted before it becomes a client.
    pub config: Config,
    /// Who named it.
    pub origin: Origin,
}

impl Found {
    /// Whether the user did not name it, so that it may be an old one.
    pub fn is_implicit(&self) -> bool {
        matches!(self.origin, Origin::Implicit(_))
    }

    /// The client. Runs a credential plugin, if the kubeconfig has one, which may take its time.
    ///
    /// # Errors
    /// When a certificate, key or credential cannot be used.
    pub fn client(self) -> Result<Client, ClusterError> {
        // kube takes the provider of the process, and panics where there are two in the tree and none was chosen.
        let _ = ring::default_provider().install_default();
        let origin = self.origin;
        Client::try_from(self.config).map_err(|error| ClusterError::Client { origin, error: error.to_string() })
    }

    /// The client of tasks that repeat what fails at their own pace. A credential plugin of a cluster that the user did not name has
    /// [`PATIENCE`] to finish.
    ///
    /// # Errors
    /// When a certificate, key or credential cannot be used, or is not there in time.
    pub async fn client_in_time(mut self) -> Result<Client, ClusterError> {
        self.config.default_retry = false;
        if !self.is_implicit() {
            return self.client();
        }
        // The plugin may wait for someone to sign in. On a thread of its own, since the runtime waits for its own at the end.
        let origin = self.origin.clone();
        let (send, received) = oneshot::channel();
        let runtime = Handle::current();
        std::thread::spawn(move || {
            let _in_runtime = runtime.enter();
            let _ = send.send(self.client());
        });
        let late = |error| ClusterError::Client { origin, error };
        match timeout(PATIENCE, received).await {
            Ok(Ok(client)) => client,
            Ok(Err(_)) => Err(late("the credential plugin failed".to_owned())),
            Err(_) => Err(late(format!("the credential plugin has not finished within {PATIENCE:?}"))),
        }
    }
}

impl Access {
    /// Finds the cluster of the kubeconfig or context, or the one that kubectl would use.
    ///
    /// # Errors
    /// When none is found, or what names it cannot be used.
    pub fn find(&self) -> Result<Found, ClusterError> {
        let (files, none) = match &self.kubeconfig {
            Some(path) => (vec![path.clone()], String::new()),
            None => implicit_files(env::var_os("KUBECONFIG"), env::home_dir()),
        };
        let is_named = self.kubeconfig.is_some() || self.context.is_some();
        let origin = |files: String| if is_named { Origin::Named(files) } else { Origin::Implicit(files) };
        let failed = |files: String, error| ClusterError::Config { origin: origin(files), error };
        let merged = merged(&files).map_err(|(file, error)| failed(file.display().to_string(), error))?;
        if !is_named && merged.clusters.is_empty() && merged.contexts.is_empty() {
            return if is_in_cluster() { in_pod() } else { Err(ClusterError::NoCluster(none)) };
        }
        if files.is_empty() {
            return Err(ClusterError::NoCluster(format!("{none}, so --context cannot be used")));
        }
        let shown = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
        let config = config(merged, self.context.as_deref()).map_err(|error| failed(shown.clone(), error))?;
        Ok(Found { config, origin: origin(shown) })
    }
}

/// The files that kubectl would read, and what there is to say if they name no cluster.
fn implicit_files(variable: Option<OsString>, home: Option<PathBuf>) -> (Vec<PathBuf>, String) {
    let listed: Vec<_> = variable.iter().flat_map(env::split_paths).filter(|path| !path.as_os_str().is_empty()).collect();
    let (listed, of) = match listed.is_empty() {
        false => (listed, "$KUBECONFIG"),
        true => (home.map(|home| home.join(".kube/config")).into_iter().collect(), "~/.kube/config"),
    };
    let is_missing = |path: &PathBuf| path.metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let files: Vec<_> = listed.into_iter().filter(|path| !is_missing(path)).collect();
    let none = match (files.is_empty(), of) {
        (true, "$KUBECONFIG") => "no file of $KUBECONFIG exists".to_owned(),
        (true, _) => "$KUBECONFIG is not set and ~/.kube/config does not exist".to_owned(),
        (false, of) => format!("{of} names none"),
    };
    (files, none)
}

/// The files as one; of values with the same name, the first counts.
fn merged(files: &[PathBuf]) -> Result<Kubeconfig, (&Path, String)> {
    let mut merged = Kubeconfig::default();
    for file in files {
        let failed = |error: KubeconfigError| match error {
            KubeconfigError::ReadConfig(error, _) => (file.as_path(), error.to_string()),
            error => (file.as_path(), error.to_string()),
        };
        let mut next = Kubeconfig::read_from(file).map_err(failed)?;
        next.current_context = next.current_context.filter(|name| !name.is_empty());
        merged = merged.merge(next).map_err(failed)?;
    }
    Ok(merged)
}

/// Whether this process runs in a pod with a service account.
fn is_in_cluster() -> bool {
    env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

fn in_pod() -> Result<Found, ClusterError> {
    let config = Config::incluster().map_err(|error| ClusterError::Config { origin: Origin::Pod, error: error.to_string() })?;
    Ok(Found { config, origin: Origin::Pod })
}

/// What a context says. Put together here and not by kube, whose own way compares `NO_PROXY` with the proxy and not with the cluster, and
/// refuses a list that ends with a comma.
fn config(kubeconfig: Kubeconfig, context: Option<&str>) -> Result<Config, String> {
    let Kubeconfig { clusters, auth_infos, contexts, current_context, .. } = kubeconfig;
    let name = context.map(str::to_owned).or(current_context).ok_or("it has no current-context; choose one with --context")?;
    let known = contexts.iter().map(|context| context.name.as_str()).collect::<Vec<_>>().join(", ");
    let context = contexts.into_iter().find(|context| context.name == name).and_then(|context| context.context);
    let context = context.ok_or_else(|| format!("it has no context {name:?}; its contexts: {known}"))?;
    let cluster = clusters.into_iter().find(|cluster| cluster.name == context.cluster).and_then(|cluster| cluster.cluster);
    let cluster = cluster.ok_or_else(|| format!("it has no cluster {:?}, which context {name:?} names", context.cluster))?;
    let server = cluster.server.as_deref().filter(|server| !server.is_empty());
    let server = server.ok_or_else(|| format!("cluster {:?} has no server", context.cluster))?;
    let url: Uri = server.parse().map_err(|error| format!("server {server:?} is not a URL: {error}"))?;
    // A missing user is anonymous, as for kubectl.
    let user = auth_infos.into_iter().find(|user| Some(&user.name) == context.user.as_ref());
    let mut user = user.and_then(|user| user.auth_info).unwrap_or_default();
    let described = ExecAuthCluster::try_from(&cluster).map_err(|error| error.to_string())?;
    let roots = described.certificate_authority_data.as_deref().map(roots).transpose()?;
    if let Some(exec) = user.exec.as_mut().filter(|exec| exec.provide_cluster_info) {
        exec.cluster = Some(described);
    }
    let mut config = Config::new(url);
    config.proxy_url = proxy(&cluster, &config.cluster_url)?;
    config.root_cert = roots;
    config.auth_info = user;
    config.default_namespace = context.namespace.unwrap_or(config.default_namespace);
    config.accept_invalid_certs = cluster.insecure_skip_tls_verify.unwrap_or_default();
    config.disable_compression = cluster.disable_compression.unwrap_or_default();
    config.tls_server_name = cluster.tls_server_name;
    Ok(config)
}

/// The proxy that the cluster names counts always, that of the environment with its exceptions.
fn proxy(cluster: &Cluster, url: &Uri) -> Result<Option<Uri>, String> {
    match cluster.proxy_url.as_deref().filter(|proxy| !proxy.is_empty()) {
        Some(proxy) => proxies::parse(proxy).map(Some).map_err(|error| format!("proxy-url: {error}")),
        None => Environment::read().proxy_to(url),
    }
}

fn roots(pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let certificates = CertificateDer::pem_slice_iter(pem).map(|certificate| certificate.map(|der| der.to_vec()));
    let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(|error| format!("certificate-authority: {error}"))?;
    if certificates.is_empty() {
        return Err("certificate-authority holds no certificate".to_owned());
    }
    Ok(certificates)
}
