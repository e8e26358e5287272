//! The webhook's own certificate authority: one Secret, no leader, and a rotation in which every call is answered.
//!
//! Nothing here reads the clock or talks to a cluster. [`plan()`] is given what the Secret holds ([`Kept`]), what both webhook
//! configurations were last read with ([`Published`]) and the time, and returns the next [`Step`]. Any replica may take it: the Secret is
//! updated with its `resourceVersion`, and a conflict means that another replica was faster.
//!
//! | key of the Secret | contents |
//! |---|---|
//! | `tls.crt`, `tls.key` | the CA that signs leaf certificates |
//! | `next.crt`, `next.key` | the CA that will sign; callers already trust it |
//! | `ca.crt` | every CA that callers should trust, so also the one before |
//!
//! | step | when | does |
//! |---|---|---|
//! | [`Step::Create`] | no CA can be used | makes one |
//! | [`Step::Publish`] | at 2/3 of the CA's life, or on request | writes `next` |
//! | [`Step::Promote`] | both `caBundle`s have had `next` for the soak time: API servers learn of it one after another | `next` becomes the CA that signs |
//! | [`Step::Tidy`] | the old CA has left both `caBundle`s, one leaf's life after | drops it from `ca.crt` |
//!
//! A `caBundle` only loses CAs that have expired, and the ones that no leaf in use can come from ([`Kept::target`]). A leaf is signed by a
//! CA only when both were read back with it ([`plan_leaf`]). So a Secret that is deleted, emptied or overwritten fails no call: replicas
//! serve the leaf that they have until callers trust the new CA.

pub mod bundle;
mod ca;
mod kept;
mod leaf;
mod plan;
#[cfg(test)]
mod properties;
mod published;
mod signing;
mod step;

use time::Duration;

pub use self::{
    ca::{Ca, Root},
    kept::{Kept, ROTATE, SIGNING_SINCE},
    leaf::Leaf,
    plan::{Plan, plan},
    published::{Bundle, Published},
    signing::{Signing, plan_leaf},
    step::Step,
};

/// How long certificates live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lives {
    /// Of a CA.
    pub ca: Duration,
    /// Of a leaf; a CA that no longer signs is trusted for as long.
    pub leaf: Duration,
    /// How long a CA is published before it signs.
    pub soak: Duration,
}

/// Clocks may differ by this much: certificates are valid from before they are made.
const BACKDATED: Duration = Duration::hours(1);
