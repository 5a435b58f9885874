//! The whole program in a pseudo-terminal: real keys in, real bytes out, and the terminal left as it was.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail loudly and read as specifications"
)]
#![cfg(all(target_os = "linux", feature = "tui"))]

#[path = "support/terminal.rs"]
mod terminal;

use std::time::{Duration, Instant};

use portable_pty::PtySize;
use terminal::{PATIENCE, Session, contains, last, last_before};

#[test]
fn an_empty_home_offers_the_sandbox_and_q_leaves_the_terminal_as_it_was() {
    let mut session = Session::start(&[]);
    session.wait_for("Try it in the sandbox");
    assert!(contains(&session.raw(), b"\x1b[?1049h"));
    session.keys("?");
    session.wait_for("grant a new session key");
    session.keys("\x1b");
    session.wait_for("Try it in the sandbox");
    session.keys("q");
    assert_eq!(session.end(), 0);
}

/// A sandbox with something to look at, from an empty home.
fn sandbox() -> Session {
    let mut session = Session::start(&[]);
    session.wait_for("Try it in the sandbox");
    session.keys("\r");
    session.wait_for("SANDBOX");
    session.wait_for("▸ treasury    5 !!");
    session
}

/// Confirms what is reviewed, with presses that nobody can take for a held key, until the screen says so.
fn confirm(session: &mut Session, until: &str) {
    let start = Instant::now();
    while !session.screen().contains(until) {
        assert!(start.elapsed() < PATIENCE, "never saw {until:?} in:\n{}", session.screen());
        session.keys("y");
        let pressed = Instant::now();
        while pressed.elapsed() < Duration::from_millis(1_200) && !session.screen().contains(until) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn paste(session: &mut Session, text: &str) {
    session.keys(&format!("\x1b[200~{text}\x1b[201~"));
}

#[test]
fn from_an_empty_home_to_a_revoked_key() {
    let mut session = sandbox();
    session.keys("/mint-bot\r");
    session.wait_for("▸ mint-bot    active");
    session.keys("\r");
    session.wait_for("mint-bot is active");
    session.wait_for("you, at any time: x revokes it");
    session.keys("x");
    session.wait_for("y to revoke");
    confirm(&mut session, "mint-bot is revoked, and that is proven");
    session.keys("y");
    session.wait_for_raw("\x1b]52;c;");
    session.keys("\x1b");
    session.wait_for("Revoked; nonce 1");
    session.keys("\x1b");
    session.wait_for("▸ mint-bot    revoked");
    session.keys("t");
    session.wait_for("revoke mint-bot");
    session.keys("\r");
    session.wait_for("done: the call succeeded");
    session.keys("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn panic_is_two_keys_from_home_and_lifting_it_ends_what_would_come_back() {
    let mut session = sandbox();
    session.keys("!");
    session.wait_for("y to pause them all");
    confirm(&mut session, "are paused, and that is proven");
    session.keys("\x1b");
    session.wait_for("paused, no session key can act");
    session.keys("!");
    session.wait_for("Unpause all session keys");
    session.wait_for("scroll to the end");
    session.keys("G");
    session.wait_for("y to unpause");
    confirm(&mut session, "all session keys of treasury are unpaused");
    session.keys("\x1b");
    session.wait_for("rebalancer  revoked");
    session.keys("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn several_keys_are_marked_and_revoked_together() {
    let mut session = sandbox();
    session.keys("l/bot\r");
    session.wait_for("── 2 ");
    session.keys("  ");
    session.wait_for("2 marked");
    session.keys("x");
    session.wait_for("Revoke 2 keys");
    session.wait_for("What is sent");
    session.keys("G");
    session.wait_for("y to revoke");
    confirm(&mut session, "2 keys are revoked, and that is proven");
    session.keys("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn a_paste_of_a_hostile_name_and_of_an_address_in_lines_fills_the_form_and_submits_nothing() {
    let mut session = sandbox();
    session.keys("m");
    session.wait_for("▸ treasury");
    session.keys("n");
    session.wait_for("Add an account");
    session.keys("\x1b[C");
    session.wait_for("existing");
    session.keys("\t");
    paste(&mut session, "old\u{202e}\u{7}-one\r\n\r\n");
    session.wait_for("old-one");
    session.keys("\t\t");
    paste(&mut session, "0x70997970C51812dc\r\n3A010C7d01b50e0d\n17dc79C8\n");
    session.wait_for("0x70997970C51812dc3A010C7d01b50e0d17dc79C8");
    assert!(session.screen().contains("[ Add it ]"), "{}", session.screen());
    assert!(!session.screen().contains("That did not work"), "nothing was submitted");
    session.keys("\t\t\r");
    session.wait_for("there is no contract at");
    assert!(session.screen().contains("old-one"), "what was typed is kept: {}", session.screen());
    session.keys("\x03");
    assert_eq!(session.end(), 0);
}

#[test]
fn the_palette_finds_what_to_do_and_looks_for_unknown_keys() {
    let mut session = sandbox();
    session.keys(":unknown");
    session.wait_for("▸ u      scan the account's history");
    session.keys("\r");
    session.wait_for("every nonce is accounted for");
    session.keys("\x1b");
    session.wait_for("Session keys");
    session.keys(",");
    session.wait_for("Where secrets are kept");
    session.keys("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn sigterm_sighup_and_ctrl_c_leave_the_terminal_as_it_was() {
    let session = Session::start(&[]);
    session.wait_for("Try it in the sandbox");
    session.signal(rustix::process::Signal::TERM);
    assert_eq!(session.end(), 143);
    let session = Session::start(&[]);
    session.wait_for("Try it in the sandbox");
    session.signal(rustix::process::Signal::HUP);
    assert_eq!(session.end(), 129);
    let mut session = Session::start(&[]);
    session.wait_for("Try it in the sandbox");
    session.keys("\x03");
    assert_eq!(session.end(), 0);
}

#[test]
fn ctrl_z_gives_the_terminal_back_and_fg_takes_it_again() {
    let mut session = Session::start_as(&["sh", "-mc", "\"$0\"; echo between; fg; echo after"], &[]);
    session.wait_for("Try it in the sandbox");
    session.keys("\x1a");
    session.wait_for_raw("between");
    session.wait_for("Try it in the sandbox");
    session.keys("q");
    session.wait_for_raw("after");
    let raw = session.raw();
    let (leaves, between) = (last_before(&raw, b"\x1b[?1049l", b"between"), last(&raw, b"between"));
    assert!(leaves.unwrap() < between.unwrap(), "it left before it stopped");
    assert!(last(&raw, b"\x1b[?1049h") > between, "and came back");
    assert_eq!(session.end(), 0);
}

#[test]
fn a_resize_storm_ends_in_a_whole_screen() {
    let mut session = Session::start(&[]);
    session.wait_for("Try it in the sandbox");
    for i in 0..60u16 {
        let size = PtySize { rows: 1 + i % 40, cols: 1 + (i * 7) % 120, pixel_width: 0, pixel_height: 0 };
        session.master.resize(size).unwrap();
    }
    session.master.resize(PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 }).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    session.bytes.lock().unwrap().clear();
    // Something else on the whole screen, and back.
    session.keys("?");
    session.wait_for("Home");
    session.keys("?");
    session.wait_for("Try it in the sandbox");
    session.keys("q");
    let start = Instant::now();
    while session.child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn no_color_and_a_dumb_terminal_get_no_colour_and_keep_the_selection() {
    for environment in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        without_colour(environment);
    }
}

fn without_colour(environment: (&str, &str)) {
    let mut session = Session::start(&[environment]);
    session.wait_for("Try it in the sandbox");
    let mut parser = vt100::Parser::new(24, 80, 0);
    parser.process(&session.raw());
    let cells = (0..24).flat_map(|row| (0..80).map(move |column| (row, column)));
    let cells: Vec<_> = cells.filter_map(|(row, column)| parser.screen().cell(row, column)).collect();
    assert!(cells.iter().all(|c| c.fgcolor() == vt100::Color::Default && c.bgcolor() == vt100::Color::Default));
    assert!(cells.iter().any(|c| c.inverse()), "the chosen line is still marked");
    session.keys("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn nothing_is_written_while_nothing_happens() {
    let mut session = Session::start(&[]);
    session.wait_for("Try it in the sandbox");
    std::thread::sleep(Duration::from_millis(300));
    let before = session.raw().len();
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(session.raw().len(), before);
    session.keys("q");
    assert_eq!(session.end(), 0);
}

/// One command on the same terminal: only its result goes to a file, as in a script. Answers what the person saw, and the file.
fn asked(folder: &std::path::Path, arguments: &[&str], question: &str) -> (String, String) {
    let out = folder.join("stdout");
    let home = tempfile::tempdir().unwrap();
    let script = format!("\"$0\" \"$@\" > '{}'", out.display());
    let mut words = vec!["sh", "-c", script.as_str(), env!("CARGO_BIN_EXE_keyleash"), "--json"];
    words.extend(arguments);
    let sandbox = folder.join("home").display().to_string();
    let mut session = Session::run(&words, &[("KEYLEASH_HOME", sandbox.as_str())], home);
    session.wait_for_raw(question);
    session.keys("n\r");
    let start = Instant::now();
    while session.child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < PATIENCE, "it does not end: {}", String::from_utf8_lossy(&session.raw()));
        std::thread::sleep(Duration::from_millis(10));
    }
    let seen = String::from_utf8_lossy(&session.raw()).into_owned();
    (seen, std::fs::read_to_string(out).unwrap())
}

#[test]
fn k14_with_json_on_a_terminal_the_plan_is_read_before_anything_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let run = |arguments: &[&str]| {
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_keyleash"))
            .args(arguments)
            .env("KEYLEASH_HOME", folder.path().join("home"))
            .output()
            .unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let made: serde_json::Value = serde_json::from_str(&run(&["--json", "init", "--sandbox"])).unwrap();
    let nft = made["data"]["contracts"]["nft"].as_str().unwrap().to_owned();
    let (policy, draft, operation, signature) = (path("p.toml"), path("draft"), path("operation"), path("signature"));
    let text = format!(
        "label = \"k14\"\nvalid_until = \"1d\"\npaymaster = \"{}\"\n\n[[permission]]\ntarget = \"{nft}\"\n\
         function = \"mint(address to)\"\n\n[[permission.when]]\narg = \"to\"\nop = \"eq\"\nvalue = \"{nft}\"\n",
        made["data"]["contracts"]["sponsor"].as_str().unwrap()
    );
    std::fs::write(&policy, text).unwrap();
    std::fs::write(&signature, format!("0x{}", "11".repeat(65))).unwrap();
    run(&["--yes", "grant", "treasury", "--policy", &policy, "--new-key", "--unsigned", "--out", &draft]);
    let to = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
    let owner_call = ["send", "--as-owner", "treasury", "--to", &nft, "--call", "mint(address to)", "--arg", to];
    run(&[&["--yes"][..], &owner_call, &["--unsigned", "--out", &operation]].concat());
    let export = path("export");
    let commands: [(&[&str], &str, &str); 8] = [
        (&["revoke", "treasury", "mint-bot"], "deletes mint-bot", "Revoke now?"),
        (&["revoke", "treasury", "--panic"], "stops every session key", "Pause every key"),
        (&["grant", "treasury", "--policy", &policy, "--new-key"], "Signing sends nothing", "Sign this approval?"),
        (&owner_call, "at most", "Send it?"),
        (&["key", "enable", "watcher"], "watcher", "Enable now?"),
        (
            &["key", "export", "mint-bot", "--with-secret", "--out", &export],
            "whoever reads it can act",
            "Write the private key",
        ),
        (&["key", "rm", "k14"], "A draft may have been signed elsewhere", "Remove this key"),
        (&["complete", &operation, "--signature-file", &signature], &nft, "Send this operation?"),
    ];
    for (arguments, plan, question) in commands {
        let (seen, out) = asked(folder.path(), arguments, question);
        let (read, asked) = (seen.find(plan), seen.find(question));
        assert!(read.is_some() && read < asked, "{arguments:?}: {plan:?} is not read first:\n{seen}");
        let envelope: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(envelope["errors"][0]["code"], "confirm.no", "{arguments:?}: {out}");
    }
}
