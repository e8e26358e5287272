//! Who is calling: tokens signed by another library, and an issuer that behaves as a test sets it.

mod callers;
mod documents;
pub mod issuer;
mod keys;
mod opaque;
mod rotation;
pub mod signer;
mod tokens;
