//! Taking power away from a profile that nothing can be written to: a full disk, a read-only file system, a limit on the size
//! of files. What must be written is refused, whole; what stops a key goes on and says that nothing is written down.

use std::{
    process::{Command, Stdio},
    sync::OnceLock,
};

use keyleash::protocol::kernel_v2::{generation::KernelVersion, signature::Mode};
use serde_json::{Value, json};

use super::scenarios_revoke::{OWNERS_SEND, self_bundled};
use crate::support::{
    World,
    account::TestAccount,
    chain::ETHER,
    keyleash::{ACCOUNT, Keyleash, Outcome, send, text},
    policy::{may_call, policy},
    skipped, world,
};

/// What is done to the home, `$H`, before the program starts. Mounts are of a name space of their own and end with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    ReadOnly,
    FullDisk,
    FileLimit,
}

impl Trouble {
    const ALL: [Self; 3] = [Self::ReadOnly, Self::FullDisk, Self::FileLimit];

    fn script(self) -> &'static str {
        match self {
            Self::ReadOnly => "mount --bind \"$H\" \"$H\" && mount -o remount,bind,ro \"$H\"",
            Self::FullDisk => {
                "cp -a \"$H\" \"$H.copy\" && mount -t tmpfs -o size=2m,mode=700 tmpfs \"$H\" && cp -a \"$H.copy/.\" \"$H\" && \
                 rm -r \"$H.copy\" && ! cat /dev/zero >\"$H/filler\" 2>/dev/null"
            }
            Self::FileLimit => "ulimit -f 0",
        }
    }

    fn needs_mounts(self) -> bool {
        self != Self::FileLimit
    }
}

fn can_mount() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let tried = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    })
}

/// The program in trouble.
fn run(home: &Keyleash, trouble: Trouble, args: &[&str]) -> Outcome {
    let inner = home.command(args);
    let script = format!("{} && exec \"$@\"", trouble.script());
    let mut command = match trouble.needs_mounts() {
        true => {
            let mut command = Command::new("unshare");
            command.args(["-m", "sh"]);
            command
        }
        false => Command::new("sh"),
    };
    command.args(["-c", &script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    command.env_remove("KEYLEASH_HOME").env("H", home.path("home")).stdin(Stdio::null());
    let output = command.output().expect("a shell");
    Outcome::read(args, &output)
}

#[track_caller]
fn says_that_nothing_is_written(outcome: &Outcome) {
    let codes: Vec<&Value> =
        outcome.envelope["warnings"].as_array().expect("warnings").iter().map(|w| &w["code"]).collect();
    assert!(codes.contains(&&json!("records.not_written")), "{outcome:#?}");
}

fn owner_with_a_key(world: &World) -> (Keyleash, TestAccount, String) {
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    world.chain.fund(account.address, ETHER);
    let answer = owner.grant(&policy("bot", &may_call(world.chain.targets.board, "tick()")));
    let key = text(&answer, "key_id").to_owned();
    (owner, account, key)
}

#[test]
fn k15_a_key_is_revoked_with_proof_although_nothing_can_be_written() {
    let Some(world) = world() else { return };
    for trouble in Trouble::ALL {
        if trouble.needs_mounts() && !can_mount() {
            skipped(&format!("{trouble:?}"), "this machine lets nobody mount (unshare -m)");
            continue;
        }
        let (owner, _, key) = owner_with_a_key(world);
        for args in [&["key", "ls"][..], &["account", "show", ACCOUNT], &["revoke", ACCOUNT, &key, "--print"]] {
            run(&owner, trouble, args).exits(0);
        }
        let revoked = run(&owner, trouble, &["revoke", ACCOUNT, &key]).exits(0);
        assert_eq!(revoked.data()["proofs"].as_array().map(Vec::len), Some(1), "{trouble:?}: {revoked:#?}");
        says_that_nothing_is_written(&revoked);
        // The records are as they were; the chain knows better.
        assert_eq!(text(&owner.ok(&["key", "show", &key]), "state"), "dead", "{trouble:?}");
    }
}

/// The longest way: it reads the account's history, which it could not remember, and the owner's address pays.
#[test]
fn k15_all_keys_are_revoked_by_the_owner_with_proof_although_nothing_can_be_written() {
    let Some(world) = world() else { return };
    for trouble in Trouble::ALL {
        if trouble.needs_mounts() && !can_mount() {
            skipped(&format!("{trouble:?}"), "this machine lets nobody mount (unshare -m)");
            continue;
        }
        let (owner, account, first) = owner_with_a_key(world);
        let board = world.chain.targets.board;
        let second = owner.grant(&policy("second", &may_call(board, "tick()")));
        let second = text(&second, "key_id").to_owned();
        let holders = [&first, &second].map(|key| owner.holder(&account, key));
        // One is enabled, the other could still be.
        owner.ok(&send(&first, board, "tick()", &[]));

        let _turn = OWNERS_SEND.lock();
        let revoked = run(&owner, trouble, &["revoke", ACCOUNT, "--all", "--via", "owner"]).exits(0);
        assert_eq!(revoked.data()["proofs"].as_array().map(Vec::len), Some(2), "{trouble:?}: {revoked:#?}");
        assert_eq!(revoked.data()["remaining"], json!([]), "{trouble:?}: {revoked:#?}");
        assert_eq!(text(revoked.data(), "way"), "owner", "{trouble:?}: {revoked:#?}");
        says_that_nothing_is_written(&revoked);
        for holder in &holders {
            for mode in [Mode::Enable, Mode::Use] {
                assert!(self_bundled(world, &account, holder, mode).is_some(), "{trouble:?}: {mode:?} goes through");
            }
        }
        // Nothing was written down: which of the two it is, the chain says.
        for key in [&first, &second] {
            let state = owner.ok(&["key", "show", key]);
            assert!(["dead", "revoked"].contains(&text(&state, "state")), "{trouble:?}: {state}");
        }
    }
}

#[test]
fn k15_a_pause_works_although_nothing_can_be_written() {
    let Some(world) = world() else { return };
    for trouble in Trouble::ALL {
        if trouble.needs_mounts() && !can_mount() {
            skipped(&format!("{trouble:?}"), "this machine lets nobody mount (unshare -m)");
            continue;
        }
        let (owner, _, _) = owner_with_a_key(world);
        let paused = run(&owner, trouble, &["revoke", ACCOUNT, "--panic"]).exits(0);
        assert_eq!(paused.data()["paused"]["disabled_mode"], json!(u32::MAX), "{trouble:?}: {paused:#?}");
        says_that_nothing_is_written(&paused);
    }
}

#[test]
fn k15_what_must_be_written_is_refused_and_nothing_is_half_done() {
    let Some(world) = world() else { return };
    for trouble in Trouble::ALL {
        if trouble.needs_mounts() && !can_mount() {
            skipped(&format!("{trouble:?}"), "this machine lets nobody mount (unshare -m)");
            continue;
        }
        let (owner, _, key) = owner_with_a_key(world);
        let kept = || {
            let keys = owner.ok(&["key", "ls"]);
            let ids: Vec<Value> = keys.as_array().expect("a list").iter().map(|key| key["key_id"].clone()).collect();
            (ids, owner.ok(&["vault", "ls"]), owner.ok(&["agent", "ls"]))
        };
        let before = kept();
        let file = owner.file("second.toml", &policy("second", &may_call(world.chain.targets.board, "tick()")));
        let export = owner.new_path("export");
        owner.ok(&["key", "export", &key, "--out", &export, "--with-secret"]);
        for args in [
            &["grant", ACCOUNT, "--policy", &file, "--new-key"][..],
            &["agent", "new", "bot"],
            &["account", "new", "other", "--owner-new"],
        ] {
            let outcome = run(&owner, trouble, args);
            assert!(outcome.exit != 0, "{trouble:?}: {outcome:#?}");
            let said = outcome.message();
            assert!(said.contains("cannot be written") || said.contains("could not"), "{trouble:?}: {outcome:#?}");
        }
        assert_eq!(kept(), before);
    }
}
