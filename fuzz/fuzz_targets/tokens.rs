//! Any bytes as a token, and as an issuer's key set: no panic; only the token that was signed is accepted, and only with the key that signed it.
//!
//! `cargo +nightly fuzz run tokens`. An even first byte makes the rest a token, an odd one a key set.

#![no_main]

use std::{fs, path::Path, sync::LazyLock};

use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tollgate::auth::{Verifier, VerifierSettings, VerifierSettingsError};

/// An Ed25519 key whose private half was thrown away, and a token that it signed. It expires in 2100.
const X: &str = "Jo6B1CAu965Y1wa3dxpP2HTZHDKnEpYfqvDMrZ1iKOk";
const TOKEN: &str = concat!(
    "eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ",
    ".eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwiYXVkIjoibWNwIiwic3ViIjoiYWxpY2UiLCJleHAiOjQxMDI0NDQ4MDB9",
    ".0aag0_UL11Hudtffbc2RrWMfmJsBznl4Y81WITJtUUVOJrWqAeG8xVSIkrudAE5FUpi3quMeBbqwp-XelsY4Ag"
);

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));
static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));
static KNOWN: LazyLock<Verifier> = LazyLock::new(|| {
    let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{X}"}}]}}"#);
    start(&FOLDER.path().join("known.json"), set.as_bytes()).expect("a key set")
});

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((choice, rest)) = input.split_first() else { return Corpus::Reject };
    if choice % 2 == 0 {
        let Ok(token) = std::str::from_utf8(rest) else { return Corpus::Reject };
        assert_eq!(accepts(&KNOWN, token), token == TOKEN, "{token}");
        return Corpus::Keep;
    }
    let _entered = RUNTIME.enter();
    let Ok(verifier) = start(&FOLDER.path().join("tried.json"), rest) else { return Corpus::Keep };
    if accepts(&verifier, TOKEN) {
        let set: Value = serde_json::from_slice(rest).expect("a key set is JSON");
        let keys = set["keys"].as_array().expect("it has keys");
        assert!(keys.iter().any(|key| key["x"] == X && key["kty"] == "OKP"), "{set}");
    }
    Corpus::Keep
});

fn start(path: &Path, set: &[u8]) -> Result<Verifier, VerifierSettingsError> {
    fs::write(path, set).expect("the folder is ours");
    let _entered = RUNTIME.enter();
    Verifier::start(&VerifierSettings::new("https://issuer.example", "mcp").jwks_file(path))
}

/// Whether a token is the caller's that was signed.
fn accepts(verifier: &Verifier, token: &str) -> bool {
    let caller = RUNTIME.block_on(verifier.verify(token));
    caller.is_ok_and(|caller| caller.subject() == "alice")
}
