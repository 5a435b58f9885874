//! Our contracts against the recorded corpus of what the deployed ones answered (`tests/vectors/judge.json`): needs nothing
//! but this repository.

use alloy::{
    primitives::{Address, B256, Bytes, FixedBytes, Selector, U256, keccak256},
    sol_types::{SolCall, SolError, SolValue},
};
use keyleash::{
    erc4337::v06::{ENTRY_POINT, UserOperation},
    policy::scope::{Condition, ExecutionRule, Operation, Permission, Rule, Scope},
    protocol::{
        AccountCall, Call,
        kernel_v2::{
            account::{self, AccountSeed},
            approval::{Approval, ApprovalRequest, EnableData},
            generation::{Generation, KERNEL_FACTORY, KernelVersion},
            signature::{Shown, proof_data},
        },
    },
    sandbox::{
        CHAIN_ID,
        contracts::genesis,
        evm::{Chain, Request},
    },
};
use serde::Deserialize;

use crate::{
    player::{owner, session_key, sign_as_key},
    world::{Answer, BUNDLER, ETHER, EntryPoint, Kernel, SKV, packed, sponsor_key},
};

#[derive(Deserialize)]
struct Corpus {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    generation: Generation,
    kernel: String,
    selector: String,
    #[serde(default)]
    operation: u8,
    mode: u8,
    permissions: Vec<CasePermission>,
    session: Session,
    facts: Facts,
    call: CaseCall,
    chosen: Vec<usize>,
    outcome: String,
    kind: String,
    revert_text: Option<String>,
    aa_code: String,
    validation: Window,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CasePermission {
    index: u32,
    target: Address,
    sig: Selector,
    value_limit: U256,
    rules: Vec<CaseRule>,
    execution_rule: ExecutionRule,
    operation: u64,
}

#[derive(Deserialize)]
struct CaseRule {
    offset: U256,
    condition: u64,
    param: B256,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    valid_after: u64,
    valid_until: u64,
    paymaster: Address,
}

#[derive(Deserialize)]
struct Facts {
    block_timestamp: u64,
    #[serde(rename = "paymasterAndData")]
    paymaster_and_data: Bytes,
    last_nonce: U256,
    invalid_nonce: U256,
    approval_nonce: U256,
    enabled: bool,
    routed: bool,
    routed_to: Option<Generation>,
    plugin_window: PluginWindow,
    execution_status: Vec<Status>,
    disabled_mode: FixedBytes<4>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PluginWindow {
    valid_after: u64,
    valid_until: u64,
}

#[derive(Deserialize)]
struct Window {
    valid_after: Option<u64>,
    valid_until: Option<u64>,
}

#[derive(Deserialize)]
struct Status {
    permission_index: u32,
    valid_after: u64,
    runs_used: u64,
}

#[derive(Deserialize)]
struct CaseCall {
    #[serde(default)]
    calls: Vec<Inner>,
    raw: Option<Bytes>,
}

#[derive(Deserialize)]
struct Inner {
    to: Address,
    value: U256,
    data: Bytes,
}

impl Case {
    fn kernel(&self) -> KernelVersion {
        KernelVersion::parse(&self.kernel).unwrap()
    }

    /// Whether we have these contracts: G2, behind Kernel 0.2.2 or 0.2.4, and no route to another generation.
    fn is_ours(&self) -> bool {
        self.generation == Generation::G2
            && matches!(self.kernel(), KernelVersion::V0_2_2 | KernelVersion::V0_2_4)
            && (self.facts.routed || self.facts.routed_to.is_none())
    }

    fn seed(&self) -> AccountSeed {
        AccountSeed { owner: owner(0).address(), index: U256::from(self.kernel() as u8) }
    }

    fn permissions(&self) -> Vec<Permission> {
        let rule = |r: &CaseRule| Rule {
            offset: r.offset,
            condition: Condition::from_code(r.condition).unwrap(),
            param: r.param,
        };
        let permission = |p: &CasePermission| Permission {
            index: p.index,
            target: p.target,
            sig: p.sig,
            value_limit: p.value_limit,
            rules: p.rules.iter().map(rule).collect(),
            execution_rule: p.execution_rule,
            operation: Operation::from_code(p.operation).unwrap(),
        };
        self.permissions.iter().map(permission).collect()
    }

    fn enable_data(&self) -> EnableData {
        let scope = Scope {
            valid_after: self.session.valid_after,
            valid_until: self.session.valid_until,
            paymaster: self.session.paymaster,
            permissions: self.permissions(),
        };
        EnableData::new(session_key(0).address(), &scope, self.facts.approval_nonce.to(), Generation::G2)
    }

    fn call_data(&self) -> Bytes {
        if let Some(raw) = &self.call.raw {
            return raw.clone();
        }
        let calls: Vec<Call> =
            self.call.calls.iter().map(|c| Call { to: c.to, value: c.value, data: c.data.clone() }).collect();
        match self.selector.as_str() {
            "execute" => {
                let Call { to, value, data } = calls[0].clone();
                account::executeCall { to, value, data, operation: self.operation }.abi_encode().into()
            }
            "executeBatch" => AccountCall::ExecuteBatch(calls).encode(),
            _ => AccountCall::ExecuteDelegateCall { to: calls[0].to, data: calls[0].data.clone() }.encode(),
        }
    }

    /// Writes the facts into storage.
    fn prepare(&self, chain: &mut Chain) {
        let (facts, account) = (&self.facts, self.seed().address());
        let window = |after: u64, until: u64, address: Address| {
            U256::from(after) | U256::from(until) << 48 | U256::from_be_slice(address.as_slice()) << 96
        };
        let wallet =
            U256::from_str_radix("439ffe7df606b78489639bc0b827913bd09e1246fa6802968a5b3694c53e0dd9", 16).unwrap();
        chain.set_time(facts.block_timestamp);
        chain.set_storage(SKV, slot(&[account.into_word()], 0), facts.last_nonce | facts.invalid_nonce << 128);
        if facts.enabled {
            let data = self.enable_data();
            let at = slot(&[data.session_key.into_word(), account.into_word()], 1);
            chain.set_storage(SKV, at, data.merkle_root.into());
            chain.set_storage(SKV, at + U256::ONE, window(data.valid_after, data.valid_until, data.paymaster));
            chain.set_storage(SKV, at + U256::from(2), U256::from(data.nonce));
        }
        for status in &facts.execution_status {
            let id = account::execution_status_key(facts.approval_nonce.to(), status.permission_index);
            let value = U256::from(status.valid_after) | U256::from(status.runs_used) << 48;
            chain.set_storage(SKV, slot(&[id, account.into_word()], 2), value);
        }
        let selector: [u8; 4] = self.call_data().get(..4).map(|s| s.try_into().unwrap()).unwrap_or_default();
        let mapping = B256::from(wallet + U256::ONE);
        let route = U256::from_be_bytes(keccak256((FixedBytes::<4>::from(selector), mapping).abi_encode()).0);
        let plugin = &facts.plugin_window;
        if self.mode == 1 {
            chain.set_storage(account, route, window(plugin.valid_after, plugin.valid_until, Address::ZERO));
        }
        if facts.routed {
            chain.set_storage(account, route + U256::ONE, SKV.into_word().into());
        }
        let settings = chain.storage(account, wallet);
        chain.set_storage(account, wallet, settings | U256::from(u32::from_be_bytes(facts.disabled_mode.0)));
        // whoever is named as a paymaster pays for everything
        if let Some(paymaster) = facts.paymaster_and_data.get(..20).map(Address::from_slice)
            && !paymaster.is_zero()
        {
            chain.set_code(paymaster, alloy::primitives::bytes!("604060005260606000f3")).unwrap();
        }
    }

    fn operation(&self) -> UserOperation {
        let facts = &self.facts;
        let permissions = self.permissions();
        let shown = match self.selector.as_str() {
            "executeBatch" if !permissions.is_empty() => Shown::Batch(&self.chosen),
            _ => self.chosen.first().map_or(Shown::Nothing, |i| Shown::One(*i)),
        };
        let proof = proof_data(&permissions, shown, Generation::G2).unwrap();
        let mut op = UserOperation {
            sender: self.seed().address(),
            call_data: self.call_data(),
            call_gas_limit: U256::from(3_000_000),
            verification_gas_limit: U256::from(8_000_000),
            paymaster_and_data: facts.paymaster_and_data.clone(),
            ..UserOperation::default()
        };
        let approval = (self.mode == 2).then(|| {
            let plugin = [facts.plugin_window.valid_after, facts.plugin_window.valid_until];
            let bytes: Vec<u8> = plugin.iter().flat_map(|t| t.to_be_bytes()[2..].to_vec()).collect();
            let selector = op.call_data.get(..4).map(Selector::from_slice).unwrap_or_default();
            let request = ApprovalRequest {
                chain_id: CHAIN_ID,
                account: op.sender,
                kernel: self.kernel(),
                validator: Generation::G2,
                selector,
                executor: Address::ZERO,
                plugin_window: FixedBytes::from_slice(&bytes),
                enable: self.enable_data(),
            };
            let signature = owner(0).sign_raw(request.digest()).into();
            Approval { request, signature }
        });
        sign_as_key(&mut op, &session_key(0), approval.as_ref(), &proof);
        op
    }

    /// `(outcome, kind, text, AA code)` as our contracts answer, and the window.
    fn answered(&self, chain: &Chain) -> (String, String, Option<String>, String, Option<(u64, u64)>) {
        let op = self.operation();
        let ask = Kernel::validateUserOpCall {
            op: packed(&op),
            userOpHash: op.hash(ENTRY_POINT, CHAIN_ID),
            missingFunds: U256::ZERO,
        };
        let validation = chain.call(&Request::to(op.sender, ask.abi_encode()).from(ENTRY_POINT)).unwrap();
        let bundle = EntryPoint::handleOpsCall { ops: vec![packed(&op)], beneficiary: BUNDLER }.abi_encode();
        let mined = chain.call(&Request::to(ENTRY_POINT, bundle).from(BUNDLER)).unwrap();
        let reason = match Answer::read(mined.success, &mined.output) {
            Answer::Done(_) => "none".into(),
            refused => refused.reason().to_owned(),
        };
        let code: String = reason.chars().take(4).collect();
        let (kind, text, window) = if validation.success {
            let word = U256::abi_decode(&validation.output).unwrap();
            let uint48 = |shift: usize| ((word >> shift) & U256::from((1u64 << 48) - 1)).to::<u64>();
            let (after, until) = (uint48(208), if uint48(160) == 0 { (1 << 48) - 1 } else { uint48(160) });
            let time = chain.time();
            if word & (U256::MAX >> 96) == U256::ONE {
                ("sig_failed", None, None)
            } else if time < after || time > until {
                ("time", None, Some((after, until)))
            } else {
                ("ok", None, Some((after, until)))
            }
        } else {
            ("revert", alloy::sol_types::Revert::abi_decode(&validation.output).ok().map(|r| r.reason), None)
        };
        let outcome = if code == "none" { "accept" } else { "reject" };
        (outcome.into(), kind.into(), text, code, window)
    }
}

/// Storage slot of nested mappings at `position`.
fn slot(keys: &[B256], position: u8) -> U256 {
    let start = B256::from(U256::from(position));
    keys.iter().fold(start, |at, key| keccak256((*key, at).abi_encode())).into()
}

#[test]
fn every_recorded_operation_is_answered_as_the_deployed_contracts_did() {
    let path = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/judge.json");
    let cases = serde_json::from_str::<Corpus>(&std::fs::read_to_string(path).unwrap()).unwrap().cases;
    let mut chain = genesis(1, sponsor_key().address()).unwrap();
    for kernel in [KernelVersion::V0_2_2, KernelVersion::V0_2_4] {
        let seed = AccountSeed { owner: owner(0).address(), index: U256::from(kernel as u8) };
        assert!(chain.execute(&Request::to(KERNEL_FACTORY, seed.init_code(kernel).slice(20..))).unwrap().success);
        chain.set_balance(seed.address(), ETHER);
    }
    let mut wrong = Vec::new();
    let mut seen = 0;
    for case in cases.iter().filter(|case| case.is_ours()) {
        seen += 1;
        let mut chain = chain.clone();
        case.prepare(&mut chain);
        let (outcome, kind, text, code, window) = case.answered(&chain);
        let ours = (outcome.as_str(), kind.as_str(), text.as_deref(), code.as_str());
        let kind = if case.aa_code == "AA93" { kind.as_str() } else { case.kind.as_str() };
        let text = if case.aa_code == "AA93" { text.as_deref() } else { case.revert_text.as_deref() };
        let recorded = (case.outcome.as_str(), kind, text, case.aa_code.as_str());
        let recorded_window = case.validation.valid_after.zip(case.validation.valid_until);
        if ours != recorded || (window.is_some() && window != recorded_window) {
            wrong.push(format!("{}: recorded {recorded:?} {recorded_window:?}, ours {ours:?} {window:?}", case.id));
        }
    }
    assert!(wrong.is_empty(), "{} of {seen}:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    assert!(seen > 300, "only {seen} cases");
    println!("{seen} recorded operations");
}
