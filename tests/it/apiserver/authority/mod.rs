//! Certificates that replicas issue themselves, on a real API server: `tollgate serve --certs-secret`, with the rights that are shipped.
//!
//! The API server calls the webhooks by URL, at an address behind which ready replicas are (`support::balancer`).

mod doctor;
mod rig;
mod rights;
mod rotation;
mod secret;
