//! Fuzzing of what comes from outside, with inputs made from well-formed ones: no panic, none above two seconds, memory bounded;
//! and what is said of a bad input is short and safe to show. JSON-RPC answers and keystores are read by private code: their
//! fuzzing is beside it (`wallet::chain::fuzz`, `wallet::vault::fuzz`), with the same inputs.
//!
//! A fixed number in CI; a hundred times as many, 10^6 in all, with KEYLEASH_LONG=1 (`tests/run --long`).
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

#[path = "support/mutate.rs"]
mod mutate;

use std::{cell::RefCell, fmt::Display, fs};

use alloy::primitives::Address;
use base64::{Engine, engine::general_purpose::STANDARD};
use keyleash::{
    abi::{Function, Interface},
    policy::sentence::{self, Setting},
    protocol::kernel_v2::{
        blob::{self, Search},
        generation::Generation,
    },
    wallet::{error::Error, home::Home, policy::Policy},
};
use mutate::{Rng, corpus, feed, inputs, mutate, mutated_text};
use serde_json::Value;

/// Longest sentence about a bad input, in characters.
const LONGEST: usize = 4000;

/// What is said of an input may be shown: it is bounded, and no control character of the input comes back.
#[track_caller]
fn assert_showable(said: &impl Display) {
    let text = said.to_string();
    assert!(text.chars().count() <= LONGEST, "{} characters: {:.100}…", text.chars().count(), text);
    assert_clean(&text);
}

#[track_caller]
fn assert_clean(text: &str) {
    let bad = text.chars().find(|c| c.is_control() && *c != '\n' || matches!(c, '\u{202a}'..='\u{202e}'));
    assert_eq!(bad, None, "in: {text:?}");
}

/// A seed with one to four changes.
fn changed(rng: &mut Rng, seed: &Value) -> Value {
    let mut value = seed.clone();
    for _ in 0..=rng.below(4) {
        mutate(rng, &mut value);
    }
    value
}

#[test]
fn approvals_of_any_shape_are_read_or_refused() {
    let seeds: Vec<Value> = corpus("approvals").iter().map(|s| serde_json::from_str(s).expect("JSON")).collect();
    let make = |rng: &mut Rng| {
        let seed = rng.pick(&seeds).clone();
        let json = changed(rng, &seed).to_string();
        match rng.below(10) {
            0 => json,
            1 => STANDARD.encode(mutated_text(rng, &json, &["null", "{", "\"", "0x", ","])),
            2 => mutated_text(rng, &STANDARD.encode(json), &["=", "+", "\n", "-"]),
            _ => STANDARD.encode(json),
        }
    };
    let (read_count, search_count) = (RefCell::new(0u64), RefCell::new(0u64));
    feed("approvals", inputs(3_000), make, |text| match blob::read(text) {
        Err(error) => assert_showable(&error),
        Ok(blob) => {
            *read_count.borrow_mut() += 1;
            blob.warnings.iter().for_each(assert_showable);
            let setting = Setting { validator: Generation::G2.into(), symbol: "ETH" };
            let sentences = blob.scope.permissions.iter().map(|p| sentence::permission(p, None, setting));
            // A scope is read to its end, so its sentences are as long as it is: they are only cleaned.
            sentences.for_each(|s| assert_clean(&s));
            // Each candidate costs a recovery of the owner: few of them, and only now and then.
            *search_count.borrow_mut() += 1;
            if search_count.borrow().is_multiple_of(8) {
                let search = Search {
                    nonces: 1..=2,
                    owner: Some(Address::repeat_byte(1)),
                    session_key: Some(Address::repeat_byte(2)),
                    ..Search::on_chains(vec![1])
                };
                if let Err(error) = blob.recover(&search) {
                    assert_showable(&error);
                }
            }
        }
    });
    assert!(*read_count.borrow() > 0, "not one input got through: the mutations are too coarse");
}

fn shown(error: &Error) {
    assert_showable(&error.message);
    assert_showable(&error.hint);
}

#[test]
fn policies_of_any_shape_are_resolved_or_refused() {
    const TOKENS: [&str; 16] = [
        "[[permission]]",
        "[[permission.when]]",
        "[[permission.word]]",
        "[permission]",
        "= \"",
        "'''",
        "everything = true",
        "limit = { runs = ",
        "1e400",
        "-1",
        "0x",
        "\"any\"",
        "selector = [",
        "nan",
        "1979-05-27",
        "\"\"\"",
    ];
    let texts = corpus("policies");
    let values: Vec<Value> =
        texts.iter().filter_map(|t| toml::from_str(t).ok().or_else(|| serde_json::from_str(t).ok())).collect();
    assert_eq!(values.len(), texts.len(), "each seed is TOML or JSON");
    let make = |rng: &mut Rng| match rng.below(4) {
        0 => {
            let text = rng.pick(&texts).clone();
            (0..=rng.below(3)).fold(text, |text, _| mutated_text(rng, &text, &TOKENS))
        }
        n => {
            let seed = rng.pick(&values).clone();
            let value = changed(rng, &seed);
            let toml = if n == 1 { None } else { toml::to_string(&value).ok() };
            toml.unwrap_or_else(|| value.to_string())
        }
    };
    let no_file = |_: &str| Ok("[]".to_owned());
    let resolved = RefCell::new(0u64);
    feed("policies", inputs(2_500), make, |text| match Policy::parse(text, &no_file) {
        Err(error) => shown(&error),
        Ok(policy) => {
            for generation in Generation::ALL {
                match policy.resolve(1_800_000_000, generation.into()) {
                    Err(error) => shown(&error),
                    Ok(found) => {
                        *resolved.borrow_mut() += 1;
                        found.warnings.iter().for_each(assert_showable);
                    }
                }
            }
        }
    });
    assert!(*resolved.borrow() > 0, "not one input got through: the mutations are too coarse");
}

#[test]
fn abis_of_any_shape_are_read_or_refused() {
    let seeds: Vec<Value> = corpus("abis").iter().filter_map(|s| serde_json::from_str(s).ok()).collect();
    let signatures: Vec<String> = corpus("abis")
        .iter()
        .filter(|s| !s.starts_with('['))
        .flat_map(|s| s.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    const TOKENS: [&str; 12] =
        ["(", ")", "[]", "[0]", "[9999999999]", "uint", "int7", "tuple", ",", "bytes33", "address payable", " "];
    let make = |rng: &mut Rng| {
        if rng.one_in(2) {
            let text = rng.pick(&signatures).clone();
            return (0..=rng.below(3)).fold(text, |text, _| mutated_text(rng, &text, &TOKENS));
        }
        let seed = rng.pick(&seeds).clone();
        changed(rng, &seed).to_string()
    };
    let try_function = |function: &Function| {
        for arguments in [vec!["1"; function.inputs().len()], vec!["[1,2]"; function.inputs().len()], vec![]] {
            if let Err(error) = function.encode_call(&arguments) {
                assert_showable(&error);
            }
        }
        let mut data = function.selector().to_vec();
        data.extend([0xff; 96]);
        if let Err(error) = function.decode_call(&data) {
            assert_showable(&error);
        }
    };
    feed("abis", inputs(2_000), make, |text| {
        match Function::parse(text) {
            Ok(function) => try_function(&function),
            Err(error) => assert_showable(&error),
        }
        match Interface::from_json(text) {
            Ok(interface) => interface.functions().iter().for_each(try_function),
            Err(error) => assert_showable(&error),
        }
    });
}

#[test]
fn configs_of_any_shape_are_read_or_refused() {
    const TOKENS: [&str; 8] = ["[network.x]", "vault = ", "rpc = ", "chain_id = ", "sandbox = true", "''", "\"", "[["];
    let texts = corpus("configs");
    let values: Vec<Value> = texts.iter().map(|t| toml::from_str(t).expect("TOML")).collect();
    let make = |rng: &mut Rng| {
        if rng.one_in(2) {
            let text = rng.pick(&texts).clone();
            return (0..=rng.below(3)).fold(text, |text, _| mutated_text(rng, &text, &TOKENS));
        }
        let seed = rng.pick(&values).clone();
        toml::to_string(&changed(rng, &seed)).unwrap_or_default()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home::at(folder.path());
    home.create_folders().expect("folders");
    let file = home.config_file();
    feed("configs", inputs(1_000), make, |text| {
        fs::write(&file, text).expect("a config");
        if let Err(error) = home.load_config() {
            shown(&error);
        }
    });
}
