//! Labels: what a person calls a key, an agent or an account, and types to revoke it. One that cannot be seen, or that looks like
//! something else, would end the wrong key.

use std::borrow::Cow;

use alloy::primitives::Address;

use crate::{
    text::{clean, is_unsafe},
    wallet::error::{Error, Result},
};

pub const MAX_LABEL: usize = 64;

/// A label that is safe to show and to type: 1 to 64 visible characters on one line, that is no option, no address and no key's id.
pub fn check(field: &str, label: &str) -> Result<String> {
    let bad = |what: &str| {
        Err(Error::usage("label.invalid", format!("{field}: {what}"))
            .hint("a label is 1 to 64 printable characters on one line, in letters of one script"))
    };
    let label = label.trim();
    if label.is_empty() {
        return bad("it is empty");
    }
    if label.chars().count() > MAX_LABEL {
        return bad(&format!("it has {} characters", label.chars().count()));
    }
    for c in label.chars() {
        let point = u32::from(c);
        if is_unsafe(c) || c.is_whitespace() && c != ' ' {
            return bad(&format!("it contains the invisible, control or direction character U+{point:04X}"));
        }
        if is_mark(c) {
            return bad(&format!("it contains U+{point:04X}, which changes how the character before it looks"));
        }
        if is_disguise(c) {
            return bad(&format!("it contains U+{point:04X}, which looks like another letter"));
        }
    }
    if label.starts_with('-') {
        return bad("it starts with a dash, as options do");
    }
    if label.parse::<Address>().is_ok() {
        return bad("it is an address");
    }
    if is_key_id(label) {
        return bad("it looks like the id of a key (8 hex digits)");
    }
    let scripts: Vec<&str> = [("Latin", latin as fn(char) -> bool), ("Greek", greek), ("Cyrillic", cyrillic)]
        .iter()
        .filter(|(_, of)| label.chars().any(of))
        .map(|(name, _)| *name)
        .collect();
    if let [one, other, ..] = scripts[..] {
        return bad(&format!("it mixes {one} and {other} letters, some of which look alike"));
    }
    Ok(label.to_owned())
}

/// The one of `others` (what they are called, and what to say of them) that looks like `label` and is not the same.
pub fn look_alike<'a>(label: &str, others: impl IntoIterator<Item = (&'a str, Cow<'a, str>)>) -> Option<Error> {
    let wanted = skeleton(label);
    let (other, who) = others.into_iter().find(|(other, _)| *other != label && skeleton(other) == wanted)?;
    let message =
        format!("{} looks like {}, which is the name of {who}", clean(label, MAX_LABEL), clean(other, MAX_LABEL));
    Some(Error::usage("label.look_alike", message).hint("choose a label that cannot be taken for another"))
}

fn is_key_id(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Combining marks: drawn over the character before them.
fn is_mark(c: char) -> bool {
    matches!(c,
        '\u{0300}'..='\u{036f}' | '\u{0483}'..='\u{0489}' | '\u{0591}'..='\u{05bd}' | '\u{05bf}' | '\u{05c1}'..='\u{05c7}'
        | '\u{0610}'..='\u{061a}' | '\u{064b}'..='\u{065f}' | '\u{0670}' | '\u{06d6}'..='\u{06dc}' | '\u{06df}'..='\u{06ed}'
        | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{302a}'..='\u{302f}'
        | '\u{3099}'..='\u{309a}' | '\u{a66f}'..='\u{a67d}' | '\u{fe20}'..='\u{fe2f}')
}

/// Forms made to look like ordinary letters, and the halves of flags.
fn is_disguise(c: char) -> bool {
    matches!(c,
        '\u{0250}'..='\u{02af}' | '\u{13a0}'..='\u{13ff}' | '\u{1d00}'..='\u{1d7f}' | '\u{2070}'..='\u{209f}'
        | '\u{2100}'..='\u{218b}' | '\u{2460}'..='\u{24ff}' | '\u{a4d0}'..='\u{a4ff}' | '\u{ab30}'..='\u{abbf}'
        | '\u{fb00}'..='\u{fb4f}' | '\u{fb50}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}' | '\u{ff01}'..='\u{ffee}'
        | '\u{1d400}'..='\u{1d7ff}' | '\u{1f100}'..='\u{1f1ff}' | '\u{1f3fb}'..='\u{1f3ff}')
}

fn latin(c: char) -> bool {
    c.is_ascii_alphabetic()
        || matches!(c, '\u{00aa}' | '\u{00ba}' | '\u{00c0}'..='\u{024f}' | '\u{1e00}'..='\u{1eff}') && c.is_alphabetic()
}

fn greek(c: char) -> bool {
    matches!(c, '\u{0370}'..='\u{03ff}' | '\u{1f00}'..='\u{1fff}') && c.is_alphabetic()
}

fn cyrillic(c: char) -> bool {
    matches!(c, '\u{0400}'..='\u{052f}' | '\u{1c80}'..='\u{1c8f}' | '\u{2de0}'..='\u{2dff}' | '\u{a640}'..='\u{a69f}')
        && c.is_alphabetic()
}

/// What a label looks like at a glance: letters and signs that are drawn alike are one, runs of spaces are one.
fn skeleton(label: &str) -> String {
    let mut out = String::with_capacity(label.len());
    for c in label.trim().chars().filter(|c| !is_unsafe(*c) && !is_mark(*c)).map(looks_like) {
        if c != ' ' || !out.ends_with(' ') {
            out.push(c);
        }
    }
    out
}

const fn looks_like(c: char) -> char {
    match c {
        'І' | 'Ӏ' | 'ӏ' | 'Ι' | 'I' | '1' | '|' | 'ا' | '∣' => 'l',
        '0' | 'О' | 'Ο' => 'O',
        'а' | 'α' => 'a',
        'А' | 'Α' => 'A',
        'В' | 'Β' => 'B',
        'Ь' | 'ь' => 'b',
        'с' | 'ϲ' => 'c',
        'С' | 'Ϲ' => 'C',
        'ԁ' => 'd',
        'е' => 'e',
        'Е' | 'Ε' => 'E',
        'Ԍ' => 'G',
        'һ' => 'h',
        'Н' | 'Η' => 'H',
        'і' | 'ι' | 'ı' => 'i',
        'ј' | 'ϳ' => 'j',
        'Ј' => 'J',
        'К' | 'Κ' => 'K',
        'к' | 'κ' => 'k',
        'М' | 'Μ' => 'M',
        'Ν' => 'N',
        'о' | 'ο' | 'σ' => 'o',
        'р' | 'ρ' => 'p',
        'Р' | 'Ρ' => 'P',
        'ԛ' => 'q',
        'ѕ' => 's',
        'Ѕ' => 'S',
        'Т' | 'Τ' => 'T',
        'υ' => 'u',
        'ѵ' | 'ν' => 'v',
        'ԝ' | 'ω' => 'w',
        'Ԝ' => 'W',
        'х' | 'χ' => 'x',
        'Х' | 'Χ' => 'X',
        'у' | 'γ' => 'y',
        'Υ' | 'Ү' | 'У' => 'Y',
        'Ζ' => 'Z',
        '‐' | '‑' | '‒' | '–' | '—' | '―' | '−' | 'ー' => '-',
        '‘' | '’' | '`' | '´' => '\'',
        '․' => '.',
        '：' => ':',
        '⁄' | '∕' => '/',
        other => other,
    }
}

/// A name that is easy to type: letters, digits, dash, underscore, dot; at most 32.
pub fn check_name(field: &str, name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 32 || !name.chars().all(plain) || name.starts_with(['-', '.']) {
        return Err(Error::usage("name.invalid", format!("{field}: {:?} is not a name", clean(name, 40)))
            .hint("use 1 to 32 letters, digits, dashes, underscores or dots"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k16_what_cannot_be_seen_or_looks_like_something_else_is_no_label() {
        let bad = [
            "bot\u{3164}",
            "\u{2800}",
            "b\u{034f}ot",
            "bot\u{fe0f}",
            "\u{115f}bot",
            "bot\u{17b5}",
            "bot\u{1160}",
            "bot\u{ffa0}",
            "bot\u{180b}",
            "bot\u{e0100}",
            "bot\u{200b}",
            "bot\u{00ad}",
            "bot\u{2060}",
            "b\u{00a0}ot",
            "b\u{3000}ot",
            "bo\u{0301}t",
            "bo\u{20dd}t",
            "bot\u{0489}",
            "\u{1f1e9}\u{1f1ea}",
            "\u{1f44d}\u{1f3fd}",
            "m\u{0456}nt-bot",
            "min\u{03c4}",
            "с\u{006f}py",
            "ｂｏｔ",
            "𝐛𝐨𝐭",
            "bⓞt",
            "ℬot",
            "ꭺ",
            "\u{fb01}le",
            "--all",
            "-h",
            "—\u{202e}",
            "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
            "70997970c51812dc3a010c7d01b50e0d17dc79c8",
            "0a1b2c3d",
            " 0a1b2c3d ",
            "12345678",
            "",
            " ",
        ];
        for label in bad {
            let error = check("--label", label).err();
            assert!(error.as_ref().is_some_and(|e| e.code == "label.invalid"), "{label:?}: {error:?}");
            assert!(!error.is_some_and(|e| e.message.chars().any(is_unsafe)));
        }
    }

    #[test]
    fn k16_labels_of_one_script_are_labels() {
        let good = [
            "mint-bot",
            "mint bot é",
            "agent 47",
            "бот",
            "ρομπότ",
            "薄荷",
            "ミント",
            "봇",
            "बॉट",
            "bot (old)",
            "0A1B2C3D",
            "a1b2c3d",
            "🤖",
            "it's",
        ];
        for label in good {
            assert_eq!(check("--label", label).map_err(|e| e.message).as_deref(), Ok(label));
        }
    }

    #[test]
    fn k16_a_label_that_looks_like_another_is_found() {
        let alike =
            [("сору", "copy"), ("bot-1", "bot-l"), ("b0t", "bOt"), ("mint–bot", "mint-bot"), ("mint  bot", "mint bot")];
        for (label, other) in alike {
            let found = look_alike(label, [("mint", Cow::from("a key")), (other, Cow::from("key 0a1b2c3d"))]);
            let found = found.map(|e| (e.code, e.message)).unwrap_or_default();
            assert!(found.0 == "label.look_alike" && found.1.contains("0a1b2c3d"), "{label}: {found:?}");
        }
        for (label, other) in [("mint-bot", "mint-bot"), ("mint-bot", "mint-bot-2"), ("бот", "bot"), ("one", "two")]
        {
            assert!(look_alike(label, [(other, Cow::from("a key"))]).is_none(), "{label} {other}");
        }
    }
}
