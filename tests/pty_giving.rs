//! From an empty home to a key that is given, used, refused, taken back - and proven gone - with real keys in a real terminal.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly and read as specifications"
)]
#![cfg(all(target_os = "linux", feature = "tui"))]

#[path = "support/terminal.rs"]
mod terminal;

use terminal::Session;

const DOWN: &str = "\x1b[B";
const RIGHT: &str = "\x1b[C";
const GO_ON: &str = "\x1b[6~";
const ESC: &str = "\x1b";

/// Keys, and the text that shows that they were taken in.
fn walk(session: &mut Session, steps: &[(&str, &str)]) {
    for (keys, then) in steps {
        session.keys(keys);
        session.wait_for(then);
    }
}

/// Presses the confirming key until it is taken: one that comes too soon is not, however slow the machine is.
fn confirm(session: &mut Session, then: &str) {
    for _ in 0..20 {
        if session.screen().contains(then) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1_000));
        if session.screen().contains("y to ") {
            session.keys("y");
        }
    }
    session.wait_for(then);
}

fn sandbox() -> Session {
    let mut session = Session::start(&[]);
    session.wait_for("Try it in the sandbox");
    walk(&mut session, &[("\r", "treasury    5 !!"), ("j", "▸ treasury")]);
    session
}

#[test]
fn a_key_with_two_permissions_and_a_range_is_given_used_refused_and_taken_back() {
    let mut session = sandbox();
    // The watcher's template has two permissions; its amount becomes a range.
    walk(
        &mut session,
        &[
            ("n", "What is it for?"),
            (DOWN, "▸ An automation watcher"),
            ("\r", "Step 1 of 6"),
            (GO_ON, "Step 2 of 6"),
            (GO_ON, "Step 3 of 6"),
            // owner: choice, value; amount: choice, value; and: choice.
            ("\t\t\t\t", "▸ and"),
            (RIGHT, "‹ is ›"),
            (&RIGHT.repeat(2), "‹ at least ›"),
            ("\t10", "‹ at least › 10"),
            (GO_ON, "amount is at most 500 and amount is at least 10"),
            (GO_ON, "permission 2 of 2"),
            (GO_ON, "takes no arguments"),
            (GO_ON, "may call closeIfAtRisk()"),
            (GO_ON, "Step 5 of 6"),
            (GO_ON, "give loan-watcher this power?"),
            ("G", "y to sign"),
        ],
    );
    confirm(&mut session, "loan-watcher is signed");
    // It goes to a file, with the key, that only its owner can read.
    let file = session.home().join("watcher.approval");
    walk(&mut session, &[("\x1b[A", "▸ file"), ("\x15", "~/key.approval")]);
    let typed = file.display().to_string();
    session.keys(&typed);
    walk(&mut session, &[("\r", "▸ [ Write the file ]"), ("\r", "✓ written to")]);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    walk(&mut session, &[("\r", "loan-watcher")]);
    session.wait_for("Session keys ── 6");
    // The fixed owner is filled in; whether the amount is allowed is said while typing.
    walk(&mut session, &[("l", "▸ mint-bot"), ("G", "▸ loan-watcher"), ("s", "Send as the session key loan-watcher")]);
    walk(&mut session, &[("\t\t\t501", "not allowed"), ("", "expected that amount is at most 500, found 501")]);
    walk(&mut session, &[("\x155", "expected that amount is at least 10, found 5")]);
    walk(&mut session, &[(GO_ON, "That did not work; nothing was sent")]);
    session.keys(ESC);
    session.wait_for("▸ loan-watcher");
    session.keys("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn a_minting_session_is_given_used_inside_refused_outside_and_revoked_with_proof() {
    let mut session = sandbox();
    walk(
        &mut session,
        &[
            ("n", "What is it for?"),
            ("\r", "Step 1 of 6"),
            (GO_ON, "Step 2 of 6"),
            (GO_ON, "‹ is › me"),
            (GO_ON, "may call mint(address to)"),
            (GO_ON, "Step 5 of 6"),
            (GO_ON, "give mint-session this power?"),
            ("G", "y to sign"),
        ],
    );
    confirm(&mut session, "mint-session is signed");
    walk(&mut session, &[(ESC, "Session keys ── 6"), ("l", "▸ mint-bot"), ("G", "▸ mint-session")]);
    // Its turn comes after the others'.
    walk(&mut session, &[("s", "not allowed: mint-session: it is not this approval's turn"), (ESC, "▸ mint-session")]);
    // A key whose turn it is: inside, then outside.
    walk(&mut session, &[("g", "▸ mint-bot"), ("s", "✓ allowed"), (GO_ON, "y to send")]);
    confirm(&mut session, "✓ the call was made");
    walk(&mut session, &[("\r", "▸ mint-bot"), ("s", "✓ allowed")]);
    session.keys("\t\x15");
    session.keys("0x70997970C51812dc3A010C7d01b50e0d17dc79C8");
    session.wait_for("expected that to is exactly");
    walk(&mut session, &[(ESC, "▸ mint-bot"), ("x", "y to revoke")]);
    confirm(&mut session, "mint-bot is revoked, and that is proven");
    session.keys("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn an_agents_key_is_made_here_given_power_by_the_owner_and_used() {
    let mut session = sandbox();
    walk(&mut session, &[("a", "none yet"), ("n", "call it"), ("my-bot", "my-bot"), ("\r", "▸ [ Make the key ]")]);
    walk(&mut session, &[("\r", "my-bot is made")]);
    let screen = session.screen();
    let at = screen.find("0x").unwrap();
    let address = screen[at..at + 42].to_owned();
    // Copied by the terminal, as base64.
    session.keys("y");
    session.wait_for_raw("\x1b]52;c;MHg");
    walk(
        &mut session,
        &[
            (ESC, "▸ treasury"),
            ("k", "▸ game"),
            ("n", "What is it for?"),
            ("\r", "Step 1 of 6"),
            ("\t\t\x1b[A", "▸ used by"),
            (RIGHT, "its address"),
            ("\t", "▸ its address"),
        ],
    );
    session.keys(&address);
    walk(
        &mut session,
        &[
            (GO_ON, "Step 2 of 6"),
            (GO_ON, "‹ is › me"),
            (GO_ON, "may call mint(address to)"),
            (GO_ON, "Step 5 of 6"),
            (GO_ON, "give mint-session this power?"),
            ("G", "y to sign"),
        ],
    );
    confirm(&mut session, "mint-session is signed");
    let file = session.home().join("bot.approval");
    walk(&mut session, &[("\x1b[A", "▸ file"), ("\x15", "~/key.approval")]);
    session.keys(&file.display().to_string());
    walk(&mut session, &[("\r", "▸ [ Write the file ]"), ("\r", "✓ written to"), (ESC, "Session keys ── 2")]);
    // Looked at as the other side would, from a paste of the file.
    let text = std::fs::read_to_string(&file).unwrap();
    walk(&mut session, &[("i", "paste it now")]);
    session.keys(&format!("\x1b[200~{text}\x1b[201~"));
    walk(&mut session, &[("", "characters are here"), (GO_ON, "✓ signed by the account's owner")]);
    assert!(!session.screen().contains(&text[..40]));
    walk(&mut session, &[("t", "is taken in"), (ESC, "▸ game")]);
    session.keys("q");
    assert_eq!(session.end(), 0);
}
