//! `docs/errors.md` against the constructors of `wallet::error` in the source.
//!
//! The codes and their exit codes are read from the source; what a code means is written by hand in the document and kept when
//! it is recorded anew. A new code comes with the words of its first message.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::PathBuf,
};

use keyleash::wallet::error::Class;

use super::{
    root,
    source::{self, Token},
};

/// Codes that are not written where the error is made: what stands there, what is put before the word, and the method that
/// answers it (the type and the name).
const COMPUTED: [(&str, &str, &str, &str); 6] = [
    ("format!(vault.{},error.code())", "vault.", "VaultError", "code"),
    ("format!(chain.{},error.code())", "chain.", "ChainError", "code"),
    ("dear.code()", "", "TooDear", "code"),
    ("reason", "", "Reason", "code"),
    ("code", "", "Fault", "denial"),
    ("code", "", "", ""),
];
/// The rules of `docs/risks.md` each have a code of their own, named by its pattern.
const RISK: (&str, &str) = ("format!(risk.{},finding.id)", "risk.ID");
/// A limit of the user's becomes an error of its own (`limit.cap`, `limit.max_cost`) before this word is asked for.
const NEVER_SAID: &str = "chain.too_dear";
/// The error's own constructors hand on what they are given.
const DEFINITION: &str = "src/wallet/error.rs";
const LIST: &str = "docs/errors.md";
const HEAD: &str = "\
# Error codes

Every failure has a code that scripts may rely on: `errors[0].code` in `--json`, in brackets behind the message elsewhere. Codes are
added, never renamed. The exit code says what kind of failure it is:

| exit | |
|---|---|
| 0 | done |
| 1 | failed: could not be done with what there is |
| 2 | usage: what was asked for is not well-formed |
| 3 | denied by the key's scope; nothing was sent |
| 4 | node, bundler or paymaster |
| 5 | vault |
| 6 | mined, but the call failed |
| 7 | done as asked, but something else can still act for the account (`data.remaining`) |
| 8 | refused by a limit: `--max-cost`, or the cap of the chain |

The codes and their exit codes are checked against the source by `cargo test --test docs`; `KEYLEASH_RECORD=1` writes them anew and
keeps the meanings, which are written by hand.

| code | exit | meaning |
|---|---|---|
";

struct File {
    name: String,
    tokens: Vec<Token>,
}

/// A code in the source: the exit codes it comes with, and the first message.
#[derive(Default)]
struct Code {
    exits: BTreeSet<u8>,
    message: String,
}

fn sources() -> Vec<File> {
    let mut paths = Vec::new();
    super::files(&root().join("src"), &mut paths);
    let is_test = |path: &PathBuf| {
        let path = path.to_string_lossy().replace('\\', "/");
        path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("/testing.rs")
    };
    let files = paths.into_iter().filter(|p| p.extension().is_some_and(|e| e == "rs") && !is_test(p));
    let file = |path: PathBuf| File {
        name: path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/"),
        tokens: source::tokens(&fs::read_to_string(&path).unwrap()),
    };
    files.map(file).collect()
}

/// As in the source, without spaces and quotation marks.
fn written(tokens: &[Token]) -> String {
    let piece = |token: &Token| match token {
        Token::Word(word) | Token::Text(word) => word.clone(),
        Token::Sign(sign) => sign.to_string(),
    };
    tokens.iter().map(piece).collect()
}

fn is_code(text: &str) -> bool {
    let (area, name) = text.split_once('.').unwrap_or_default();
    let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_word(area) && is_word(name)
}

fn class(name: &str) -> Class {
    match name {
        "Failed" => Class::Failed,
        "Usage" => Class::Usage,
        "Denied" => Class::Denied,
        "Chain" => Class::Chain,
        "Vault" => Class::Vault,
        "Reverted" => Class::Reverted,
        "Remaining" => Class::Remaining,
        "Limit" => Class::Limit,
        other => panic!("class {other} is not known here"),
    }
}

/// A message with what is filled in at run time left open.
fn readable(message: &str) -> String {
    let mut text = String::new();
    let mut depth = 0;
    for c in message.chars() {
        match c {
            '{' => {
                if depth == 0 {
                    text.push('…');
                }
                depth += 1;
            }
            '}' => depth -= 1,
            '|' if depth == 0 => text.push_str("\\|"),
            c if depth == 0 => text.push(c),
            _ => {}
        }
    }
    text
}

/// The texts in a method of a type, wherever it is defined.
fn answers(files: &[File], owner: &str, method: &str) -> Vec<String> {
    for file in files {
        for at in 0..file.tokens.len() {
            let is_impl = file.tokens[at].word() == Some("impl")
                && file.tokens.get(at + 1).and_then(Token::word) == Some(owner)
                && file.tokens.get(at + 2).is_some_and(|t| t.is('{'));
            if !is_impl {
                continue;
            }
            let block = &file.tokens[at + 2..=source::closing(&file.tokens, at + 2)];
            if let Some((_, body)) = source::functions(block).into_iter().find(|(name, _)| name == method) {
                return block[body].iter().filter_map(Token::text).map(ToOwned::to_owned).collect();
            }
        }
    }
    panic!("{owner}::{method} is not in the source: correct COMPUTED");
}

/// Every code in the source.
fn codes() -> BTreeMap<String, Code> {
    let files = sources();
    let mut found: BTreeMap<String, Code> = BTreeMap::new();
    let mut add = |code: &str, class: Class, message: &str| {
        if code == NEVER_SAID {
            return;
        }
        let entry = found.entry(code.to_owned()).or_default();
        entry.exits.insert(class.exit_code());
        if entry.message.is_empty() {
            entry.message = readable(message);
        }
    };
    for file in files.iter().filter(|file| file.name != DEFINITION) {
        let functions = source::functions(&file.tokens);
        for at in 0..file.tokens.len() {
            let Some((class, code, message)) = constructor(&file.tokens, at) else { continue };
            let message = message.iter().find_map(Token::text).unwrap_or_default();
            if let [Token::Text(code)] = code {
                add(code, class, message);
                continue;
            }
            let code = written(code).trim_start_matches('&').to_owned();
            if code == RISK.0 {
                add(RISK.1, class, message);
                continue;
            }
            // A code that was chosen a few lines above is one of the function's texts; otherwise a method answers it.
            let enclosing = functions.iter().filter(|(_, body)| body.contains(&at)).min_by_key(|(_, body)| body.len());
            let nearby: Vec<&str> = enclosing.map_or_else(Vec::new, |(_, body)| {
                let tokens = &file.tokens[body.clone()];
                let direct: BTreeSet<&str> = (0..tokens.len())
                    .filter_map(|at| constructor(tokens, at))
                    .filter_map(|(_, code, _)| if let [Token::Text(code)] = code { Some(code.as_str()) } else { None })
                    .collect();
                tokens.iter().filter_map(Token::text).filter(|t| is_code(t) && !direct.contains(t)).collect()
            });
            let Some((_, prefix, owner, method)) =
                COMPUTED.iter().find(|(text, .., owner, _)| *text == code && owner.is_empty() != nearby.is_empty())
            else {
                panic!("{}: the code `{code}` is worked out in a way that this test does not know", file.name);
            };
            match *owner {
                "" => nearby.into_iter().for_each(|code| add(code, class, message)),
                _ => answers(&files, owner, method)
                    .iter()
                    .for_each(|word| add(&format!("{prefix}{word}"), class, message)),
            }
        }
    }
    found
}

/// What is made at this token, where it is a constructor of `wallet::error`: class, code and the rest.
fn constructor(tokens: &[Token], at: usize) -> Option<(Class, &[Token], &[Token])> {
    let [Token::Word(owner), Token::Sign(':'), Token::Sign(':'), Token::Word(made), open] = tokens.get(at..at + 5)?
    else {
        return None;
    };
    if owner != "Error" || !open.is('(') {
        return None;
    }
    let arguments = source::arguments(tokens, at + 4);
    match (made.as_str(), arguments.as_slice()) {
        ("usage", [code, message]) => Some((Class::Usage, code, message)),
        ("failed", [code, message]) => Some((Class::Failed, code, message)),
        ("new", [[Token::Word(word), Token::Sign(':'), Token::Sign(':'), Token::Word(name)], code, message])
            if word == "Class" =>
        {
            Some((class(name), code, message))
        }
        _ => None,
    }
}

/// The document's rows: code, exit codes, meaning.
fn listed(document: &str) -> BTreeMap<String, (String, String)> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (code, rest) = row.split_once("` | ").unwrap_or_else(|| panic!("{row}"));
        let (exit, meaning) = rest.split_once(" | ").unwrap_or_else(|| panic!("{row}"));
        (code.to_owned(), (exit.to_owned(), meaning.trim_end_matches(" |").to_owned()))
    })
    .collect()
}

fn rendered(codes: &BTreeMap<String, Code>, meanings: &BTreeMap<String, (String, String)>) -> String {
    let mut document = HEAD.to_owned();
    for (code, found) in codes {
        let exits: Vec<String> = found.exits.iter().map(ToString::to_string).collect();
        let meaning = meanings.get(code).map_or(found.message.as_str(), |(_, meaning)| meaning);
        document.push_str(&format!("| `{code}` | {} | {meaning} |\n", exits.join(", ")));
    }
    document
}

#[test]
fn the_list_of_error_codes_is_that_of_the_source() {
    let path = root().join(LIST);
    let before = fs::read_to_string(&path).unwrap_or_default();
    let meanings = listed(&before);
    let codes = codes();
    assert!(codes.len() > 150, "only {} codes: are the constructors still found?", codes.len());
    if env::var_os("KEYLEASH_RECORD").is_some() {
        fs::write(&path, rendered(&codes, &meanings)).unwrap();
        return;
    }
    let missing: Vec<&String> = codes.keys().filter(|code| !meanings.contains_key(*code)).collect();
    let surplus: Vec<&String> = meanings.keys().filter(|code| !codes.contains_key(*code)).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing in {LIST}: {missing:?}; not in the source: {surplus:?}");
    let empty: Vec<&String> =
        meanings.iter().filter(|(_, (_, meaning))| meaning.len() < 8).map(|(code, _)| code).collect();
    assert!(empty.is_empty(), "without a meaning: {empty:?}");
    assert_eq!(before, rendered(&codes, &meanings), "KEYLEASH_RECORD=1 writes {LIST} anew");
}
