//! Open files: a connection needs one, and a proxied one two; the usual soft limit of 1024 is soon reached, and meant to be raised.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Files besides connections: sockets that listen, connections to Redis and the API server, certificates being read.
const OTHERS: u64 = 64;

/// Raises the soft limit as far as the hard one allows. Says so when that is not enough for this many connections at once.
pub(super) fn raise(connections: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        warn!(%error, "cannot raise the limit of open files");
    }
    let allowed = getrlimit(Resource::Nofile).current;
    if let Some(allowed) = allowed.filter(|allowed| *allowed < connections.saturating_add(OTHERS)) {
        warn!(allowed, connections, "fewer files may be open than --max-connections needs: raise the hard limit (ulimit -Hn)");
    }
}
