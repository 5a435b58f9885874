//! Entering the terminal and leaving it as it was: raw mode, alternate screen, bracketed paste, cursor.
//!
//! One guard undoes it all - dropped on success and error, called by the panic hook, and by the loop when a signal says to go.

use std::{
    io::{self, BufWriter, Stdout, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use crossterm::{
    clipboard::CopyToClipboard,
    cursor,
    event::{DisableBracketedPaste, EnableBracketedPaste},
    execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use ratatui::{Terminal, backend::CrosstermBackend, layout::Rect};

/// Whether the terminal is ours now; makes leaving twice harmless, from whichever thread.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// The terminal while it is ours.
pub struct Guard {
    pub terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Guard {
    pub fn enter() -> io::Result<Self> {
        leave_on_panic();
        take()?;
        match Terminal::new(CrosstermBackend::new(BufWriter::with_capacity(32 * 1024, io::stdout()))) {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                leave();
                Err(error)
            }
        }
    }

    /// Back after a stop: takes the terminal again and draws everything anew.
    pub fn enter_again(&mut self) -> io::Result<()> {
        take()?;
        // Not `clear()`: that asks the terminal where its cursor is, and the answer goes to the thread that reads keys.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::new(0, 0, size.width, size.height))
    }
}

impl Guard {
    /// Asks the terminal to put the text on the clipboard (OSC 52). Whether it does cannot be known.
    pub fn copy(&mut self, text: &str) -> io::Result<()> {
        execute!(self.terminal.backend_mut(), CopyToClipboard::to_clipboard_from(text))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        leave();
    }
}

fn take() -> io::Result<()> {
    ENTERED.store(true, Ordering::SeqCst);
    let taken = enable_raw_mode()
        .and_then(|()| execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, cursor::Hide));
    if taken.is_err() {
        leave();
    }
    taken
}

/// Gives the terminal back. Does nothing when it is not ours; a terminal that is gone is no failure.
pub fn leave() {
    if !ENTERED.swap(false, Ordering::SeqCst) {
        return;
    }
    let _ = execute!(io::stdout(), DisableBracketedPaste, LeaveAlternateScreen, cursor::Show);
    let _ = disable_raw_mode();
    let _ = io::stdout().flush();
}

/// A panic of the thread that draws leaves the terminal before it is reported. One of a job is reported as the job's failure:
/// its text must not be written over the screen.
fn leave_on_panic() {
    let drawing = std::thread::current().id();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() == drawing {
            leave();
            before(info);
        } else if !ENTERED.load(Ordering::SeqCst) {
            before(info);
        }
    }));
}
