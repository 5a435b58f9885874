//! kill -9 at every step of grant, revoke, import and vault moves, through the binary: nothing is lost, whatever left is on
//! record, and the next start finds a whole profile. `strace` kills the process as it enters its n-th write, rename, unlink,
//! sync or send, so the product needs no hooks. Only with KEYLEASH_LONG=1 (`tests/run --long`); a few points in CI are in
//! src/wallet/vault/tests/real_world/crash.rs.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use alloy::sol_types::SolCall;
use keyleash::{
    erc4337::v06::{ENTRY_POINT, UserOperation},
    protocol::kernel_v2::{blob, generation::KernelVersion, signature::Mode},
    secret::Secret,
};
use serde_json::json;

use super::{
    scenarios_lies::copy_folder,
    scenarios_revoke::{OWNERS_SEND, self_bundled},
};
use crate::support::{
    World,
    account::{Grant, TestAccount, permission, scope},
    chain::{CHAIN_ID, tickCall},
    desktop::Desktop,
    keyleash::{ACCOUNT, Keyleash, text},
    policy::{may_call, policy},
    proxy::Proxy,
    skipped, world,
};

/// Every way in which a command leaves a mark outside of its own memory.
const MARKS: [&str; 5] = ["/^rename", "/^unlink", "/^f(data)?sync$", "/^(write|pwrite64)$", "/^(sendto|sendmsg)$"];

/// Most points for one mark of one command: what comes after them repeats.
const MOST: u32 = 24;

/// Commands after whose death a temporary file stays in the profile although the next start could remove it, and why. To be taken
/// off when it does not.
const TEMPORARY_FILES_STAY: [(&str, &str); 0] = [];

fn is_long() -> bool {
    std::env::var_os("KEYLEASH_LONG").is_some_and(|value| value == "1")
}

/// Where the series can be run at all: asked for, and with a tracer that works.
fn wanted() -> bool {
    if !is_long() {
        skipped("the kill -9 series", "it takes long: tests/run --long");
        return false;
    }
    let works = Command::new("strace").args(["-o", "/dev/null", "true"]).output().is_ok_and(|o| o.status.success());
    if !works {
        skipped("the kill -9 series", "no strace, or it may not trace");
    }
    works
}

/// Runs a command of the binary and kills it at its n-th call out of `mark`; whether it got that far.
fn killed_at(owner: &Keyleash, words: &[&str], mark: &str, n: u32) -> bool {
    let plain = owner.command(words);
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={mark}")]);
    traced.args(["-e", &format!("inject={mark}:signal=KILL:when={n}")]);
    traced.arg(plain.get_program()).args(plain.get_args()).env_remove("KEYLEASH_HOME");
    traced.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let status =
        traced.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("strace starts");
    status.signal() == Some(9) || status.code() == Some(137)
}

/// Temporary files in a profile: ours are made beside their target and renamed.
fn temporary(owner: &Keyleash) -> Vec<PathBuf> {
    fn below(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                below(&path, found);
            } else if path.extension().is_some_and(|e| e == "tmp")
                || name.starts_with(".new-")
                || name.ends_with("-journal")
            {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    below(&owner.path("home"), &mut found);
    found
}

/// What the series saw.
#[derive(Default)]
struct Seen {
    killed: u32,
    finished: u32,
    left: BTreeMap<String, u32>,
}

/// Kills a command at every point; before each, `prepare` makes a profile, and `judge` looks at it after the next start.
fn kill_everywhere<T>(
    what: &str,
    prepare: impl Fn() -> (Keyleash, Vec<String>, T),
    judge: impl Fn(&Keyleash, &T),
) -> Seen {
    let mut seen = Seen::default();
    for mark in MARKS {
        for n in 1..=MOST {
            let (owner, words, known) = prepare();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let killed = killed_at(&owner, &words, mark, n);
            // The next start.
            owner.ok(&["key", "ls"]);
            owner.ok(&["vault", "check"]);
            judge(&owner, &known);
            for file in temporary(&owner) {
                let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let kind: String = name.chars().filter(|c| !c.is_ascii_hexdigit()).collect();
                *seen.left.entry(kind).or_default() += 1;
            }
            if !killed {
                seen.finished += 1;
                break;
            }
            seen.killed += 1;
        }
    }
    println!(
        "{what}: killed {} times, {} marks to the end; temporary files left: {:?}",
        seen.killed, seen.finished, seen.left
    );
    let known = TEMPORARY_FILES_STAY.iter().find(|(command, _)| *command == what);
    match known {
        Some((_, row)) if seen.left.is_empty() => {
            println!("{what}: none is left ({row}): take it off TEMPORARY_FILES_STAY")
        }
        Some(_) => {}
        None => assert!(seen.left.is_empty(), "{what}: {:?}", seen.left),
    }
    assert!(seen.killed > 0, "{what}: never killed");
    seen
}

fn copy_of(owner: &Keyleash) -> Keyleash {
    let copy = Keyleash::bare();
    copy_folder(&owner.path("home"), &copy.path("home"));
    copy
}

/// An owner's profile with one key granted.
fn profile(world: &World, account: &TestAccount, bundler: &str) -> (Keyleash, String) {
    let owner = Keyleash::bare();
    owner.ok(&["init", "--vault", "file"]);
    let (chain_id, node) = (CHAIN_ID.to_string(), &world.chain.url);
    owner.ok(&["network", "add", "local", "--chain-id", &chain_id, "--rpc", node, "--bundler", bundler]);
    owner.adopt(world, account);
    let first = owner.grant(&policy("first", &may_call(world.chain.targets.board, "tick()")));
    (owner, text(&first, "key_id").to_owned())
}

/// The key that was there before is there, whole, with its private half.
fn first_is_whole(owner: &Keyleash, id: &str) {
    let out = owner.new_path("export");
    owner.ok(&["key", "export", id, "--out", &out, "--with-secret"]);
    blob::read(&fs::read_to_string(out).expect("the export")).unwrap_or_else(|e| panic!("the export: {e}"));
}

#[test]
fn a_killed_grant_is_whole_or_nothing_and_loses_nothing() {
    let Some(world) = world() else { return };
    if !wanted() {
        return;
    }
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let (owner, first) = profile(world, &account, &world.bundler.url);
    let prepare = || {
        let copy = copy_of(&owner);
        let policy = copy.file("policy.toml", &policy("second", &may_call(world.chain.targets.board, "tick()")));
        let out = copy.path("out").to_string_lossy().into_owned();
        let words = ["grant", ACCOUNT, "--policy", &policy, "--new-key", "--out", &out].map(str::to_owned).to_vec();
        (copy, words, PathBuf::from(out))
    };
    kill_everywhere("grant", prepare, |copy, out| {
        first_is_whole(copy, &first);
        let keys = copy.ok(&["key", "ls", ACCOUNT]);
        let second = keys.as_array().into_iter().flatten().find(|key| key["label"] == "second");
        if let Some(key) = second {
            first_is_whole(copy, text(key, "key_id"));
        }
        assert!(!out.exists() || second.is_some(), "an approval went out that is not on record");
    });
}

#[test]
fn a_killed_import_is_whole_or_nothing_and_loses_nothing() {
    let Some(world) = world() else { return };
    if !wanted() {
        return;
    }
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let (owner, first) = profile(world, &account, &world.bundler.url);
    let tick = scope(vec![permission(world.chain.targets.board, tickCall::SELECTOR)]);
    let other = TestAccount::deployed(world, KernelVersion::V0_2_4).grant(world, tick.clone());
    let secret = Secret::from_bytes(&mut other.key.to_bytes().0).expect("a private key");
    let serialized =
        blob::write(&other.approval, &tick, None, keyleash::protocol::Format::V4, Some(&secret)).expect("an approval");
    let prepare = || {
        let copy = copy_of(&owner);
        let file = copy.file("approval", &serialized);
        let words = ["agent", "import", &file, "--label", "imported"].map(str::to_owned).to_vec();
        (copy, words, ())
    };
    kill_everywhere("import", prepare, |copy, ()| {
        first_is_whole(copy, &first);
        let keys = copy.ok(&["key", "ls"]);
        if let Some(key) = keys.as_array().into_iter().flatten().find(|key| key["label"] == "imported") {
            first_is_whole(copy, text(key, "key_id"));
        }
    });
}

#[test]
fn a_killed_revocation_is_on_record_and_can_be_done_again() {
    let Some(world) = world() else { return };
    if !wanted() {
        return;
    }
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&heard);
    // A bundler that notes what it is handed, and says that it took it: nothing is mined, so each time begins alike.
    let proxy = Proxy::start(world, move |request| match request.method {
        "eth_sendUserOperation" => {
            let op: UserOperation = serde_json::from_value(request.params[0].clone()).expect("an operation");
            let hash = op.hash(ENTRY_POINT, CHAIN_ID);
            noted.lock().expect("the notes").push(hash.to_string());
            Ok(json!(hash))
        }
        _ => request.on(),
    });
    let (owner, first) = profile(world, &account, &proxy.url);
    let grant: Grant = owner.holder(&account, &first);
    let prepare = || {
        heard.lock().expect("the notes").clear();
        let words = ["revoke", ACCOUNT, "first", "--via", "bundler"].map(str::to_owned).to_vec();
        (copy_of(&owner), words, ())
    };
    kill_everywhere("revoke", prepare, |copy, ()| {
        first_is_whole(copy, &first);
        assert_ne!(text(&copy.ok(&["key", "show", &first]), "state"), "revoked", "nothing was mined");
        for hash in heard.lock().expect("the notes").iter() {
            assert_on_record(copy, hash);
        }
    });
    // And done again, it holds.
    let _turn = OWNERS_SEND.lock();
    owner.ok(&["revoke", ACCOUNT, "first", "--via", "owner"]);
    for mode in [Mode::Enable, Mode::Use] {
        assert!(self_bundled(world, &account, &grant, mode).is_some(), "{mode:?} goes through");
    }
}

/// What left this machine can be found again. `status` waits for a block, which does not come: it is not waited for.
fn assert_on_record(owner: &Keyleash, hash: &str) {
    let mut status = owner.command(&["status", hash]).spawn().expect("keyleash starts");
    for _ in 0..40 {
        std::thread::sleep(std::time::Duration::from_millis(50));
        if status.try_wait().expect("a child of ours").is_some() {
            let output = status.wait_with_output().expect("its output");
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(!said.contains("operation.unknown"), "{hash} left and is not on record: {said}");
            return;
        }
    }
    status.kill().expect("killed");
    let _ = status.wait();
}

#[test]
fn a_killed_move_of_a_secret_loses_nothing() {
    let Some(world) = world() else { return };
    if !wanted() {
        return;
    }
    let Some(mut desktop) = Desktop::unlocked() else {
        skipped("the kill -9 series of vault moves", "no keyring");
        return;
    };
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let mut owner = Keyleash::bare();
    for (name, value) in desktop.environment() {
        owner.set_environment(name, value);
    }
    owner.ok(&["init", "--vault", "file"]);
    let (chain_id, node, bundler) = (CHAIN_ID.to_string(), &world.chain.url, &world.bundler.url);
    owner.ok(&["network", "add", "local", "--chain-id", &chain_id, "--rpc", node, "--bundler", bundler]);
    owner.adopt(world, &account);
    let secret = text(&owner.ok(&["vault", "ls"])[0], "id").to_owned();
    let mut killed = 0;
    let mut left = 0;
    for (to, back) in [("keyring", "file"), ("file", "keyring")] {
        for mark in MARKS {
            for n in 1..=MOST {
                let was_killed = killed_at(&owner, &["vault", "mv", &secret, "--to", to], mark, n);
                // gnome-keyring sometimes dies of a client that vanishes.
                desktop.revive_keyring();
                owner.ok(&["vault", "check"]);
                left += temporary(&owner).len();
                // It signs: the key is there and is the owner's.
                owner.grant(&policy(
                    &format!("{to}-{}-{n}", mark.len()),
                    &may_call(world.chain.targets.board, "tick()"),
                ));
                owner.ok(&["vault", "mv", &secret, "--to", back]);
                if !was_killed {
                    break;
                }
                killed += 1;
            }
        }
        owner.ok(&["vault", "mv", &secret, "--to", to]);
    }
    println!("move: killed {killed} times; temporary files left: {left}");
    let known = TEMPORARY_FILES_STAY.iter().any(|(command, _)| *command == "move");
    assert!(known || left == 0, "{left} temporary files");
}

#[test]
fn whatever_else_is_killed_while_it_writes_leaves_the_profile_whole() {
    let Some(world) = world() else { return };
    if !wanted() {
        return;
    }
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let (owner, first) = profile(world, &account, &world.bundler.url);
    let chain_id = CHAIN_ID.to_string();
    let commands: [(&str, &[&str]); 5] = [
        ("agent new", &["agent", "new", "robot"]),
        ("account new", &["account", "new", "second", "--owner-new"]),
        ("network add", &["network", "add", "other", "--chain-id", &chain_id, "--rpc", &world.chain.url]),
        ("key name", &["key", "name", &first, "renamed"]),
        ("account rm", &["account", "rm", ACCOUNT]),
    ];
    for (what, words) in commands {
        let prepare = || (copy_of(&owner), words.iter().map(|w| (*w).to_owned()).collect(), ());
        kill_everywhere(what, prepare, |copy, ()| {
            first_is_whole(copy, &first);
            for list in [["agent", "ls"], ["account", "ls"], ["network", "ls"]] {
                copy.ok(&list);
            }
            // Done again it succeeds, or says that it was done.
            let again = copy.run(words);
            let code = again.envelope["errors"][0]["code"].as_str().unwrap_or_default().to_owned();
            assert!(again.exit == 0 || code.ends_with(".exists") || code.ends_with(".unknown"), "{what}: {again:?}");
        });
    }
}
