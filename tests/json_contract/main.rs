//! The JSON of every command is a contract with scripts: what is recorded here stays, and more may come beside it.
//!
//! One story on the sandbox, told by the binary. Each command's envelope is compared with the recorded one: every recorded field
//! must be there with the same value, where hashes, addresses, times, large numbers and prose stand as what they are: words for
//! people may get better. `KEYLEASH_RECORD=1` writes the records anew.
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

use std::{fs, path::PathBuf, process::Command};

use keyleash::wallet::sandbox_profile::DEMO;
use serde_json::{Map, Value};

/// Anvil's first two, known to everybody.
const OWNER: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
const AGENT: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

struct Story {
    folder: tempfile::TempDir,
    told: Vec<(String, i32, Value)>,
}

impl Story {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("keyleash-json-").tempdir().expect("a temporary folder");
        Self { folder, told: Vec::new() }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a UTF-8 path").to_owned()
    }

    fn file(&self, name: &str, content: &str) -> String {
        fs::write(self.folder.path().join(name), content).expect("a file");
        self.path(name)
    }

    fn run(&self, words: &[&str]) -> (i32, Value) {
        let output = Command::new(env!("CARGO_BIN_EXE_keyleash"))
            .env_remove("KEYLEASH_HOME")
            .args(["--home", &self.path("home"), "--json", "--yes"])
            .args(words)
            .output()
            .expect("keyleash starts");
        let said = String::from_utf8_lossy(&output.stdout);
        let envelope = serde_json::from_str(&said)
            .unwrap_or_else(|e| panic!("{words:?}: {e}: {said}{}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code().unwrap_or(-1), envelope)
    }

    /// Runs a command and keeps what it says under this name.
    #[track_caller]
    fn tell(&mut self, name: &str, exit: i32, words: &[&str]) -> Value {
        let (code, envelope) = self.run(words);
        assert_eq!(code, exit, "{words:?}: {envelope:#}");
        let mut plain = envelope.clone();
        plain_values(&mut plain, &self.path(""));
        self.told.push((name.to_owned(), code, plain));
        envelope["data"].clone()
    }
}

/// What differs from run to run, as what it is.
fn plain_values(value: &mut Value, folder: &str) {
    match value {
        Value::String(text) => *text = plain_text(&text.replace(folder.trim_end_matches('/'), "FOLDER")),
        Value::Number(number) if number.as_u64().is_none_or(|n| n > 9999) => *value = "NUMBER".into(),
        Value::Array(items) => items.iter_mut().for_each(|item| plain_values(item, folder)),
        Value::Object(fields) => {
            for (name, field) in fields {
                // Depends on how many bytes of a random key are zero.
                let measured = ["gas", "cost", "fee", "price", "block", "balance", "deposit", "ms"];
                if measured.iter().any(|word| name.contains(word)) && (field.is_number() || is_decimal(field)) {
                    *field = "NUMBER".into();
                } else {
                    plain_values(field, folder);
                }
            }
        }
        _ => {}
    }
}

fn is_decimal(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
}

fn plain_text(text: &str) -> String {
    if text.contains(' ') {
        return "PROSE".to_owned();
    }
    if text.len() > 200 && !text.starts_with("0x") {
        return "BLOB".to_owned();
    }
    let mut plain = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric();
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len()).max(first.len_utf8());
        let (word, further) = rest.split_at(end);
        let is_hex = |w: &str| w.bytes().all(|b| b.is_ascii_hexdigit());
        let number = word.strip_prefix("0x").is_some_and(|h| h.len() > 8 && is_hex(h));
        plain.push_str(match () {
            () if number && word.len() == 42 => "ADDRESS",
            () if number => "HEX",
            () if word.len() >= 8 && is_hex(word) => "ID",
            // Times, amounts.
            () if word.len() > 1 && word.starts_with(|c: char| c.is_ascii_digit()) && !word.starts_with("0x") => "N",
            () => word,
        });
        rest = further;
    }
    plain
}

/// What is recorded and not there any more, or is another value.
fn lost(path: &str, recorded: &Value, told: &Value, found: &mut Vec<String>) {
    match (recorded, told) {
        (Value::Object(a), Value::Object(b)) => {
            for (name, value) in a {
                match b.get(name) {
                    Some(there) => lost(&format!("{path}.{name}"), value, there, found),
                    None => found.push(format!("{path}.{name} is gone")),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (n, (a, b)) in a.iter().zip(b).enumerate() {
                lost(&format!("{path}[{n}]"), a, b, found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(format!("{path} was {a} and is {b}")),
    }
}

/// Each command of the binary at least once.
fn tell_the_story() -> Story {
    let mut s = Story::new();
    let (nft, token) = (DEMO.nft.to_string(), DEMO.token.to_string());
    s.tell("usage", 2, &["key", "shwo"]);
    s.tell("no profile", 1, &["key", "ls"]);
    s.tell("init", 0, &["init", "--sandbox"]);
    s.tell("init again", 1, &["init", "--sandbox"]);
    s.tell("doctor", 0, &["doctor"]);
    s.tell("network ls", 0, &["network", "ls"]);
    s.tell("network show", 0, &["network", "show", "sandbox"]);
    s.tell("network check", 0, &["network", "check", "sandbox"]);
    s.tell("account ls", 0, &["account", "ls"]);
    s.tell("key ls", 0, &["key", "ls"]);
    s.tell("vault status", 0, &["vault", "status"]);
    s.tell("vault ls", 0, &["vault", "ls"]);
    s.tell("vault check", 0, &["vault", "check"]);
    s.tell("account new", 0, &["account", "new", "mine", "--owner-new"]);
    s.tell("account new, taken name", 1, &["account", "new", "mine", "--owner-new"]);
    s.tell("account show, not deployed", 0, &["account", "show", "mine"]);
    let mint = ["--to", &nft, "--call", "mint(address)", "--arg", OWNER];
    s.tell("send as owner", 0, &[&["send", "--as-owner", "mine"][..], &mint].concat());
    s.tell("account show", 0, &["account", "show", "mine"]);

    let policy = format!(
        "label = \"minter\"\nvalid_until = \"7d\"\npaymaster = \"unrestricted\"\n[[permission]]\ntarget = \"{nft}\"\n\
         function = \"mint(address to)\"\n[[permission.when]]\narg = \"to\"\nop = \"eq\"\nvalue = \"{OWNER}\"\n"
    );
    let minter = s.file("minter.toml", &policy);
    let granted = s.tell("grant", 0, &["grant", "mine", "--policy", &minter, "--new-key"]);
    let key = granted["key_id"].as_str().expect("a key id").to_owned();
    s.tell("key show, pending", 0, &["key", "show", &key]);
    s.tell("send, judged only", 0, &[&["send", &key][..], &mint, &["--dry-run"]].concat());
    let sent = s.tell("send", 0, &[&["send", &key][..], &mint].concat());
    let hash = sent["user_op_hash"].as_str().expect("a hash").to_owned();
    s.tell("status", 0, &["status", &hash]);
    s.tell("key show, active", 0, &["key", "show", &key]);
    s.tell("send, denied", 3, &["send", &key, "--to", &nft, "--call", "mint(address)", "--arg", AGENT]);

    let open = format!(
        "label = \"spender\"\nvalid_until = \"never\"\npaymaster = \"unrestricted\"\n[[permission]]\ntarget = \"{token}\"\n\
         function = \"approve(address spender, uint256 amount)\"\n"
    );
    let open = s.file("open.toml", &open);
    s.tell("grant, with findings", 0, &["grant", "mine", "--policy", &open, "--agent", AGENT]);
    let bad = s.file("bad.toml", "label = \"x\"\nvalid_until = \"soon\"\n");
    s.tell("grant, bad policy", 2, &["grant", "mine", "--policy", &bad, "--agent", AGENT]);

    let agent = s.tell("agent new", 0, &["agent", "new", "bot"]);
    let agent = agent["address"].as_str().expect("an address").to_owned();
    s.tell("agent ls", 0, &["agent", "ls"]);
    let bot = s.file("bot.toml", &policy.replace("minter", "bot"));
    let approval = s.path("bot.approval");
    s.tell("grant for an agent", 0, &["grant", "mine", "--policy", &bot, "--agent", &agent, "--out", &approval]);
    s.tell("inspect", 0, &["inspect", &approval]);
    let copy = s.path("bot.v5");
    s.tell("key export", 0, &["key", "export", "bot", "--out", &copy, "--format", "v5"]);
    s.tell("agent import", 0, &["agent", "import", &approval, "--label", "bot-here"]);
    s.tell("key name", 0, &["key", "name", &key, "painter"]);
    s.tell("key enable, planned", 0, &["key", "enable", "spender", "bot", "--dry-run"]);
    s.tell("key enable, out of turn", 1, &["key", "enable", "bot"]);
    s.tell("key enable", 0, &["key", "enable", "spender", "bot"]);
    let later = s.file("later.toml", &policy.replace("minter", "later"));
    let unsigned = s.path("later.json");
    s.tell(
        "grant, unsigned",
        0,
        &["grant", "mine", "--policy", &later, "--agent", AGENT, "--unsigned", "--out", &unsigned],
    );
    s.tell("key ls, all states", 0, &["key", "ls", "mine"]);
    s.tell("key scan", 0, &["key", "scan", "mine"]);

    s.tell("revoke, printed", 0, &["revoke", "mine", &key, "--print"]);
    s.tell("revoke, planned", 0, &["revoke", "mine", &key, "--dry-run"]);
    s.tell("revoke", 0, &["revoke", "mine", &key]);
    s.tell("revoke again", 1, &["revoke", "mine", &key]);
    s.tell("pause", 0, &["revoke", "mine", "--panic"]);
    s.tell("unpause, keeping", 0, &["revoke", "mine", "--lift-panic", "--keep", "bot"]);
    s.tell("revoke all", 0, &["revoke", "mine", "--all"]);
    s.tell("reclaim, nothing to do", 1, &["revoke", "mine", "--reclaim"]);
    s.tell("key rm, kept for proofs", 1, &["key", "rm", &key]);
    s.tell("unknown key", 2, &["key", "show", "nobody"]);
    s.tell("unknown account", 2, &["account", "show", "nobody"]);
    s.tell("sandbox time", 0, &["sandbox", "time", "+1h"]);
    s.tell("account rm", 0, &["account", "rm", "mine"]);
    s.tell("demo", 0, &["demo"]);
    s.tell("sandbox reset", 0, &["sandbox", "reset"]);
    s
}

#[test]
fn what_scripts_read_stays_as_it_was() {
    let records = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/json_contract/recorded.json");
    let story = tell_the_story();
    let mut told = Map::new();
    for (name, exit, envelope) in story.told {
        told.insert(name, serde_json::json!({ "exit": exit, "envelope": envelope }));
    }
    if std::env::var_os("KEYLEASH_RECORD").is_some() {
        fs::write(&records, format!("{:#}\n", Value::Object(told))).expect("the records");
        return;
    }
    let recorded: Map<String, Value> =
        serde_json::from_str(&fs::read_to_string(&records).expect("the records")).expect("JSON");
    let mut found = Vec::new();
    for (name, value) in &recorded {
        lost(name, value, told.get(name).unwrap_or(&Value::Null), &mut found);
    }
    assert!(found.is_empty(), "{} fields changed:\n{}", found.len(), found.join("\n"));
    assert!(told.keys().all(|name| recorded.contains_key(name)), "record what is new with KEYLEASH_RECORD=1");
}
