//! Argument conditions against the golden vectors of the published SDK, and properties of the compiler.
//!
//! `abi_permissions.json` says for each argument what the ABI encodes and whether the SDK's rule agrees with it.
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

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, U256};
use keyleash::{
    abi::{AbiError, AbiType, Function, Interface, ValueError, format_word, known_functions, parse_word},
    policy::{
        condition::{ArgCondition, ConditionError, ReadBack, WordCondition, compile, compile_words, read_back},
        scope::{Condition, ExecutionRule, Operation, Permission, Rule},
        sentence,
    },
    protocol::kernel_v2::generation::Generation,
};
use proptest::prelude::*;
use serde_json::Value;

// --- the vectors --------------------------------------------------------------------------------------------------

struct Vectors {
    interface: Interface,
    cases: Vec<Value>,
}

fn vectors() -> Vectors {
    let folder = std::env::var("KEYLEASH_VECTORS").unwrap_or_else(|_| "tests/vectors".to_owned());
    let text = std::fs::read_to_string(format!("{folder}/abi_permissions.json")).unwrap();
    let mut file: Value = serde_json::from_str(&text).unwrap();
    let interface = Interface::from_json(&file["abis"]["main"].to_string()).unwrap();
    let Value::Array(cases) = file["cases"].take() else { panic!("no cases") };
    Vectors { interface, cases }
}

fn case<'a>(vectors: &'a Vectors, id: &str) -> &'a Value {
    vectors.cases.iter().find(|c| c["id"] == id).unwrap()
}

/// The arguments a case states a condition on: position, operator code, value as a person would write it.
fn stated(case: &Value) -> Vec<(usize, Option<u64>, String)> {
    let args = case["args"].as_array().cloned().unwrap_or_default();
    let conditions = args.iter().enumerate().filter(|(_, a)| a.get("value").is_some());
    conditions.map(|(i, a)| (i, a.get("operator").and_then(Value::as_u64), as_text(&a["value"]))).collect()
}

fn as_text(js: &Value) -> String {
    match js["kind"].as_str().unwrap() {
        // A JS number is a double; beyond 2^53 that is what the case really holds.
        "number" => match js["value"].as_f64().unwrap() {
            whole if whole.fract() == 0.0 => format!("{}", whole as i128),
            fraction => fraction.to_string(),
        },
        "bigint" | "string" => js["value"].as_str().unwrap().to_owned(),
        "boolean" => js["value"].to_string(),
        "array" => format!("[{}]", js["value"].as_array().unwrap().iter().map(as_text).collect::<Vec<_>>().join(", ")),
        "object" => {
            format!("({})", js["value"].as_object().unwrap().values().map(as_text).collect::<Vec<_>>().join(", "))
        }
        "null" | "undefined" => String::new(),
        other => panic!("kind {other}"),
    }
}

fn word(hex: &Value) -> B256 {
    hex.as_str().unwrap().parse().unwrap()
}

fn rules(json: &Value) -> Vec<Rule> {
    let rule = |r: &Value| Rule {
        offset: U256::from(r["offset"].as_u64().unwrap()),
        condition: Condition::from_code(r["condition"].as_u64().unwrap()).unwrap(),
        param: word(&r["param"]),
    };
    json.as_array().unwrap().iter().map(rule).collect()
}

fn g2_leaf(case: &Value, function: &Function, rules: Vec<Rule>) -> B256 {
    let permission = Permission {
        index: 0,
        target: case["target"].as_str().unwrap().parse::<Address>().unwrap(),
        sig: function.selector(),
        value_limit: case["valueLimit"].as_str().map_or(U256::ZERO, |v| v.parse().unwrap()),
        rules,
        execution_rule: ExecutionRule::default(),
        operation: Operation::from_code(case["operation"].as_u64().unwrap_or(0)).unwrap(),
    };
    permission.leaf(Generation::G2)
}

fn is_ordering(op: Condition) -> bool {
    !matches!(op, Condition::Eq | Condition::Ne)
}

fn condition(arg: impl ToString, op: Condition, value: impl ToString) -> ArgCondition {
    ArgCondition { arg: arg.to_string(), op, value: value.to_string() }
}

/// Every argument of every case: exactly the ABI's word where that is sound, a refusal where it is not.
#[test]
fn each_argument_compiles_to_the_abi_word_or_is_refused_for_a_reason() {
    let vectors = vectors();
    let mut tally = BTreeMap::new();
    for case in &vectors.cases {
        let Some(signature) = case["signature"].as_str() else { continue };
        let function = vectors.interface.function(signature).unwrap();
        for (position, operator, text) in stated(case) {
            let id = format!("{} argument {position}", case["id"]);
            let proper = case["properAbi"].as_array().unwrap().iter().find(|p| p["arg"] == position).unwrap();
            let Some(op) = operator.and_then(Condition::from_code) else {
                *tally.entry("no such operator").or_insert(0) += 1;
                continue;
            };
            let compiled = compile(function, &[condition(position, op, &text)]);
            let outcome = match (proper["supported"].as_bool().unwrap_or(true), compiled) {
                (true, Ok(compiled)) => {
                    let offset = U256::from(proper["offset"].as_u64().unwrap());
                    let expected = vec![Rule { offset, condition: op, param: word(&proper["param"]) }];
                    assert_eq!(compiled.rules, expected, "{id}");
                    "the ABI's word"
                }
                (true, Err(ConditionError::SignedOrdering { .. } | ConditionError::Unordered { .. })) => {
                    assert!(is_ordering(op), "{id}");
                    assert!(!matches!(function.inputs()[position].ty, AbiType::Uint(_)), "{id}");
                    "ordering refused"
                }
                (true, Err(ConditionError::Value { source, .. })) => {
                    assert!(matches!(*source, ValueError::OutOfRange { .. }), "{id}: {source}");
                    assert_eq!(case["id"], "abi-075", "{id}");
                    "range refused"
                }
                (true, Err(error)) => panic!("{id}: {error}"),
                (false, Err(_)) => "unsupported refused",
                (false, Ok(compiled)) => panic!("{id} is unsound but gives {compiled:?}"),
            };
            *tally.entry(outcome).or_insert(0) += 1;
        }
    }
    let expected = BTreeMap::from([
        ("the ABI's word", 87),
        ("ordering refused", 43),
        ("range refused", 1),
        ("no such operator", 2),
        ("unsupported refused", 38),
    ]);
    assert_eq!(tally, expected);
}

/// Where the SDK is right our rules and our leaf are its rules and its leaf, byte for byte.
#[test]
fn where_the_sdk_agrees_with_the_abi_rules_and_leaf_are_the_same() {
    let vectors = vectors();
    let (mut same, mut by_words, mut never_met) = (0, 0, 0);
    for case in vectors.cases.iter().filter(|c| c["sdkMatchesAbi"] == true) {
        let id = &case["id"];
        if ["abi-075", "abi-100", "abi-101"].contains(&id.as_str().unwrap()) {
            continue; // out of range, operator missing, operator 6: refused, see the named tests
        }
        let function = vectors.interface.function(case["signature"].as_str().unwrap()).unwrap();
        let conditions: Vec<ArgCondition> = stated(case)
            .into_iter()
            .map(|(i, op, text)| condition(i, Condition::from_code(op.unwrap()).unwrap(), text))
            .collect();
        let sdk = rules(&case["result"]["rules"]);
        match compile(function, &conditions) {
            Ok(compiled) => {
                assert_eq!(compiled.rules, sdk, "{id}");
                assert_eq!(g2_leaf(case, function, compiled.rules), word(&case["validator"]["leaf"]), "{id}");
                same += 1;
            }
            Err(ConditionError::SignedOrdering { .. } | ConditionError::Unordered { .. }) => {
                // What the owner insists on can still be said in raw words, and is then the SDK's leaf too.
                let words: Vec<WordCondition> = sdk
                    .iter()
                    .map(|r| WordCondition { offset: r.offset, op: r.condition, value: r.param.to_string() })
                    .collect();
                match compile_words(Some(function), &words) {
                    Ok(compiled) => {
                        assert_eq!(g2_leaf(case, function, compiled.rules), word(&case["validator"]["leaf"]), "{id}");
                        by_words += 1;
                    }
                    Err(ConditionError::WordContradiction { .. }) => never_met += 1,
                    Err(error) => panic!("{id}: {error}"),
                }
            }
            Err(ConditionError::Contradiction { .. }) => never_met += 1,
            Err(error) => panic!("{id}: {error}"),
        }
    }
    // 93 in all: three are refused by name, and the last is `bool < false`.
    assert_eq!((same, by_words, never_met), (64, 25, 1));
}

/// Where the SDK is wrong we never emit what it emits.
#[test]
fn where_the_sdk_disagrees_with_the_abi_our_rules_are_not_its_rules() {
    let vectors = vectors();
    let mut seen = 0;
    for case in vectors.cases.iter().filter(|c| c["sdkMatchesAbi"] == false) {
        let function = vectors.interface.function(case["signature"].as_str().unwrap()).unwrap();
        let conditions: Vec<ArgCondition> = stated(case)
            .into_iter()
            .map(|(i, op, text)| condition(i, Condition::from_code(op.unwrap()).unwrap(), text))
            .collect();
        if let Ok(compiled) = compile(function, &conditions) {
            let ours: Vec<String> = compiled.rules.iter().map(|r| format!("{} {}", r.offset, r.param)).collect();
            let sdk = case["result"]["rules"].as_array().unwrap();
            let sdk: Vec<String> =
                sdk.iter().map(|r| format!("{} {}", r["offset"], r["param"].as_str().unwrap())).collect();
            assert_ne!(ours, sdk, "{}", case["id"]);
        }
        seen += 1;
    }
    assert_eq!(seen, 45);
}

// --- where we differ from the SDK on purpose ------------------------------------------------------------------------

fn only_rule(function: &str, arg: &str, op: Condition, value: &str) -> Result<(u64, String), ConditionError> {
    let compiled = compile(&Function::parse(function).unwrap(), &[condition(arg, op, value)])?;
    let [rule] = compiled.rules.as_slice() else { panic!("one rule expected") };
    Ok((rule.offset.to::<u64>(), rule.param.to_string()))
}

#[test]
fn bytes4_is_padded_on_the_right_where_the_sdk_pads_on_the_left() {
    let (_, param) = only_rule("setB4(bytes4 a)", "a", Condition::Eq, "0x12345678").unwrap();
    assert_eq!(param, format!("0x12345678{}", "0".repeat(56)));
    let vectors = vectors();
    let sdk = &case(&vectors, "abi-089")["result"]["rules"][0]["param"];
    assert_eq!(sdk.as_str().unwrap(), format!("0x{}12345678", "0".repeat(56)));
}

#[test]
fn arguments_behind_a_static_tuple_or_fixed_array_are_where_the_call_has_them() {
    assert_eq!(only_rule("f(uint256[3] a, uint256 b)", "b", Condition::Eq, "9").unwrap().0, 96);
    assert_eq!(only_rule("f((uint256 x, address y) a, uint256 b)", "b", Condition::Lte, "9").unwrap().0, 64);
    assert_eq!(only_rule("f((uint256 x, uint8 y)[2] a, uint256 b)", "a[1].y", Condition::Lte, "9").unwrap().0, 96);
    assert_eq!(only_rule("f(bytes a, uint256 b)", "b", Condition::Eq, "9").unwrap().0, 32);
}

#[test]
fn a_decimal_string_is_a_number_and_not_its_letters() {
    let (_, param) = only_rule("setU256(uint256 a)", "a", Condition::Eq, "1000").unwrap();
    assert_eq!(param, B256::from(U256::from(1000)).to_string());
}

#[test]
fn a_value_outside_its_type_is_refused() {
    let error = only_rule("setU8(uint8 a)", "a", Condition::Eq, "256").unwrap_err();
    assert_eq!(error.to_string(), "the value for `a` (uint8): `256` does not fit uint8: expected 0 to 255");
}

#[test]
fn a_negative_number_is_compared_in_twos_complement() {
    let (_, param) = only_rule("setI8(int8 a)", "a", Condition::Ne, "-1").unwrap();
    assert_eq!(param, B256::repeat_byte(0xff).to_string());
    assert!(matches!(only_rule("setI8(int8 a)", "a", Condition::Lte, "5"), Err(ConditionError::SignedOrdering { .. })));
}

#[test]
fn an_overloaded_name_is_refused_where_the_sdk_takes_the_first() {
    let vectors = vectors();
    assert_eq!(case(&vectors, "abi-144")["signature"], "over(uint256)");
    let error = vectors.interface.function("over").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`over` is overloaded; say which one is meant by its full signature: \
         `over(uint256)`, `over(uint256,address)`, `over(uint256,address,bytes)`"
    );
    let by_signature = vectors.interface.function("over(uint256 amount, address)").unwrap();
    assert_eq!(by_signature.signature(), "over(uint256,address)");
}

#[test]
fn events_and_errors_are_not_functions_and_do_not_shadow_one() {
    let vectors = vectors();
    for name in ["Nope", "OnlyEvent", "nope", ""] {
        assert!(matches!(vectors.interface.function(name), Err(AbiError::NotFound { .. })), "{name}");
    }
    // The SDK finds the event here and gives up (abi-155).
    assert_eq!(vectors.interface.function("setMode").unwrap().signature(), "setMode(uint8,address)");
}

#[test]
fn a_condition_on_an_argument_that_does_not_exist_is_refused() {
    let error = only_rule("setU8(uint8 a)", "1", Condition::Eq, "2").unwrap_err();
    assert_eq!(error.to_string(), "setU8(uint8 a) has no argument `1`; it has 0 = `a` (uint8)");
}

#[test]
fn operator_codes_the_contract_does_not_have_are_refused() {
    assert_eq!(Condition::from_code(6), None);
    assert_eq!(Condition::parse("6"), None);
}

// --- properties -----------------------------------------------------------------------------------------------------

/// Deterministic choices from one seed, so that a failing case is a number.
struct Choices(u64);

impl Choices {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn word(&mut self) -> U256 {
        match self.below(4) {
            0 => U256::from(self.below(4)),
            1 => U256::MAX - U256::from(self.below(4)),
            _ => U256::from_limbs([self.next(), self.next(), self.next(), self.next()]),
        }
    }

    /// A type as a signature writes it, tuple members named or not.
    fn ty(&mut self, depth: usize) -> String {
        match self.below(if depth < 3 { 11 } else { 8 }) {
            0 => "address".to_owned(),
            1 => "bool".to_owned(),
            2 | 3 => format!("uint{}", 8 * (1 + self.below(32))),
            4 => format!("int{}", 8 * (1 + self.below(32))),
            5 => format!("bytes{}", 1 + self.below(32)),
            6 => "bytes".to_owned(),
            7 => "string".to_owned(),
            8 => format!("{}[]", self.ty(depth + 1)),
            9 => {
                let len = 1 + self.below(3);
                format!("{}[{len}]", self.ty(depth + 1))
            }
            _ => {
                let len = 1 + self.below(3);
                format!("({})", self.params(len, depth + 1))
            }
        }
    }

    fn params(&mut self, len: usize, depth: usize) -> String {
        let param = |(i, named): (usize, bool)| if named { format!(" n{i}") } else { String::new() };
        let params = (0..len).map(|i| {
            let ty = self.ty(depth);
            let named = self.below(2) == 0;
            format!("{ty}{}", param((i, named)))
        });
        params.collect::<Vec<_>>().join(", ")
    }

    fn function(&mut self) -> Function {
        let len = self.below(6);
        Function::parse(&format!("f({})", self.params(len, 0))).unwrap()
    }

    /// A random clean word of a one-word type.
    fn clean_word(&mut self, ty: &AbiType) -> B256 {
        let word = self.word();
        B256::from(match ty {
            AbiType::Address => word >> 96,
            AbiType::Bool => word & U256::ONE,
            AbiType::Uint(bits) => word >> (256 - bits),
            AbiType::Int(bits) => word.arithmetic_shr(256 - bits),
            AbiType::FixedBytes(len) => word << (256 - 8 * len),
            AbiType::Function => word << 64,
            _ => panic!("{ty} is not one word"),
        })
    }

    /// A random value as text.
    fn value(&mut self, ty: &AbiType) -> String {
        match ty {
            AbiType::Bytes => {
                let len = self.below(70);
                format!("0x{}", "ab".repeat(len))
            }
            AbiType::String => format!("text{}", self.below(1000)),
            AbiType::Array(item) => {
                let len = self.below(4);
                format!("[{}]", (0..len).map(|_| self.value(item)).collect::<Vec<_>>().join(", "))
            }
            AbiType::FixedArray(item, len) => {
                format!("[{}]", (0..*len).map(|_| self.value(item)).collect::<Vec<_>>().join(","))
            }
            AbiType::Tuple(members) => {
                format!("({})", members.iter().map(|m| self.value(&m.ty)).collect::<Vec<_>>().join(", "))
            }
            word_type => {
                let word = self.clean_word(word_type);
                format_word(word_type, word).unwrap()
            }
        }
    }

    fn operator(&mut self, ty: &AbiType) -> Condition {
        match ty {
            AbiType::Uint(_) => self.pick(&Condition::ALL),
            _ => self.pick(&[Condition::Eq, Condition::Ne]),
        }
    }

    /// A call of the function, as text and as bytes.
    fn call(&mut self, function: &Function) -> (Vec<String>, Vec<u8>) {
        let arguments: Vec<String> = function.inputs().iter().map(|p| self.value(&p.ty)).collect();
        let data = function.encode_call(&arguments).unwrap();
        (arguments, data.to_vec())
    }
}

/// The contract's comparison: unsigned words at `4 + offset`; a rule past the end fails.
fn passes(rule: &Rule, data: &[u8]) -> bool {
    let start = 4 + rule.offset.to::<usize>();
    data.get(start..start + 32)
        .is_some_and(|word| rule.condition.holds(U256::from_be_slice(word), U256::from_be_bytes(rule.param.0)))
}

/// Text made of the characters that mean something to the parsers, so that random input gets deep into them.
fn syntax() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "(",
        ")",
        "[",
        "]",
        ",",
        " ",
        ".",
        "\"",
        "\\",
        "0x",
        "-",
        "+",
        ":",
        "T",
        "Z",
        "e",
        "\u{202e}",
        "é",
        "function",
        "tuple",
        "uint256",
        "bytes4",
        "bytes",
        "string",
        "address",
        "int",
        "returns",
        "memory",
        "x",
        "0",
        "1",
        "9",
        "300",
        "99999999999999999999",
        "eth",
        "gwei",
        "h",
        "d",
        "{",
        "}",
        "\"abi\":",
        "\"type\":",
        "\"name\":\"a\"",
        "\"inputs\":",
        "\"components\":",
        "2026-11-22T10:00:00",
    ]);
    prop_oneof![any::<String>(), prop::collection::vec(piece, 0..40).prop_map(|p| p.concat())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_from_outside_panics(text in syntax(), arg in syntax(), seed in any::<u64>()) {
        let _ = Function::parse(&text).map(|f| f.to_string());
        let _ = Function::parse(&format!("f({text})")).map(|f| (f.head().len(), known_functions(f.selector()).len()));
        let _ = Interface::from_json(&text);
        let _ = Interface::from_json(&format!("[{{{text}}}]"));
        let _ = Interface::known("erc721").unwrap().function(&text).map_err(|e| e.to_string());
        let _ = sentence::parse_amount(&text).map_err(|e| e.to_string());
        let _ = sentence::parse_duration(&text).map_err(|e| e.to_string());
        let _ = sentence::parse_time(&text).map_err(|e| e.to_string());
        let mut choices = Choices(seed);
        let function = choices.function();
        for input in function.inputs() {
            let _ = parse_word(&input.ty, &text);
        }
        let arguments = vec![text.clone(); function.inputs().len()];
        let _ = function.encode_call(&arguments).map_err(|e| e.to_string());
        let _ = compile(&function, &[condition(&arg, Condition::Eq, &text)]).map_err(|e| e.to_string());
        let word = WordCondition { offset: U256::from(seed), op: Condition::Lte, value: text.clone() };
        let _ = compile_words(None, &[word]).map_err(|e| e.to_string());
    }

    #[test]
    fn no_call_data_panics(seed in any::<u64>(), noise in prop::collection::vec(any::<u8>(), 0..600), at in any::<usize>()) {
        let mut choices = Choices(seed);
        let function = choices.function();
        let (_, mut data) = choices.call(&function);
        let at = at % data.len();
        data.splice(at.., noise);
        let _ = function.decode_call(&data);
    }

    #[test]
    fn no_rule_panics(seed in any::<u64>(), offset in any::<[u8; 32]>(), param in any::<[u8; 32]>(), near in 0u64..400) {
        let function = Choices(seed).function();
        for offset in [U256::from_be_bytes(offset), U256::from(near)] {
            for op in Condition::ALL {
                let rule = Rule { offset, condition: op, param: B256::from(param) };
                let read = read_back(Some(&function), std::slice::from_ref(&rule));
                sentence::condition(&read[0]);
            }
        }
    }

    #[test]
    fn a_function_reads_back_from_its_own_words(seed in any::<u64>()) {
        let function = Choices(seed).function();
        let text = function.to_string();
        prop_assert_eq!(&Function::parse(&text).unwrap(), &function);
        prop_assert_eq!(&Function::parse(&format!("function {text} external payable returns (bool ok);")).unwrap(), &function);
        prop_assert_eq!(Function::parse(function.signature()).unwrap().selector(), function.selector());
    }

    #[test]
    fn a_call_that_meets_the_conditions_passes_and_one_that_breaks_any_fails(seed in any::<u64>()) {
        let mut choices = Choices(seed);
        let function = choices.function();
        let (_, data) = choices.call(&function);
        let (mut met, mut broken) = (Vec::new(), Vec::new());
        for (i, head) in function.head().iter().enumerate().filter(|(_, h)| h.ty.is_word()) {
            let actual = B256::from_slice(&data[4 + 32 * i..36 + 32 * i]);
            // The offset the compiler finds for the path is where the encoder put the value.
            let exact = condition(&head.path, Condition::Eq, format_word(head.ty, actual).unwrap());
            let compiled = compile(&function, std::slice::from_ref(&exact)).unwrap();
            prop_assert_eq!(&compiled.rules, &vec![Rule { offset: U256::from(32 * i), condition: Condition::Eq, param: actual }]);
            for _ in 0..2 {
                let (op, limit) = (choices.operator(head.ty), choices.clean_word(head.ty));
                let stated = condition(&head.path, op, format_word(head.ty, limit).unwrap());
                let holds = op.holds(U256::from_be_bytes(actual.0), U256::from_be_bytes(limit.0));
                if holds { met.push(stated) } else { broken.push(stated) }
            }
        }
        met.truncate(60);
        // Conditions that one call meets cannot contradict each other.
        let compiled = compile(&function, &met).unwrap();
        prop_assert!(compiled.rules.iter().all(|rule| passes(rule, &data)));
        for stated in broken {
            match compile(&function, &[stated]) {
                Ok(compiled) => prop_assert!(!passes(&compiled.rules[0], &data)),
                Err(ConditionError::Contradiction { .. }) => {}
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            }
        }
    }

    #[test]
    fn reading_back_what_was_compiled_loses_nothing(seed in any::<u64>()) {
        let mut choices = Choices(seed);
        let function = choices.function();
        let mut stated = Vec::new();
        for head in function.head().iter().filter(|h| h.ty.is_word()).take(60) {
            let op = choices.operator(head.ty);
            let value = format_word(head.ty, choices.clean_word(head.ty)).unwrap();
            stated.push(condition(&head.path, op, value));
        }
        let Ok(compiled) = compile(&function, &stated) else { return Ok(()) };
        let read: Vec<ArgCondition> = read_back(Some(&function), &compiled.rules)
            .into_iter()
            .map(|r| match r {
                ReadBack::Argument { path, condition: op, value, .. } => condition(path, op, value),
                ReadBack::Word { reason, .. } => panic!("{reason}"),
            })
            .collect();
        prop_assert_eq!(read, stated);
    }

    #[test]
    fn a_call_decodes_to_arguments_that_encode_to_it(seed in any::<u64>()) {
        let mut choices = Choices(seed);
        let function = choices.function();
        let (_, data) = choices.call(&function);
        let decoded = function.decode_call(&data).unwrap();
        prop_assert!(decoded.canonical);
        let shown = decoded.arguments.iter().all(|a| !a.value.contains('…'));
        if shown {
            let arguments = decoded.arguments.iter().zip(function.inputs()).map(|(a, p)| match p.ty {
                AbiType::String => a.value.trim_matches('"').to_owned(),
                _ => a.value.clone(),
            });
            prop_assert_eq!(function.encode_call(&arguments.collect::<Vec<_>>()).unwrap().to_vec(), data);
        }
    }

    #[test]
    fn a_dirty_word_in_a_call_is_not_shown_as_a_clean_value(seed in any::<u64>(), bit in 0usize..256) {
        let mut choices = Choices(seed);
        let function = choices.function();
        let (_, data) = choices.call(&function);
        for (i, head) in function.head().iter().enumerate().filter(|(_, h)| h.ty.is_word()) {
            let mut dirty = data.clone();
            dirty[4 + 32 * i + bit / 8] ^= 0x80 >> (bit % 8);
            let is_clean = format_word(head.ty, B256::from_slice(&dirty[4 + 32 * i..36 + 32 * i])).is_some();
            prop_assert_eq!(function.decode_call(&dirty).unwrap().canonical, is_clean);
        }
    }

    #[test]
    fn durations_times_and_amounts_read_back_what_they_write(seconds in 0u64..(1 << 40), time in 0u64..=100_000_000_000, wei in any::<[u8; 32]>()) {
        prop_assert_eq!(sentence::parse_duration(&sentence::duration(seconds)), Ok(seconds));
        prop_assert_eq!(sentence::parse_time(&sentence::time(time)), Ok(time));
        let wei = U256::from_be_bytes(wei);
        prop_assert_eq!(sentence::parse_amount(&format!("{} eth", sentence::coins(wei))), Ok(wei));
        prop_assert_eq!(sentence::parse_amount(&wei.to_string()), Ok(wei));
    }
}
