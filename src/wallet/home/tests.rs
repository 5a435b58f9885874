use tempfile::TempDir;

use super::*;
use crate::wallet::{PassphraseSource, Wallet, network::zerodev};

fn initialized() -> (TempDir, Home) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(&folder.path().join("deep/home"));
    Wallet::init(&home, Backend::File).unwrap();
    (folder, home)
}

fn open(home: &Home) -> Wallet {
    Wallet::open(home.clone(), PassphraseSource::StandardInput).unwrap()
}

fn network(chain_id: u64) -> Network {
    zerodev("b5486fa4-e3d9-450b-8428-646e757c10f6", chain_id).unwrap()
}

#[test]
fn a_network_is_read_back_as_it_was_written() {
    let (_folder, home) = initialized();
    open(&home).add_network("sepolia", &network(11_155_111)).unwrap();
    let config = home.load_config().unwrap();
    assert_eq!(config.vault, Backend::File);
    assert_eq!(config.network, BTreeMap::from([("sepolia".to_owned(), network(11_155_111))]));
    assert_eq!(open(&home).networks().len(), 1);
}

#[test]
fn a_persons_comments_and_order_survive_an_edit() {
    let (_folder, home) = initialized();
    let text = "# mine\nvault = \"file\" # the passphrase is in the safe\n\n# slow, but free\n[network.zeta]\nrpc = \"http://127.0.0.1:1\"\nchain_id = 5\n";
    fs::write(home.config_file(), text).unwrap();
    let wallet = open(&home);
    wallet.add_network("alpha", &network(1)).unwrap();
    let edited = fs::read_to_string(home.config_file()).unwrap();
    assert!(edited.starts_with(text), "{edited}");
    wallet.remove_network("alpha").unwrap();
    assert_eq!(fs::read_to_string(home.config_file()).unwrap().trim_end(), text.trim_end());
}

#[test]
fn an_edit_that_fails_changes_nothing() {
    let (_folder, home) = initialized();
    let wallet = open(&home);
    wallet.add_network("sepolia", &network(1)).unwrap();
    let before = fs::read_to_string(home.config_file()).unwrap();
    assert_eq!(wallet.add_network("sepolia", &network(2)).unwrap_err().code, "network.exists");
    assert_eq!(fs::read_to_string(home.config_file()).unwrap(), before);
}

#[test]
fn two_processes_that_add_networks_at_once_lose_none() {
    let (_folder, home) = initialized();
    std::thread::scope(|scope| {
        for process in 0..4 {
            let wallet = open(&home);
            scope.spawn(move || {
                for n in 0..5 {
                    wallet.add_network(&format!("n{process}-{n}"), &network(1)).unwrap();
                }
            });
        }
    });
    assert_eq!(home.load_config().unwrap().network.len(), 20);
}

#[test]
fn a_config_that_cannot_be_read_names_the_file_and_the_line() {
    let (_folder, home) = initialized();
    for (text, line, what) in [
        ("vault = \"file\"\nvalut = 1\n", 2, "valut"),
        ("vault = \"file\"\n\n[network.a]\nchain_id = \"one\"\nrpc = \"http://x\"\n", 4, "chain_id"),
        ("vault = \"keyrin\"\n", 1, "keyrin"),
        ("vault = \n", 1, ""),
    ] {
        fs::write(home.config_file(), text).unwrap();
        let error = home.load_config().unwrap_err();
        assert_eq!(error.code, "config.invalid");
        assert!(error.message.contains(&format!("config.toml, line {line} ")), "{error}");
        assert!(text.contains(what) && !error.hint.is_empty());
    }
    let error = home.edit_config(|_| Ok(())).unwrap_err();
    assert!(error.message.contains("config.toml, line 1 "), "{error}");
    assert_eq!(fs::read_to_string(home.config_file()).unwrap(), "vault = \n", "a broken file is left for the person");
}

#[test]
fn a_config_that_is_too_large_is_not_read() {
    let (_folder, home) = initialized();
    fs::write(home.config_file(), "#".repeat(2 << 20)).unwrap();
    assert_eq!(home.load_config().unwrap_err().code, "file.too_large");
}

#[test]
fn text_files_are_read_up_to_their_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text");
    fs::write(&path, "12345").unwrap();
    assert_eq!(read_bounded(&path, 5).unwrap(), "12345");
    assert_eq!(read_bounded(&path, 4).unwrap_err().code, "file.too_large");
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert_eq!(read_bounded(&path, 4).unwrap_err().code, "file.not_text");
    assert!(read_bounded(&folder.path().join("none"), 4).unwrap_err().message.contains("none"));
}

#[cfg(unix)]
mod permissions {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_are_private_and_so_are_folders() {
        let (_folder, home) = initialized();
        let wallet = open(&home);
        wallet.add_network("sepolia", &network(1)).unwrap();
        assert_eq!(mode(home.config_folder()), 0o700);
        let mut seen = 0;
        for entry in fs::read_dir(home.config_folder()).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
            seen += 1;
        }
        assert!(seen >= 3, "config, lock and records are there");
    }

    #[test]
    fn a_replaced_file_is_private_even_if_the_old_one_was_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode(&path)), ("new", 0o600));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_link_in_the_way_is_replaced_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (folder.path().join("out"), folder.path().join("elsewhere"));
        fs::write(&elsewhere, "theirs").unwrap();
        symlink(&elsewhere, &path).unwrap();
        replace(&path, b"secret").unwrap();
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "theirs");
        assert!(!fs::symlink_metadata(&path).unwrap().is_symlink());
    }

    #[test]
    fn a_write_that_fails_keeps_the_old_file_and_leaves_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("taken");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("inside"), "x").unwrap();
        let error = replace(&target, b"new").unwrap_err();
        assert!(error.message.contains("taken"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
