//! Manifests, checked before they are applied: by the webhook's rules, and by the CRDs that will be installed.
//!
//! | file | contents |
//! |---|---|
//! | `judge` | from a document to what is found in its objects |
//! | `crds` | what the CRD of an object makes of it |
//! | `prune` | the fields that the API server would drop |
//! | `cel` | the CRD's own rules |

mod cel;
mod crds;
mod judge;
mod prune;

pub use self::{
    crds::Crds,
    judge::{Verdicts, judge},
};
