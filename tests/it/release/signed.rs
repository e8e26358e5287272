//! The signature of a release by a key, made by `.ci/sign` as in the workflow, and verified as SECURITY.md says.

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;

use super::shipped;
use crate::{
    check::{Ran, folder},
    support::{find::neighbour, pages::root},
};

const ARCHIVE: &str = "tollgate-v1.2.3-x86_64-unknown-linux-musl.tar.gz";

fn ran(command: &mut Command) -> Ran {
    Ran::of(command.output().expect("it starts"))
}

/// The private and the public part of a throw-away key.
fn key() -> (String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    let made = ran(Command::new(neighbour("ssh-keygen")).args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&file));
    assert_eq!(made.code, 0, "{made:?}");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("written");
    (read("key"), read("key.pub"))
}

fn signed(key: Option<&str>) -> TempDir {
    let release = folder(&[(ARCHIVE, "a binary"), ("tollgate-1.2.3.tgz", "a chart"), ("tollgate-v1.2.3-digests.txt", "x@sha256:1\n")]);
    let mut sign = Command::new(root().join(".ci/sign"));
    sign.arg(release.path()).env_remove("SIGNING_KEY").envs(key.map(|key| ("SIGNING_KEY", key)));
    let said = ran(&mut sign);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.stderr.contains("SIGNING_KEY is not set"), key.is_none(), "{said:?}");
    release
}

/// The lines of SECURITY.md, in the folder of the release, with one key that is trusted.
fn verify(release: &TempDir, public: &str) -> Ran {
    let page = shipped("SECURITY.md");
    let (before, after) = page.split_once("```sh\nssh-keygen -Y verify ").expect("it says how");
    assert!(before.contains("`tollgate-signers`"), "where the key is");
    let lines = format!("ssh-keygen -Y verify {}", after.split("```").next().expect("an end"));
    fs::write(release.path().join("tollgate-signers"), format!("tollgate {public}")).expect("written");
    ran(Command::new("bash").args(["-ec", &lines]).current_dir(release.path()))
}

/// One bit of the byte in the middle.
fn flip(file: &Path) {
    let mut bytes = fs::read(file).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).expect("written");
}

#[test]
fn a_release_is_verified_by_its_key_until_a_byte_changes() {
    let (private, public) = key();
    let verified = verify(&signed(Some(&private)), &public);
    assert!(verified.code == 0 && verified.stdout.contains("Good \"file\" signature for tollgate"), "{verified:?}");
    for name in [ARCHIVE, "tollgate-1.2.3.tgz", "tollgate-v1.2.3-digests.txt"] {
        assert!(verified.stdout.contains(&format!("{name}: OK\n")), "{verified:?}");
        let release = signed(Some(&private));
        flip(&release.path().join(name));
        let failed = verify(&release, &public);
        assert!(failed.code != 0 && failed.stdout.contains(&format!("{name}: FAILED\n")), "{failed:?}");
    }
    let release = signed(Some(&private));
    flip(&release.path().join("SHA256SUMS"));
    let failed = verify(&release, &public);
    assert!(failed.code != 0 && failed.stderr.contains("Signature verification failed: incorrect signature"), "{failed:?}");
    let failed = verify(&signed(Some(&key().0)), &public);
    assert!(
        failed.code != 0 && (failed.stdout.clone() + &failed.stderr).contains("Could not verify signature"),
        "someone else's key: {failed:?}"
    );
}

#[test]
fn without_a_key_there_are_checksums_only() {
    let release = signed(None);
    assert!(release.path().join("SHA256SUMS").exists() && !release.path().join("SHA256SUMS.sig").exists());
    let workflow = shipped(".github/workflows/release.yaml");
    assert!(workflow.contains("SIGNING_KEY: ${{ secrets.SIGNING_KEY }}\n") && workflow.contains(".ci/sign release\n"));
}
