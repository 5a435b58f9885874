//! A field whose text nobody sees: it owns one buffer that never grows, wipes it, and hands it over once.

use crossterm::event::KeyCode;
use zeroize::{Zeroize, Zeroizing};

use crate::tui::input::{Input, Key};

/// Longest secret, in bytes. The buffer has this size from the start: growing it would leave copies behind.
const MAX_SECRET: usize = 1024;

/// A masked line. No Debug, no Clone; the model only ever learns how many characters there are.
pub struct SecretField {
    text: Zeroizing<String>,
}

/// What an input did to the field.
#[derive(Debug, PartialEq, Eq)]
pub enum Edit {
    /// It holds this many characters now.
    Typed(usize),
    Entered,
    Cancelled,
    Ignored,
}

impl Default for SecretField {
    fn default() -> Self {
        Self { text: Zeroizing::new(String::with_capacity(MAX_SECRET)) }
    }
}

impl SecretField {
    /// Takes an input; a paste is wiped after it was copied.
    pub fn input(&mut self, input: Input) -> Edit {
        match input {
            Input::Key(Key { code: KeyCode::Enter, .. }) => Edit::Entered,
            Input::Key(Key { code: KeyCode::Esc, .. }) => Edit::Cancelled,
            Input::Key(Key { code: KeyCode::Backspace, .. }) => {
                self.text.pop();
                self.typed()
            }
            Input::Key(Key { code: KeyCode::Char('u'), ctrl: true, .. }) => {
                self.text.zeroize();
                self.typed()
            }
            Input::Key(Key { code: KeyCode::Char(c), ctrl: false, alt: false }) => {
                self.push(c);
                self.typed()
            }
            Input::Paste(text) => {
                let text = Zeroizing::new(text);
                text.chars().for_each(|c| self.push(c));
                self.typed()
            }
            _ => Edit::Ignored,
        }
    }

    /// Gives the text away and is empty afterwards.
    pub fn hand_over(&mut self) -> Zeroizing<String> {
        std::mem::take(self).text
    }

    fn typed(&self) -> Edit {
        Edit::Typed(self.text.chars().count())
    }

    fn push(&mut self, c: char) {
        if !c.is_control() && self.text.len() + c.len_utf8() <= MAX_SECRET {
            self.text.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_handed_over_once() {
        let mut field = SecretField::default();
        for c in "open sesame!".chars() {
            field.input(Input::Key(Key::char(c)));
        }
        assert_eq!(field.input(Input::Key(Key::plain(KeyCode::Backspace))), Edit::Typed(11));
        assert_eq!(field.input(Input::Key(Key::plain(KeyCode::Enter))), Edit::Entered);
        assert_eq!(*field.hand_over(), "open sesame");
        assert_eq!(*field.hand_over(), "");
    }

    #[test]
    fn a_paste_loses_its_line_break_and_the_buffer_never_grows() {
        let mut field = SecretField::default();
        assert_eq!(field.input(Input::Paste("horse\n".into())), Edit::Typed(5));
        let room = field.text.capacity();
        field.input(Input::Paste("x".repeat(5000)));
        assert_eq!(field.text.capacity(), room);
        assert_eq!(field.text.len(), MAX_SECRET);
    }
}
