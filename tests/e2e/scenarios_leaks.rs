//! Where secrets must not be: in files, on the terminal, in what services hear, in what other processes see of ours, and in
//! our own memory once they were used. Every secret is known here, and looked for in every form it might have.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Child, Command},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use alloy::primitives::Address;
use keyleash::protocol::kernel_v2::{blob, generation::KernelVersion};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{
    World,
    account::TestAccount,
    chain::development_key,
    desktop::Desktop,
    keyleash::{ACCOUNT, Keyleash, PASSPHRASE, send, text},
    leaks::Secrets,
    policy::{may_call, may_mint, policy},
    proxy::Proxy,
    skipped, wait_for, world,
};

/// The private key in a file that `--with-secret` wrote, which is destroyed.
fn exported(home: &Keyleash, key: &str) -> String {
    let out = home.new_path("export");
    home.ok(&["key", "export", key, "--out", &out, "--with-secret"]);
    let blob = blob::read(&fs::read_to_string(&out).expect("the exported file"))
        .unwrap_or_else(|e| panic!("our own export: {e}"));
    fs::remove_file(out).expect("the exported file is there to be removed");
    alloy::hex::encode(blob.secret.expect("the private key").expose())
}

/// A bundler that hands everything on until it is told to keep silent about what became of an operation.
struct Bundler {
    proxy: Proxy,
    silent: Arc<AtomicBool>,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Bundler {
    fn start(world: &World) -> Self {
        let (silent, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (is_silent, notes) = (Arc::clone(&silent), Arc::clone(&heard));
        let proxy = Proxy::start(world, move |request| {
            notes.lock().expect("the notes").extend_from_slice(request.params.to_string().as_bytes());
            match request.method {
                "eth_getUserOperationReceipt" if is_silent.load(Ordering::Relaxed) => Ok(Value::Null),
                _ => request.on(),
            }
        });
        Self { proxy, silent, heard }
    }
}

/// A command that has signed and sent, and waits for its operation for ever. Ends with this.
struct Waiting(Child);

impl Waiting {
    fn start(mut command: Command, bundler: &Bundler) -> Self {
        bundler.silent.store(true, Ordering::Relaxed);
        let asked = || bundler.proxy.heard("eth_getUserOperationReceipt").len();
        let before = asked();
        let child = Self(command.spawn().expect("keyleash starts"));
        // Asked twice: it is in its waiting loop.
        wait_for(60, || (asked() >= before + 2).then_some(())).expect("it follows its operation");
        child.signal(Signal::STOP);
        child
    }

    fn id(&self) -> u32 {
        self.0.id()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("a signal to our own child");
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What others can see of a process, and what is in its memory.
fn assert_clean(process: &Waiting, what: &str, secrets: &Secrets, witness: &Secrets) {
    for file in ["environ", "cmdline"] {
        let path = format!("/proc/{}/{file}", process.id());
        secrets.assert_not_in(&path, &fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}")));
    }
    let Some(found) = secrets.in_memory(process.id()) else {
        skipped("the memory of the running program", "/proc/PID/mem of another process is not for us to read");
        return;
    };
    println!("{what}: secrets in its memory while it waits: {found:?}");
    assert!(found.is_empty(), "{what}: in memory after the last use: {found:?}");
    let seen = witness.in_memory(process.id()).expect("memory that could be read a moment ago");
    assert!(!seen.is_empty(), "{what}: what has to be in memory was looked for in the same way, and found");
}

/// Everything that an owner and an agent do, then every place where a secret might have gone.
fn the_whole_job_leaks_nothing(world: &World, desktop: Option<&Desktop>) {
    let bundler = Bundler::start(world);
    let url = &bundler.proxy.url;
    let home = || match desktop {
        Some(desktop) => Keyleash::with_keyring_through(world, desktop, url),
        None => Keyleash::with_network(world, url, None),
    };
    let account = TestAccount::counterfactual(world, KernelVersion::DEFAULT);
    let (nft, board) = (world.chain.targets.nft, world.chain.targets.board);
    let (mut owner, mut agent) = (home(), home());
    for home in [&mut owner, &mut agent] {
        let temporary = home.path("tmp");
        fs::create_dir(&temporary).expect("a folder for temporary files");
        home.set_environment("TMPDIR", temporary);
    }
    owner.adopt(world, &account);
    fs::remove_file(owner.path("owner.key")).expect("the file that the key came from");
    let words = "test test test test test test test test test test test junk";
    let mnemonic = owner.file("words", words);
    owner.ok(&["account", "new", "second", "--owner-mnemonic-file", &mnemonic]);
    fs::remove_file(mnemonic).expect("the file that the words came from");

    let minter = owner.grant(&policy("mint-bot", &may_mint(nft, account.address)));
    let minter = text(&minter, "key_id");
    let made = agent.ok(&["agent", "new", "ticker"]);
    let address = text(&made, "address");
    let (granted, approval) = owner.grant_agent(&policy("tick-bot", &may_call(board, "tick()")), address);
    let ticker = text(&granted, "key_id");
    agent.ok(&["agent", "import", &approval]);
    let mint = send(minter, nft, "mint(address)", &[&account.address]);
    owner.ok(&mint);
    owner.ok(&["key", "enable", ticker]);
    agent.ok(&send(address, board, "tick()", &[]));

    // A key that arrives inside an approval.
    let bearer = owner.new_path("bearer");
    owner.ok(&["key", "export", minter, "--out", &bearer, "--with-secret"]);
    agent.ok(&["agent", "import", &bearer, "--label", "bearer"]);
    fs::remove_file(bearer).expect("the file with the key");

    let secrets = Secrets::default()
        .key("owner", account.owner_key())
        .key("owner of the second account", development_key(0))
        .text("mnemonic", words)
        .key("key made by the owner", &exported(&owner, minter))
        .key("key made by the agent", &exported(&agent, address))
        .text("passphrase", PASSPHRASE);

    // The same, and every list, as a person sees it; what fails says much.
    let to = board.to_string();
    let as_owner = ["send", "--as-owner", ACCOUNT, "--to", &to, "--call", "tick()"];
    let shown: [&[&str]; 14] = [
        &["account", "ls"],
        &["account", "show", ACCOUNT],
        &["key", "ls"],
        &["key", "show", minter],
        &["key", "show", "mint-bot"],
        &["agent", "ls"],
        &["vault", "ls"],
        &["vault", "status"],
        &["vault", "check"],
        &["doctor"],
        &as_owner,
        &["send", minter, "--to", &to, "--call", "tick()"],
        &["revoke", ACCOUNT, ticker],
        &["inspect", &approval],
    ];
    for command in shown {
        let (_, said) = owner.tell(command);
        assert!(!said.is_empty());
    }
    owner.tell(&mint);

    // Stopped in the middle: after signing, before the end.
    let witness = Secrets::default().text("account", &format!("{:#x}", account.address));
    let from_agent: Vec<String> = send("bearer", nft, "mint(address)", &[&account.address]);
    for (what, command) in [
        ("an owner's operation", owner.command(&as_owner)),
        ("a session key's operation", owner.command(&mint)),
        ("an agent's operation", agent.command(&from_agent)),
        ("a revocation", owner.command(&["revoke", ACCOUNT, minter])),
    ] {
        let waiting = Waiting::start(command, &bundler);
        assert_clean(&waiting, what, &secrets, &witness);
        for home in [&owner, &agent] {
            secrets.assert_not_below(&home.path("home"));
        }
        // Others may have copies in their own memory: told, not judged.
        if what == "a revocation" {
            for (name, process) in desktop.map(Desktop::processes).unwrap_or_default() {
                println!("{name}: secrets in its memory: {:?}", secrets.in_memory(process));
            }
        }
    }

    for home in [&owner, &agent] {
        let files = secrets.assert_not_below(&home.path("home"));
        assert!(files >= 4, "records, config, index and more were there to search: {files}");
        secrets.assert_not_below(&home.path("tmp"));
        let printed = home.printed();
        assert!(printed.len() > 1000, "there was something to search");
        secrets.assert_not_in("what was printed", &printed);
    }
    secrets.assert_not_in("what the bundler heard", &bundler.heard.lock().expect("the notes"));
    if let Some(desktop) = desktop {
        assert!(secrets.assert_not_below(desktop.path()) >= 2, "the keyring's own store was searched");
    }
}

#[test]
fn the_whole_job_leaks_nothing_with_sealed_files() {
    let Some(world) = world() else { return };
    the_whole_job_leaks_nothing(world, None);
}

#[test]
fn the_whole_job_leaks_nothing_with_the_keyring() {
    let Some(world) = world() else { return };
    let Some(desktop) = Desktop::unlocked() else { return };
    the_whole_job_leaks_nothing(world, Some(&desktop));
}

#[test]
fn a_secret_leaves_only_into_a_private_file_with_a_warning_and_arrives_with_one() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let (owner, agent) = (Keyleash::new(world), Keyleash::new(world));
    owner.adopt(world, &account);
    let board = world.chain.targets.board;
    let scope = owner.file("policy.toml", &policy("bot", &may_call(board, "tick()")));
    let grant = ["grant", ACCOUNT, "--policy", &scope, "--new-key"];

    // Only with a file to go to, never over one that is there.
    assert_eq!(owner.run(&[&grant[..], &["--with-secret"]].concat()).exits(2).data(), &Value::Null);
    let granted = owner.ok(&grant);
    let key = text(&granted, "key_id");
    owner.run(&["key", "export", key, "--with-secret"]).exits(2);
    let taken = owner.file("taken", "mine");
    owner.run(&["key", "export", key, "--out", &taken, "--with-secret"]).exits(2);
    assert_eq!(fs::read_to_string(&taken).expect("the file"), "mine");
    owner.run(&[&grant[..], &["--out", &taken, "--with-secret"]].concat()).exits(2);

    let (out, out_of_grant) = (owner.new_path("export"), owner.new_path("bearer"));
    let exported = owner.run(&["key", "export", key, "--out", &out, "--with-secret"]).exits(0);
    let granted = owner.run(&[&grant[..], &["--out", &out_of_grant, "--with-secret"]].concat()).exits(0);
    for (outcome, file) in [(&exported, &out), (&granted, &out_of_grant)] {
        let mode = fs::metadata(file).expect("the file").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", outcome.command);
        let warnings = outcome.envelope["warnings"].to_string();
        assert!(warnings.contains("whoever reads it can act"), "{}: {warnings}", outcome.command);
        let blob =
            blob::read(&fs::read_to_string(file).expect("the file")).unwrap_or_else(|e| panic!("our own export: {e}"));
        let secret = Secrets::default().key("key", &alloy::hex::encode(blob.secret.expect("the key").expose()));
        secret.assert_not_in("what was printed", &owner.printed());
        secret.assert_not_below(&owner.path("home"));
    }

    // The other side: into the vault, with a word about the file. Looking at it says so as well.
    let (exit, said) = agent.tell(&["inspect", &out]);
    assert!(exit == 0 && said.contains("whoever reads it can act"), "{said}");
    let imported = agent.run(&["agent", "import", &out]).exits(0);
    let warnings = imported.envelope["warnings"].to_string();
    assert!(warnings.contains("in your vault now; destroy the source"), "{warnings}");
    let session_key: Address = text(imported.data(), "session_key").parse().expect("an address");
    let kept = agent.ok(&["vault", "ls"]);
    assert_eq!(
        kept.as_array().map(|list| list.iter().map(|s| text(s, "address")).collect::<Vec<_>>()),
        Some(vec![session_key.to_string().as_str()])
    );
    fs::remove_file(&out).expect("the source is destroyed");
    assert_eq!(agent.ok(&send(&session_key.to_string(), board, "tick()", &[]))["success"], json!(true));
}
