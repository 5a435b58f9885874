//! Sealed files and those of `cast wallet` are the same thing. Needs what tests/e2e/setup installs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    ANVIL_0, ANVIL_0_ADDRESS, ID, skipped,
    vault::{Backend, PassphraseSource, Vault, import},
};

fn cast() -> Option<PathBuf> {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/js/cast/node_modules/@foundry-rs");
    let binary = ["cast-linux-amd64", "cast-linux-arm64"].map(|name| modules.join(name).join("bin/cast"));
    let found = binary.into_iter().find(|path| path.exists());
    if found.is_none() {
        skipped("keystores of cast (not installed: run tests/e2e/setup)");
    }
    found
}

/// A home with a passphrase file.
fn home() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let passphrase = home.path().join("passphrase");
    fs::write(&passphrase, "correct horse").unwrap();
    (home, passphrase)
}

#[test]
fn cast_opens_a_sealed_file() {
    let Some(cast) = cast() else { return };
    let (home, passphrase) = home();
    let vault = Vault::open(home.path(), Backend::File, PassphraseSource::File(passphrase.clone()));
    vault.put(&super::id(), &super::anvil(), "treasury").unwrap();
    let file = home.path().join("vault").join(format!("{ID}.json"));
    let said = Command::new(cast)
        .args(["wallet", "address", "--keystore"])
        .arg(file)
        .arg("--password-file")
        .arg(passphrase)
        .env("HOME", home.path())
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), ANVIL_0_ADDRESS.to_string());
}

#[test]
fn a_keystore_made_by_cast_opens() {
    let Some(cast) = cast() else { return };
    let (home, passphrase) = home();
    let said = Command::new(cast)
        .args(["wallet", "import", "owner", "--private-key", ANVIL_0, "--unsafe-password", "correct horse"])
        .arg("--keystore-dir")
        .arg(home.path())
        .env("HOME", home.path())
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let secret = import::keystore_key(&home.path().join("owner"), &PassphraseSource::File(passphrase)).unwrap();
    assert_eq!(secret.address(), ANVIL_0_ADDRESS);
}
