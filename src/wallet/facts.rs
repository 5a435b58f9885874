//! What the chain says about an account at one block, as the rest of the wallet needs it.

use std::collections::BTreeSet;

use alloy::primitives::{Address, Bytes, Selector, U256};

use super::{
    chain::{
        At,
        node::{self, Block},
    },
    error::Result,
    model::Key,
    network::Services,
    state::{Picture, Route},
};
use crate::{
    protocol::kernel_v2::{
        account::{PROXY_CODE_HASH, execution_status_key, selector},
        approval::EnableData,
        generation::{Generation, KernelVersion},
        judge::{self, ExecutionStatus, Routing, Window},
        revocation::Nonces,
    },
    sandbox::CHAIN_ID,
};

impl Services {
    /// The account with what the validators hold for `keys`, at one block. `planned` is what it would be deployed with.
    pub async fn picture(&self, account: Address, keys: &[Address], planned: Option<KernelVersion>) -> Result<Picture> {
        self.picture_with(account, keys, &BTreeSet::new(), planned).await
    }

    /// The same with the routes of further functions: those that the account's history opened.
    pub async fn picture_with(
        &self,
        account: Address,
        keys: &[Address],
        opened: &BTreeSet<Selector>,
        planned: Option<KernelVersion>,
    ) -> Result<Picture> {
        let block = self.node.latest_block().await?;
        self.picture_of(account, keys, opened, planned, block, At::Block(block.number)).await
    }

    /// For what takes power away: a node that cannot read at the block that it named is asked for whatever it has.
    pub async fn picture_for_the_brake(
        &self,
        account: Address,
        keys: &[Address],
        opened: &BTreeSet<Selector>,
        planned: Option<KernelVersion>,
    ) -> Result<Picture> {
        let block = self.node.latest_block().await?;
        match self.picture_of(account, keys, opened, planned, block, At::Block(block.number)).await {
            Err(error) => {
                let picture = self.picture_of(account, keys, opened, planned, block, At::Latest).await;
                picture.map_err(|_| error)
            }
            read => read,
        }
    }

    async fn picture_of(
        &self,
        account: Address,
        keys: &[Address],
        opened: &BTreeSet<Selector>,
        planned: Option<KernelVersion>,
        block: Block,
        at: At,
    ) -> Result<Picture> {
        let others = opened.iter().copied().filter(|s| !selector::KNOWN.contains(s));
        let selectors: Vec<Selector> = selector::KNOWN.into_iter().chain(others).collect();
        let raw = self.node.account_picture_at(account, &validators(), &each_once(keys), &selectors, block, at).await?;
        Ok(picture(raw, planned, self.network.chain_id == CHAIN_ID))
    }

    /// The same at the newest block, or at `block` where this node has not got so far: behind a load balancer the next machine
    /// may lag.
    pub async fn picture_from(
        &self,
        account: Address,
        keys: &[Address],
        planned: Option<KernelVersion>,
        block: u64,
    ) -> Result<Picture> {
        self.picture_from_with(account, keys, &BTreeSet::new(), planned, block).await
    }

    /// The same with the routes of further functions.
    pub async fn picture_from_with(
        &self,
        account: Address,
        keys: &[Address],
        opened: &BTreeSet<Selector>,
        planned: Option<KernelVersion>,
        block: u64,
    ) -> Result<Picture> {
        let picture = self.picture_with(account, keys, opened, planned).await?;
        if picture.block >= block {
            return Ok(picture);
        }
        self.picture_at_with(account, keys, opened, planned, block).await
    }

    /// The same at an earlier block, where the node still has its state.
    pub async fn picture_at(
        &self,
        account: Address,
        keys: &[Address],
        planned: Option<KernelVersion>,
        block: u64,
    ) -> Result<Picture> {
        self.picture_at_with(account, keys, &BTreeSet::new(), planned, block).await
    }

    /// The same with the routes of further functions.
    pub async fn picture_at_with(
        &self,
        account: Address,
        keys: &[Address],
        opened: &BTreeSet<Selector>,
        planned: Option<KernelVersion>,
        block: u64,
    ) -> Result<Picture> {
        let block = self.node.block(block).await?;
        self.picture_of(account, keys, opened, planned, block, At::Block(block.number)).await
    }

    /// Adds the run counters of a key's permissions to a picture of its account.
    pub async fn add_statuses(&self, picture: &mut Picture, key: &Key, nonce: u128) -> Result<()> {
        let limited: Vec<u32> =
            key.scope.permissions.iter().filter(|p| !p.execution_rule.is_none()).map(|p| p.index).collect();
        let counters: Vec<_> = limited.iter().map(|index| execution_status_key(nonce, *index)).collect();
        if counters.is_empty() {
            return Ok(());
        }
        let validator = key.generation.address();
        let statuses = self.node.run_statuses(validator, key.account, &counters, At::Block(picture.block)).await?;
        for (index, status) in limited.into_iter().zip(statuses) {
            let status = ExecutionStatus { valid_after: status.valid_after, runs: status.runs };
            picture.statuses.insert((key.generation, nonce, index), status);
        }
        Ok(())
    }
}

fn validators() -> [Address; 3] {
    Generation::ALL.map(Generation::address)
}

fn each_once(keys: &[Address]) -> Vec<Address> {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// `sandbox`: the validators are ours, and behave like the live ones without being the same code.
fn picture(raw: node::AccountPicture, planned: Option<KernelVersion>, sandbox: bool) -> Picture {
    let mut out = Picture {
        block: raw.block.number,
        timestamp: raw.block.timestamp,
        deployed: raw.deployed.is_some(),
        implementation: None,
        kernel: planned,
        owner: Some(raw.owner).filter(|owner| !owner.is_zero()),
        default_validator: raw.deployed.as_ref().map(|d| d.default_validator),
        known_proxy: raw.deployed.as_ref().is_none_or(|d| d.code_hash == PROXY_CODE_HASH),
        balance: raw.balance,
        deposit: raw.deposit,
        disabled_mode: 0,
        routes: std::collections::BTreeMap::new(),
        nonces: std::collections::BTreeMap::new(),
        sessions: std::collections::BTreeMap::new(),
        statuses: std::collections::BTreeMap::new(),
    };
    if let Some(deployed) = &raw.deployed {
        out.implementation = Some(deployed.implementation);
        out.kernel = KernelVersion::from_implementation(deployed.implementation);
        out.disabled_mode = u32::from_be_bytes(deployed.disabled_mode.0);
        for (selector, execution) in &deployed.executions {
            let window = Window { after: execution.valid_after, until: execution.valid_until };
            out.routes
                .insert(*selector, Route { validator: execution.validator, executor: execution.executor, window });
        }
    }
    for validator in &raw.validators {
        // Only code that is known to be this generation counts as it.
        let Some(generation) = Generation::from_address(validator.address)
            .filter(|g| validator.code_hash == Some(g.code_hash()) || sandbox && validator.code_hash.is_some())
        else {
            continue;
        };
        out.nonces.insert(generation, Nonces { last: validator.nonces.last, invalid: validator.nonces.invalid });
        for (key, data) in &validator.sessions {
            let Ok(nonce) = u128::try_from(data.nonce) else { continue };
            if nonce == 0 && data.merkle_root.is_zero() {
                continue;
            }
            let enable = EnableData {
                session_key: *key,
                merkle_root: data.merkle_root,
                valid_after: data.valid_after,
                valid_until: data.valid_until,
                paymaster: data.paymaster,
                nonce,
            };
            out.sessions.insert((generation, *key), enable);
        }
    }
    out
}

impl Picture {
    /// The validator generation this account function is routed to.
    pub fn generation(&self, selector: Selector) -> Option<Generation> {
        self.route(selector).and_then(|route| Generation::from_address(route.validator))
    }

    /// Whether the validator's code is there and is the known one.
    pub fn has_validator(&self, generation: Generation) -> bool {
        self.nonces.contains_key(&generation)
    }

    /// Wei that a holder of a key could spend as gas.
    pub fn spendable(&self) -> U256 {
        self.balance.saturating_add(self.deposit)
    }

    /// The facts the judge asks for, for one approval and one account function.
    pub fn facts(
        &self,
        generation: Generation,
        enable: &EnableData,
        path: judge::Path,
        approval_window: Window,
        selector: Selector,
        paymaster_and_data: Bytes,
    ) -> judge::Facts {
        let nonces = self.nonces(generation);
        let route = self.route(selector);
        judge::Facts {
            timestamp: self.timestamp,
            last_nonce: nonces.last,
            invalid_nonce: nonces.invalid,
            enabled: self.holds(generation, enable),
            routing: match route {
                None => Routing::Nowhere,
                Some(route) if route.validator == generation.address() => Routing::Here,
                Some(_) => Routing::Elsewhere,
            },
            plugin_window: match path {
                judge::Path::Use => route.unwrap_or_default().window,
                judge::Path::Enable => approval_window,
            },
            execution_status: self
                .statuses
                .iter()
                .filter(|((g, nonce, _), _)| *g == generation && *nonce == enable.nonce)
                .map(|((_, _, index), status)| (*index, *status))
                .collect(),
            disabled_mode: self.disabled_mode,
            paymaster_and_data,
        }
    }
}
