//! One assessment for drafts, keys on record and keys found on a chain: what policy::risk asks for, from our records, a
//! picture of the account and, where a chain was asked for them, the contracts that the scope names.

use crate::{
    abi::Function,
    policy::{
        risk::{
            self, Checked, Clock, Context, ContractFacts, Contracts, Finding,
            known::{self, Kind},
        },
        scope::{ANY_PAYMASTER, Scope},
    },
    protocol::{
        AccountCall, Call,
        family::{Validator, account::Version, snapshot::Snapshot},
    },
    sandbox,
    wallet::{
        Wallet,
        coin::Coin,
        error::Result,
        now,
        records::model::{ApprovalRecord, Key, Origin},
        rpc::{At, node::CallRequest, services::Services},
        state::State,
    },
};
use std::collections::BTreeSet;

use alloy::{
    primitives::{Address, Bytes, Selector, U256},
    sol,
    sol_types::SolCall,
};

sol! {
    function balanceOf(address owner) returns (uint256);
    function allowance(address owner, address spender) returns (uint256);
}

/// Contracts of one scope that are asked about; what is beyond stays "not asked".
const MOST_CONTRACTS: usize = 256;

/// Chain ids of chains for development, whose blocks come only when something is sent.
const DEVELOPMENT: [u64; 2] = [31_337, 1_337];

/// The scope that is assessed, and for whom.
pub(in crate::wallet) struct Subject<'a> {
    pub scope: &'a Scope,
    /// Only a part of the scope is known.
    pub partial: bool,
    pub validator: Validator,
    /// Where no chain says which version the account runs.
    pub kernel: Option<Version>,
    pub account: Address,
    pub owner: Option<Address>,
    pub session_key: Option<Address>,
    pub selectors: &'a [Selector],
    pub functions: &'a [Option<Function>],
    pub also_on: &'a [String],
    pub coin: Coin,
    /// Written by an SDK, whose order of the run limits is not the chain's.
    pub of_an_sdk: bool,
}

/// What a chain was asked besides the account.
#[derive(Debug, Clone, Default)]
pub(in crate::wallet) struct Asked {
    pub key_has_code: Option<bool>,
    pub contracts: Contracts,
    pub clock: Option<Clock>,
}

impl Subject<'_> {
    fn context<'a>(&'a self, picture: Option<&'a Snapshot>, asked: &'a Asked) -> Context<'a> {
        Context {
            validator: self.validator,
            kernel: picture.map_or(self.kernel, |p| p.version().or(self.kernel)),
            account: self.account,
            owner: self.owner,
            session_key: self.session_key,
            selectors: self.selectors,
            functions: self.functions,
            partial: self.partial,
            now: picture.map_or_else(now, |p| p.timestamp()),
            clock: asked.clock.filter(|_| picture.is_some()),
            contracts: &asked.contracts,
            balance: picture.map(|p| p.balance()),
            deposit: picture.map(|p| p.deposit()),
            key_has_code: asked.key_has_code,
            also_on: self.also_on,
            coin: self.coin.symbol(),
            permuted_execution_rule: self.of_an_sdk
                && self.scope.permissions.iter().any(|p| !p.execution_rule.is_none()),
        }
    }

    pub(in crate::wallet) fn assess(&self, picture: Option<&Snapshot>, asked: &Asked) -> Vec<Finding> {
        risk::assess(self.scope, &self.context(picture, asked))
    }

    pub(in crate::wallet) fn checked(&self, picture: Option<&Snapshot>, asked: &Asked) -> Checked {
        risk::checked(self.scope, &self.context(picture, asked))
    }
}

/// What could go wrong with a key on record, a draft and a found one included. Nothing any more once it is over for good.
pub(in crate::wallet) fn of_key(
    key: &Key,
    approvals: &[ApprovalRecord],
    state: State,
    functions: &[Option<Function>],
    also_on: &[String],
    picture: Option<&Snapshot>,
    asked: &Asked,
) -> Vec<Finding> {
    if matches!(state, State::Revoked | State::Dead | State::Expired) {
        return Vec::new();
    }
    let selectors: Vec<Selector> = approvals.iter().map(ApprovalRecord::selector).collect();
    let subject = Subject {
        scope: &key.scope,
        partial: key.partial.is_some(),
        validator: key.validator,
        kernel: approvals.first().map(|a| a.request.version()),
        account: key.account,
        owner: Some(key.owner),
        session_key: Some(key.session_key),
        selectors: &selectors,
        functions,
        also_on,
        coin: Coin::of(key.chain_id),
        of_an_sdk: key.origin == Origin::Imported,
    };
    subject.assess(picture, asked)
}

/// This computer's time, for a chain whose blocks say what time it is.
pub(in crate::wallet) fn clock(chain_id: u64) -> Option<Clock> {
    // The sandbox keeps a time of its own, which moves when the person says so.
    (chain_id != sandbox::CHAIN_ID).then(|| Clock { local: now(), blocks_on_demand: DEVELOPMENT.contains(&chain_id) })
}

/// Code that a session key's address may not have. An EIP-7702 delegation leaves it a plain key that signs as before.
fn is_contract(code: &[u8]) -> bool {
    let delegated = code.len() == 23 && code.starts_with(&[0xef, 0x01, 0x00]);
    !code.is_empty() && !delegated
}

impl Services {
    /// The contracts that a scope names, its paymaster and the session key's address, in one request where the node takes
    /// batches. Only the key's own code must be answered: the rest is then "not known".
    pub(in crate::wallet) async fn ask_about(
        &self,
        scope: &Scope,
        account: Address,
        key: Option<Address>,
    ) -> Result<Asked> {
        let paymaster = Some(scope.paymaster).filter(|p| !p.is_zero() && *p != ANY_PAYMASTER);
        let targets = scope.permissions.iter().map(|p| p.target).filter(|t| !t.is_zero());
        let named: BTreeSet<Address> = targets.chain(paymaster).collect();
        let named: Vec<Address> = named.into_iter().take(MOST_CONTRACTS).collect();
        let holds_assets = |p: &&crate::policy::scope::Permission| {
            let kind = known::function(p.sig).map(|k| k.kind);
            matches!(kind, Some(Kind::Transfer | Kind::Allowance | Kind::Operator))
        };
        let assets = scope.permissions.iter().filter(holds_assets).map(|p| p.target).filter(|t| named.contains(t));
        let tokens: BTreeSet<Address> = assets.collect();
        let paymasters: Vec<Address> =
            paymaster.map_or_else(|| known::token_paymasters().to_vec(), |paymaster| vec![paymaster]);
        let mut views = Vec::new();
        for token in &tokens {
            views.push(CallRequest::new(*token, balanceOfCall { owner: account }.abi_encode()));
            for spender in &paymasters {
                views.push(CallRequest::new(*token, allowanceCall { owner: account, spender: *spender }.abi_encode()));
            }
        }
        let addresses: Vec<Address> = key.into_iter().chain(named.iter().copied()).collect();
        let (codes, answers) = self.node.codes_and_calls(&addresses, &views, At::Latest).await;
        let mut codes = codes.into_iter();
        let key_has_code = match (key, codes.next()) {
            (Some(_), Some(code)) => Some(is_contract(&code?)),
            (Some(_), None) => None,
            (None, first) => {
                codes = first.into_iter().chain(codes).collect::<Vec<_>>().into_iter();
                None
            }
        };
        let mut contracts: Contracts = named
            .iter()
            .zip(codes)
            .map(|(address, code)| {
                let has_code = code.ok().map(|code| !code.is_empty());
                (*address, ContractFacts { has_code, ..ContractFacts::default() })
            })
            .collect();
        let mut answers = answers.into_iter().map(|answer| answer.ok().and_then(|bytes| number(&bytes)));
        for token in &tokens {
            let facts = contracts.entry(*token).or_default();
            facts.held = answers.next().flatten();
            for spender in &paymasters {
                facts.allowances.extend(answers.next().flatten().map(|amount| (*spender, amount)));
            }
        }
        Ok(Asked { key_has_code, contracts, clock: clock(self.network.chain_id) })
    }

    /// R29: calls with data to addresses that have no code, in one request. `deployed`: whether the account is.
    pub(in crate::wallet) async fn calls_to_nothing(
        &self,
        call: &AccountCall,
        account: Address,
        deployed: bool,
    ) -> Result<Vec<Finding>> {
        let calls = call.calls();
        let doubtful = |call: &&Call| {
            // Precompiled contracts have no code and answer; an account that is deployed by this very operation will have.
            let precompiled = call.to.as_slice().iter().take(18).all(|byte| *byte == 0) && !call.to.is_zero();
            !call.data.is_empty() && !precompiled && (call.to != account || deployed)
        };
        let targets: BTreeSet<Address> = calls.iter().filter(doubtful).map(|call| call.to).collect();
        if targets.is_empty() {
            return Ok(Vec::new());
        }
        let targets: Vec<Address> = targets.into_iter().collect();
        let (codes, _) = self.node.codes_and_calls(&targets, &[], At::Latest).await;
        let mut findings = Vec::new();
        for (target, code) in targets.iter().zip(codes) {
            if code?.is_empty() {
                findings.push(risk::no_code(None, *target));
            }
        }
        Ok(findings)
    }
}

/// The word that a view answers.
fn number(bytes: &Bytes) -> Option<U256> {
    bytes.get(..32).map(U256::from_be_slice)
}

/// Which other accounts each session key may act for, from our records: only keys that are on several.
pub(in crate::wallet) struct Shared(Vec<Key>);

impl Shared {
    /// As `account on network`.
    pub(in crate::wallet) fn also_on(&self, session_key: Address, account: Address, network: &str) -> Vec<String> {
        let mut others: Vec<String> = self
            .0
            .iter()
            .filter(|k| k.session_key == session_key && (k.account != account || k.network != network))
            .map(|k| format!("{} on {}", k.account, k.network))
            .collect();
        others.sort();
        others.dedup();
        others
    }
}

impl Wallet {
    pub(in crate::wallet) fn shared_keys(&self) -> Result<Shared> {
        Ok(Shared(self.store.read(|r| r.keys_on_several_records())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r27_case16_a_delegation_of_eip_7702_leaves_a_key_that_can_sign() {
        let delegation = [&[0xef, 0x01, 0x00][..], &[7; 20]].concat();
        assert!(!is_contract(&delegation) && !is_contract(&[]));
        assert!(is_contract(&[0x60, 0x80]) && is_contract(&delegation[..22]));
    }

    #[test]
    fn r31_the_sandbox_has_no_clock_to_compare_with_and_chains_for_development_make_blocks_on_demand() {
        assert_eq!(clock(sandbox::CHAIN_ID), None);
        assert_eq!(clock(31_337).map(|c| c.blocks_on_demand), Some(true));
        assert_eq!(clock(1).map(|c| c.blocks_on_demand), Some(false));
    }
}
