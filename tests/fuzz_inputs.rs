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

use alloy::{
    hex,
    primitives::{Address, Bytes},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use keyleash::{
    abi::{Function, Interface},
    erc4337::v07,
    policy::sentence::{self, Setting},
    protocol::{
        kernel_v2::{
            blob::{self, Search},
            generation::Generation,
        },
        kernel_v3::{
            self,
            account::{AccountSeed, Creation, Execution, FactoryRoute, installations},
            approval::SelectorData,
            contracts::KernelVersion,
            multi_chain::MultiChainSignature,
            permission_config::PermissionConfig,
            policy::{self as policies},
            signature::{Envelope, MessageSignature, UseSignature},
        },
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

#[test]
fn permission_approvals_of_any_shape_are_read_or_refused() {
    let seeds: Vec<Value> = corpus("approvals")
        .iter()
        .map(|s| serde_json::from_str::<Value>(s).expect("JSON"))
        .filter(|seed| !seed["permissionParams"].is_null())
        .collect();
    assert!(!seeds.is_empty());
    let make = |rng: &mut Rng| {
        let seed = rng.pick(&seeds).clone();
        let json = changed(rng, &seed).to_string();
        match rng.below(8) {
            0 => json,
            1 => STANDARD.encode(mutated_text(rng, &json, &["null", "{", "\"", "0x", ",", "\"param\":", "0xff"])),
            2 => mutated_text(rng, &STANDARD.encode(json), &["=", "+", "\n", "-"]),
            _ => STANDARD.encode(json),
        }
    };
    let (read_count, key) = (RefCell::new(0u64), Address::repeat_byte(2));
    feed("permission approvals", inputs(3_000), make, |text| match kernel_v3::blob::read(text) {
        Err(error) => assert_showable(&error),
        Ok(blob) => {
            *read_count.borrow_mut() += 1;
            blob.warnings.iter().for_each(assert_showable);
            let config = blob.config(key);
            assert_eq!(PermissionConfig::decode(&config.enable_data()).as_ref(), Ok(&config));
            config.install_faults().iter().for_each(assert_showable);
            // Each candidate costs a recovery of the owner: few of them, and only now and then.
            if read_count.borrow().is_multiple_of(8) {
                let search = kernel_v3::blob::Search {
                    nonces: 1..=1,
                    owner: Some(Address::repeat_byte(1)),
                    session_key: Some(blob.secret.as_ref().map_or(key, |secret| secret.address())),
                    ..kernel_v3::blob::Search::on_chains(vec![])
                };
                if let Err(error) = blob.recover(&search) {
                    assert_showable(&error);
                }
            }
        }
    });
    assert!(*read_count.borrow() > 0, "not one input got through: the mutations are too coarse");
}

/// Bytes with something wrong: a word that leads elsewhere, a part that is missing or there twice, another byte.
fn mutated_bytes(rng: &mut Rng, seed: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=rng.below(3) {
        let at = rng.below(bytes.len());
        match rng.below(5) {
            0 => bytes.truncate(at),
            1 => {
                let to = (at + 32 * rng.below(4)).min(bytes.len());
                let part = bytes[at..to].to_vec();
                bytes.splice(at..at, part);
            }
            2 if bytes.len() >= 32 => {
                const WORDS: [u64; 7] = [0, 1, 31, 32, 64, 1 << 31, u64::MAX];
                let start = at / 32 * 32;
                let head = [0, 4, 20][rng.below(3)];
                let end = bytes.len();
                for (byte, new) in bytes[(start + head).min(end)..].iter_mut().zip([0; 24]) {
                    *byte = new;
                }
                let word = rng.pick(&WORDS).to_be_bytes();
                for (byte, new) in bytes[(start + head + 24).min(end)..].iter_mut().zip(word) {
                    *byte = new;
                }
            }
            3 if bytes.len() > 64 => {
                let from = rng.below(bytes.len() - 32);
                let at = at.min(bytes.len() - 32);
                bytes.copy_within(from..from + 32, at);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << rng.below(8);
                }
            }
        }
    }
    bytes
}

#[test]
fn permission_bytes_of_any_shape_are_read_or_kept() {
    let key = Address::repeat_byte(2);
    let texts = corpus("approvals");
    let blobs = texts.iter().filter_map(|text| kernel_v3::blob::read(text).ok());
    let mut seeds: Vec<Bytes> = Vec::new();
    for blob in blobs {
        let config = blob.config(key);
        seeds.extend(config.policies.iter().map(policies::Policy::element));
        seeds.extend([config.enable_data(), blob.init_code.clone(), SelectorData::plain()]);
        let envelope = Envelope {
            hook: Address::ZERO,
            enable_data: config.enable_data(),
            hook_data: Bytes::new(),
            selector_data: SelectorData::plain(),
            owner_signature: vec![1; 65].into(),
            use_signature: UseSignature::dummy().encode(),
        };
        seeds.push(envelope.encode());
        let several =
            MultiChainSignature { signature: [1; 65], root: key.into_word(), proof: vec![key.into_word(); 3] };
        seeds.push(several.encode());
    }
    for version in KernelVersion::ALL {
        let seed = AccountSeed::of_owner(version, key, Default::default());
        seeds.push(seed.deployment(FactoryRoute::Meta).init_code());
        seeds.push(seed.deployment(FactoryRoute::Direct).factory_data);
    }
    let make = |rng: &mut Rng| {
        let seed = rng.pick(&seeds).clone();
        hex::encode(mutated_bytes(rng, &seed))
    };
    let (configs, envelopes, understood) = (RefCell::new(0u64), RefCell::new(0u64), RefCell::new(0u64));
    feed("permission bytes", inputs(6_000), make, |text| {
        let data = hex::decode(text).expect("hex");
        match PermissionConfig::decode(&data) {
            Err(error) => assert_showable(&error),
            Ok(config) => {
                *configs.borrow_mut() += 1;
                assert_eq!(config.enable_data()[..], data);
                config.install_faults().iter().for_each(assert_showable);
            }
        }
        if let Some(policy) = policies::Policy::from_element(&data) {
            assert_eq!(policy.element()[..], data);
            *understood.borrow_mut() += u64::from(!matches!(policy, policies::Policy::Unknown { .. }));
        }
        *envelopes.borrow_mut() += u64::from(Envelope::decode(&data).is_some());
        if let Some(creation) = Creation::read(&data) {
            let written = creation.seeds.iter().map(|seed| seed.deployment(creation.route));
            let fits = |d: v07::Deployment| data.ends_with(&d.factory_data);
            assert!(written.into_iter().all(fits));
        }
        assert_eq!(Execution::decode(&data).encode()[..], data);
        if let Some(several) = MultiChainSignature::decode(&data) {
            assert_eq!(several.encode()[..], data);
        }
        if let SelectorData::Installs(module) = SelectorData::decode(&data) {
            assert_eq!(SelectorData::long(&module)[..], data);
        }
        for policies in [0, 1, 253] {
            if let Ok(used) = UseSignature::decode(&data, policies) {
                assert_eq!(used.encode()[..], data);
            }
        }
        installations(&data);
        for version in KernelVersion::ALL {
            MessageSignature::decode(&data, version);
        }
    });
    for (count, what) in [(&configs, "enable data"), (&envelopes, "envelope"), (&understood, "policy")] {
        assert!(*count.borrow() > 0, "no {what} got through: the mutations are too coarse");
    }
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
