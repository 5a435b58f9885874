//! The layout of text: cutting, padding and wrapping by the columns a terminal uses, and short forms of addresses and times.

use std::sync::OnceLock;

use alloy::primitives::{Address, U256};
use jiff::{Timestamp, ZonedDateTime, tz::TimeZone};
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

/// The zone that times are shown in; UTC until it is set.
static ZONE: OnceLock<TimeZone> = OnceLock::new();

/// Shows times as whoever looks reads a clock. Before the first frame, once.
pub fn show_times_in(zone: TimeZone) {
    let _ = ZONE.set(zone);
}

fn zone() -> &'static TimeZone {
    ZONE.get().unwrap_or(const { &TimeZone::UTC })
}

/// The time of day, with its zone: `14:02 UTC`, `15:02 CET`.
pub fn clock(unix_seconds: u64) -> String {
    local(zone(), unix_seconds)
        .map_or_else(|| "after 9999".to_owned(), |t| format!("{} {}", t.strftime("%H:%M"), name(&t)))
}

/// `2026-11-22 14:02 UTC`, `2026-11-22 15:02 CET`. For tables.
pub fn date(unix_seconds: u64) -> String {
    date_in(zone(), unix_seconds)
}

/// The same, and in UTC besides where that is another time: what goes into a policy file, and what the chain has.
pub fn full_date(unix_seconds: u64) -> String {
    full_date_in(zone(), unix_seconds)
}

fn date_in(zone: &TimeZone, unix_seconds: u64) -> String {
    match local(zone, unix_seconds) {
        Some(time) => format!("{} {}", time.strftime("%Y-%m-%d %H:%M"), name(&time)),
        None => sentence::time(unix_seconds),
    }
}

fn full_date_in(zone: &TimeZone, unix_seconds: u64) -> String {
    let shown = date_in(zone, unix_seconds);
    let Some(there) = local(zone, unix_seconds).filter(|there| there.offset().seconds() != 0) else { return shown };
    let utc = there.with_time_zone(TimeZone::UTC);
    let form = if utc.date() == there.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    format!("{shown} ({} UTC)", utc.strftime(form))
}

/// `None` after the year 9999.
fn local(zone: &TimeZone, unix_seconds: u64) -> Option<ZonedDateTime> {
    let time = Timestamp::from_second(i64::try_from(unix_seconds).ok()?).ok()?;
    Some(time.to_zoned_datetime(zone.clone()))
}

/// `CET`, `-03`.
fn name(time: &ZonedDateTime) -> String {
    match time.offset().seconds() {
        0 => "UTC".to_owned(),
        _ => time.strftime("%Z").to_string(),
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
        assert_eq!(full_date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(u64::MAX), sentence::time(u64::MAX));
    }

    #[test]
    fn times_are_those_of_a_zone_with_utc_beside_them() {
        let of = |rule: &str| TimeZone::posix(rule).unwrap();
        let (berlin, new_york) = (of("CET-1CEST,M3.5.0,M10.5.0/3"), of("EST5EDT,M3.2.0,M11.1.0"));
        let winter = 1_795_356_120; // 2026-11-22 14:02 UTC
        assert_eq!(date_in(&TimeZone::UTC, winter), "2026-11-22 14:02 UTC");
        assert_eq!(full_date_in(&TimeZone::UTC, winter), "2026-11-22 14:02 UTC");
        assert_eq!(date_in(&berlin, winter), "2026-11-22 15:02 CET");
        assert_eq!(full_date_in(&berlin, winter), "2026-11-22 15:02 CET (14:02 UTC)");
        let night = winter + 15 * 3_600;
        assert_eq!(full_date_in(&new_york, night), "2026-11-23 00:02 EST (05:02 UTC)");
        assert_eq!(full_date_in(&new_york, night - 3_600), "2026-11-22 23:02 EST (2026-11-23 04:02 UTC)");
        let summer = winter - 150 * 86_400;
        assert_eq!(date_in(&berlin, summer), "2026-06-25 16:02 CEST");
        assert_eq!(date_in(&of("<-03>3"), winter), "2026-11-22 11:02 -03");
        assert_eq!(full_date_in(&berlin, u64::MAX), sentence::time(u64::MAX));
    }
}
