use alloy::primitives::{B256, address};
use proptest::prelude::*;

use super::*;
use crate::protocol::{family::account::AccountFunction, kernel_v2::generation::Generation};

const NOW: u64 = 1_800_000_000;
const TOKEN: &str = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
const FRIEND: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const FRIEND_ADDRESS: Address = address!("70997970C51812dc3A010C7d01b50e0d17dc79C8");

fn no_files(name: &str) -> Result<String> {
    Err(Error::failed("test.file", format!("{name} was read")))
}

fn parse(text: &str) -> Policy {
    Policy::parse(text, &no_files).unwrap_or_else(|e| panic!("{e} ({})\n{text}", e.hint))
}

fn refused(text: &str) -> Error {
    match Policy::parse(text, &no_files) {
        Err(error) => error,
        Ok(policy) => panic!("it was accepted: {policy:?}"),
    }
}

/// A whole policy with these lines at the top level and these in its one permission.
fn policy(top: &str, permission: &str) -> String {
    let mut text = String::from(top);
    for (name, line) in [("valid_until", "valid_until = \"24h\""), ("paymaster", "paymaster = \"unrestricted\"")] {
        if !top.contains(name) {
            text.push_str(&format!("\n{line}"));
        }
    }
    text.push_str("\n[[permission]]\n");
    for (name, line) in [
        ("target", format!("target = \"{TOKEN}\"")),
        ("function", "function = \"transfer(address to, uint256 amount)\"".to_owned()),
    ] {
        if !permission.contains(name) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text.push_str(permission);
    text
}

fn with_top(line: &str) -> Policy {
    parse(&policy(line, ""))
}

fn with_permission(lines: &str) -> PolicyPermission {
    parse(&policy("", lines)).permissions.remove(0)
}

const WHOLE: &str = r#"
label = "mint-bot"
valid_after = "now"
valid_until = "24h"
paymaster = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
selector = ["execute", "executeBatch"]
validator = "G3"

[[permission]]
target = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
function = "transfer(address to, uint256 amount)"
value_limit = "0.1 eth"
operation = "delegatecall"
limit = { start = "now", every = "1h", runs = 24 }

[[permission.when]]
arg = "to"
op = "eq"
value = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"

[[permission.when]]
arg = 1
op = "LESS_THAN_OR_EQUAL"
value = 1000000

[[permission.word]]
offset = 64
op = "ne"
value = "7"

[[permission]]
target = "any"
abi = "erc20"
function = "approve"
"#;

#[test]
fn every_field_of_the_policy_file_is_read() {
    let policy = parse(WHOLE);
    assert_eq!(policy.label.as_deref(), Some("mint-bot"));
    assert_eq!(policy.valid_after, Start::Now);
    assert_eq!(policy.valid_until, End::After(86_400));
    assert_eq!(policy.paymaster, FRIEND_ADDRESS);
    assert_eq!(policy.functions, [AccountFunction::Execute, AccountFunction::ExecuteBatch]);
    assert_eq!(policy.validator, ValidatorChoice::Exactly(Generation::G3.into()));
    assert!(!policy.everything);
    let [first, second] = policy.permissions.as_slice() else { panic!("two permissions") };
    assert_eq!(first.target, TOKEN.parse::<Address>().unwrap());
    assert_eq!(first.function.as_ref().unwrap().to_string(), "transfer(address to, uint256 amount)");
    assert_eq!(first.value_limit, U256::from(100_000_000_000_000_000_u64));
    assert_eq!(first.operation, Operation::DelegateCall);
    assert_eq!(first.limit, Limit { start: Some(Start::Now), every: Some(3600), runs: Some(24) });
    let condition = |arg: &str, op, value: &str| ArgCondition { arg: arg.into(), op, value: value.into() };
    assert_eq!(first.when, [condition("to", Condition::Eq, FRIEND), condition("1", Condition::Lte, "1000000")]);
    assert_eq!(first.words, [WordCondition { offset: U256::from(64), op: Condition::Ne, value: "7".into() }]);
    assert_eq!(second.target, ANY_TARGET);
    assert_eq!(second.function.as_ref().unwrap().signature(), "approve(address,uint256)");
}

#[test]
fn json_of_the_same_shape_says_the_same() {
    let value: Value = toml::from_str(WHOLE).unwrap();
    assert_eq!(parse(&value.to_string()), parse(WHOLE));
}

#[test]
fn what_is_left_out_has_the_safe_or_the_usual_meaning() {
    let policy = parse(&policy("", ""));
    assert_eq!(policy.label, None);
    assert_eq!(policy.valid_after, Start::At(0));
    assert_eq!(policy.functions, [AccountFunction::Execute]);
    assert_eq!(policy.validator, ValidatorChoice::Auto);
    let only = &policy.permissions[0];
    assert_eq!((only.value_limit, only.operation, only.limit), (U256::ZERO, Operation::Call, Limit::default()));
    assert!(only.when.is_empty() && only.words.is_empty());
}

#[test]
fn the_end_and_who_pays_are_never_left_to_a_default() {
    let permission = format!("[[permission]]\ntarget = \"{TOKEN}\"\nfunction = \"mint()\"\n");
    let error = refused(&format!("paymaster = \"unrestricted\"\n{permission}"));
    assert!(error.message.starts_with("valid_until is missing") && error.message.contains("never"), "{error}");
    let error = refused(&format!("valid_until = \"1h\"\n{permission}"));
    assert!(error.message.starts_with("paymaster is missing") && error.message.contains("unrestricted"), "{error}");
}

#[test]
fn every_way_to_say_a_start_is_read() {
    for (said, start) in [
        ("\"now\"", Start::Now),
        ("0", Start::At(0)),
        ("\"0\"", Start::At(0)),
        ("1800000000", Start::At(NOW)),
        ("\"1800000000\"", Start::At(NOW)),
        ("\"2027-01-15T08:00:00Z\"", Start::At(NOW)),
        ("\"2027-01-15T10:00:00+02:00\"", Start::At(NOW)),
        ("2027-01-15T08:00:00Z", Start::At(NOW)),
    ] {
        assert_eq!(with_top(&format!("valid_after = {said}")).valid_after, start, "{said}");
    }
}

#[test]
fn every_way_to_say_an_end_is_read() {
    for (said, end) in [
        ("\"24h\"", End::After(86_400)),
        ("\"1d 12h\"", End::After(129_600)),
        ("\"never\"", End::Never),
        ("1800000000", End::At(NOW)),
        ("\"1800000000\"", End::At(NOW)),
        ("\"2027-01-15T08:00:00Z\"", End::At(NOW)),
        ("2027-01-15T08:00:00Z", End::At(NOW)),
    ] {
        assert_eq!(with_top(&format!("valid_until = {said}")).valid_until, end, "{said}");
    }
}

#[test]
fn milliseconds_are_refused_with_the_seconds_that_were_meant() {
    for field in ["valid_after", "valid_until"] {
        let error = refused(&policy(&format!("{field} = 1800000000000"), ""));
        assert!(error.message.starts_with(&format!("{field}: ")), "{error}");
        assert!(error.message.contains("milliseconds") && error.message.contains("write 1800000000"), "{error}");
    }
    let mission = format!("{{\"validUntil\": 1800000000000, \"permissions\": [{{\"target\": \"{TOKEN}\"}}]}}");
    assert!(refused(&mission).message.contains("milliseconds"));
}

#[test]
fn an_end_of_zero_must_be_said_as_never() {
    let error = refused(&policy("valid_until = 0", ""));
    assert!(error.message.starts_with("valid_until: ") && error.message.contains("\"never\""), "{error}");
    assert!(refused(&policy("valid_until = \"0s\"", "")).message.starts_with("valid_until: "));
}

#[test]
fn an_end_that_is_no_time_names_all_forms() {
    let error = refused(&policy("valid_until = \"tomorrow\"", ""));
    for form in ["valid_until: ", "24h", "never", "tomorrow"] {
        assert!(error.message.contains(form), "{error}");
    }
}

#[test]
fn a_table_is_no_time() {
    assert!(
        refused(&policy("valid_until = { at = \"2027-01-15T08:00:00Z\" }", "")).message.starts_with("valid_until: ")
    );
}

#[test]
fn paymasters_are_an_address_or_one_of_two_words() {
    assert_eq!(with_top("paymaster = \"any-sponsor\"").paymaster, ANY_PAYMASTER);
    assert_eq!(with_top("paymaster = \"unrestricted\"").paymaster, Address::ZERO);
    for (said, hint) in [
        ("0x0000000000000000000000000000000000000000", "unrestricted"),
        ("0x0000000000000000000000000000000000000001", "any-sponsor"),
        ("none", "unrestricted"),
    ] {
        let error = refused(&policy(&format!("paymaster = \"{said}\""), ""));
        assert!(error.message.starts_with("paymaster: ") && error.message.contains(hint), "{error}");
    }
}

#[test]
fn validators_are_named_by_generation_or_address() {
    for (said, choice) in [
        ("auto", ValidatorChoice::Auto),
        ("G1", ValidatorChoice::Exactly(Generation::G1.into())),
        ("G2", ValidatorChoice::Exactly(Generation::G2.into())),
        ("0x8Df2bf61F849676f00C6883743E077d391da1dDA", ValidatorChoice::Exactly(Generation::G3.into())),
    ] {
        assert_eq!(with_top(&format!("validator = \"{said}\"")).validator, choice, "{said}");
    }
    assert!(refused(&policy(&format!("validator = \"{TOKEN}\""), "")).message.starts_with("validator: expected"));
}

#[test]
fn account_functions_are_taken_once_each_and_only_the_three_there_are() {
    let policy_of = |said: &str| with_top(&format!("selector = {said}")).functions;
    assert_eq!(policy_of("\"executeDelegateCall\""), [AccountFunction::ExecuteDelegateCall]);
    assert_eq!(policy_of("[\"execute\", \"execute\"]"), [AccountFunction::Execute]);
    assert!(refused(&policy("selector = []", "")).message.starts_with("selector: "));
    assert!(refused(&policy("selector = [\"execute\", \"upgradeTo\"]", "")).message.starts_with("selector[1]: "));
}

#[test]
fn unknown_fields_name_the_nearest_known_one() {
    for (text, path, nearest) in [
        (policy("valid_untill = \"1h\"", ""), "valid_untill", "valid_until"),
        (policy("", "value_limt = \"1\""), "permission[0].value_limt", "value_limit"),
        (policy("", "limit = { run = 1 }"), "permission[0].limit.run", "runs"),
        (
            policy("", "[[permission.when]]\narg = 0\noperator = \"eq\"\nvalue = 1"),
            "permission[0].when[0].operator",
            "op",
        ),
        (
            policy("", "[[permission.word]]\noffest = 0\nop = \"eq\"\nvalue = 1"),
            "permission[0].word[0].offest",
            "offset",
        ),
        ("{\"validUntil\": 1, \"permisions\": []}".into(), "permisions", "permissions"),
        (
            format!("{{\"permissions\": [{{\"target\": \"{TOKEN}\", \"valuelimit\": 1}}]}}"),
            "permissions[0].valuelimit",
            "valueLimit",
        ),
    ] {
        let error = refused(&text);
        assert_eq!(error.code, "policy.unknown_field");
        assert!(error.message.starts_with(&format!("{path}: ")), "{error}");
        assert!(error.hint.contains(&format!("did you mean \"{nearest}\"")), "{}", error.hint);
    }
}

#[test]
fn a_slip_in_the_word_permission_does_not_turn_the_file_into_another_shape() {
    let text = policy("", "").replace("[[permission]]", "[[permissions]]");
    let error = refused(&text);
    assert!(error.message.starts_with("permissions: "), "{error}");
    assert!(error.hint.contains("did you mean \"permission\""), "{}", error.hint);
}

#[test]
fn an_empty_list_of_permissions_allows_everything_and_must_say_so() {
    let top = "valid_until = \"1h\"\npaymaster = \"unrestricted\"\n";
    for text in [top.to_owned(), format!("{top}permission = []\n"), "{\"validUntil\": 0, \"permissions\": []}".into()] {
        let error = refused(&text);
        assert_eq!(error.code, "policy.empty");
        assert!(error.hint.contains("everything = true"), "{}", error.hint);
    }
    assert!(parse(&format!("{top}everything = true\n")).everything);
    assert!(parse("{\"validUntil\": 1900000000, \"everything\": true}").everything);
    assert_eq!(refused(&policy("everything = true", "")).code, "policy.everything");
}

#[test]
fn a_wrong_checksum_is_refused_wherever_an_address_stands() {
    let wrong = "0x5fbDB2315678afecb367f032d93F642f64180aa3";
    for (text, path) in [
        (policy(&format!("paymaster = \"{wrong}\""), ""), "paymaster"),
        (policy("", &format!("target = \"{wrong}\"\n")), "permission[0].target"),
        (format!("{{\"permissions\": [{{\"target\": \"{wrong}\"}}]}}"), "permissions[0].target"),
        (format!("{{\"paymaster\": \"{wrong}\", \"permissions\": [{{\"target\": \"{TOKEN}\"}}]}}"), "paymaster"),
    ] {
        let error = refused(&text);
        assert!(error.message.starts_with(&format!("{path}: ")) && error.message.contains("checksum"), "{error}");
    }
    let in_condition = policy("", &format!("[[permission.when]]\narg = \"to\"\nop = \"eq\"\nvalue = \"{wrong}\""));
    let error = parse(&in_condition).resolve(NOW, Generation::G2.into()).unwrap_err();
    assert!(error.message.starts_with("permission 1: ") && error.message.contains("checksum"), "{error}");
}

#[test]
fn the_zero_address_as_target_must_be_said_as_any() {
    let error = refused(&policy("", "target = \"0x0000000000000000000000000000000000000000\"\n"));
    assert!(error.message.starts_with("permission[0].target: ") && error.message.contains("\"any\""), "{error}");
    assert_eq!(with_permission("target = \"any\"\n").target, ANY_TARGET);
}

const OVERLOADED: &str = r#"[
    {"type": "function", "name": "mint", "inputs": [{"name": "to", "type": "address"}]},
    {"type": "function", "name": "mint", "inputs": [{"name": "to", "type": "address"}, {"name": "id", "type": "uint256"}]},
    {"type": "event", "name": "Minted", "inputs": []}]"#;

#[test]
fn an_abi_is_read_from_a_file_named_by_the_policy() {
    let read = |name: &str| {
        assert_eq!(name, "abi/nft.json");
        Ok(OVERLOADED.to_owned())
    };
    let function = |wanted: &str| {
        let text = policy("", &format!("abi = \"abi/nft.json\"\nfunction = \"{wanted}\"\n"));
        Policy::parse(&text, &read).map(|p| p.permissions[0].function.clone().unwrap().signature().to_owned())
    };
    assert_eq!(function("mint(address,uint256)").unwrap(), "mint(address,uint256)");
    let error = function("mint").unwrap_err();
    assert!(error.message.starts_with("permission[0].function: "), "{error}");
    assert!(error.message.contains("mint(address)") && error.message.contains("mint(address,uint256)"), "{error}");
    assert!(function("burn").unwrap_err().message.starts_with("permission[0].function: "));
}

#[test]
fn an_abi_is_a_known_interface_or_a_file() {
    let text = |abi: &str| policy("", &format!("abi = \"{abi}\"\nfunction = \"transfer\"\n"));
    assert_eq!(
        parse(&text("erc20")).permissions[0].function.as_ref().unwrap().signature(),
        "transfer(address,uint256)"
    );
    let error = refused(&text("erc2O"));
    assert!(error.message.starts_with("permission[0].abi: ") && error.message.contains("erc20"), "{error}");
    assert_eq!(refused(&text("token.json")).code, "test.file");
    let broken = Policy::parse(&text("token.json"), &|_| Ok("{\"abi\": 3}".into())).unwrap_err();
    assert!(broken.message.starts_with("permission[0].abi: "), "{broken}");
}

#[test]
fn a_function_without_abi_needs_its_whole_signature() {
    let error = refused(&policy("", "function = \"transfer\"\n"));
    assert!(error.message.starts_with("permission[0].function: "), "{error}");
    let missing =
        refused(&format!("valid_until = \"1h\"\npaymaster = \"unrestricted\"\n[[permission]]\ntarget = \"{TOKEN}\"\n"));
    assert!(missing.message.starts_with("permission[0].function is missing"), "{missing}");
}

#[test]
fn every_error_names_its_field() {
    let when = |lines: &str| format!("[[permission.when]]\n{lines}");
    for (top, permission, path) in [
        ("label = 7", "", "label"),
        ("label = \"\"", "", "label"),
        ("valid_after = \"24h\"", "", "valid_after"),
        ("valid_after = true", "", "valid_after"),
        ("everything = \"yes\"", "", "everything"),
        ("validator = 2", "", "validator"),
        ("", "target = 5\n", "permission[0].target"),
        ("", "value_limit = \"1.5\"", "permission[0].value_limit"),
        ("", "value_limit = -1", "permission[0].value_limit"),
        ("", "value_limit = 0.5", "permission[0].value_limit"),
        ("", "operation = \"staticcall\"", "permission[0].operation"),
        ("", "limit = 3", "permission[0].limit"),
        ("", "limit = { every = \"1\" }", "permission[0].limit.every"),
        ("", "limit = { every = 3600 }", "permission[0].limit.every"),
        ("", "limit = { runs = -1 }", "permission[0].limit.runs"),
        ("", "limit = { runs = 0 }", "permission[0].limit.runs"),
        ("", "limit = { start = \"later\" }", "permission[0].limit.start"),
        ("", "when = { arg = 0 }", "permission[0].when"),
        ("", &when("arg = \"to\"\nop = \"~\"\nvalue = 1"), "permission[0].when[0].op"),
        ("", &when("arg = \"to\"\nop = 6\nvalue = 1"), "permission[0].when[0].op"),
        ("", &when("arg = \"to\"\nop = \"eq\"\nvalue = 1.5"), "permission[0].when[0].value"),
        ("", &when("arg = \"to\"\nop = \"eq\""), "permission[0].when[0].value"),
        ("", &when("op = \"eq\"\nvalue = 1"), "permission[0].when[0].arg"),
        ("", "[[permission.word]]\noffset = -32\nop = \"eq\"\nvalue = 1", "permission[0].word[0].offset"),
    ] {
        let error = refused(&policy(top, permission));
        let named =
            error.message.starts_with(&format!("{path}: ")) || error.message.starts_with(&format!("{path} is missing"));
        assert!(named, "expected {path}, found: {error}");
        assert_eq!(error.class.exit_code(), 2);
    }
}

#[test]
fn a_file_that_is_neither_toml_nor_json_names_the_line() {
    let error = refused("label = \"x\"\nvalid_until = \n");
    assert!(error.code == "policy.syntax" && error.message.contains("line 2"), "{error}");
    assert!(refused("{\"validUntil\": }").message.contains("line 1"));
    assert!(refused("[1, 2]").message.contains("TOML"));
}

#[test]
fn labels_are_one_line_of_printable_characters() {
    assert_eq!(check_label("label", "  mint bot é ").unwrap(), "mint bot é");
    assert!(check_label("label", &"x".repeat(64)).is_ok());
    for bad in [
        "",
        "   ",
        "a\nb",
        "a\u{1b}[31mb",
        "a\u{202e}b",
        "a\u{7f}",
        "a\u{200b}b",
        &"x".repeat(65),
        &"x".repeat(1 << 20),
    ] {
        let error = check_label("label", bad).unwrap_err();
        assert_eq!(error.code, "label.invalid");
        assert!(error.message.starts_with("label: ") && error.message.len() < 200, "{error}");
        assert!(!error.message.chars().any(crate::text::is_unsafe), "{error:?}");
    }
}

#[test]
fn foreign_text_in_errors_is_short_and_without_control_characters() {
    let long = "\\u001b[31m".repeat(5000);
    for text in [
        format!("{{\"valid_until\": \"{long}\", \"paymaster\": \"unrestricted\"}}"),
        format!("{{\"{long}\": 1}}"),
        format!("{{\"valid_until\": \"1h\", \"paymaster\": \"{long}\"}}"),
        format!("{{\"valid_until\": \"1h\", \"paymaster\": \"unrestricted\", \"selector\": \"{long}\"}}"),
        format!(
            "{{\"valid_until\": \"1h\", \"paymaster\": \"unrestricted\", \"permission\": [{{\"target\": \"{TOKEN}\", \
             \"function\": \"a()\", \"operation\": \"{long}\"}}]}}"
        ),
    ] {
        let error = refused(&text);
        assert!(error.message.len() < 500, "{} bytes", error.message.len());
        assert!(!error.message.chars().any(|c| c.is_control()), "{error:?}");
    }
}

#[test]
fn more_than_ten_thousand_permissions_are_refused() {
    let entry = format!("{{\"target\": \"{TOKEN}\", \"function\": \"a()\"}}");
    let list = vec![entry.as_str(); 10_001].join(",");
    let error =
        refused(&format!("{{\"valid_until\": \"1h\", \"paymaster\": \"unrestricted\", \"permission\": [{list}]}}"));
    assert!(error.message.starts_with("permission: more than 10000"), "{error}");
}

// --- the shape of ZeroDev's documentation ------------------------------------------------------------------------------------------

#[test]
fn the_mission_documents_permissions_are_read() {
    let text = format!(
        r#"{{
            "validAfter": 0, "validUntil": "1900000000",
            "paymaster": "{FRIEND}",
            "permissions": [
                {{"target": "{TOKEN}", "valueLimit": 0, "abi": {OVERLOADED}, "functionName": "mint(address,uint256)",
                  "args": [null, {{"operator": "ParamOperator.EQUAL", "value": 2}}], "operation": 1}},
                {{"target": "{TOKEN}", "valueLimit": "5", "functionName": "pay(uint256)",
                  "args": [{{"operator": 4, "value": "115792089237316195423570985008687907853269984665640564039457584007913129639935"}}]}},
                {{"target": "0x0000000000000000000000000000000000000000", "operation": "Operation.Call"}}
            ]
        }}"#
    );
    let policy = parse(&text);
    assert_eq!((policy.valid_after, policy.valid_until), (Start::At(0), End::At(1_900_000_000)));
    assert_eq!(policy.paymaster, FRIEND_ADDRESS);
    let [mint, pay, plain] = policy.permissions.as_slice() else { panic!("three permissions") };
    assert_eq!(mint.function.as_ref().unwrap().signature(), "mint(address,uint256)");
    assert_eq!(mint.when, [ArgCondition { arg: "1".into(), op: Condition::Eq, value: "2".into() }]);
    assert_eq!(mint.operation, Operation::DelegateCall);
    assert_eq!((pay.value_limit, pay.when[0].op), (U256::from(5), Condition::Lte));
    assert_eq!((plain.target, &plain.function, plain.operation), (ANY_TARGET, &None, Operation::Call));
    let resolved = policy.resolve(NOW, Generation::G2.into()).unwrap();
    assert_eq!(resolved.scope.permissions[0].rules[0].offset, U256::from(32));
    assert_eq!(resolved.scope.permissions[1].rules[0].param, B256::repeat_byte(0xff));
    assert_eq!(resolved.scope.permissions[2].sig, Selector::ZERO);
}

#[test]
fn the_mission_documents_zeros_mean_what_it_says_they_mean() {
    let text = format!(
        "{{\"validAfter\": 0, \"validUntil\": 0, \"paymaster\": \"0x0000000000000000000000000000000000000000\", \
          \"permissions\": [{{\"target\": \"{TOKEN}\"}}]}}"
    );
    let policy = parse(&text);
    assert_eq!((policy.valid_until, policy.paymaster), (End::Never, Address::ZERO));
    assert_eq!(parse(&format!("{{\"permissions\": [{{\"target\": \"{TOKEN}\"}}]}}")), policy);
}

#[test]
fn the_mission_documents_mistakes_name_their_field() {
    for (permission, path) in [
        ("{}".to_owned(), "permissions[0].target"),
        (format!("{{\"target\": \"{TOKEN}\", \"abi\": []}}"), "permissions[0].abi"),
        (format!("{{\"target\": \"{TOKEN}\", \"functionName\": \"mint\"}}"), "permissions[0].functionName"),
        (
            format!("{{\"target\": \"{TOKEN}\", \"abi\": {OVERLOADED}, \"functionName\": \"mint\"}}"),
            "permissions[0].functionName",
        ),
        (format!("{{\"target\": \"{TOKEN}\", \"args\": [{{\"operator\": 0, \"value\": 1}}]}}"), "permissions[0].args"),
        (
            format!(
                "{{\"target\": \"{TOKEN}\", \"functionName\": \"a(uint256)\", \"args\": [{{\"operator\": 9, \"value\": 1}}]}}"
            ),
            "permissions[0].args[0].operator",
        ),
        (format!("{{\"target\": \"{TOKEN}\", \"operation\": 2}}"), "permissions[0].operation"),
        (format!("{{\"target\": \"{TOKEN}\", \"valueLimit\": 1e30}}"), "permissions[0].valueLimit"),
    ] {
        let error = refused(&format!("{{\"permissions\": [{permission}]}}"));
        let named =
            error.message.starts_with(&format!("{path}: ")) || error.message.starts_with(&format!("{path} is missing"));
        assert!(named, "expected {path}, found: {error}");
    }
}

// --- from a policy to a scope ------------------------------------------------------------------------------------------------

fn resolved(text: &str) -> Resolved {
    parse(text).resolve(NOW, Generation::G2.into()).unwrap_or_else(|e| panic!("{e}"))
}

fn unresolved(text: &str) -> Error {
    parse(text).resolve(NOW, Generation::G2.into()).unwrap_err()
}

#[test]
fn a_window_counts_from_its_start_or_from_the_chains_time() {
    let window = |top: &str| {
        let scope = resolved(&policy(top, "")).scope;
        (scope.valid_after, scope.valid_until)
    };
    assert_eq!(window("valid_after = \"now\"\nvalid_until = \"1h\""), (NOW, NOW + 3600));
    assert_eq!(window("valid_until = \"1h\""), (0, NOW + 3600));
    assert_eq!(window("valid_after = 1900000000\nvalid_until = \"1h\""), (1_900_000_000, 1_900_003_600));
    assert_eq!(window("valid_after = 1000\nvalid_until = \"never\""), (1000, 0));
}

#[test]
fn a_window_that_can_never_be_open_is_refused() {
    let error = unresolved(&policy("valid_after = 1900000000\nvalid_until = 1850000000", ""));
    assert!(error.message.starts_with("valid_until: ") && error.message.contains("before it starts"), "{error}");
    let error = unresolved(&policy("valid_until = 1700000000", ""));
    assert!(error.message.starts_with("valid_until: ") && error.message.contains("it ended"), "{error}");
    let longest = format!("valid_until = \"{MAX_UINT48}s\"");
    assert!(unresolved(&policy(&longest, "")).message.starts_with("valid_until: "));
}

#[test]
fn limits_become_the_words_of_the_contract() {
    let rule = |limit: &str| resolved(&policy("", &format!("limit = {limit}"))).scope.permissions[0].execution_rule;
    let words = |valid_after, interval, runs| ExecutionRule { valid_after, interval, runs };
    assert_eq!(rule("{ runs = 24 }"), words(0, 0, 24));
    assert_eq!(rule("{ start = \"now\", every = \"1h\", runs = \"24\" }"), words(NOW, 3600, 24));
    // The contract needs a start for an interval.
    assert_eq!(rule("{ every = \"1h\" }"), words(NOW, 3600, 0));
    assert_eq!(rule("{ start = 1900000000 }"), words(1_900_000_000, 0, 0));
    let error = unresolved(&policy("", "limit = { start = 0, every = \"1h\" }"));
    assert!(error.message.starts_with("permission 1: limit.start"), "{error}");
    let error = unresolved(&policy("", "limit = { runs = 281474976710656 }"));
    assert!(error.message.starts_with("permission 1: limit"), "{error}");
}

#[test]
fn conditions_and_words_become_rules_in_their_order() {
    let text = policy(
        "",
        &format!(
            "[[permission.when]]\narg = \"amount\"\nop = \"lte\"\nvalue = 9\n[[permission.when]]\narg = 0\nop = \"eq\"\nvalue = \"{FRIEND}\"\n\
             [[permission.word]]\noffset = 64\nop = \"ne\"\nvalue = 7\n"
        ),
    );
    let resolved = resolved(&text);
    let permission = &resolved.scope.permissions[0];
    let words: Vec<(u64, Condition)> = permission.rules.iter().map(|r| (r.offset.to(), r.condition)).collect();
    assert_eq!(words, [(32, Condition::Lte), (0, Condition::Eq), (64, Condition::Ne)]);
    assert_eq!(permission.rules[1].param, FRIEND_ADDRESS.into_word());
    assert_eq!(resolved.functions, [Some("transfer(address to, uint256 amount)".to_owned())]);
}

#[test]
fn a_word_that_contradicts_an_argument_is_refused() {
    let text = policy(
        "",
        "[[permission.when]]\narg = \"amount\"\nop = \"lte\"\nvalue = 9\n[[permission.word]]\noffset = 32\nop = \"gt\"\nvalue = 9\n",
    );
    let error = unresolved(&text);
    assert_eq!(error.code, "policy.condition");
    assert!(error.message.starts_with("permission 1: ") && error.message.contains("byte 32"), "{error}");
    // Beside each other they are fine.
    resolved(&text.replace("op = \"gt\"", "op = \"lte\""));
}

#[test]
fn a_condition_that_limits_nothing_is_a_warning_that_names_its_permission() {
    let text = policy("", "[[permission.when]]\narg = \"amount\"\nop = \"gte\"\nvalue = 0\n");
    assert!(matches!(resolved(&text).warnings.as_slice(), [one] if one.starts_with("permission 1: ")));
}

#[test]
fn any_target_is_refused_where_the_validator_would_read_it_as_an_address() {
    let policy = parse(&policy("", "target = \"any\"\n"));
    assert_eq!(policy.resolve(NOW, Generation::G1.into()).unwrap_err().code, "risk.R30");
    assert!(policy.resolve(NOW, Generation::G3.into()).is_ok());
}

#[test]
fn permissions_are_numbered_in_their_order() {
    let text = format!(
        "valid_until = \"1h\"\npaymaster = \"unrestricted\"\n[[permission]]\ntarget = \"{TOKEN}\"\nfunction = \"a()\"\n\
         [[permission]]\ntarget = \"{TOKEN}\"\nfunction = \"b()\"\n"
    );
    let scope = resolved(&text).scope;
    assert_eq!(scope.permissions.iter().map(|p| p.index).collect::<Vec<_>>(), [0, 1]);
}

/// Values a policy file may hold where another is expected, and text near what is understood.
fn any_value() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "now",
        "never",
        "any",
        "24h",
        "0s",
        "unrestricted",
        "any-sponsor",
        "execute",
        "G2",
        "auto",
        "erc20",
        "transfer",
        "eq",
        "lte",
        "call",
        "delegatecall",
        "transfer(address to, uint256 amount)",
        TOKEN,
        FRIEND,
        "x.json",
        "1 eth",
        "1800000000000",
        "2027-01-15T08:00:00Z",
        "281474976710656",
        "0x",
        "to",
        "\u{1b}[31m",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    let names = prop::sample::select(vec![
        "label",
        "valid_after",
        "valid_until",
        "paymaster",
        "selector",
        "validator",
        "everything",
        "permission",
        "target",
        "function",
        "abi",
        "value_limit",
        "operation",
        "limit",
        "when",
        "word",
        "arg",
        "op",
        "value",
        "offset",
        "start",
        "every",
        "runs",
        "validAfter",
        "validUntil",
        "permissions",
        "valueLimit",
        "functionName",
        "args",
        "operator",
        TOML_DATE,
    ]);
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

fn any_policy() -> impl Strategy<Value = Value> {
    let field = |name: &'static str| any_value().prop_map(move |value| (name, value));
    let known = prop::collection::vec(
        prop_oneof![
            field("valid_after"),
            field("valid_until"),
            field("paymaster"),
            field("selector"),
            field("validator"),
            field("everything"),
        ],
        0..3,
    );
    let permission = prop::collection::vec(
        prop_oneof![
            field("target"),
            field("function"),
            field("abi"),
            field("value_limit"),
            field("operation"),
            field("limit"),
            field("when"),
            field("word"),
        ],
        0..3,
    );
    (known, permission).prop_map(|(top, inner)| {
        let mut value: Value = toml::from_str(&policy("", "")).unwrap();
        for (name, changed) in inner {
            value["permission"][0][name] = changed;
        }
        for (name, changed) in top {
            value[name] = changed;
        }
        value
    })
}

/// A policy that is understood either resolves, or says why not; an end that was stated never becomes "never".
fn understood(text: &str) {
    let Ok(policy) = Policy::parse(text, &|_| Ok(OVERLOADED.into())) else { return };
    for generation in Generation::ALL {
        for now in [0, NOW, u64::MAX] {
            if let Ok(resolved) = policy.resolve(now, generation.into()) {
                assert_eq!(resolved.scope.valid_until == 0, policy.valid_until == End::Never);
                assert_eq!(resolved.functions.len(), resolved.scope.permissions.len());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_makes_the_reader_panic(text in "(\\PC|[\\n\"\\[\\]{}=.,:#]){0,200}") {
        understood(&text);
    }

    #[test]
    fn no_shape_of_a_policy_makes_the_reader_panic(value in any_policy()) {
        understood(&value.to_string());
    }

    #[test]
    fn no_shape_of_a_document_makes_the_reader_panic(value in any_value()) {
        understood(&value.to_string());
    }
}
