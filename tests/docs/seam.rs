//! Who may know a family of session keys. The core and the front ends speak of `protocol`; what is special to one family is
//! known below it. Files that still name one are listed, and the list only gets shorter.

use std::{collections::BTreeSet, fs};

use super::{
    files, root,
    source::{Token, tokens},
};

/// What only the family's own folder, and the tests, should name.
const OF_A_FAMILY: [&str; 8] =
    ["kernel_v2", "kernel_v3", "KernelV2", "KernelV3", "Generation", "EnableData", "ECDSA_VALIDATOR", "KERNEL_FACTORY"];

/// Files that still do: the discovery of keys, which reads what one family leaves on a chain. One that does not any more must be
/// taken off.
const STILL: [&str; 1] = ["src/wallet/usecase/scan.rs"];

/// The code of a file without its comments and its own tests.
fn words(path: &std::path::Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap();
    let (code, _tests) = text.split_once("#[cfg(test)]\nmod tests {").unwrap_or((&text, ""));
    let words = tokens(code).into_iter().filter_map(|token| match token {
        Token::Word(word) => Some(word),
        _ => None,
    });
    words.collect()
}

fn code_of(folder: &str) -> Vec<(String, BTreeSet<String>)> {
    let mut found = Vec::new();
    files(&root().join("src").join(folder), &mut found);
    let rust = found.into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs"));
    let named = rust.map(|path| (path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/"), path));
    let is_test = |name: &str| name.contains("/tests/") || name.ends_with("/tests.rs") || name.ends_with("/fuzz.rs");
    named.filter(|(name, _)| !is_test(name)).map(|(name, path)| (name, words(&path))).collect()
}

#[test]
fn no_more_files_of_core_and_front_ends_know_a_family() {
    let all = ["wallet", "tui", "cli", "policy"].into_iter().flat_map(code_of);
    let naming: BTreeSet<String> =
        all.filter(|(_, words)| OF_A_FAMILY.iter().any(|name| words.contains(*name))).map(|(name, _)| name).collect();
    let listed: BTreeSet<String> = STILL.iter().map(ToString::to_string).collect();
    let new: Vec<&String> = naming.difference(&listed).collect();
    let gone: Vec<&String> = listed.difference(&naming).collect();
    assert!(new.is_empty(), "ask `protocol` instead: {new:#?}");
    assert!(gone.is_empty(), "take off the list: {gone:#?}");
}

#[test]
fn records_know_no_use_case() {
    for (name, words) in code_of("wallet/records") {
        for above in ["usecase", "submit"] {
            assert!(!words.contains(above), "{name} names {above}");
        }
    }
}
