//! The vault as a whole, on sealed files. `real_world` puts it to a real keyring, kill -9 and other programs.

#[cfg(target_os = "linux")]
mod real_world;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use alloy::primitives::{Address, address};
use zeroize::Zeroizing;

use super::{
    import,
    upkeep::{Finding, Verdict},
    *,
};
use crate::secret::Secret;

const ANVIL_0: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const ANVIL_0_ADDRESS: Address = address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266");

/// The examples that the Web3 Secret Storage definition publishes; their passphrase is `testpassword`.
const PUBLISHED_PBKDF2: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},
"ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2","kdfparams":{"c":262144,
"dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
"mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
const PUBLISHED_SCRYPT: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},
"ciphertext":"d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c","kdf":"scrypt","kdfparams":{"dklen":32,
"n":262144,"r":1,"p":8,"salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},
"mac":"2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
const PUBLISHED_ADDRESS: Address = address!("008AeEda4D805471dF9b2A5B0f38A0C3bCBA786b");

fn anvil() -> Secret {
    Secret::from_hex(ANVIL_0).unwrap()
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Gives the prepared answers in turn, and counts the questions.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<Vec<&'static str>>>,
    asked: Arc<Mutex<Vec<Question>>>,
}

impl Script {
    fn new(answers: &[&'static str]) -> Self {
        let script = Self::default();
        script.answers.lock().unwrap().extend(answers.iter().rev());
        script
    }

    fn asked(&self) -> Vec<Question> {
        self.asked.lock().unwrap().clone()
    }
}

impl AskPassphrase for Script {
    fn ask(&self, question: Question) -> Result<Zeroizing<String>, VaultError> {
        self.asked.lock().unwrap().push(question);
        let answer = self.answers.lock().unwrap().pop();
        answer.map(|text| Zeroizing::new(text.to_owned())).ok_or(VaultError::Cancelled)
    }
}

fn vault(data: &Path, script: &Script) -> Vault {
    Vault::cheap(data, Backend::File, PassphraseSource::Prompt(Box::new(script.clone())))
}

fn stored(data: &Path) -> SecretId {
    let id = SecretId::random().unwrap();
    Vault::for_tests(data).put(&id, &anvil(), "treasury").unwrap();
    id
}

fn file_of(data: &Path, id: &SecretId) -> PathBuf {
    data.join("vault").join(format!("{id}.json"))
}

fn import(json: &str, passphrase: &'static str) -> Result<Secret, VaultError> {
    let dir = home();
    let file = dir.path().join("keystore");
    fs::write(&file, json).unwrap();
    import::keystore_key(&file, &PassphraseSource::Prompt(Box::new(Script::new(&[passphrase]))))
}

/// Says why `json` is refused, and that nobody was asked for a passphrase before.
fn refused_unasked(json: &[u8]) -> VaultError {
    let dir = home();
    let file = dir.path().join("keystore");
    fs::write(&file, json).unwrap();
    let script = Script::new(&["testpassword"]);
    let error = import::keystore_key(&file, &PassphraseSource::Prompt(Box::new(script.clone()))).err().unwrap();
    assert_eq!(script.asked(), [], "{error}");
    error
}

#[test]
fn a_secret_comes_back_from_a_new_handle() {
    let home = home();
    let id = stored(home.path());
    let vault = Vault::for_tests(home.path());
    assert_eq!(vault.get(&id).unwrap().to_hex().as_str(), ANVIL_0);
    assert!(vault.contains(&id));
    vault.remove(&id).unwrap();
    assert!(!vault.contains(&id));
    assert!(!file_of(home.path(), &id).exists());
    assert!(matches!(vault.get(&id), Err(VaultError::NotFound { .. })));
    assert!(matches!(vault.remove(&id), Err(VaultError::NotFound { .. })));
}

#[test]
fn listing_and_status_ask_for_nothing() {
    let home = home();
    let id = stored(home.path());
    let script = Script::default();
    let vault = vault(home.path(), &script);
    let entry = vault.list().unwrap().pop().unwrap();
    assert_eq!((entry.id, entry.address, entry.label.as_str()), (id, ANVIL_0_ADDRESS, "treasury"));
    assert_eq!((entry.backend, entry.step), (Backend::File, Step::Stored));
    assert_eq!(vault.status(Backend::File), Status::Locked);
    assert_eq!(script.asked(), []);
}

#[test]
fn a_fresh_vault_lists_nothing_and_makes_no_folder() {
    let home = home();
    let vault = Vault::for_tests(home.path());
    assert!(vault.list().unwrap().is_empty());
    assert!(!vault.contains(&SecretId::random().unwrap()));
    assert!(!home.path().join("vault").exists());
}

#[test]
fn an_id_is_used_once() {
    let home = home();
    let id = stored(home.path());
    let other = Secret::random().unwrap();
    assert!(matches!(Vault::for_tests(home.path()).put(&id, &other, "x"), Err(VaultError::AlreadyThere { .. })));
    assert_eq!(Vault::for_tests(home.path()).get(&id).unwrap().address(), ANVIL_0_ADDRESS);
}

#[test]
fn a_sealed_file_is_a_version_3_keystore_with_standard_scrypt() {
    let home = home();
    let secret = home.path().join("passphrase");
    fs::write(&secret, "correct horse\n").unwrap();
    let vault = Vault::open(home.path(), Backend::File, PassphraseSource::File(secret));
    let id = SecretId::random().unwrap();
    vault.put(&id, &anvil(), "treasury").unwrap();

    let text = fs::read_to_string(file_of(home.path(), &id)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["version"], 3);
    assert_eq!(json["address"], "f39fd6e51aad88f6f4ce6ab8827279cfffb92266");
    assert_eq!(json["id"].as_str().unwrap().replace('-', ""), id.to_string());
    assert_eq!(json["id"].as_str().unwrap().len(), 36);
    let crypto = &json["crypto"];
    assert_eq!(crypto["cipher"], "aes-128-ctr");
    assert_eq!(crypto["kdf"], "scrypt");
    let params = &crypto["kdfparams"];
    assert_eq!((&params["n"], &params["r"], &params["p"]), (&131_072.into(), &8.into(), &1.into()));
    assert_eq!(params["dklen"], 32);
    assert_eq!(params.as_object().unwrap().len(), 5, "no empty fields of pbkdf2");
    for (value, digits) in
        [(&params["salt"], 64), (&crypto["cipherparams"]["iv"], 32), (&crypto["ciphertext"], 64), (&crypto["mac"], 64)]
    {
        assert_eq!(value.as_str().unwrap().len(), digits);
    }
    assert!(!text.contains(&ANVIL_0[2..]) && !text.contains("treasury"));
    assert_eq!(import(&text, "correct horse").unwrap().address(), ANVIL_0_ADDRESS);
}

#[test]
fn two_files_of_one_secret_have_nothing_in_common() {
    let home = home();
    let texts =
        [stored(home.path()), stored(home.path())].map(|id| fs::read_to_string(file_of(home.path(), &id)).unwrap());
    let crypto = texts.map(|t| serde_json::from_str::<serde_json::Value>(&t).unwrap()["crypto"].clone());
    for key in ["ciphertext", "mac", "cipherparams"] {
        assert_ne!(crypto[0][key], crypto[1][key]);
    }
    assert_ne!(crypto[0]["kdfparams"]["salt"], crypto[1]["kdfparams"]["salt"]);
}

#[test]
fn the_published_keystores_open() {
    for json in [PUBLISHED_PBKDF2, PUBLISHED_SCRYPT, &PUBLISHED_SCRYPT.replace("crypto", "Crypto")] {
        let secret = import(json, "testpassword").unwrap();
        assert_eq!(secret.address(), PUBLISHED_ADDRESS);
        assert_eq!(secret.to_hex().as_str(), "0x7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d");
    }
}

#[test]
fn a_keystore_that_names_another_address_is_refused() {
    let lying =
        PUBLISHED_PBKDF2.replace("\"version\"", "\"address\":\"f39fd6e51aad88f6f4ce6ab8827279cfffb92266\",\"version\"");
    assert!(import(&lying, "testpassword").err().unwrap().to_string().contains("names the address"));
}

#[test]
fn a_foreign_keystore_with_a_wrong_passphrase_says_both_possible_reasons() {
    assert!(matches!(import(PUBLISHED_PBKDF2, "wrong"), Err(VaultError::WrongPassphraseOrChanged { .. })));
}

#[test]
fn owner_keys_are_read_from_files_and_errors_do_not_repeat_them() {
    let home = home();
    let file = home.path().join("key");
    let source = import::TextSource::File(file.clone());
    let words = "test test test test test test test test test test test junk";
    fs::write(&file, format!("{ANVIL_0}\n")).unwrap();
    assert_eq!(import::hex_key(&source).unwrap().address(), ANVIL_0_ADDRESS);
    fs::write(&file, words).unwrap();
    assert_eq!(import::mnemonic_key(&source, None).unwrap().address(), ANVIL_0_ADDRESS);
    let second = import::mnemonic_key(&source, Some("m/44'/60'/0'/0/1")).unwrap();
    assert_eq!(second.address(), address!("70997970C51812dc3A010C7d01b50e0d17dc79C8"));
    assert!(import::mnemonic_key(&source, Some("m/44'/60'/x")).err().unwrap().to_string().contains("derivation path"));

    for content in [words, &ANVIL_0[..60], "", &"x".repeat(1025)] {
        fs::write(&file, content).unwrap();
        let error = import::hex_key(&source).err().unwrap();
        assert!(content.len() < 10 || !format!("{error}{error:?}").contains(&content[..10]), "{error}");
    }
    for content in [ANVIL_0, &words[5..], &words.replace("junk", "zebra"), &words.replace("junk", "nonesuch")] {
        fs::write(&file, content).unwrap();
        let error = import::mnemonic_key(&source, None).err().unwrap();
        assert!(
            !["test test", "zebra", "nonesuch", &ANVIL_0[..10]].iter().any(|s| format!("{error}{error:?}").contains(s))
        );
    }
    let missing = import::TextSource::File(home.path().join("missing"));
    assert!(import::hex_key(&missing).err().unwrap().to_string().contains("missing"));
}

#[test]
fn hostile_parameters_are_refused_before_any_work_or_question() {
    let with = |from: &str, to: &str| {
        assert!(PUBLISHED_SCRYPT.contains(from) || PUBLISHED_PBKDF2.contains(from));
        let json = if PUBLISHED_SCRYPT.contains(from) { PUBLISHED_SCRYPT } else { PUBLISHED_PBKDF2 };
        json.replace(from, to)
    };
    let begun = std::time::Instant::now();
    for json in [
        with("\"n\":262144", "\"n\":1099511627776"),
        with("\"n\":262144", "\"n\":18446744073709551615"),
        with("\"n\":262144", "\"n\":8388608"),
        // K21: twelve seconds, or 273 MB, for a file from somewhere.
        with("\"n\":262144,\"r\":1,\"p\":8", "\"n\":262144,\"r\":8,\"p\":8"),
        with("\"n\":262144,\"r\":1,\"p\":8", "\"n\":524288,\"r\":8,\"p\":1"),
        with("\"c\":262144", "\"c\":10000000"),
        with("\"n\":262144", "\"n\":262143"),
        with("\"n\":262144", "\"n\":0"),
        with("\"n\":262144", "\"n\":1"),
        with("\"r\":1", "\"r\":0"),
        with("\"r\":1", "\"r\":4294967296"),
        with("\"r\":1", "\"r\":18446744073709551615"),
        with("\"r\":1", "\"r\":16"),
        with("\"n\":262144,\"r\":1", "\"n\":2,\"r\":1048576"),
        with("\"p\":8", "\"p\":0"),
        with("\"p\":8", "\"p\":1073741824"),
        with("\"dklen\":32", "\"dklen\":4294967296"),
        with("\"dklen\":32", "\"dklen\":16"),
        with("\"dklen\":32", "\"dklen\":0"),
        with("\"c\":262144", "\"c\":4294967295"),
        with("\"c\":262144", "\"c\":18446744073709551615"),
        with("\"c\":262144", "\"c\":0"),
        with("\"salt\":\"ab", &format!("\"salt\":\"{}", "ab".repeat(20_000))),
        with("\"salt\":\"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19\"", "\"salt\":\"\""),
    ] {
        let error = refused_unasked(json.as_bytes());
        assert!(matches!(error, VaultError::Hostile { .. }), "{error}");
    }
    assert!(begun.elapsed().as_secs() < 5);
}

#[test]
fn case04_a_key_may_begin_with_a_byte_order_mark() {
    let home = home();
    let file = home.path().join("key");
    fs::write(&file, [b"\xef\xbb\xbf", ANVIL_0.as_bytes()].concat()).unwrap();
    assert!(import::hex_key(&import::TextSource::File(file)).is_ok());
}

#[cfg(unix)]
#[test]
fn k23_a_pipe_that_nobody_writes_into_is_no_key_and_no_passphrase() {
    let home = home();
    let pipe = home.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let key = import::hex_key(&import::TextSource::File(pipe.clone())).err().unwrap();
    assert!(key.to_string().contains("not a regular file"), "{key}");
    let passphrase = PassphraseSource::File(pipe).ask(Question::Unlock).err().unwrap();
    assert!(passphrase.to_string().contains("not a regular file"), "{passphrase}");
}

#[test]
fn what_is_not_a_keystore_is_refused_without_repeating_it() {
    let key = ANVIL_0.as_bytes();
    let quoted = format!("\"{ANVIL_0}\"");
    let in_version = PUBLISHED_SCRYPT.replace("\"version\":3", &format!("\"version\":\"{ANVIL_0}\""));
    let in_kdf = PUBLISHED_SCRYPT.replace("\"kdf\":\"scrypt\"", &format!("\"kdf\":\"{ANVIL_0}\""));
    let in_cipher = PUBLISHED_SCRYPT.replace("aes-128-ctr", ANVIL_0);
    for json in [key, quoted.as_bytes(), in_version.as_bytes(), in_kdf.as_bytes(), in_cipher.as_bytes()] {
        let error = refused_unasked(json);
        assert!(!format!("{error} {error:?}").contains(&ANVIL_0[2..12]), "{error}");
    }
    for json in ["", "{", "[]", "{}", "null", &PUBLISHED_SCRYPT[..300], &"[".repeat(60_000), &"{\"a\":".repeat(10_000)]
    {
        assert!(matches!(refused_unasked(json.as_bytes()), VaultError::Damaged { .. }));
    }
    for (from, to) in [
        ("aes-128-ctr", "aes-256-gcm"),
        ("\"version\":3", "\"version\":1"),
        ("\"kdf\":\"scrypt\"", "\"kdf\":\"argon2\""),
    ] {
        let error = refused_unasked(PUBLISHED_SCRYPT.replace(from, to).as_bytes());
        assert!(matches!(error, VaultError::Unsupported { .. }), "{error}");
    }
    let error = refused_unasked(PUBLISHED_PBKDF2.replace("hmac-sha256", "hmac-md5").as_bytes());
    assert!(matches!(error, VaultError::Unsupported { .. }), "{error}");
}

#[test]
fn a_huge_file_is_not_read_and_a_pipe_is_not_waited_for() {
    assert!(refused_unasked(&vec![b' '; 10 * 1024 * 1024]).to_string().contains("longer than 65536 bytes"));
    #[cfg(unix)]
    {
        let home = home();
        let pipe = home.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let error = import::keystore_key(&pipe, &PassphraseSource::Prompt(Box::new(Script::default()))).err().unwrap();
        assert!(error.to_string().contains("not a regular file"));
    }
}

#[test]
fn a_wrong_passphrase_is_told_from_a_damaged_file() {
    let home = home();
    let id = stored(home.path());
    let script = Script::new(&["wrong", "also wrong", "still wrong", "test"]);
    let wrong = vault(home.path(), &script).get(&id).err().unwrap();
    assert!(matches!(wrong, VaultError::WrongPassphrase { .. }), "{wrong}");
    assert_eq!(script.asked(), [Question::Unlock, Question::UnlockAgain, Question::UnlockAgain]);

    let file = file_of(home.path(), &id);
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    json["crypto"]["ciphertext"] = "00".repeat(32).into();
    fs::write(&file, json.to_string()).unwrap();
    let damaged = Vault::for_tests(home.path()).get(&id).err().unwrap();
    assert!(matches!(damaged, VaultError::Damaged { .. }), "{damaged}");
    assert!(damaged.to_string().contains("passphrase is right"));
}

#[test]
fn a_truncated_sealed_file_is_damaged() {
    let home = home();
    let id = stored(home.path());
    let file = file_of(home.path(), &id);
    let whole = fs::read(&file).unwrap();
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(&file, &whole[..length]).unwrap();
        assert!(matches!(Vault::for_tests(home.path()).get(&id), Err(VaultError::Damaged { .. })), "{length}");
    }
    fs::remove_file(&file).unwrap();
    assert!(matches!(Vault::for_tests(home.path()).get(&id), Err(VaultError::Missing { .. })));
}

#[test]
fn swapped_files_are_noticed() {
    let home = home();
    let id = stored(home.path());
    let other = SecretId::random().unwrap();
    Vault::for_tests(home.path()).put(&other, &Secret::random().unwrap(), "other").unwrap();
    fs::copy(file_of(home.path(), &other), file_of(home.path(), &id)).unwrap();
    assert!(matches!(Vault::for_tests(home.path()).get(&id), Err(VaultError::AddressMismatch { .. })));
}

#[test]
fn one_passphrase_is_asked_once_and_guards_the_whole_vault() {
    let home = home();
    let script = Script::new(&["chosen", "chosen"]);
    let vault_1 = vault(home.path(), &script);
    let ids = [(); 3].map(|()| SecretId::random().unwrap());
    for id in &ids {
        vault_1.put(id, &Secret::random().unwrap(), "key").unwrap();
    }
    for id in &ids {
        drop(vault_1.get(id).unwrap());
    }
    assert_eq!(script.asked(), [Question::Choose, Question::Repeat]);
    assert_eq!(vault_1.status(Backend::File), Status::Available);

    // Another process cannot add under another passphrase, wherever it comes from.
    let id = SecretId::random().unwrap();
    let other = vault(home.path(), &Script::new(&["other"; 3]));
    assert!(matches!(other.put(&id, &anvil(), "key"), Err(VaultError::WrongPassphrase { .. })));
    let from_file = home.path().join("passphrase");
    fs::write(&from_file, "other").unwrap();
    let other = Vault::cheap(home.path(), Backend::File, PassphraseSource::File(from_file));
    assert!(matches!(other.put(&id, &anvil(), "key"), Err(VaultError::WrongPassphrase { .. })));
    assert_eq!(other.list().unwrap().len(), 3);

    let script = Script::new(&["typo", "chosen"]);
    vault(home.path(), &script).put(&id, &anvil(), "key").unwrap();
    assert_eq!(script.asked(), [Question::Unlock, Question::UnlockAgain]);
}

#[test]
fn a_lost_passphrase_check_does_not_open_the_door_to_a_second_passphrase() {
    let home = home();
    stored(home.path());
    let check = home.path().join("vault/passphrase-check.json");
    fs::remove_file(&check).unwrap();
    let id = SecretId::random().unwrap();
    let other = vault(home.path(), &Script::new(&["other"]));
    assert!(matches!(other.put(&id, &anvil(), "key"), Err(VaultError::WrongPassphraseOrChanged { .. })));
    assert!(!check.exists());
    Vault::for_tests(home.path()).put(&id, &anvil(), "key").unwrap();
    assert!(check.exists());
}

#[test]
fn a_new_vault_wants_a_passphrase_typed_twice_and_not_empty() {
    for (answers, expected) in
        [(&["a", "b"][..], "differ"), (&[""], "empty"), (&[], "cancelled"), (&["a"], "cancelled")]
    {
        let home = home();
        let error =
            vault(home.path(), &Script::new(answers)).put(&SecretId::random().unwrap(), &anvil(), "x").unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(Vault::for_tests(home.path()).list().unwrap().is_empty());
        assert!(!home.path().join("vault").exists(), "nothing is stored");
    }
}

#[cfg(unix)]
#[test]
fn everything_is_closed_to_other_users_whatever_was_there_before() {
    use std::os::unix::fs::PermissionsExt;
    let home = home();
    let folder = home.path().join("vault");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    stored(home.path());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files.len(), 4, "{files:?}");
    for file in &files {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
}

#[test]
fn leftovers_of_a_killed_process_are_ignored_and_cleaned_up() {
    let home = home();
    let id = stored(home.path());
    // As they are named now, and as they were.
    let leftovers =
        [".index.json.0011223344556677.tmp", ".new-0011223344556677"].map(|name| home.path().join("vault").join(name));
    for leftover in &leftovers {
        fs::write(leftover, "half a file").unwrap();
    }
    assert_eq!(Vault::for_tests(home.path()).list().unwrap().len(), 1);
    Vault::for_tests(home.path()).get(&id).unwrap();
    assert!(leftovers.iter().all(|leftover| leftover.exists()), "readers change nothing");
    stored(home.path());
    assert!(leftovers.iter().all(|leftover| !leftover.exists()));
}

#[test]
fn a_damaged_index_is_not_overwritten_until_check_rebuilds_it() {
    let home = home();
    let id = stored(home.path());
    let index = home.path().join("vault/index.json");
    let vault = Vault::for_tests(home.path());
    for content in ["{", "", "{\"schema\":1}", "[]"] {
        fs::write(&index, content).unwrap();
        assert!(matches!(vault.list(), Err(VaultError::Damaged { .. })));
        assert!(matches!(vault.get(&id), Err(VaultError::Damaged { .. })));
        assert!(matches!(vault.put(&SecretId::random().unwrap(), &anvil(), "x"), Err(VaultError::Damaged { .. })));
        assert_eq!(fs::read_to_string(&index).unwrap(), content);

        let findings = vault.check(&[]).unwrap();
        assert!(
            matches!(findings[..], [Finding { verdict: Verdict::Found { backend: Backend::File }, .. }]),
            "{findings:?}"
        );
        assert_eq!(vault.get(&id).unwrap().address(), ANVIL_0_ADDRESS);
        assert_eq!(fs::read_to_string(home.path().join("vault/index.damaged")).unwrap(), content);
    }
}

#[test]
fn the_index_of_a_newer_keyleash_is_left_alone() {
    let home = home();
    let id = stored(home.path());
    let index = home.path().join("vault/index.json");
    let content = "{\"schema\":2,\"secrets\":{\"new\":\"shape\"}}";
    fs::write(&index, content).unwrap();
    let vault = Vault::for_tests(home.path());
    assert!(matches!(vault.get(&id), Err(VaultError::Newer { schema: 2, .. })));
    assert!(matches!(vault.check(&[]), Err(VaultError::Newer { .. })));
    assert!(matches!(vault.put(&SecretId::random().unwrap(), &anvil(), "x"), Err(VaultError::Newer { .. })));
    assert_eq!(fs::read_to_string(&index).unwrap(), content);
}

#[test]
fn check_settles_what_was_cut_off_and_nothing_else_happens_before() {
    for (step, there, expected) in [
        (Step::Writing, true, "but it is in the file vault: completed"),
        (Step::Writing, false, "before it was written: forgotten"),
        (Step::Removing, true, "still in the file vault: kept"),
        (Step::Removing, false, "after it was deleted: completed"),
        (Step::Stored, true, "as recorded"),
        (Step::Stored, false, "in neither vault"),
    ] {
        let home = home();
        let id = stored(home.path());
        Vault::for_tests(home.path()).pretend(&id, step);
        if !there {
            fs::remove_file(file_of(home.path(), &id)).unwrap();
        }
        let vault = Vault::for_tests(home.path());
        if step != Step::Stored {
            assert!(matches!(vault.remove(&id), Err(VaultError::Unsettled { .. })));
            assert!(matches!(vault.list().unwrap()[..], [Entry { step: now, .. }] if now == step));
        }
        let findings = vault.check(&[]).unwrap();
        assert_eq!(findings.len(), 1);
        assert!(findings[0].verdict.to_string().contains(expected), "{step:?} {there}: {}", findings[0].verdict);
        assert_eq!(vault.get(&id).is_ok(), there, "{step:?}");
        if there {
            assert!(matches!(vault.check(&[]).unwrap()[0].verdict, Verdict::Sound { .. }));
            vault.remove(&id).unwrap();
        }
    }
}

#[test]
fn check_reports_what_it_cannot_put_right_and_changes_nothing() {
    let home = home();
    let (swapped, broken) = (stored(home.path()), stored(home.path()));
    let other = SecretId::random().unwrap();
    Vault::for_tests(home.path()).put(&other, &Secret::random().unwrap(), "other").unwrap();
    fs::copy(file_of(home.path(), &other), file_of(home.path(), &swapped)).unwrap();
    fs::write(file_of(home.path(), &broken), "{").unwrap();
    let vault = Vault::for_tests(home.path());
    let before = vault.list().unwrap();
    for _ in 0..2 {
        let findings = vault.check(&[]).unwrap();
        let of = |id: &SecretId| findings.iter().find(|f| f.id == *id).map(|f| &f.verdict);
        assert!(matches!(of(&swapped), Some(Verdict::WrongAddress { recorded: ANVIL_0_ADDRESS, .. })));
        assert!(matches!(of(&broken), Some(Verdict::Unclear { why: VaultError::Damaged { .. } })));
        assert!(matches!(of(&other), Some(Verdict::Sound { .. })));
        assert_eq!(vault.list().unwrap(), before);
    }
}

#[test]
fn two_processes_and_many_threads_lose_nothing() {
    const EACH: usize = 12;
    if let Some(data) = std::env::var_os("KEYLEASH_TEST_WRITER") {
        for _ in 0..EACH {
            stored(Path::new(&data));
        }
        return;
    }
    let home = home();
    let name = "wallet::vault::tests::two_processes_and_many_threads_lose_nothing";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env("KEYLEASH_TEST_WRITER", home.path())
        .spawn()
        .unwrap();
    let written = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..EACH {
                    stored(home.path());
                    written.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert!(child.wait().unwrap().success());
    let vault = Vault::for_tests(home.path());
    let entries = vault.list().unwrap();
    assert_eq!((written.load(Ordering::Relaxed), entries.len()), (2 * EACH, 3 * EACH));
    assert!(entries.iter().all(|e| e.step == Step::Stored && vault.get(&e.id).is_ok()));
}

#[test]
fn a_label_cannot_disturb_a_terminal() {
    let home = home();
    let vault = Vault::for_tests(home.path());
    let id = SecretId::random().unwrap();
    vault.put(&id, &anvil(), &format!("a\u{1b}[31m\nb\u{202e}c{}", "x".repeat(500))).unwrap();
    let label = vault.list().unwrap().pop().unwrap().label;
    assert!(label.starts_with("a [31m b cx"), "{label}");
    assert_eq!(label.chars().count(), 81, "cut, with a mark");
}

#[test]
fn ids_have_one_spelling() {
    let id = SecretId::random().unwrap();
    assert_eq!(id.to_string().parse::<SecretId>().unwrap(), id);
    let upper = "ABCDEF00112233445566778899AABBCC";
    for bad in [upper, "", "../../etc/passwd", "0x00112233445566778899aabbccddeeff", &"0".repeat(31), &"é".repeat(16)]
    {
        assert!(bad.parse::<SecretId>().is_err(), "{bad}");
    }
}

/// Resolves to the trait's answer for every type that does not have the forbidden trait, and fails to compile (two
/// candidates) for one that does.
macro_rules! assert_lacks {
    ($type:ty: $($forbidden:path),+) => {$(
        const _: fn() = || {
            trait AmbiguousIfPresent<Marker> { fn check() {} }
            impl<T: ?Sized> AmbiguousIfPresent<()> for T {}
            struct Present;
            impl<T: ?Sized + $forbidden> AmbiguousIfPresent<Present> for T {}
            <$type as AmbiguousIfPresent<_>>::check();
        };
    )+};
}

// Nothing that holds a secret or a passphrase can be printed, copied or serialized by accident.
assert_lacks!(Secret: fmt::Debug, fmt::Display, Clone, serde::Serialize);
assert_lacks!(Vault: fmt::Debug, fmt::Display, Clone, serde::Serialize);
assert_lacks!(PassphraseSource: fmt::Debug, fmt::Display, Clone, serde::Serialize);

#[test]
fn the_vault_can_be_shared_between_threads() {
    fn shareable<T: Send + Sync>() {}
    shareable::<Vault>();
}

/// The N of scrypt that a sealed file says it was made with.
fn sealed_with(data: &Path, id: &SecretId) -> u64 {
    let file = fs::read_to_string(data.join("vault").join(format!("{id}.json"))).unwrap();
    let keystore: serde_json::Value = serde_json::from_str(&file).unwrap();
    keystore["crypto"]["kdfparams"]["n"].as_u64().unwrap()
}

#[test]
fn a_live_secret_is_sealed_at_full_cost_and_only_a_play_key_cheaply() {
    let (live, play) = (home(), home());
    let id = SecretId::random().unwrap();
    let passphrase = PassphraseSource::Prompt(Box::new(Script::new(&["correct horse", "correct horse"])));
    Vault::open(live.path(), Backend::File, passphrase).put(&id, &anvil(), "owner").unwrap();
    Vault::of_play_keys(play.path()).put(&id, &anvil(), "owner").unwrap();
    assert_eq!((sealed_with(live.path(), &id), sealed_with(play.path(), &id)), (1 << 17, 16));
}

/// Answers once it was let go, and says that it was asked.
struct LetGo(Mutex<std::sync::mpsc::Receiver<()>>, std::sync::mpsc::Sender<()>);

impl AskPassphrase for LetGo {
    fn ask(&self, _: Question) -> Result<Zeroizing<String>, VaultError> {
        self.1.send(()).unwrap();
        let patience = std::time::Duration::from_secs(20);
        match self.0.lock().unwrap().recv_timeout(patience) {
            Ok(()) => Ok(Zeroizing::new("test".into())),
            Err(_) => Err(VaultError::Cancelled),
        }
    }
}

#[test]
fn a_person_who_takes_their_time_holds_up_no_other_task_of_the_runtime() {
    let home = home();
    let id = SecretId::random().unwrap();
    Vault::for_tests(home.path()).put(&id, &anvil(), "owner").unwrap();
    let (let_go, told) = std::sync::mpsc::channel();
    let (says, asked) = std::sync::mpsc::channel();
    let source = PassphraseSource::Prompt(Box::new(LetGo(Mutex::new(told), says)));
    let vault = Vault::cheap(home.path(), Backend::File, source);
    // One worker: without it nothing goes on.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let waiting = runtime.spawn(async move { vault.get(&id) });
    asked.recv().unwrap();
    runtime.spawn(async move { let_go.send(()).unwrap() });
    let secret = runtime.block_on(waiting).unwrap().unwrap();
    assert_eq!(secret.address(), ANVIL_0_ADDRESS);
}
