//! Going through a list.

use crate::tui::keymap::Command;

/// Where a list goes from `at`.
pub fn moved(command: Command, at: usize, len: usize, page: usize) -> usize {
    let last = len.saturating_sub(1);
    match command {
        Command::Up => at.saturating_sub(1),
        Command::Down => at + 1,
        Command::PageUp => at.saturating_sub(page),
        Command::PageDown => at + page,
        Command::First => 0,
        Command::Last => last,
        _ => at,
    }
    .min(last)
}
