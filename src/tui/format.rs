//! The layout of text: cutting, padding and wrapping by the columns a terminal uses, and short forms of addresses and times.

use alloy::primitives::{Address, U256};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::{policy::sentence, text};

/// Longest piece of text that is ever laid out, in characters.
const MAX_TEXT: usize = 16 * 1024;

/// Text from outside without anything that could move the cursor or turn its direction.
pub fn clean(foreign: &str) -> String {
    text::clean(foreign, MAX_TEXT)
}

/// Columns that the text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// At most `columns` wide, "…" where something was cut.
pub fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > columns {
            break;
        }
        used += wide;
        out.push(c);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

/// Exactly `columns` wide: cut, or filled up on the right.
pub fn fit(text: &str, columns: usize) -> String {
    let mut out = cut(text, columns);
    let missing = columns.saturating_sub(out.width());
    out.extend(std::iter::repeat_n(' ', missing));
    out
}

/// Lines of at most `columns`, broken at spaces where there are any.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        let mut used = 0;
        for word in paragraph.split(' ').filter(|w| !w.is_empty()) {
            let wide = word.width();
            if used > 0 && used + 1 + wide > columns {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            // A word that is longer than a line (an address, a hash) is broken where the line ends.
            for c in word.chars() {
                let wide = c.width().unwrap_or(0);
                if used + wide > columns && used > 0 {
                    lines.push(std::mem::take(&mut line));
                    used = 0;
                }
                line.push(c);
                used += wide;
            }
        }
        lines.push(line);
    }
    lines
}

/// `0x1234…9f3A`.
pub fn short_address(address: Address) -> String {
    let full = address.to_string();
    match (full.get(..6), full.get(38..)) {
        (Some(head), Some(tail)) => format!("{head}…{tail}"),
        _ => full,
    }
}

/// Wei as coins with at most four decimals, rounded down; "<0.0001" rather than nothing.
pub fn short_coins(wei: U256) -> String {
    let full = sentence::coins(wei);
    let Some((whole, fraction)) = full.split_once('.') else { return full };
    let kept = fraction.get(..fraction.len().min(4)).unwrap_or(fraction).trim_end_matches('0');
    match (kept.is_empty(), whole) {
        (true, "0") => "<0.0001".to_owned(),
        (true, _) => whole.to_owned(),
        (false, _) => format!("{whole}.{kept}"),
    }
}

/// The time of day, UTC: `14:02`.
pub fn clock(unix_seconds: u64) -> String {
    let minutes = unix_seconds / 60 % (24 * 60);
    format!("{:02}:{:02} UTC", minutes / 60, minutes % 60)
}

/// `2026-11-22 14:02 UTC`.
pub fn date(unix_seconds: u64) -> String {
    let full = sentence::time(unix_seconds);
    match (full.get(..10), full.get(11..16)) {
        (Some(day), Some(time)) if full.ends_with('Z') => format!("{day} {time} UTC"),
        _ => full,
    }
}

/// How soon `rough_duration` of a time that runs out reads differently, in seconds.
pub const fn seconds_to_change(left: u64) -> u64 {
    let unit = match left {
        86_400.. => 86_400,
        3_600.. => 3_600,
        60.. => 60,
        _ => 1,
    };
    left % unit + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::address;

    #[test]
    fn what_is_cut_is_marked_and_what_is_short_is_filled_up() {
        assert_eq!(fit("mint-bot", 5), "mint…");
        assert_eq!(fit("abc", 5), "abc  ");
        assert_eq!(fit("鍵鍵鍵", 4), "鍵… ");
        assert_eq!(fit("anything", 0), "");
    }

    #[test]
    fn text_wraps_at_spaces_and_long_words_where_the_line_ends() {
        assert_eq!(wrap("may call mint", 8), ["may call", "mint"]);
        assert_eq!(wrap("to 0x1234567890", 6), ["to", "0x1234", "567890"]);
        assert_eq!(wrap("a\n\nb", 6), ["a", "", "b"]);
        assert_eq!(wrap("鍵", 1), ["鍵"]);
    }

    #[test]
    fn a_countdown_is_next_due_when_its_words_change() {
        for left in [0, 1, 59, 60, 61, 3_600, 7_199, 86_400, 700_000] {
            let words = |left| sentence::rough_duration(left);
            let due = seconds_to_change(left);
            let ended = left < due;
            assert!(ended || words(left - due) != words(left), "{left}");
            assert!((1..due).all(|early| words(left - early) == words(left)), "{left}");
        }
    }

    #[test]
    fn amounts_and_addresses_have_short_forms() {
        let account = address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        assert_eq!(short_address(account), "0xf39F…2266");
        assert_eq!(short_coins(U256::from(420_000_000_000_000_000_u64)), "0.42");
        assert_eq!(short_coins(U256::from(1_234_567_890_000_000_000_u64)), "1.2345");
        assert_eq!(short_coins(U256::from(1u64)), "<0.0001");
        assert_eq!(short_coins(U256::ZERO), "0");
        assert_eq!(clock(50_520), "14:02 UTC");
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
    }
}
