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
    session.wait_for("keep the filter");
    session.keys("\x1b");
    session.wait_for("Try it in the sandbox");
    session.keys("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn from_an_empty_home_to_a_revoked_key() {
    let mut session = Session::start(&[]);
    session.wait_for("Try it in the sandbox");
    session.keys("\r");
    session.wait_for("SANDBOX");
    session.wait_for("treasury    5 !!");
    session.keys("jl");
    session.wait_for("▸ mint-bot    active");
    session.keys("\r");
    session.wait_for("mint-bot is active");
    session.wait_for("you, at any time: x revokes it");
    session.keys("x");
    session.wait_for("y to revoke");
    // A press that comes too soon is not taken.
    session.keys("y");
    session.wait_for("too soon");
    std::thread::sleep(Duration::from_millis(1_000));
    session.keys("y");
    session.wait_for("mint-bot is revoked, and that is proven");
    session.keys("\x1b");
    session.wait_for("Taken back");
    session.keys("\x1b");
    session.wait_for("▸ mint-bot    revoked");
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
fn no_color_writes_no_colour_and_keeps_the_selection() {
    let mut session = Session::start(&[("NO_COLOR", "1")]);
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
