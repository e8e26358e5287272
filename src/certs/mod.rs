//! Certificates that tollgate makes by itself.
//!
//! | module | contents |
//! |---|---|
//! | `dev` | development certificates: a CA and a leaf in a folder |
//! | [`authority`] | the webhook's own CA in a cluster, and its rotation without a gap |

pub mod authority;
mod dev;

pub use self::dev::{CertsError, DevCerts, ensure_dev};
