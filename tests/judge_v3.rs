//! The judge of Kernel v3 against the chain: the recorded corpora of what the deployed contracts answered.
//!
//! They lie beside the project (`../shared/vectors-v3`). `KEYLEASH_VECTORS_V3=DIR` runs the same tests on another folder with files
//! of the same schema; a file that is missing is skipped with a line that says so.
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

use std::{collections::BTreeMap, io::Write, path::PathBuf};

use alloy::{
    hex,
    primitives::{Address, B256, Bytes, FixedBytes, Selector, U256},
};
use keyleash::{
    erc4337::v07::{PackedUserOperation, Paymaster},
    protocol::kernel_v3::{
        account::CallType,
        approval::SelectorData,
        contracts::{
            GAS_POLICY, KernelVersion, RATE_LIMIT_POLICY, SIGNATURE_CALLER_POLICY, SUDO_POLICY, TIMESTAMP_POLICY,
        },
        judge::{
            self, Authority, CallOutcome, Denied, Executed, Facts, InnerCall, Left, Named, PolicyFacts, Reason,
            Signatures, Signing, Status, Stored, Validator, Verdict,
        },
        nonce::{Mode, OperationNonce, ValidationId},
        permission_config::{PermissionConfig, PermissionFlag, Signer},
        policy::{
            Policy, PolicyFlag,
            call::{CallPolicy, CallPolicyVersion, Condition, Entry, Rule},
            gas::GasPolicy,
            rate_limit::RateLimit,
            signature_caller::SignatureCallers,
            timestamp::Timestamp,
        },
        signature::{Envelope, UseSignature},
    },
};
use serde_json::Value;

// ---- reading the files ----

/// The parsed file, or `None` and a line on the terminal where it is missing.
fn load(name: &str) -> Option<Value> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vectors-v3");
    let path = std::env::var_os("KEYLEASH_VECTORS_V3").map_or_else(|| PathBuf::from(own), PathBuf::from).join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            say(&format!("skipped: {} is not there", path.display()));
            None
        }
        Err(e) => panic!("{}: {e}", path.display()),
    }
}

/// A line that stays in sight: cargo hides what print macros write in a test that passes.
fn say(line: &str) {
    let _ = std::io::stderr().lock().write_all(format!("\n{line}\n").as_bytes());
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not text: {value}"))
}

fn bytes(value: &Value) -> Bytes {
    hex::decode(text(value)).unwrap_or_else(|e| panic!("{e}: {value}")).into()
}

fn address(value: &Value) -> Address {
    if value.is_null() { Address::ZERO } else { Address::from_slice(&bytes(value)) }
}

fn word(value: &Value) -> B256 {
    B256::from_slice(&bytes(value))
}

/// A decimal string, a hex string or a number; missing = 0.
fn number(value: &Value) -> U256 {
    match value {
        Value::Null => U256::ZERO,
        Value::Number(n) => U256::from(n.as_u64().unwrap()),
        other => text(other).parse().unwrap_or_else(|e| panic!("{e}: {other}")),
    }
}

fn small<T: TryFrom<U256>>(value: &Value) -> T {
    number(value).try_into().unwrap_or_else(|_| panic!("out of range: {value}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn flag(value: &Value) -> [u8; 2] {
    if value.is_null() { [0; 2] } else { bytes(value)[..].try_into().unwrap() }
}

fn selector(value: &Value) -> Selector {
    if value.is_null() { Selector::ZERO } else { Selector::from_slice(&bytes(value)) }
}

fn call_policy(version: CallPolicyVersion, permissions: &Value) -> Bytes {
    let entry = |entry: &Value| Entry {
        call_type: entry["callType"]
            .as_str()
            .map_or(CallType::Call, |t| CallType::from_code(hex::decode(t).unwrap()[0])),
        target: address(&entry["target"]),
        selector: selector(&entry["selector"]),
        value_limit: number(&entry["valueLimit"]),
        rules: list(&entry["rules"])
            .iter()
            .map(|rule| Rule {
                condition: Condition::from_code(small(&rule["condition"])),
                offset: small(&rule["offset"]),
                params: match &rule["params"] {
                    Value::String(_) => vec![word(&rule["params"])],
                    many => list(many).iter().map(word).collect(),
                },
            })
            .collect(),
    };
    CallPolicy::new(version, list(permissions).iter().map(entry).collect()).unwrap().encode()
}

// ---- comparing ----

#[derive(Default)]
struct Tally {
    counts: BTreeMap<String, usize>,
    failures: Vec<String>,
}

impl Tally {
    fn count(&mut self, what: impl Into<String>) {
        *self.counts.entry(what.into()).or_default() += 1;
    }

    fn check<T: PartialEq + std::fmt::Debug>(&mut self, id: &str, what: &str, ours: T, chain: T) {
        if ours != chain {
            self.failures.push(format!("{id} {what}: {ours:?}, and the chain {chain:?}"));
        }
    }

    #[track_caller]
    fn finish(self, name: &str) {
        say(&format!("{name}: {:?}", self.counts));
        let shown = self.failures.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
        assert!(self.failures.is_empty(), "{} answers differ:\n{shown}", self.failures.len());
    }
}

/// The account's own refusal, as the corpora write it.
fn revert_of(denied: &Denied) -> (Option<String>, Bytes) {
    let revert = denied.revert();
    let data = revert.data();
    ((!data.is_empty()).then(|| revert.to_string()), data)
}

// ---- judge.json ----

const CHAIN: u64 = 31337;

fn small_policy(input: &Value) -> Policy {
    let yes = |value: &Value| value.as_bool().unwrap_or_default();
    let (address, data) = match text(&input["type"]) {
        "sudo" => (SUDO_POLICY, Bytes::new()),
        "timestamp" => {
            let window =
                Timestamp { valid_after: small(&input["validAfter"]), valid_until: small(&input["validUntil"]) };
            (TIMESTAMP_POLICY, window.encode())
        }
        "rate-limit" => {
            let limit = RateLimit {
                interval: small(&input["interval"]),
                count: small(&input["count"]),
                start_at: small(&input["startAt"]),
            };
            (RATE_LIMIT_POLICY, limit.encode())
        }
        "gas" => {
            let gas = GasPolicy {
                allowed: small(&input["allowed"]),
                enforce_paymaster: yes(&input["enforcePaymaster"]),
                allowed_paymaster: self::address(&input["allowedPaymaster"]),
            };
            (GAS_POLICY, gas.encode())
        }
        "signature-caller" => {
            let allowed = list(&input["allowedCallers"]).iter().map(self::address).collect();
            (SIGNATURE_CALLER_POLICY, SignatureCallers { allowed }.encode())
        }
        "call" => {
            let version = CallPolicyVersion::parse(text(&input["policyVersion"])).unwrap();
            (version.address(), call_policy(version, &input["permissions"]))
        }
        other => panic!("policy {other}"),
    };
    Policy::new(PolicyFlag(flag(&input["policyFlag"])), address, &data)
}

fn facts(kernel: KernelVersion, account: Address, owner: Address) -> Facts {
    Facts {
        chain_id: CHAIN,
        timestamp: 1_900_000_000,
        account,
        kernel,
        root_id: ValidationId::of_validator(kernel.ecdsa_validator()),
        root: Validator { authority: Authority::Owner(owner), nonce: 1, hook: Address::with_last_byte(1) },
        current_nonce: 1,
        valid_nonce_from: 0,
        named: Named::default(),
        permissive_hooks: Default::default(),
        has_code: BTreeMap::new(),
        sequence: None,
        is_funded: None,
    }
}

fn halves(high: U256, low: U256) -> B256 {
    let high: U256 = high << 128;
    (high | low).into()
}

#[test]
fn every_operation_of_the_small_corpus_is_answered_as_on_the_chain() {
    let Some(file) = load("judge.json") else { return };
    let mut tally = Tally::default();
    let owner = address(&file["owner"]);
    let key = address(&file["sessionKey"]);
    for case in list(&file["cases"]) {
        let id = text(&case["id"]);
        let version = text(&case["kernelVersion"]);
        let account = address(&file["accounts"][version]);
        let facts = facts(KernelVersion::parse(version).unwrap(), account, owner);
        let config = PermissionConfig {
            flag: PermissionFlag(flag(&case["flag"])),
            signer: Signer::Ecdsa(key),
            policies: list(&case["policies"]).iter().map(small_policy).collect(),
        };
        let envelope = Envelope {
            hook: Address::ZERO,
            enable_data: config.enable_data(),
            hook_data: Bytes::new(),
            selector_data: SelectorData::plain(),
            owner_signature: vec![7; 65].into(),
            use_signature: UseSignature::dummy().encode(),
        };
        let gas = &case["gas"];
        let paymaster = match &case["paymaster"] {
            Value::Null => Bytes::new(),
            paymaster => Paymaster {
                address: address(&paymaster["paymaster"]),
                verification_gas_limit: small(&paymaster["paymasterVerificationGasLimit"]),
                post_op_gas_limit: small(&paymaster["paymasterPostOpGasLimit"]),
                data: bytes(&paymaster["paymasterData"]),
            }
            .packed(),
        };
        let op = PackedUserOperation {
            sender: account,
            nonce: OperationNonce::of_permission(Mode::Enable, config.permission_id()).encode(),
            initCode: Bytes::new(),
            callData: bytes(&case["callData"]),
            accountGasLimits: halves(number(&gas["verificationGasLimit"]), number(&gas["callGasLimit"])),
            preVerificationGas: number(&gas["preVerificationGas"]),
            gasFees: halves(number(&gas["maxPriorityFeePerGas"]), number(&gas["maxFeePerGas"])),
            paymasterAndData: paymaster,
            signature: envelope.encode(),
        };
        let verdict = judge::operation(&facts, None, &op, &Signatures::right(&facts, key));
        tally.check(id, "understood", verdict.unknown.len(), 0);
        let answer = &case["answer"];
        match (&verdict.validation, text(&answer["outcome"])) {
            (Ok(validated), "ok") => {
                tally.check(id, "after", validated.window.after, small(&answer["validAfter"]));
                let until: u64 = small(&answer["validUntil"]);
                tally.check(id, "until", validated.window.until, if until == 0 { (1 << 48) - 1 } else { until });
                tally.count("ok");
            }
            (Err(denied), "revert") => {
                let name = revert_of(denied).0;
                let chain = answer["error"].as_str().map(|error| match error {
                    "PolicyFailed" => format!("PolicyFailed({})", small::<u64>(&answer["policy"])),
                    "Error" => format!("Error({})", text(&answer["text"])),
                    other => other.to_string(),
                });
                tally.check(id, "error", name, chain);
                tally.count("revert");
            }
            (ours, chain) => tally.failures.push(format!("{id}: {ours:?}, and the chain {chain}: {answer}")),
        }
    }
    tally.finish("judge.json");
}

// ---- judge_v3.json ----

fn large_policy(policy: &Value) -> Policy {
    Policy::new(PolicyFlag(flag(&policy["flag"])), address(&policy["address"]), &bytes(&policy["data"]))
}

fn scope(permission: &Value) -> PermissionConfig {
    PermissionConfig {
        flag: PermissionFlag(flag(&permission["flag"])),
        signer: Signer::new(address(&permission["signer"]), &bytes(&permission["signer_data"])),
        policies: list(&permission["policies"]).iter().map(large_policy).collect(),
    }
}

fn policy_facts(policy: &Value, state: &Value) -> Option<PolicyFacts> {
    let status = match state["status"].as_str() {
        None => return None,
        Some("never") => Status::Never,
        Some("live") => Status::Live,
        Some("deprecated") => Status::Deprecated,
        Some(other) => panic!("status {other}"),
    };
    let stored = match text(&policy["kind"]) {
        "timestamp" => Stored::Timestamp(Timestamp {
            valid_after: small(&state["validAfter"]),
            valid_until: small(&state["validUntil"]),
        }),
        "ratelimit" => Stored::RateLimit(RateLimit {
            interval: small(&state["interval"]),
            count: small(&state["count"]),
            start_at: small(&state["startAt"]),
        }),
        "gas" => Stored::Gas(GasPolicy {
            allowed: small(&state["allowed"]),
            enforce_paymaster: state["enforcePaymaster"].as_bool().unwrap(),
            allowed_paymaster: address(&state["allowedPaymaster"]),
        }),
        _ => Stored::Nothing,
    };
    Some(PolicyFacts { status, stored })
}

fn large_facts(file: &Value, case: &Value) -> Facts {
    let (told, permission) = (&case["facts"], &case["permission"]);
    let kernel = KernelVersion::parse(&format!("0.{}", text(&case["kernel"]))).unwrap();
    let stored = |policy: &Value| FixedBytes::<22>::from_slice(&bytes(policy));
    let policies = list(&told["permission_config"]["policies"]).iter().map(stored).collect::<Vec<_>>();
    let mut named = Named {
        nonce: small(&told["validation_config"]["nonce"]),
        hook: address(&told["validation_config"]["hook"]),
        allowed: list(&told["allowed_selectors"]).iter().map(selector).collect(),
        authority: Some(Authority::Nobody),
        flag: PermissionFlag(flag(&told["permission_config"]["flag"])),
        signer: address(&told["permission_config"]["signer"]),
        policies: Named::policies_of(&policies),
        session_key: address(&told["session_key"]),
        states: BTreeMap::new(),
    };
    for state in list(&told["policy_state"]) {
        let policy = &list(&permission["policies"])[small::<usize>(&state["index"])];
        if let Some(facts) = policy_facts(policy, state) {
            named.states.insert(address(&policy["address"]), facts);
        }
    }
    let root = Validator {
        authority: Authority::Owner(address(&told["root_owner"])),
        nonce: small(&told["root_validation_nonce"]),
        hook: Address::with_last_byte(1),
    };
    // Where the root's own validator is named by its address, it is what is looked up.
    let by_validator = match text(&case["kind"]) {
        "userop" => small::<u8>(&case["op"]["type"]) == 1,
        _ => bytes(&case["request"]["signature"]).first() == Some(&1),
    };
    if by_validator {
        let identifier = match text(&case["kind"]) {
            "userop" => bytes(&case["op"]["identifier"]),
            _ => bytes(&case["request"]["signature"]).slice(1..21),
        };
        let validator = &bytes(&told["root_validator"])[1..];
        named = if identifier[..] == *validator {
            Named { nonce: root.nonce, hook: root.hook, authority: Some(root.authority), ..Named::default() }
        } else {
            Named { authority: Some(Authority::Nobody), ..Named::default() }
        };
    }
    let is_funded = case["op"].get("paymasterAndData").map(bytes).filter(|data| data.len() >= 20).map(|data| {
        let paymaster = Address::from_slice(&data[..20]);
        paymaster.is_zero()
            || list(&file["environment"]["paymasters_with_deposit"]).iter().any(|known| address(known) == paymaster)
    });
    Facts {
        chain_id: small(&file["chain_id"]),
        timestamp: small(&told["block_timestamp"]),
        account: address(&case["account"]),
        kernel,
        root_id: ValidationId(FixedBytes::from_slice(&bytes(&told["root_validator"]))),
        root,
        current_nonce: small(&told["current_nonce"]),
        valid_nonce_from: small(&told["valid_nonce_from"]),
        named,
        permissive_hooks: Default::default(),
        has_code: BTreeMap::new(),
        sequence: Some(small(&told["entrypoint_sequence"])),
        is_funded,
    }
}

fn scope_of(case: &Value) -> Option<PermissionConfig> {
    let named = match text(&case["kind"]) {
        "userop" => bytes(&case["op"]["identifier"]).slice(..4),
        _ => {
            let mut id = bytes(&case["request"]["signature"]).get(1..5).unwrap_or_default().to_vec();
            id.resize(4, 0);
            id.into()
        }
    };
    let all = std::iter::once(&case["permission"]).chain(list(&case["other_permissions"]));
    all.into_iter().find(|one| bytes(&one["id"]) == named).map(scope)
}

fn packed(op: &Value) -> PackedUserOperation {
    PackedUserOperation {
        sender: address(&op["sender"]),
        nonce: number(&op["nonce"]),
        initCode: bytes(&op["initCode"]),
        callData: bytes(&op["callData"]),
        accountGasLimits: word(&op["accountGasLimits"]),
        preVerificationGas: number(&op["preVerificationGas"]),
        gasFees: word(&op["gasFees"]),
        paymasterAndData: bytes(&op["paymasterAndData"]),
        signature: bytes(&op["signature"]),
    }
}

fn check_validation(tally: &mut Tally, case: &Value, verdict: &Verdict) {
    let (id, chain) = (text(&case["id"]), &case["answer"]["validation"]);
    let kind = text(&chain["kind"]);
    match &verdict.validation {
        Err(denied) => {
            let (name, data) = revert_of(denied);
            tally.check(id, "validation", "revert", kind);
            tally.check(id, "error", name.as_deref(), chain["error"].as_str());
            if kind == "revert" {
                tally.check(id, "data", data, bytes(&chain["revert_data"]));
            }
        }
        Ok(validated) => {
            if kind == "revert" {
                tally.failures.push(format!("{id}: yes, and the chain {chain}"));
                return;
            }
            tally.check(id, "signature", validated.wrong_signature.is_some(), kind == "sig_failed");
            tally.check(id, "after", validated.window.after, small(&chain["valid_after"]));
            tally.check(id, "until", validated.window.until, small(&chain["valid_until"]));
            let after = &chain["after"];
            if let Some(enabled) = &validated.enabled
                && after.is_object()
                && kind != "sig_failed"
            {
                tally.check(id, "current nonce", enabled.current_nonce, small(&after["current_nonce"]));
                tally.check(id, "nonce", enabled.nonce, small(&after["validation_config"]["nonce"]));
                tally.check(id, "hook", enabled.hook, address(&after["validation_config"]["hook"]));
                tally.count("with what enabling leaves");
            }
            for state in list(&after["policy_state"]) {
                let index: usize = small(&state["index"]);
                if flag(&case["permission"]["policies"][index]["flag"])[1] & 1 != 0 {
                    continue; // not asked, so nothing of it is used
                }
                let expected = if state.get("count").is_some() {
                    let (count, next_start) = (small(&state["count"]), small(&state["startAt"]));
                    Left::Rate { policy: index, count, next_start }
                } else if state.get("allowed").is_some() {
                    Left::Gas { policy: index, wei: small(&state["allowed"]) }
                } else {
                    continue;
                };
                tally.check(id, "left", validated.left.contains(&expected), true);
                tally.count("with what is left");
            }
        }
    }
}

fn check_operation(tally: &mut Tally, file: &Value, case: &Value) {
    let id = text(&case["id"]);
    let (facts, op) = (large_facts(file, case), packed(&case["op"]));
    let signatures = Signatures::of_operation(&facts, &op);
    let verdict = judge::operation(&facts, scope_of(case).as_ref(), &op, &signatures);
    tally.check(id, "understood", format!("{:?}", verdict.unknown), "[]".to_string());
    check_validation(tally, case, &verdict);
    let answer = &case["answer"];
    let (ours, aa) = match &verdict.answer {
        Ok(_) => ("accept", "none"),
        Err(denied) => ("reject", denied.chain_error().aa),
    };
    tally.check(id, "outcome", ours, text(&answer["outcome"]));
    tally.check(id, "code", aa, text(&answer["aa_code"]));
    tally.count(format!("operations: {ours}"));
    // Every form that no encoder writes is objected to, and nothing else.
    if op.callData.starts_with(&[0xe9, 0xae, 0x5c, 0x53]) {
        let objected = verdict.objections.contains(&judge::Objection::Calldata);
        match case["call"]["exec_type"].as_str() {
            Some(exec) => tally.check(id, "objection", objected, exec != "0x00" && exec != "0x01"),
            None if objected => tally.count("forms that no encoder writes"),
            // Made by hand, and in the one form all the same: of a call type in an entry that no call can have.
            None => tally.check(id, "form", text(&case["shape"]), "calltype_exotic"),
        }
    }
    if verdict.answer.is_ok() && !verdict.objections.is_empty() {
        tally.count("accepted, and refused by us");
    }
    if let Some(executed) = answer.get("exec") {
        check_execution(tally, file, case, executed, &facts, verdict.validation.as_ref().unwrap().hook);
    }
}

/// Without a paymaster's limits.
fn max_cost(op: &PackedUserOperation) -> U256 {
    let word = |bytes: &[u8]| U256::from_be_slice(bytes);
    let (verification, call) = op.accountGasLimits.split_at(16);
    (op.preVerificationGas + word(verification) + word(call)) * word(&op.gasFees[16..])
}

fn check_execution(tally: &mut Tally, file: &Value, case: &Value, chain: &Value, facts: &Facts, hook: Address) {
    let id = text(&case["id"]);
    let environment = &file["environment"];
    let mut balance = number(case["facts"].get("account_balance").unwrap_or(&environment["account_balance"]));
    let op = packed(&case["op"]);
    if op.paymasterAndData.iter().all(|byte| *byte == 0) {
        // Set aside for gas, until the operation is over.
        balance -= max_cost(&op);
    }
    // The operation leaves nothing for its own calls.
    let no_gas = op.accountGasLimits[16..].iter().all(|byte| *byte == 0);
    let recorders: Vec<Address> = list(&environment["recorders"]).iter().map(address).collect();
    let reverts = address(&environment["always_reverts"]);
    let outcome = |call: &InnerCall| {
        if no_gas {
            return CallOutcome::Unknown;
        }
        if !call.delegate && call.value > balance {
            return CallOutcome::Reverts(Bytes::new());
        }
        if call.to == reverts {
            return CallOutcome::Reverts(bytes(&Value::from("0xdeadbeef")));
        }
        // Contracts whose answer is not in the corpus' words: the account itself and what the protocol deploys.
        if call.to == facts.account
            || [file["entry_point"].as_str().map(|e| e.parse().unwrap())].contains(&Some(call.to))
        {
            return CallOutcome::Unknown;
        }
        if !call.delegate {
            balance -= call.value;
        }
        CallOutcome::Succeeds
    };
    let executed = judge::execution(facts.kernel, hook, &bytes(&case["op"]["callData"]), outcome);
    match executed {
        Executed::Unknown => tally.count("executions not predicted"),
        Executed::Success { ran, swallowed } => {
            tally.check(id, "success", true, chain["success"].as_bool().unwrap());
            let failed: Vec<usize> = list(&chain["try_failed"]).iter().map(small).collect();
            // Kernel 3.0 says nothing about a delegatecall that fails.
            let told: Vec<usize> = swallowed
                .iter()
                .copied()
                .filter(|i| !(ran[*i].delegate && facts.kernel == KernelVersion::V3_0))
                .collect();
            tally.check(id, "swallowed", told, failed);
            let reached: Vec<String> = ran
                .iter()
                .enumerate()
                .filter(|(i, call)| !swallowed.contains(i) && recorders.contains(&call.to))
                .map(|(_, call)| if call.delegate { "delegate".into() } else { format!("{:#x}", call.to) })
                .collect();
            tally.check(id, "reached", reached, list(&chain["reached"]).iter().map(|r| text(r).to_string()).collect());
            tally.count("executions: success");
        }
        Executed::Reverted(failed) => {
            tally.check(id, "success", false, chain["success"].as_bool().unwrap());
            let reason = chain["revert_reason"].as_str().map(|r| hex::decode(r).unwrap().into()).unwrap_or_default();
            tally.check(id, "revert reason", failed.data(), reason);
            tally.count("executions: reverted");
        }
    }
}

fn check_signature(tally: &mut Tally, file: &Value, case: &Value) {
    let id = text(&case["id"]);
    let (facts, request) = (large_facts(file, case), &case["request"]);
    let signature = bytes(&request["signature"]);
    let signatures = Signatures::of_message(&facts, word(&request["hash"]), &signature);
    let verdict = judge::signing(&facts, scope_of(case).as_ref(), address(&request["caller"]), &signature, &signatures);
    tally.check(id, "understood", format!("{:?}", verdict.unknown), "[]".to_string());
    let answer = &case["answer"];
    let ours = match &verdict.answer {
        Ok(Signing::Valid) => "magic",
        Ok(Signing::Wrong { .. }) => "fail",
        Err(_) => "revert",
    };
    tally.check(id, "result", ours, text(&answer["result"]));
    if let Err(denied) = &verdict.answer {
        let (name, data) = revert_of(denied);
        tally.check(id, "error", name.as_deref(), answer["error"].as_str());
        tally.check(id, "data", data, bytes(&answer["revert_data"]));
    }
    tally.count(format!("signatures: {ours}"));
}

#[test]
fn every_case_of_the_large_corpus_is_answered_as_on_the_chain() {
    let Some(file) = load("judge_v3.json") else { return };
    let mut tally = Tally::default();
    for case in list(&file["cases"]) {
        match text(&case["kind"]) {
            "userop" => check_operation(&mut tally, &file, case),
            "erc1271" => check_signature(&mut tally, &file, case),
            other => panic!("kind {other}"),
        }
        tally.count("cases");
    }
    tally.finish("judge_v3.json");
}

/// A reason says what is wrong in words, without the names of variants.
#[test]
fn reasons_are_sentences() {
    let reason = Reason::GasBudget { left: 5, needed: 7 };
    let denied = Denied { at: judge::At::Policy(1), reason };
    assert_eq!(denied.to_string(), "policy 2: 5 wei are left for gas, and the operation may take 7");
    assert_eq!(denied.chain_error().revert.unwrap().to_string(), "PolicyFailed(1)");
}
