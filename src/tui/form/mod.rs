//! The editing state of one line of text: printable keys type, readline keys edit, a paste is one event.
//!
//! Our own, because `tui-input` takes every character that comes, knows no paste, and wipes nothing that was typed.

pub mod page;
pub mod secret;

use crossterm::event::KeyCode;

use super::{
    format::{cut, width},
    input::Key,
};
use crate::text::is_unsafe;

/// Longest text in a field, in characters.
const MAX_FIELD: usize = 1024;

/// A line that is being edited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Field {
    text: Vec<char>,
    /// Characters before the cursor.
    cursor: usize,
}

impl Field {
    pub fn new(text: &str) -> Self {
        let mut field = Self::default();
        field.paste(text);
        field
    }

    pub fn text(&self) -> String {
        self.text.iter().collect()
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The text before the cursor and behind it.
    pub fn parts(&self) -> (String, String) {
        let (before, behind) = self.text.split_at_checked(self.cursor).unwrap_or((&self.text, &[]));
        (before.iter().collect(), behind.iter().collect())
    }

    /// What can be seen of the text in so many columns, "…" where something is beyond an end, and the cursor's column.
    pub fn window(&self, columns: usize) -> (String, usize) {
        let (before, behind) = self.parts();
        let (left, all) = (width(&before), width(&before) + width(&behind));
        if all < columns || columns < 4 {
            return (cut(&format!("{before}{behind}"), columns), left.min(columns.saturating_sub(1)));
        }
        // The cursor keeps a third of the room behind it, so that what follows is in sight while editing in the middle.
        let behind_it = (columns / 3).min(width(&behind));
        let skipped = (left + behind_it + 2).saturating_sub(columns);
        let mut start: String = String::new();
        let mut dropped = 0;
        for c in before.chars() {
            if skipped > 0 && dropped <= skipped {
                dropped += width(c.encode_utf8(&mut [0; 4]));
            } else {
                start.push(c);
            }
        }
        if skipped > 0 {
            start.insert(0, '…');
        }
        let column = width(&start);
        (cut(&format!("{start}{behind}"), columns), column.min(columns.saturating_sub(1)))
    }

    /// Takes one key; answers whether it meant anything here.
    pub fn key(&mut self, key: Key) -> bool {
        match key {
            Key { code: KeyCode::Char(c), ctrl: false, alt: false } => self.insert(c),
            Key { code: KeyCode::Backspace, alt: false, .. } => self.remove(self.cursor.saturating_sub(1)..self.cursor),
            Key { code: KeyCode::Delete, .. } => self.remove(self.cursor..self.cursor + 1),
            Key { code: KeyCode::Left, ctrl: false, .. } => self.cursor = self.cursor.saturating_sub(1),
            Key { code: KeyCode::Right, ctrl: false, .. } => self.cursor = (self.cursor + 1).min(self.text.len()),
            Key { code: KeyCode::Home, .. } => self.cursor = 0,
            Key { code: KeyCode::End, .. } => self.cursor = self.text.len(),
            Key { code: KeyCode::Char(c), ctrl: true, .. } => return self.readline(c),
            Key { code: KeyCode::Backspace, alt: true, .. } => self.remove(self.word_before()..self.cursor),
            Key { code: KeyCode::Char('b'), alt: true, .. } | Key { code: KeyCode::Left, ctrl: true, .. } => {
                self.cursor = self.word_before();
            }
            Key { code: KeyCode::Char('f'), alt: true, .. } | Key { code: KeyCode::Right, ctrl: true, .. } => {
                self.cursor = self.word_behind();
            }
            _ => return false,
        }
        true
    }

    /// Control and bidi characters fall out; line breaks too, so a paste never submits.
    pub fn paste(&mut self, text: &str) {
        for c in text.trim().chars().take(MAX_FIELD) {
            self.insert(c);
        }
    }

    fn readline(&mut self, c: char) -> bool {
        match c {
            'a' => self.cursor = 0,
            'e' => self.cursor = self.text.len(),
            'b' => self.cursor = self.cursor.saturating_sub(1),
            'f' => self.cursor = (self.cursor + 1).min(self.text.len()),
            'd' => self.remove(self.cursor..self.cursor + 1),
            'h' => self.remove(self.cursor.saturating_sub(1)..self.cursor),
            'k' => self.remove(self.cursor..self.text.len()),
            'u' => self.remove(0..self.cursor),
            'w' => self.remove(self.word_before()..self.cursor),
            _ => return false,
        }
        true
    }

    fn insert(&mut self, c: char) {
        if !is_unsafe(c) && self.text.len() < MAX_FIELD {
            self.text.insert(self.cursor.min(self.text.len()), c);
            self.cursor += 1;
        }
    }

    fn remove(&mut self, range: std::ops::Range<usize>) {
        let end = range.end.min(self.text.len());
        let start = range.start.min(end);
        self.text.drain(start..end);
        self.cursor = start;
    }

    fn word_before(&self) -> usize {
        let before = self.text.iter().take(self.cursor).rev();
        let spaces = before.clone().take_while(|c| **c == ' ').count();
        let word = before.skip(spaces).take_while(|c| **c != ' ').count();
        self.cursor.saturating_sub(spaces + word)
    }

    fn word_behind(&self) -> usize {
        let behind = self.text.iter().skip(self.cursor);
        let spaces = behind.clone().take_while(|c| **c == ' ').count();
        let word = behind.skip(spaces).take_while(|c| **c != ' ').count();
        (self.cursor + spaces + word).min(self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(start: &str, keys: &[Key]) -> String {
        let mut field = Field::new(start);
        for key in keys {
            field.key(*key);
        }
        let (before, behind) = field.parts();
        format!("{before}|{behind}")
    }

    #[test]
    fn readline_keys_edit() {
        let ctrl = Key::ctrl;
        assert_eq!(typed("one two", &[ctrl('w')]), "one |");
        assert_eq!(typed("one two", &[Key::alt('b'), ctrl('k')]), "one |");
        assert_eq!(typed("one two", &[ctrl('a'), Key::alt('f'), ctrl('u')]), "| two");
        assert_eq!(typed("one", &[ctrl('a'), ctrl('d'), Key::char('O'), ctrl('e'), ctrl('h')]), "On|");
        assert_eq!(typed("", &[ctrl('w'), ctrl('h'), ctrl('d'), Key::plain(KeyCode::Delete)]), "|");
    }

    #[test]
    fn a_long_text_scrolls_so_that_the_cursor_is_always_in_sight() {
        let text: String = (0..100).map(|i| char::from(b'a' + i % 26)).collect();
        let mut field = Field::new(&text);
        for _ in 0..=100 {
            let (shown, column) = field.window(20);
            assert!(width(&shown) <= 20 && column < 20, "{shown} {column}");
            let (_, behind) = field.parts();
            let under: String = shown.chars().skip(column).take(1).collect();
            assert!(behind.is_empty() || under == "…" || behind.starts_with(&under), "{shown}: {under}");
            field.key(Key::plain(KeyCode::Left));
        }
        assert_eq!(field.window(20), (format!("{}…", text.get(..19).unwrap_or_default()), 0));
        assert_eq!(Field::new("short").window(20), ("short".to_owned(), 5));
    }

    #[test]
    fn a_paste_of_many_lines_is_one_line_without_control_characters() {
        let mut field = Field::default();
        field.paste(" 0xabc\r\n\u{1b}[31mdef\u{202e}\n");
        assert_eq!(field.text(), "0xabc[31mdef");
    }
}
