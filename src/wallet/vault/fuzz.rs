//! Tests only: keystores that are nearly right (tests/fuzz_inputs.rs says how).

use std::cell::Cell;

use crate::mutate::{Rng, corpus, feed, inputs, mutate, mutated_text};
use serde_json::Value;

use super::keystore;

/// What opening costs is bounded elsewhere; here only what is cheap is opened, so that many can be.
fn is_cheap(keystore: &Value) -> bool {
    let crypto = keystore.get("crypto").or_else(|| keystore.get("Crypto"));
    let number = |name: &str| crypto.and_then(|c| c["kdfparams"][name].as_u64()).unwrap_or(1).max(1);
    number("n").saturating_mul(number("r")).saturating_mul(number("p")) <= 1 << 10 && number("c") <= 1 << 10
}

#[test]
fn keystores_of_any_shape_are_opened_or_refused() {
    let seeds: Vec<Value> = corpus("keystores").iter().map(|s| serde_json::from_str(s).expect("JSON")).collect();
    let make = |rng: &mut Rng| {
        let mut value = rng.pick(&seeds).clone();
        for _ in 0..=rng.below(3) {
            mutate(rng, &mut value);
        }
        let text = value.to_string();
        if rng.one_in(5) { mutated_text(rng, &text, &["\"n\":", "null", "\"0x\"", "1e3"]) } else { text }
    };
    let read = Cell::new(0u64);
    feed("keystores", inputs(800), make, |text| match keystore::parse(text.as_bytes()) {
        Err(error) => assert!(error.to_string().chars().count() < 1000, "{error}"),
        Ok(parsed) => {
            read.set(read.get() + 1);
            if serde_json::from_str(text).is_ok_and(|value| is_cheap(&value)) {
                drop(parsed.open("testpassword"));
            }
        }
    });
    assert!(read.get() > 0, "not one input got through: the mutations are too coarse");
}
