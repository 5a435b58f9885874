//! Secrets in the OS keyring: a real gnome-keyring under a D-Bus session of its own, open, locked, absent and frozen.

use std::{
    thread,
    time::{Duration, Instant},
};

use alloy::primitives::U256;
use keyleash::protocol::kernel_v2::generation::KernelVersion;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    World,
    account::TestAccount,
    chain::{balanceOfCall, countCall},
    desktop::{Desktop, PROMISE, files_below},
    keyleash::{ACCOUNT, Keyleash, send, text},
    leaks::Secrets,
    policy::{may_call, may_mint, policy},
    world,
};

/// The state that `vault status` tells of a backend.
fn state_of(vault: &Keyleash, backend: &str) -> String {
    let status = vault.ok(&["vault", "status"]);
    let backends = status.as_array().expect("a list of backends");
    let found = backends.iter().find(|b| b["backend"] == backend).expect("the backend");
    text(found, "state").to_owned()
}

/// How many secrets are in files of their own.
fn sealed_files(vault: &Keyleash) -> usize {
    let files = files_below(&vault.path("home"));
    let is_sealed = |name: &str| name.len() == 37 && name.ends_with(".json");
    files.iter().filter(|file| file.file_name().and_then(|name| name.to_str()).is_some_and(is_sealed)).count()
}

#[test]
fn the_whole_life_of_keys_whose_secrets_are_in_the_keyring() {
    let (Some(world), Some(desktop)) = (world(), Desktop::unlocked()) else { return };
    let account = TestAccount::counterfactual(world, KernelVersion::DEFAULT);
    let (nft, board) = (world.chain.targets.nft, world.chain.targets.board);
    let owner = Keyleash::with_keyring(world, &desktop);
    owner.adopt(world, &account);

    // One key for the owner's own bot, one for an agent in another home; the keyring is the same.
    let granted = owner.grant(&policy("mint-bot", &may_mint(nft, account.address)));
    let minter = text(&granted, "key_id");
    let agent = Keyleash::with_keyring(world, &desktop);
    let made = agent.ok(&["agent", "new", "ticker"]);
    let address = text(&made, "address");
    let (granted, approval) = owner.grant_agent(&policy("tick-bot", &may_call(board, "tick()")), address);
    let ticker = text(&granted, "key_id");
    let seen = agent.ok(&["inspect", &approval, "--network", "local"]);
    assert_eq!(
        (text(&seen, "owner"), text(&seen, "state")),
        (account.owner().address().to_string().as_str(), "queued")
    );
    assert_eq!(seen["has_secret"], false, "{seen}");
    agent.ok(&["agent", "import", &approval]);

    assert_eq!(owner.ok(&send(minter, nft, "mint(address)", &[&account.address]))["success"], true);
    assert_eq!(owner.ok(&["key", "enable", ticker])["success"], true);
    assert_eq!(text(&owner.ok(&["key", "show", ticker]), "state"), "active");
    assert_eq!(agent.ok(&send(address, board, "tick()", &[]))["success"], true);
    let to = board.to_string();
    assert_eq!(owner.ok(&["send", "--as-owner", ACCOUNT, "--to", &to, "--call", "tick()"])["success"], true);
    assert_eq!(world.chain.view(nft, &balanceOfCall { account: account.address }), U256::ONE);
    assert_eq!(world.chain.view(board, &countCall { account: account.address }), U256::from(2));

    let revoked = owner.ok(&["revoke", ACCOUNT, minter, ticker]);
    assert_eq!((&revoked["success"], revoked["proofs"].as_array().map(Vec::len)), (&json!(true), Some(2)), "{revoked}");
    agent.refused(&send(address, board, "tick()", &[]), 3, "denied.not_enabled");

    for home in [&owner, &agent] {
        assert_eq!(state_of(home, "keyring"), "available");
        assert_eq!(sealed_files(home), 0, "everything is in the keyring");
        assert!(
            home.ok(&["vault", "check"])["findings"]
                .as_array()
                .is_some_and(|f| f.iter().all(|f| f["problem"] == false))
        );
    }
    assert_eq!(owner.ok(&["vault", "ls"]).as_array().map(Vec::len), Some(2), "the owner's key and mint-bot's");
    let owners_key = Secrets::default().key("owner", account.owner_key());
    owners_key.assert_not_below(&owner.path("home"));
    owners_key.assert_not_below(desktop.path());
}

#[test]
fn secrets_move_between_keyring_and_files_and_work_in_both() {
    let (Some(world), Some(desktop)) = (world(), Desktop::unlocked()) else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let owner = Keyleash::with_keyring(world, &desktop);
    owner.adopt(world, &account);
    let board = world.chain.targets.board;
    let granted = owner.grant(&policy("ticker", &may_call(board, "tick()")));
    let key = text(&granted, "session_key");
    let tick = send(text(&granted, "key_id"), board, "tick()", &[]);
    let both = [account.owner().address().to_string(), key.to_owned()];
    let backends = || -> Vec<String> {
        let list = owner.ok(&["vault", "ls"]);
        list.as_array().expect("a list").iter().map(|s| text(s, "backend").to_owned()).collect()
    };

    for (times, to) in ["file", "keyring", "file"].into_iter().enumerate() {
        let moved = owner.ok(&["vault", "mv", &both[0], &both[1], "--to", to]);
        assert_eq!(moved["moved"].as_array().map(Vec::len), Some(2), "{moved}");
        assert_eq!(backends(), [to, to]);
        assert_eq!(sealed_files(&owner), if to == "file" { 2 } else { 0 }, "{to}");
        let findings = owner.ok(&["vault", "check"]);
        assert!(
            findings["findings"].as_array().is_some_and(|f| f.len() == 2 && f.iter().all(|f| f["problem"] == false))
        );
        assert_eq!(owner.ok(&tick)["success"], true, "the session key signs out of the {to}");
        assert_eq!(world.chain.view(board, &countCall { account: account.address }), U256::from(times + 1));
    }
    assert_eq!(owner.ok(&["vault", "mv", key, "--to", "file"])["moved"], json!([]), "it is there already");

    // What is used is not removed by accident, and what is removed is gone.
    assert_eq!(owner.run(&["vault", "rm", key]).exits(5).error_code(), "vault.in_use");
    owner.ok(&["vault", "rm", key, "--even-if-used"]);
    owner.refused(&tick, 5, "vault.missing");
    let problem = owner.run(&["vault", "check"]).exits(5);
    let findings = problem.data()["findings"].as_array().expect("findings").clone();
    assert!(
        findings.iter().any(|f| f["problem"] == true && text(f, "message").contains("in neither vault")),
        "{findings:?}"
    );

    // A keyring that is gone does not stop what is in files.
    drop(desktop);
    assert_eq!(state_of(&owner, "keyring"), "absent");
    let to = board.to_string();
    assert_eq!(owner.ok(&["send", "--as-owner", ACCOUNT, "--to", &to, "--call", "tick()"])["success"], true);
    owner.refused(&["vault", "mv", &both[0], "--to", "keyring"], 5, "vault.absent");
    assert_eq!(owner.ok(&["send", "--as-owner", ACCOUNT, "--to", &to, "--call", "tick()"])["success"], true);
}

/// An owner whose secrets are in a keyring, about to lose it.
struct Household {
    desktop: Desktop,
    owner: Keyleash,
    account: TestAccount,
    minter: String,
    pending: String,
    agent: String,
}

impl Household {
    fn new(world: &World) -> Option<Self> {
        let desktop = Desktop::unlocked()?;
        let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
        let owner = Keyleash::with_keyring(world, &desktop);
        owner.adopt(world, &account);
        let minter = owner.grant(&policy("mint-bot", &may_mint(world.chain.targets.nft, account.address)));
        let pending = owner.grant(&policy("tick-bot", &may_call(world.chain.targets.board, "tick()")));
        let agent = owner.ok(&["agent", "new", "spare"]);
        let [minter, pending] = [minter, pending].map(|granted| text(&granted, "key_id").to_owned());
        Some(Self { owner, account, minter, pending, agent: text(&agent, "address").to_owned(), desktop })
    }

    /// Everything that needs a secret, or a place for a new one.
    fn commands(&self, world: &World) -> Vec<Vec<String>> {
        let (nft, board) = (world.chain.targets.nft, world.chain.targets.board.to_string());
        let owner_key = self.owner.file("owner.key", self.account.owner_key());
        let scope = self.owner.file("policy.toml", &policy("late", &may_call(world.chain.targets.board, "tick()")));
        let out = self.owner.new_path("export");
        let (minter, pending, agent) = (self.minter.as_str(), self.pending.as_str(), self.agent.as_str());
        let words: [&[&str]; 11] = [
            &["account", "new", "fresh", "--owner-new"],
            &["account", "new", "taken", "--owner-key-file", &owner_key, "--index", "99999"],
            &["agent", "new", "another"],
            &["grant", ACCOUNT, "--policy", &scope, "--new-key"],
            &["grant", ACCOUNT, "--policy", &scope, "--agent", agent],
            &["send", "--as-owner", ACCOUNT, "--to", &board, "--call", "tick()"],
            &["key", "enable", minter, pending],
            &["revoke", ACCOUNT, minter],
            &["key", "export", minter, "--out", &out, "--with-secret"],
            &["vault", "mv", agent, "--to", "file"],
            &["vault", "check"],
        ];
        let owned = |words: &&[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let mut commands: Vec<Vec<String>> = words.iter().map(owned).collect();
        commands.push(send(minter, nft, "mint(address)", &[&self.account.address]));
        commands
    }

    /// What is on record, and where secrets are said to be.
    fn records(&self) -> Value {
        let mut lists =
            [["account", "ls"], ["agent", "ls"], ["key", "ls"], ["vault", "ls"]].map(|list| self.owner.ok(&list));
        // The chain's time goes on.
        for key in lists[2].as_array_mut().expect("a list of keys") {
            key["as_of"].take();
        }
        json!(lists)
    }

    /// Each command fails in time, with exit code 5 and one of these codes, and leaves everything as it was.
    #[track_caller]
    fn assert_refused(&self, world: &World, mood: &str, codes: &[&str], says: &[&str]) {
        let before = self.records();
        // A few at a time: the promise is about waiting for the keyring, not for a busy machine.
        for some in self.commands(world).chunks(4) {
            thread::scope(|scope| {
                let running: Vec<_> = some
                    .iter()
                    .map(|command| {
                        scope.spawn(move || {
                            let begun = Instant::now();
                            (self.owner.run(command), begun.elapsed())
                        })
                    })
                    .collect();
                for run in running {
                    let (outcome, took) = run.join().expect("a command that ends");
                    let outcome = outcome.exits(5);
                    let command = &outcome.command;
                    println!("{mood}: {command}: {took:?}");
                    assert!(took < PROMISE, "{mood}: {command} took {took:?}");
                    if outcome.error_code() == "vault.check" {
                        continue;
                    }
                    assert!(codes.contains(&outcome.error_code()), "{mood}: {outcome:#?}");
                    let said = format!("{} {}", outcome.message(), outcome.hint());
                    assert!(says.iter().any(|words| said.contains(words)), "{mood}: {command}: {said}");
                }
            });
        }
        assert_eq!(self.records(), before, "{mood}: nothing was written");
        assert_eq!(sealed_files(&self.owner), 0, "{mood}: nothing went elsewhere");
        assert_eq!(
            self.account.last_nonce(world, keyleash::protocol::kernel_v2::generation::Generation::G2),
            0,
            "{mood}: nothing was sent"
        );
        let secret = Secrets::default().key("owner", self.account.owner_key());
        secret.assert_not_below(&self.owner.path("home"));
        secret.assert_not_below(self.desktop.path());
    }

    /// Everything is there again, and works.
    #[track_caller]
    fn assert_whole(&self, world: &World) {
        assert_eq!(state_of(&self.owner, "keyring"), "available");
        self.owner.ok(&["vault", "check"]);
        let mint = send(&self.minter, world.chain.targets.nft, "mint(address)", &[&self.account.address]);
        assert_eq!(self.owner.ok(&mint)["success"], true);
        assert_eq!(self.owner.ok(&["revoke", ACCOUNT, &self.minter, &self.pending])["success"], true);
    }
}

#[test]
fn a_keyring_that_stays_locked_is_named_and_loses_nothing() {
    let Some(world) = world() else { return };
    let Some(mut house) = Household::new(world) else { return };
    for (mood, password) in [("a wrong password", Some("wrong")), ("locked", None)] {
        house.desktop.stop_keyring();
        house.desktop.start_keyring(password);
        assert_eq!(state_of(&house.owner, "keyring"), "locked", "{mood}");
        house.assert_refused(world, mood, &["vault.locked", "vault.denied"], &["your keyring is locked", "dismissed"]);
    }
    house.desktop.stop_keyring();
    house.desktop.start_keyring(Some("right"));
    house.assert_whole(world);
}

#[test]
fn a_keyring_that_is_gone_is_named_and_loses_nothing() {
    let Some(world) = world() else { return };
    let Some(mut house) = Household::new(world) else { return };
    house.desktop.stop_keyring();
    assert_eq!(state_of(&house.owner, "keyring"), "absent");
    let says = ["no program on your session bus keeps secrets", "its removal was cut off"];
    house.assert_refused(world, "no service", &["vault.absent", "vault.keyring"], &says);

    let bus = house.desktop.environment().into_iter().find(|(name, _)| *name == "DBUS_SESSION_BUS_ADDRESS");
    let nowhere = format!("unix:path={}/nothing", house.desktop.path().display());
    house.owner.set_environment("DBUS_SESSION_BUS_ADDRESS", nowhere);
    house.assert_refused(world, "no bus", &["vault.absent"], &["there is no session bus here"]);

    let (name, address) = bus.expect("the bus");
    house.owner.set_environment(name, address);
    house.desktop.start_keyring(Some("right"));
    house.assert_whole(world);
}

#[test]
fn a_keyring_that_hangs_is_given_up_on_and_loses_nothing() {
    let Some(world) = world() else { return };
    let Some(house) = Household::new(world) else { return };
    house.desktop.signal(Signal::STOP);
    assert_eq!(state_of(&house.owner, "keyring"), "frozen");
    house.assert_refused(world, "frozen", &["vault.frozen"], &["your keyring has not answered"]);
    let begun = Instant::now();
    let (exit, said) = house.owner.tell(&["agent", "new", "another"]);
    assert!(exit == 5 && begun.elapsed() < PROMISE, "{exit}: {said}");
    house.desktop.signal(Signal::CONT);
    // What the commands had asked before they gave up is answered now, to nobody.
    thread::sleep(Duration::from_millis(500));
    house.assert_whole(world);
}

#[test]
fn a_home_is_not_set_up_for_a_keyring_that_is_not_there() {
    let Some(mut desktop) = Desktop::new() else { return };
    let refused = |desktop: &Desktop, mood: &str, address: Option<String>, why: &str| {
        for choice in [&["init", "--vault", "keyring"][..], &["init"]] {
            let mut home = Keyleash::bare_on(desktop);
            if let Some(address) = &address {
                home.set_environment("DBUS_SESSION_BUS_ADDRESS", address);
            }
            let begun = Instant::now();
            let outcome = home.run(choice).exits(5);
            assert!(begun.elapsed() < PROMISE, "{mood}");
            assert_eq!(outcome.error_code(), "vault.absent", "{mood}");
            assert!(outcome.message().contains(why), "{mood}: {outcome:#?}");
            assert!(outcome.hint().contains("init --vault file"), "{mood}: {outcome:#?}");
            assert!(!home.path("home").exists(), "{mood}: nothing was written");
            home.ok(&["init", "--vault", "file"]);
        }
    };
    refused(&desktop, "no service", None, "no program on your session bus keeps secrets");
    let nowhere = format!("unix:path={}/nothing", desktop.path().display());
    refused(&desktop, "no bus", Some(nowhere), "there is no session bus here");
    desktop.start_keyring(Some("right"));
    desktop.signal(Signal::STOP);
    refused(&desktop, "frozen", None, "it does not answer");
    desktop.signal(Signal::CONT);
}
