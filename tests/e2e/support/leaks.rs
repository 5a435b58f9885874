//! Looks for secrets where none may be: in files, in what was printed or sent, and in the memory of running processes.

use std::{collections::BTreeMap, fs, os::unix::fs::FileExt, path::Path};

use alloy::primitives::U256;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

use super::desktop::files_below;

/// Secrets that are known to the test, in every form they might show up in.
#[derive(Default)]
pub struct Secrets {
    forms: Vec<Form>,
    /// Positions in `forms` by the first two bytes.
    by_start: BTreeMap<[u8; 2], Vec<usize>>,
}

struct Form {
    name: String,
    bytes: Vec<u8>,
}

/// How often each form was found, by name.
pub type Found = BTreeMap<String, usize>;

impl Secrets {
    /// A private key, as 64 hex digits: hex, raw, base64 at each of the three alignments, decimal, a list of numbers.
    pub fn key(mut self, name: &str, digits: &str) -> Self {
        let digits = digits.trim_start_matches("0x").to_lowercase();
        let raw = alloy::hex::decode(&digits).expect("a key in hex");
        let list = |separator| raw.iter().map(u8::to_string).collect::<Vec<_>>().join(separator);
        let mut forms = vec![
            ("raw", raw.clone()),
            ("reversed", raw.iter().rev().copied().collect()),
            ("hex", digits.clone().into_bytes()),
            ("HEX", digits.to_uppercase().into_bytes()),
            ("decimal", U256::from_be_slice(&raw).to_string().into_bytes()),
            ("list", list(",").into_bytes()),
            ("spaced list", list(", ").into_bytes()),
        ];
        forms.extend(in_base64(&raw).map(|form| ("base64", form)));
        forms.extend(in_base64(digits.as_bytes()).map(|form| ("base64 of hex", form)));
        for (form, bytes) in forms {
            self.add(format!("{name}, {form}"), bytes);
        }
        self
    }

    /// A text, such as a passphrase.
    pub fn text(mut self, name: &str, text: &str) -> Self {
        self.add(name.to_owned(), text.as_bytes().to_vec());
        for form in in_base64(text.as_bytes()) {
            self.add(format!("{name}, base64"), form);
        }
        self
    }

    fn add(&mut self, name: String, bytes: Vec<u8>) {
        self.by_start.entry([bytes[0], bytes[1]]).or_default().push(self.forms.len());
        self.forms.push(Form { name, bytes });
    }

    pub fn in_bytes(&self, bytes: &[u8]) -> Found {
        let mut starts = vec![false; 1 << 16];
        self.by_start.keys().for_each(|start| starts[usize::from(u16::from_be_bytes(*start))] = true);
        let mut found = Found::new();
        for at in 0..bytes.len().saturating_sub(1) {
            let start = [bytes[at], bytes[at + 1]];
            if starts[usize::from(u16::from_be_bytes(start))] {
                let forms = self.by_start[&start].iter().map(|position| &self.forms[*position]);
                for form in forms.filter(|form| bytes[at..].starts_with(&form.bytes)) {
                    *found.entry(form.name.clone()).or_default() += 1;
                }
            }
        }
        found
    }

    /// In every file below the folder, names included; what was found is named with its file. Answers how many files there were.
    #[track_caller]
    pub fn assert_not_below(&self, folder: &Path) -> usize {
        let files = files_below(folder);
        for file in &files {
            // A file of a running process may go away meanwhile.
            let content = fs::read(file).unwrap_or_default();
            self.assert_not_in(&file.display().to_string(), &content);
            self.assert_not_in("a file name", file.as_os_str().as_encoded_bytes());
        }
        files.len()
    }

    #[track_caller]
    pub fn assert_not_in(&self, place: &str, bytes: &[u8]) {
        let found = self.in_bytes(bytes);
        assert!(found.is_empty(), "secrets in {place}: {found:?}");
    }

    /// In all memory that a (stopped) process can write to, with the part of it; `None` when this machine does not let us look.
    pub fn in_memory(&self, process: u32) -> Option<Found> {
        let memory = fs::File::open(format!("/proc/{process}/mem")).ok()?;
        let mut found = Found::new();
        for line in fs::read_to_string(format!("/proc/{process}/maps")).ok()?.lines() {
            let mut words = line.split_whitespace();
            let (range, rights) = (words.next()?, words.next()?);
            let (start, end) = range.split_once('-')?;
            let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap_or_default());
            if !rights.starts_with("rw") {
                continue;
            }
            let mut region = vec![0; usize::try_from(end - start).ok()?];
            // Some pages of the kernel cannot be read.
            let Ok(length) = memory.read_at(&mut region, start) else { continue };
            let place = line.split_whitespace().nth(5).unwrap_or("anonymous memory");
            for (name, count) in self.in_bytes(&region[..length]) {
                *found.entry(format!("{name} in {place}")).or_default() += count;
            }
        }
        Some(found)
    }
}

/// Whatever stands before it: the part of the base64 text that these bytes alone decide.
fn in_base64(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let forms = [STANDARD_NO_PAD, URL_SAFE_NO_PAD].into_iter().flat_map(|alphabet| {
        (0..3).map(move |before| {
            let text = alphabet.encode([vec![0; before], bytes.to_vec()].concat());
            let (first, last) = ((before * 8).div_ceil(6), (before + bytes.len()) * 8 / 6);
            text.as_bytes()[first..last].to_vec()
        })
    });
    let mut forms: Vec<_> = forms.collect();
    forms.sort();
    forms.dedup();
    forms.into_iter()
}

#[test]
fn a_secret_is_found_in_every_form() {
    const KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    let secrets = Secrets::default().key("key", KEY).text("passphrase", "correct horse");
    let raw = alloy::hex::decode(KEY).expect("hex");
    let json = serde_json::json!({ "padding": "x", "sessionPrivateKey": format!("0x{KEY}") }).to_string();
    let mut hidden: Vec<(&str, Vec<u8>)> = vec![
        ("key, hex", format!("--key=0x{KEY}!").into_bytes()),
        ("key, HEX", KEY.to_uppercase().into_bytes()),
        ("key, list", serde_json::to_vec(&raw).expect("JSON")),
        ("key, spaced list", format!("{raw:?}").into_bytes()),
        ("key, decimal", U256::from_be_slice(&raw).to_string().into_bytes()),
        ("key, base64 of hex", STANDARD_NO_PAD.encode(json).into_bytes()),
        ("passphrase", b"the correct horse".to_vec()),
    ];
    for before in 0..4 {
        let content = [vec![7; before], raw.clone(), vec![9; 5]].concat();
        hidden.push(("key, base64", STANDARD_NO_PAD.encode(&content).into_bytes()));
        hidden.push(("key, base64", URL_SAFE_NO_PAD.encode(&content).into_bytes()));
        hidden.push(("key, raw", content));
    }
    for (form, content) in hidden {
        let found = secrets.in_bytes(&content);
        assert_eq!(found.keys().collect::<Vec<_>>(), [form], "{}", String::from_utf8_lossy(&content));
    }
    let own = secrets.in_memory(std::process::id());
    assert!(
        own.is_none_or(|found| found.keys().any(|name| name.starts_with("key, raw"))),
        "this process's own memory has it"
    );
    assert!(secrets.in_bytes(b"nothing to see here").is_empty());
}
