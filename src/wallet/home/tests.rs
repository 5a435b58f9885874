use tempfile::TempDir;

use super::*;
use crate::wallet::{PassphraseSource, Wallet, usecase::network::zerodev};

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

#[test]
fn k18_a_remote_node_that_is_asked_in_the_clear_is_said_once() {
    use crate::wallet::usecase::network::in_the_clear;
    for near in [
        "https://rpc.example.org/key",
        "http://127.0.0.1:8545",
        "http://localhost:1",
        "http://node.localhost:1",
        "http://[::1]:2",
        "sandbox:",
        "x",
    ] {
        assert_eq!(in_the_clear(near), None, "{near}");
    }
    for far in [
        "http://rpc.example.org/secret-key",
        "http://10.0.0.7:8545",
        "http://[2001:db8::1]/",
        "http://localhost.example.org",
    ] {
        assert!(in_the_clear(far).is_some(), "{far}");
    }
    let (_folder, home) = initialized();
    let wallet = open(&home);
    let remote = Network { rpc: "http://rpc.example.org/secret-key".into(), ..network(5) };
    wallet.add_network("remote", &remote).unwrap();
    let said = wallet.notices().take();
    assert!(said.len() == 1 && said[0].code == "network.http", "{said:?}");
    assert!(said[0].message.contains("rpc.example.org") && !said[0].message.contains("secret-key"), "{said:?}");
    let (near, second) = ("http://127.0.0.1:8545".into(), Some("http://second.example.org".into()));
    wallet.add_network("beside", &Network { rpc: near, second_rpc: second, ..network(5) }).unwrap();
    let said = wallet.notices().take();
    assert!(said.len() == 1 && said[0].message.contains("second.example.org"), "{said:?}");
}

#[tokio::test]
async fn k20_play_keys_get_no_account_on_a_live_network_however_the_config_is_edited() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(&folder.path().join("play"));
    Wallet::init_sandbox(&home).unwrap().seed_sandbox().await.unwrap();
    let live = "\n[network.live]\nchain_id = 1\nrpc = \"https://rpc.example.org\"\n";
    let config = fs::read_to_string(home.config_file()).unwrap();
    let made = async |wallet: &Wallet, network: &str| {
        let owner = crate::wallet::usecase::account::OwnerSource::New;
        wallet.new_account("mine", network, owner, None, alloy::primitives::U256::ZERO).await.map(|_| ())
    };
    fs::write(home.config_file(), format!("{config}{live}")).unwrap();
    assert_eq!(made(&open(&home), "live").await.unwrap_err().code, "sandbox.closed");
    let moved = config.replace("rpc = \"sandbox:\"", "rpc = \"https://rpc.example.org\"");
    assert_ne!(moved, config);
    fs::write(home.config_file(), moved).unwrap();
    assert_eq!(made(&open(&home), "sandbox").await.unwrap_err().code, "sandbox.closed");

    // Not even when the file says that it is no sandbox, and the sandbox's chain is gone.
    fs::write(home.config_file(), format!("vault = \"file\"\n{live}")).unwrap();
    for _ in 0..2 {
        let refused = Wallet::open(home.clone(), PassphraseSource::StandardInput).map(|_| ()).unwrap_err();
        assert_eq!(refused.code, "sandbox.closed");
        let _ = fs::remove_file(home.data().join("sandbox.json"));
    }
}

#[test]
fn case04_a_byte_order_mark_is_not_part_of_a_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text");
    fs::write(&path, b"\xef\xbb\xbflabel = \"x\"").unwrap();
    assert_eq!(read_bounded(&path, 100).unwrap(), "label = \"x\"");
}

#[test]
fn k23_a_new_file_never_takes_the_place_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    create(&path, b"first").unwrap();
    let refused = create(&path, b"second").unwrap_err();
    assert_eq!(refused.code, "file.exists");
    assert_eq!(fs::read_to_string(&path).unwrap(), "first");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");

    // Many at once: one of them has it, whole.
    let path = folder.path().join("contested");
    let made: Vec<bool> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|n| {
                let path = &path;
                scope.spawn(move || create(path, &[b'0' + n; 4096]).is_ok())
            })
            .collect();
        tries.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(made.iter().filter(|made| **made).count(), 1);
    let content = fs::read(&path).unwrap();
    assert!(content.len() == 4096 && content.iter().all(|byte| *byte == content[0]));
}

#[test]
fn k23_what_a_killed_process_left_is_gone_at_the_next_start_and_nothing_else() {
    let (_folder, home) = initialized();
    let place = |name: &str| home.config_folder().join(name);
    let ours = place(".config.toml.0123456789abcdef.tmp");
    let in_vault = home.data().join("vault/.new-0123456789abcdef");
    fs::create_dir(home.data().join("vault")).unwrap();
    let kept = [
        ".config.toml.0123456789abcde.tmp",
        ".config.toml.0123456789abcdeX.tmp",
        ".mine.0123456789abcdef.tmp",
        "vault/.newest",
        "notes.tmp",
    ];
    for path in [&ours, &in_vault] {
        fs::write(path, "half").unwrap();
    }
    for name in &kept {
        fs::write(place(name), "theirs").unwrap();
    }

    // While another process holds the lock, it may be writing them.
    let lock = files::open(&place(".lock")).unwrap();
    lock.lock().unwrap();
    drop(open(&home));
    assert!(ours.exists());
    drop(lock);

    drop(open(&home));
    assert!(!ours.exists() && !in_vault.exists());
    assert!(kept.iter().all(|name| place(name).exists()));
}

#[test]
fn k23_an_old_leftover_of_a_sandbox_is_removed_and_a_young_one_is_not() {
    let (_folder, home) = initialized();
    let left = home.data().join(".sandbox.json.0123456789abcdef.tmp");
    fs::write(&left, "half").unwrap();
    drop(open(&home));
    assert!(left.exists());
    let old = std::time::SystemTime::now() - 2 * LEFTOVER;
    fs::File::options().write(true).open(&left).unwrap().set_modified(old).unwrap();
    drop(open(&home));
    assert!(!left.exists());
}

#[cfg(unix)]
#[test]
fn k23_a_pipe_or_a_device_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [pipe.as_path(), Path::new("/dev/zero"), folder.path()] {
        let refused = read_bounded(path, 100).unwrap_err();
        assert!(refused.message.contains("not a regular file"), "{refused}");
    }
    assert_eq!(create(&pipe, b"x").unwrap_err().code, "file.exists");
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

    fn open_to(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn k17_a_profile_that_is_open_to_others_is_closed_and_that_is_said() {
        let (_folder, home) = initialized();
        drop(open(&home));
        for (path, wide, closed) in [
            (home.config_folder().to_owned(), 0o777, 0o755),
            (home.records_file(), 0o666, 0o600),
            (home.config_file(), 0o644, 0o600),
        ] {
            open_to(&path, wide);
            let said = open(&home).notices().take();
            assert_eq!(mode(&path), closed, "{}", path.display());
            let word = if wide & 0o022 == 0 { "read by others" } else { "changed by others" };
            assert!(
                said.len() == 1 && said[0].message.contains(word) && said[0].code == "home.open_to_others",
                "{said:?}"
            );
            assert_eq!(open(&home).notices().take(), []);
        }
    }

    #[test]
    fn k17_what_leads_to_somebody_elses_files_is_refused() {
        let refused = |home: &Home| match Wallet::open(home.clone(), PassphraseSource::StandardInput) {
            Ok(_) => "opened".to_owned(),
            Err(error) => error.code,
        };
        let (_folder, home) = initialized();
        // Every system has files of root; where the tests are root, a file is given away.
        let foreign = home.config_folder().join("foreign");
        let given = fs::write(&foreign, "").is_ok() && std::os::unix::fs::chown(&foreign, Some(4242), None).is_ok();
        let theirs = if given { foreign } else { Path::new("/etc/hostname").to_owned() };
        symlink(&theirs, home.records_file()).unwrap();
        assert_eq!(refused(&home), "home.not_ours");
        fs::remove_file(home.records_file()).unwrap();
        assert_eq!(refused(&home), "opened");

        fs::remove_file(home.records_file()).unwrap();
        fs::create_dir(home.records_file()).unwrap();
        assert_eq!(refused(&home), "home.not_ours", "a folder is no record file");
    }

    #[test]
    fn k17_no_secret_goes_through_a_link_to_a_folder_of_others() {
        let (folder, home) = initialized();
        let elsewhere = folder.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        open_to(&elsewhere, 0o777);
        symlink(&elsewhere, home.data().join("vault")).unwrap();
        let wallet = open(&home);
        assert_eq!(wallet.secrets().unwrap_err().code, "vault.not_ours");
        assert_eq!(wallet.new_agent("bot").unwrap_err().code, "vault.not_ours");
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
        // What needs no secret goes on.
        assert_eq!(wallet.recorded_accounts().unwrap(), []);

        // One's own folder, closed to others, may lie elsewhere.
        open_to(&elsewhere, 0o700);
        assert_eq!(wallet.secrets().unwrap(), []);
    }
}
