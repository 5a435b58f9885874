//! What the documents say is there: every document that is named exists, with the section that is named, and `docs/errors.md`
//! lists the error codes that the source has. No network, no chain. `KEYLEASH_RECORD=1` writes `docs/errors.md` anew.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::case_sensitive_file_extension_comparisons,
    clippy::needless_raw_string_hashes,
    reason = "a test fails loudly; the names of our own files are in small letters; source in a literal has raw literals in it"
)]

mod error_codes;
mod policy;
mod seam;
mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What a run writes.
const NOT_OURS: [&str; 2] = ["target/tmp/lies.md", "lies.md"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below a folder, in order, without what npm and the builds leave there.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match path.is_dir() {
            true if name == "node_modules" || name == "target" || name == "fuzz_corpus" => {}
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

/// What people read or maintain: sources, tests, scripts and documents, with their text.
fn texts() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in ["src", "tests", "benches", "docs", "assets", ".ci", ".github"] {
        files(&root().join(folder), &mut found);
    }
    for entry in fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && path.file_name().is_none_or(|name| name != "Cargo.lock") {
            found.push(path);
        }
    }
    let texts = found.into_iter().filter_map(|path| {
        let kind = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_owned();
        let is_prose = ["", "rs", "md", "toml", "sol", "js", "cjs", "mjs", "yml", "sh"].contains(&kind.as_str());
        let name = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
        // A script or a document is text; what is not (a database in a fixture) names no documents.
        let text = is_prose.then(|| fs::read_to_string(&path).ok()).flatten()?;
        Some((name, text))
    });
    texts.collect()
}

/// Every word of a text that ends in `.md`, with the heading after `#` where one is named.
fn mentions(text: &str) -> BTreeSet<(String, Option<String>)> {
    let part = |c: char| c.is_ascii_alphanumeric() || "-_./*{}".contains(c);
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices(".md") {
        let (before, after) = text.split_at(at + ".md".len());
        if after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let start = before.rfind(|c: char| !part(c)).map_or(0, |i| i + before[i..].chars().next().unwrap().len_utf8());
        let name = before[start..].trim_start_matches("./");
        let anchor = after
            .strip_prefix('#')
            .map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect::<String>());
        // `.md` alone and patterns such as `*.md` name no document, and an address is somebody else's.
        let is_name = name.len() > ".md".len() && !name.contains(['*', '{']);
        if is_name && !name.starts_with("//") {
            found.insert((name.to_owned(), anchor.filter(|a| !a.is_empty())));
        }
    }
    found
}

/// The headings of a document as GitHub links to them.
fn anchors(document: &str) -> BTreeSet<String> {
    let headings = document.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_');
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_document_that_is_named_exists_with_the_section_that_is_named() {
    let texts = texts();
    let documents: BTreeMap<&str, &str> = texts
        .iter()
        .filter(|(name, _)| name.ends_with(".md"))
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    assert!(documents.contains_key("README.md") && documents.contains_key("docs/kernel-v2.md"));
    let mut missing = Vec::new();
    let mut sections = 0;
    for (file, text) in texts.iter().filter(|(name, _)| !name.starts_with("tests/docs/")) {
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (name, anchor) in mentions(text) {
            if NOT_OURS.contains(&name.as_str()) {
                continue;
            }
            // From the root of the repository, or from where the file is.
            let here = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let Some(document) = documents.get(name.as_str()).or_else(|| documents.get(plain(&here).as_str())) else {
                missing.push(format!("{file}: {name} is not in the repository"));
                continue;
            };
            if let Some(anchor) = anchor {
                sections += 1;
                if !anchors(document).contains(&anchor) {
                    missing.push(format!("{file}: {name} has no section #{anchor}"));
                }
            }
        }
        // Words for documents that only the first authors had.
        for name in ["mission document", "mission's document"] {
            if text.contains(name) {
                missing.push(format!("{file}: \"{name}\" is not in the repository"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(sections > 30, "only {sections} citations of a section: are they still read?");
}

/// A path without `..`.
fn plain(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn mentions_are_found_wherever_they_stand() {
    let text = "see docs/a-b.md#the-part, (kernel.md 3) and [x](../y.md); not .mdx, a.mdb, *.md or https://e.org/z.md";
    let found: Vec<(String, Option<String>)> = mentions(text).into_iter().collect();
    let expected = [("../y.md", None), ("docs/a-b.md", Some("the-part")), ("kernel.md", None)]
        .map(|(name, anchor): (&str, Option<&str>)| (name.to_owned(), anchor.map(ToOwned::to_owned)));
    assert_eq!(found, expected);
    assert!(anchors("# The part\n\n## Order of checks (v2)").contains("order-of-checks-v2"));
}
