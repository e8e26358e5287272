//! x
#[cfg(feature = "admission")]
pub mod admission;
#[cfg(feature = "certs")]
pub mod certs;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
#[cfg(feature = "cli")]
pub mod crds;
#[cfg(feature = "serve")]
pub mod listener;
#[cfg(feature = "serve")]
pub mod webhook;
