//! What could go wrong with a scope: each rule on a scope that must trigger it and on a near miss (tests/vectors/risks.json),
//! and the same assessment through the program, for drafts, keys on record and operations.
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

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use alloy::primitives::{Address, Selector, U256, address};
use keyleash::{
    abi::Function,
    policy::{
        condition::{ArgCondition, WordCondition, compile, compile_words},
        risk::{Clock, Context, ContractFacts, Contracts, Effect, Finding, RULES, assess},
        scope::{ANY_PAYMASTER, Condition, ExecutionRule, Operation, Permission, Rule, Scope},
    },
    protocol::{
        family::account::Version,
        kernel_v2::{account::selector, generation::Generation},
    },
    wallet::sandbox_profile::DEMO,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;
const TOKEN: Address = address!("5FbDB2315678afecb367f032d93F642f64180aa3");
const ACCOUNT: Address = address!("B2358b064F5eA10543Cf8034C8576b2E6Bfd3Be3");
const OWNER: Address = address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
const KEY: Address = address!("70997970C51812dc3A010C7d01b50e0d17dc79C8");
const SPONSOR: Address = address!("3C44CdDdB6a900fa2b585dd299e03d12FA4293BC");
const FRIEND: Address = address!("90F79bf6EB2c4f870365E785982E1f101E93b906");

// --- the corpus ------------------------------------------------------------------------------------------------------------

/// Seconds of `1d`, `-10h`, or of a plain number.
fn seconds(value: &Value) -> i64 {
    let Some(text) = value.as_str() else { return value.as_i64().unwrap() };
    let (number, unit) = text.split_at(text.len() - 1);
    number.parse::<i64>().unwrap() * if unit == "d" { 86_400 } else { 3_600 }
}

fn at(value: &Value) -> u64 {
    NOW.checked_add_signed(seconds(value)).unwrap()
}

fn address_of(name: &str) -> Address {
    match name {
        "token" => TOKEN,
        "account" => ACCOUNT,
        "owner" => OWNER,
        "friend" => FRIEND,
        "sponsor" => SPONSOR,
        "any" | "none" => Address::ZERO,
        "permit2" => address!("000000000022D473030F116dDEE9F6B43aC78BA3"),
        "token-paymaster" => address!("6666666666667849c56f2850848cE1C4da65c68b"),
        other => other.parse().unwrap(),
    }
}

fn text<'a>(case: &'a Value, name: &str, unsaid: &'a str) -> &'a str {
    case[name].as_str().unwrap_or(unsaid)
}

fn rules(case: &Value, function: Option<&Function>) -> Vec<Rule> {
    let list = |name: &str| case[name].as_array().cloned().unwrap_or_default();
    let op = |value: &Value| Condition::parse(value.as_str().unwrap()).unwrap();
    let when: Vec<ArgCondition> = list("when")
        .iter()
        .map(|c| {
            let value = c[2].as_str().unwrap();
            let named = ["token", "account", "friend", "sponsor"].contains(&value);
            let value = if named { address_of(value).to_string() } else { value.to_owned() };
            ArgCondition { arg: c[0].as_str().unwrap().to_owned(), op: op(&c[1]), value }
        })
        .collect();
    let mut rules = function.map(|f| compile(f, &when).unwrap().rules).unwrap_or_default();
    for word in list("words") {
        let word = WordCondition {
            offset: U256::from(word[0].as_u64().unwrap()),
            op: op(&word[1]),
            value: word[2].as_str().unwrap().to_owned(),
        };
        rules.extend(compile_words(None, &[word]).unwrap().rules);
    }
    rules
}

fn permission(index: usize, case: &Value) -> (Permission, Option<Function>) {
    let function = case["function"].as_str().map(|f| Function::parse(f).unwrap());
    let limit = match case["limit"].as_array() {
        None => ExecutionRule { runs: 3, ..ExecutionRule::default() },
        Some(limit) => ExecutionRule {
            valid_after: if limit[0].is_string() { at(&limit[0]) } else { limit[0].as_u64().unwrap() },
            interval: limit[1].as_u64().unwrap(),
            runs: limit[2].as_u64().unwrap(),
        },
    };
    let permission = Permission {
        index: u32::try_from(index).unwrap(),
        target: address_of(text(case, "target", "token")),
        sig: function.as_ref().map_or(Selector::ZERO, Function::selector),
        value_limit: text(case, "value", "0").parse().unwrap(),
        rules: rules(case, function.as_ref()),
        execution_rule: limit,
        operation: if case["delegate"] == true { Operation::DelegateCall } else { Operation::Call },
    };
    (permission, function)
}

fn findings(case: &Value) -> Vec<Finding> {
    let (permissions, functions): (Vec<Permission>, Vec<Option<Function>>) =
        case["permissions"].as_array().unwrap().iter().enumerate().map(|(i, p)| permission(i, p)).unzip();
    let mut contracts = Contracts::from([(TOKEN, ContractFacts { has_code: Some(true), ..Default::default() })]);
    for name in case["without_code"].as_array().into_iter().flatten() {
        contracts.entry(address_of(name.as_str().unwrap())).or_default().has_code = Some(false);
    }
    let token = contracts.entry(TOKEN).or_default();
    token.held = case["held"].as_str().map(|held| held.parse().unwrap());
    token.allowances = case["allowance"]
        .as_array()
        .map(|a| (address_of(a[0].as_str().unwrap()), a[1].as_str().unwrap().parse().unwrap()))
        .into_iter()
        .collect();
    let also_on: Vec<String> = case["also_on"].as_array().into_iter().flatten().map(ToString::to_string).collect();
    let scope = Scope {
        valid_after: if case["after"].is_null() { 0 } else { at(&case["after"]) },
        valid_until: match case["until"].as_str() {
            None => NOW + DAY,
            Some("never") => 0,
            Some(_) => at(&case["until"]),
        },
        paymaster: match text(case, "paymaster", "sponsor") {
            "any" => ANY_PAYMASTER,
            other => address_of(other),
        },
        permissions,
    };
    let context = Context {
        validator: match text(case, "validator", "G2") {
            "G1" => Generation::G1,
            "G3" => Generation::G3,
            _ => Generation::G2,
        }
        .into(),
        kernel: Version::named(text(case, "kernel", "0.2.4")),
        account: ACCOUNT,
        owner: Some(OWNER),
        session_key: Some(case["key"].as_str().map_or(KEY, address_of)),
        selectors: &[selector::EXECUTE],
        functions: &functions,
        partial: case["partial"] == true,
        now: NOW,
        clock: case["local_clock"].as_i64().map(|off| Clock {
            local: NOW.checked_add_signed(off).unwrap(),
            blocks_on_demand: case["on_demand"] == true,
        }),
        contracts: &contracts,
        balance: Some(U256::from(2_000_000_000_000_000_000_u64)),
        deposit: None,
        key_has_code: Some(false),
        also_on: &also_on,
        coin: "ETH",
        permuted_execution_rule: case["sdk"] == true,
    };
    assess(&scope, &context)
}

/// What the corpus calls an effect.
fn effect(finding: &Finding) -> &'static str {
    match finding.effect {
        Effect::Warn => "warn",
        Effect::Block(_) => "block",
        Effect::Refuse => "refuse",
    }
}

#[test]
fn a1_every_rule_fires_on_its_scope_and_not_on_the_near_miss() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/risks.json");
    let corpus: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for row in corpus["rows"].as_array().unwrap() {
        let says = text(row, "says", "");
        let matching = |case: &Value| -> Vec<Finding> {
            let all = findings(case).into_iter();
            all.filter(|f| {
                f.id == row["rule"]
                    && json!(f.severity) == row["severity"]
                    && effect(f) == row["effect"]
                    && f.message.contains(says)
            })
            .collect()
        };
        seen.insert(row["rule"].as_str().unwrap().to_owned());
        if matching(&row["fires"]).is_empty() {
            wrong.push(format!("{row}\n   did not fire; found {:#?}", findings(&row["fires"])));
        }
        for finding in matching(&row["misses"]) {
            wrong.push(format!("{row}\n   fired on the near miss: {}", finding.message));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What a grant does to other keys is told by the wallet from its records (src/wallet/tests.rs).
    let elsewhere = ["R33", "R34", "R35", "R36", "R37"];
    for rule in RULES.iter().filter(|rule| !elsewhere.contains(&rule.id)) {
        assert!(seen.contains(rule.id), "no row for {}", rule.id);
    }
}

// --- through the program, on the sandbox -----------------------------------------------------------------------------------

struct Sandbox(TempDir);

impl Sandbox {
    fn new() -> Self {
        let sandbox = Self(tempfile::Builder::new().prefix("keyleash-risks-").tempdir().unwrap());
        sandbox.ok(&["init", "--sandbox"]);
        sandbox
    }

    fn run(&self, args: &[&str]) -> std::process::Output {
        let home = self.0.path().join("home");
        Command::new(env!("CARGO_BIN_EXE_keyleash"))
            .args(["--home", home.to_str().unwrap()])
            .args(args)
            .env_clear()
            .env("HOME", self.0.path())
            .output()
            .unwrap()
    }

    fn envelope(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--json", "--yes"]).collect();
        let output = self.run(&args);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {output:?}"))
    }

    fn ok(&self, args: &[&str]) -> Value {
        let envelope = self.envelope(args);
        assert_eq!(envelope["success"], true, "{args:?}: {envelope}");
        envelope["data"].clone()
    }

    fn policy(&self, label: &str, function: &str, target: Address) -> String {
        let path = self.0.path().join(format!("{label}.toml"));
        let policy = format!(
            "label = \"{label}\"\nvalid_until = \"1d\"\npaymaster = \"{}\"\n[[permission]]\ntarget = \"{target}\"\n\
             function = \"{function}\"\n",
            DEMO.sponsor
        );
        fs::write(&path, policy).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn ids(risks: &Value) -> Vec<&str> {
    risks.as_array().unwrap().iter().map(|r| r["id"].as_str().unwrap()).collect()
}

#[test]
fn a1_the_eight_examples_on_a_named_contract_without_conditions_all_have_their_findings() {
    let sandbox = Sandbox::new();
    let examples = [
        ("transfer", "transfer(address,uint256)", "R09"),
        ("approve", "approve(address,uint256)", "R09"),
        ("operator", "setApprovalForAll(address,bool)", "R09"),
        ("from", "transferFrom(address,address,uint256)", "R10"),
        ("multicall", "multicall(bytes[])", "R11"),
        ("router", "execute(bytes,bytes[],uint256)", "R11"),
        ("permit", "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)", "R09"),
        ("upgrade", "upgradeTo(address)", "R03"),
    ];
    for (label, function, id) in examples {
        let policy = sandbox.policy(label, function, DEMO.token);
        let data = sandbox.ok(&["grant", "treasury", "--policy", &policy, "--new-key"]);
        assert!(ids(&data["risks"]).contains(&id), "{function}: {}", data["risks"]);
        let checks = data["checks"].as_array().unwrap();
        assert!(checks.iter().any(|c| c["holds"] == false), "{function}: {checks:?}");
        // A2: the same on record.
        let shown = sandbox.ok(&["key", "show", label]);
        assert!(ids(&shown["risks"]).contains(&id), "{function}: {}", shown["risks"]);
    }
    let text = String::from_utf8(sandbox.run(&["key", "show", "transfer"]).stdout).unwrap();
    assert!(text.contains("R09") && text.contains("`to` is free"), "{text}");
}

#[test]
fn a2_keys_on_record_drafts_and_approvals_in_a_file_are_assessed_alike() {
    let sandbox = Sandbox::new();
    let policy = sandbox.policy("mover", "transfer(address to, uint256 amount)", DEMO.token);
    let out = sandbox.0.path().join("approval");
    let granted = sandbox.ok(&[
        "grant",
        "treasury",
        "--policy",
        &policy,
        "--new-key",
        "--out",
        out.to_str().unwrap(),
        "--with-secret",
    ]);
    let expected = ids(&granted["risks"]).into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    assert!(expected.contains("R09") && expected.contains("R14"), "{expected:?}");
    let inspected = sandbox.ok(&["inspect", out.to_str().unwrap()]);
    let listed = sandbox.ok(&["key", "ls", "treasury"]);
    let listed = listed.as_array().unwrap().iter().find(|k| k["label"] == "mover").unwrap();
    for risks in [&inspected["risks"], &listed["risks"], &sandbox.ok(&["key", "show", "mover"])["risks"]] {
        let found: BTreeSet<String> = ids(risks).into_iter().map(str::to_owned).collect();
        assert_eq!(found, expected);
    }
    let draft = sandbox.0.path().join("draft");
    let policy = sandbox.policy("draft", "transfer(address to, uint256 amount)", DEMO.token);
    sandbox.ok(&[
        "grant",
        "treasury",
        "--policy",
        &policy,
        "--new-key",
        "--unsigned",
        "--out",
        draft.to_str().unwrap(),
    ]);
    assert!(ids(&sandbox.ok(&["key", "show", "draft"])["risks"]).contains(&"R09"));
    // What needs no second look has nothing grave; what is over has nothing to go wrong.
    let keys = sandbox.ok(&["key", "ls"]);
    let of = |label: &str| keys.as_array().unwrap().iter().find(|k| k["label"] == label).unwrap()["risks"].clone();
    assert!(ids(&of("rebalancer")).starts_with(&["R05"]), "{}", of("rebalancer"));
    assert!(of("mint-bot").as_array().unwrap().iter().all(|r| r["severity"] == "medium"), "{}", of("mint-bot"));
    assert_eq!(of("old-agent"), json!([]));
}

#[test]
fn a13_a_call_with_data_to_an_address_without_code_is_said_before_it_is_signed() {
    let sandbox = Sandbox::new();
    let nobody = "0x00000000000000000000000000000000DeaDBeef";
    let send = |more: &[&str]| {
        let args = ["send", "--as-owner", "treasury", "--to", nobody, "--dry-run"];
        sandbox.envelope(&args.iter().chain(more).copied().collect::<Vec<_>>())
    };
    let called = send(&["--data", "0x12345678"]);
    assert_eq!(called["success"], true, "{called}");
    assert_eq!(ids(&called["data"]["risks"]), ["R29"], "{called}");
    let warned = called["warnings"].as_array().unwrap().iter().any(|w| w["code"] == "risk.R29");
    assert!(warned, "{called}");
    let paid = send(&["--value", "1"]);
    assert_eq!((&paid["success"], &paid["data"]["risks"]), (&json!(true), &json!([])), "{paid}");
    let args = ["send", "--as-owner", "treasury", "--to", nobody, "--dry-run", "--data", "0x12345678"];
    let text = String::from_utf8(sandbox.run(&args).stdout).unwrap();
    assert!(text.contains("R29") && text.contains("has no code"), "{text}");

    let policy = sandbox.policy("lost", "play(uint256 n)", nobody.parse().unwrap());
    let granted = sandbox.ok(&["grant", "treasury", "--policy", &policy, "--new-key"]);
    assert!(ids(&granted["risks"]).contains(&"R29"), "{}", granted["risks"]);
}
