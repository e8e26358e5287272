//! Who is calling: tokens signed by another library, an issuer that does as it is told.

mod callers;
mod documents;
mod issuer;
mod keys;
mod rotation;
mod signer;
mod tokens;
