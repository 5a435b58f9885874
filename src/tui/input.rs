//! What a person does at the terminal, in our own terms: a key, a paste, another size.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// Longest paste that is looked at, in characters: approvals are long.
const MAX_PASTE: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    Key(Key),
    /// One event however long it is; never submits anything.
    Paste(String),
    Resize(u16, u16),
}

/// A key press. Shift is part of the character, or of the code (`BackTab`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub code: KeyCode,
    pub ctrl: bool,
    pub alt: bool,
}

impl Key {
    pub const fn plain(code: KeyCode) -> Self {
        Self { code, ctrl: false, alt: false }
    }

    pub const fn char(c: char) -> Self {
        Self::plain(KeyCode::Char(c))
    }

    pub const fn ctrl(c: char) -> Self {
        Self { code: KeyCode::Char(c), ctrl: true, alt: false }
    }

    #[cfg(test)]
    pub const fn alt(c: char) -> Self {
        Self { code: KeyCode::Char(c), ctrl: false, alt: true }
    }
}

/// Milliseconds since the program started, by a clock that never goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// Milliseconds from `earlier` to this one.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Only presses count: some terminals also report repeats and releases.
pub fn from_event(event: Event) -> Option<Input> {
    match event {
        Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) => Some(Input::Key(Key {
            code,
            ctrl: modifiers.contains(KeyModifiers::CONTROL),
            alt: modifiers.contains(KeyModifiers::ALT),
        })),
        Event::Paste(text) => Some(Input::Paste(text.chars().take(MAX_PASTE).collect())),
        Event::Resize(width, height) => Some(Input::Resize(width, height)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_presses_are_keys() {
        let event = |kind| Event::Key(KeyEvent::new_with_kind(KeyCode::Char('y'), KeyModifiers::NONE, kind));
        assert_eq!(from_event(event(KeyEventKind::Press)), Some(Input::Key(Key::char('y'))));
        assert_eq!(from_event(event(KeyEventKind::Repeat)), None);
        assert_eq!(from_event(event(KeyEventKind::Release)), None);
    }
}
