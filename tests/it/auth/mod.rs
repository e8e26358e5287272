//! Who is calling: tokens signed by another library, an issuer that does as it is told.

mod callers;
mod documents;
pub mod issuer;
mod keys;
mod opaque;
mod rotation;
pub mod signer;
mod tokens;
