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

use std::{
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use terminal::{PATIENCE, Session};

const DOWN: &str = "\x1b[B";
const RIGHT: &str = "\x1b[C";
const GO_ON: &str = "\x1b[6~";
const ESC: &str = "\x1b";

/// What the screen says, wherever its lines are broken.
fn says(session: &Session, what: &str) -> bool {
    session.screen().split_whitespace().collect::<Vec<_>>().join(" ").contains(what)
}

/// Waits until the screen says so, however slow the machine is.
fn wait_for(session: &Session, what: &str) {
    let start = Instant::now();
    while !says(session, what) {
        assert!(start.elapsed() < 2 * PATIENCE, "never saw {what:?} in:\n{}", session.screen());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Keys, and the text that shows that they were taken in.
fn walk(session: &mut Session, steps: &[(&str, &str)]) {
    for (keys, then) in steps {
        session.keys(keys);
        wait_for(session, then);
    }
}

/// Presses the confirming key until it is taken: one that comes too soon is not, however slow the machine is.
fn confirm(session: &mut Session, then: &str) {
    for _ in 0..30 {
        if says(session, then) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1_000));
        if session.screen().contains("y to ") {
            session.keys("y");
        }
    }
    wait_for(session, then);
}

fn sandbox() -> Session {
    let mut session = Session::start(&[]);
    wait_for(&session, "Try it in the sandbox");
    walk(&mut session, &[("\r", "treasury 5 !!")]);
    session
}

/// Chooses an account, in whichever order they stand.
fn choose_account(session: &mut Session, name: &str) {
    choose(session, "│", name);
}

/// Goes to the session keys and chooses one, by as much of its name as the list shows.
fn choose_key(session: &mut Session, name: &str) {
    walk(session, &[("l", "││▸ ")]);
    choose(session, "││", name);
}

/// Steps towards a line of a list, one at a time: the list may be put in another order meanwhile.
fn choose(session: &mut Session, border: &str, name: &str) {
    wait_for(session, name);
    let start = Instant::now();
    while start.elapsed() < 2 * PATIENCE {
        let screen = session.screen();
        let row = |mark: &str, name: &str| {
            let wanted = format!("{border}{mark}{name}");
            screen.lines().position(|l| if border == "│" { l.starts_with(&wanted) } else { l.contains(&wanted) })
        };
        if row("▸ ", name).is_some() {
            return;
        }
        if let (Some(from), Some(to)) = (row("▸ ", ""), row("  ", name)) {
            session.keys(if to > from { "j" } else { "k" });
        }
        let pressed = Instant::now();
        while session.screen() == screen && pressed.elapsed() < PATIENCE / 30 {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    panic!("{name} is never chosen in:\n{}", session.screen());
}

#[test]
fn a_key_with_two_permissions_and_a_range_is_given_used_refused_and_taken_back() {
    let mut session = sandbox();
    // The key before it in the account's queue is used, so that the new one's turn comes.
    choose_account(&mut session, "game");
    choose_key(&mut session, "session");
    walk(&mut session, &[("s", "✓ allowed"), (GO_ON, "Send this as"), ("G", "y to send")]);
    confirm(&mut session, "✓ the call succeeded");
    walk(
        &mut session,
        &[
            ("\r", "▸ session"),
            ("n", "What is it for?"),
            (DOWN, "▸ An automation watcher"),
            (DOWN, "▸ Something else"),
            ("\r", "Step 1 of 6"),
            ("\t\trange-bot", "label range-bot"),
            (GO_ON, "Step 2 of 6"),
            (RIGHT, "‹ the sandbox's dollar (a token) ›"),
            ("\t\t", "▸ which one 1 of 3"),
            (DOWN, "▸ mint(address to, uint256 amount)"),
            ("\t", "▸ [ Next ]"),
            ("\r", "Step 3 of 6"),
            (RIGHT, "▸ to ‹ is ›"),
            ("\tme", "‹ is › me"),
            (&format!("\t{}", RIGHT.repeat(3)), "▸ amount ‹ at least ›"),
            ("\t10", "‹ at least › 10"),
            (&format!("\t{}", RIGHT.repeat(4)), "▸ and ‹ at most ›"),
            ("\t500", "‹ at most › 500"),
            (GO_ON, "amount is at least 10 and amount is at most 500"),
            ("\t\t\t\t", "▸ [ Add another permission ]"),
            ("\r", "permission 2 of 2"),
            (GO_ON, "Step 3 of 6"),
            (RIGHT, "▸ to ‹ is ›"),
            ("\tme", "‹ is › me"),
            (GO_ON, "may call mint(address to) on"),
            (GO_ON, "Step 5 of 6"),
            (GO_ON, "Grant range-bot this scope?"),
            ("G", "y to sign"),
        ],
    );
    confirm(&mut session, "range-bot is signed");
    // It goes to a file, with the key, that only its owner can read.
    let file = session.home().join("range.approval");
    walk(&mut session, &[("\x1b[A", "▸ file"), ("\x15", "~/key.approval")]);
    session.keys(&file.display().to_string());
    walk(&mut session, &[("\r", "▸ [ Write the file ]"), ("\r", "✓ written to")]);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    walk(&mut session, &[("\r", "Session keys ── 2"), ("", "range-bot pending")]);
    choose_key(&mut session, "range-bot");
    walk(&mut session, &[("s", "fill in the form to see")]);
    // What is fixed is filled in; the judge says of the rest whether it is allowed.
    walk(
        &mut session,
        &[
            ("\t\t\t501", "expected that amount is at most 500, found 501"),
            ("\x155", "expected that amount is at least 10, found 5"),
            (GO_ON, "Failed; nothing was sent"),
        ],
    );
    session.keys(ESC);
    walk(&mut session, &[("", "▸ range-bot"), ("s", "fill in the form to see"), ("\t\t\t20", "✓ allowed")]);
    walk(&mut session, &[(GO_ON, "enables the key on chain"), ("G", "y to send")]);
    confirm(&mut session, "✓ the call succeeded");
    walk(&mut session, &[("\r", "▸ range-bot expiring"), ("x", "Revoke range-bot"), ("G", "y to revoke")]);
    confirm(&mut session, "revoked, and that is proven");
    session.keys("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn a_minting_session_is_given_used_inside_refused_outside_and_revoked_with_proof() {
    let mut session = sandbox();
    choose_account(&mut session, "treasury");
    walk(
        &mut session,
        &[
            ("n", "What is it for?"),
            ("\r", "Step 1 of 6"),
            (GO_ON, "Step 2 of 6"),
            (GO_ON, "‹ is › me"),
            (GO_ON, "may call mint(address to)"),
            (GO_ON, "Step 5 of 6"),
            (GO_ON, "Grant mint-session this scope?"),
            ("G", "y to sign"),
        ],
    );
    confirm(&mut session, "mint-session is signed");
    walk(&mut session, &[(ESC, "Session keys ── 6"), ("", "mint-sessi… queued")]);
    choose_key(&mut session, "mint-sessi");
    // Its turn comes after the others'.
    walk(&mut session, &[("s", "not allowed: mint-session: this approval has nonce"), (ESC, "▸ mint-sessi")]);
    // A key whose turn it is: inside, then outside.
    choose_key(&mut session, "mint-bot");
    walk(&mut session, &[("s", "✓ allowed"), (GO_ON, "Send this as"), ("G", "y to send")]);
    confirm(&mut session, "✓ the call succeeded");
    walk(&mut session, &[("\r", "▸ mint-bot"), ("s", "✓ allowed")]);
    session.keys("\t\x15");
    session.keys("0x70997970C51812dc3A010C7d01b50e0d17dc79C8");
    wait_for(&session, "expected that to is exactly");
    walk(&mut session, &[(ESC, "▸ mint-bot"), ("x", "Revoke mint-bot"), ("G", "y to revoke")]);
    confirm(&mut session, "revoked, and that is proven");
    session.keys("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn an_agents_key_is_made_here_given_power_by_the_owner_and_used() {
    let mut session = sandbox();
    walk(&mut session, &[("a", "none yet"), ("n", "▸ label"), ("my-bot", "my-bot"), ("\r", "▸ [ Create the key ]")]);
    walk(&mut session, &[("\r", "my-bot created")]);
    let screen = session.screen();
    let at = screen.find("0x").unwrap();
    let address = screen[at..at + 42].to_owned();
    // Copied by the terminal, as base64.
    session.keys("y");
    session.wait_for_raw(&format!("\x1b]52;c;{}", BASE64_STANDARD.encode(&address)));
    session.keys(ESC);
    wait_for(&session, "Session keys");
    choose_account(&mut session, "game");
    walk(
        &mut session,
        &[
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
            (GO_ON, "Grant mint-session this scope?"),
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
    walk(&mut session, &[("", "characters pasted"), (GO_ON, "✓ signed by the account's owner")]);
    assert!(!session.screen().contains(&text[..40]));
    walk(&mut session, &[("t", "mint-session imported"), (ESC, "▸ game ")]);
    session.keys("q");
    assert_eq!(session.end(), 0);
}
