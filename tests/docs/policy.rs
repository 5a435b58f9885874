//! `docs/policy.md` against the reader of policy files: every example is read, and the fields are those that the reader knows.

use std::{collections::BTreeSet, fs};

use keyleash::{
    policy::risk,
    wallet::{
        error::{Error, Result},
        policy::Policy,
    },
};

use super::root;

fn document(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).unwrap()
}

fn no_files(name: &str) -> Result<String> {
    Err(Error::failed("test.file", format!("{name} was read")))
}

/// The code blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn every_example_of_a_policy_is_read() {
    let text = document("policy.md");
    let examples: Vec<&str> = [blocks(&text, "toml"), blocks(&text, "json")].concat();
    assert!(examples.len() >= 4, "{} examples", examples.len());
    for example in examples {
        Policy::parse(example, &no_files).unwrap_or_else(|e| panic!("{e} ({})\n{example}", e.hint));
    }
}

/// The fields that the reader knows at a place, in its own words.
fn known(policy: &str) -> BTreeSet<String> {
    let error = Policy::parse(policy, &no_files).unwrap_err();
    assert_eq!(error.code, "policy.unknown_field", "{error}");
    let list = error.hint.split("known here: ").nth(1).unwrap_or_else(|| panic!("{}", error.hint));
    list.split(", ").map(ToOwned::to_owned).collect()
}

#[test]
fn the_reference_lists_the_fields_that_the_reader_knows() {
    let text = document("policy.md");
    let top = "valid_until = \"1h\"\npaymaster = \"unrestricted\"\n";
    let permission = format!(
        "{top}[[permission]]\ntarget = \"0x5FbDB2315678afecb367f032d93F642f64180aa3\"\nfunction = \"f(uint256 a)\"\n"
    );
    for (heading, policy) in [
        ("The file", format!("{top}zzz = 1\n")),
        ("permission", format!("{permission}zzz = 1\n")),
        ("permission.limit", format!("{permission}limit = {{ zzz = 1 }}\n")),
        ("permission.when", format!("{permission}[[permission.when]]\nzzz = 1\n")),
        ("permission.word", format!("{permission}[[permission.word]]\nzzz = 1\n")),
    ] {
        let section = text.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
        let listed: BTreeSet<String> = rows.map(|row| row.split('`').next().unwrap().to_owned()).collect();
        assert_eq!(listed, known(&policy), "{heading}");
    }
}

#[test]
fn every_rule_about_a_scope_is_listed() {
    let text = document("risks.md");
    let listed: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("| R")).map(|row| row.split(' ').next().unwrap()).collect();
    let rules: BTreeSet<&str> = risk::RULES.iter().filter_map(|rule| rule.id.strip_prefix('R')).collect();
    assert_eq!(listed, rules);
}
