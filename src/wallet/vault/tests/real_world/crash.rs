//! kill -9 at every step of put, mv and rm. `strace` kills the worker as it enters its n-th rename, unlink, sync or message
//! to the keyring, for every n there is, so the product needs no hooks. Needs `strace` beside what the keyring tests need.

use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
};

use super::{ID, desktop::Desktop, skipped, worker::worker};

/// Every way in which these operations leave a mark outside of their own memory.
const MARKS: [&str; 5] = ["/^rename", "/^unlink", "fsync", "/^(sendmsg|sendto)$", "/^(write|pwrite64)$"];

fn strace_works() -> bool {
    let works = Command::new("strace").args(["-o", "/dev/null", "true"]).output().is_ok_and(|o| o.status.success());
    if !works {
        skipped("kill -9 at every step (no strace, or it may not trace; Debian: apt-get install strace)");
    }
    works
}

/// Kills `job` at its n-th call out of `mark`; whether it got that far.
fn killed_at(desktop: &Desktop, job: &str, mark: &str, n: u32) -> bool {
    let plain = worker(desktop.path(), job);
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={mark}")]);
    traced.args(["-e", &format!("inject={mark}:signal=KILL:when={n}")]);
    traced.arg(plain.get_program()).args(plain.get_args());
    traced.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    desktop.dress(&mut traced);
    let status = traced.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    status.signal() == Some(9) || status.code() == Some(137)
}

/// How often each aftermath was seen.
type Aftermaths = BTreeMap<String, u32>;

/// Brings the vault into the state before `job`, kills it at every step, and hands each aftermath to `judge`.
fn kill_everywhere(prepare: &[&str], job: &str, judge: impl Fn(&str)) -> Option<Aftermaths> {
    if !strace_works() {
        return None;
    }
    let mut desktop = Desktop::unlocked()?;
    let mut seen = Aftermaths::new();
    let mut deaths = 0;
    for mark in MARKS {
        for n in 1.. {
            for step in prepare {
                assert_eq!(desktop.run(&format!("{step} {ID}")), "done");
            }
            let killed = killed_at(&desktop, &format!("{job} {ID}"), mark, n);
            let mut aftermath = desktop.run(&format!("aftermath {ID}"));
            // gnome-keyring sometimes dies of a client that vanishes. What it was trusted with must survive that as well.
            if desktop.revive_keyring() {
                deaths += 1;
                aftermath = desktop.run(&format!("aftermath {ID}"));
            }
            judge(&aftermath);
            if aftermath.ends_with("usable=true") {
                assert_eq!(desktop.run(&format!("rm {ID}")), "done", "after {aftermath}");
            }
            if !killed {
                break;
            }
            *seen.entry(aftermath).or_default() += 1;
        }
    }
    println!("{job}: killed {} times, the keyring died {deaths} times: {seen:#?}", seen.values().sum::<u32>());
    Some(seen)
}

const IN_KEYRING: &str = "file=false keyring=true listed=true usable=true";
const IN_FILE: &str = "file=true keyring=false listed=true usable=true";
const IN_BOTH: &str = "file=true keyring=true listed=true usable=true";
const NOWHERE: &str = "file=false keyring=false listed=false usable=false";

/// In one place or both before `check`, and usable all the time; in one place after it.
fn nothing_was_lost(aftermath: &str) {
    let (before, after) = aftermath.split_once(" then problems=0 ").unwrap_or_else(|| panic!("{aftermath}"));
    assert!([IN_KEYRING, IN_FILE, IN_BOTH].contains(&before), "{aftermath}");
    assert!([IN_KEYRING, IN_FILE].contains(&after), "{aftermath}");
}

/// After `check` it is whole, or it is nowhere and nobody believes that it is there.
fn all_or_nothing(aftermath: &str) {
    let (_, after) = aftermath.split_once(" then problems=0 ").unwrap_or_else(|| panic!("{aftermath}"));
    assert!([IN_KEYRING, IN_FILE, NOWHERE].contains(&after), "{aftermath}");
}

/// The kills came before, in the middle and after: otherwise they proved little.
fn assert_seen(seen: Option<Aftermaths>, expected: &[&str]) {
    let Some(seen) = seen else { return };
    for state in expected {
        assert!(seen.keys().any(|aftermath| aftermath.starts_with(state)), "never saw {state}: {seen:#?}");
    }
}

#[test]
fn a_put_that_is_killed_leaves_all_or_nothing() {
    assert_seen(kill_everywhere(&[], "put-keyring", all_or_nothing), &[NOWHERE, IN_KEYRING]);
    assert_seen(kill_everywhere(&[], "put-file", all_or_nothing), &[NOWHERE, IN_FILE]);
}

#[test]
fn a_move_that_is_killed_loses_nothing() {
    assert_seen(kill_everywhere(&["put-keyring"], "to-file", nothing_was_lost), &[IN_KEYRING, IN_BOTH, IN_FILE]);
    assert_seen(kill_everywhere(&["put-file"], "to-keyring", nothing_was_lost), &[IN_FILE, IN_BOTH, IN_KEYRING]);
}

#[test]
fn a_removal_that_is_killed_leaves_all_or_nothing() {
    assert_seen(kill_everywhere(&["put-keyring"], "rm", all_or_nothing), &[IN_KEYRING, NOWHERE]);
    assert_seen(kill_everywhere(&["put-file"], "rm", all_or_nothing), &[IN_FILE, NOWHERE]);
}

/// A live vault waits for the disk: killed as it first asks the system to, a put has come to nothing yet.
#[test]
fn a_live_secret_is_on_the_disk_before_it_counts() {
    if !strace_works() {
        return;
    }
    let Some(desktop) = Desktop::unlocked() else { return };
    assert!(killed_at(&desktop, &format!("put-file {ID}"), "fsync", 1));
    assert!(desktop.run(&format!("aftermath {ID}")).ends_with(NOWHERE));
}
