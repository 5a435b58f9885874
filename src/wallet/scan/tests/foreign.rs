//! Random histories with foreign acts on the deployed bytecode: other default validators, functions routed with and without an
//! event, other tools' approvals, rewinds, other versions and owners. After each, the owner revokes; and whenever that is called
//! done, every holder, the foreign validator and a stranger try everything they have, to a fixed point.

use crate::protocol::kernel_v2::snapshot::SnapshotRequest;
use alloy::{primitives::aliases::U48, sol_types::SolValue};

use super::*;
use crate::{
    protocol::kernel_v2::account::{
        disable_mode, restore_default_validator, selector as function, setDefaultValidatorCall, setExecutionCall,
        upgradeToCall,
    },
    wallet::{
        carry::Via,
        revoke::{RevokeIntent, Verdict, Wish},
    },
};

/// Accepts everybody: answers every call with a word of zeros.
pub(super) const ANYBODY: Address = Address::repeat_byte(0xa1);
/// The same, as an executor.
pub(super) const EXECUTOR: Address = Address::repeat_byte(0xe1);
pub(super) const ACCEPTS: [u8; 10] = hex!("600060005260206000f3");

/// What histories the ordinary run goes through; the long run takes more.
const HISTORIES: usize = 60;
const LONG: usize = 10_000;

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        // SplitMix64: the same seed gives the same history.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).unwrap()
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

struct Story {
    world: World,
    dice: Dice,
    grants: Vec<Granted>,
    /// Whether each grant is on record.
    recorded: Vec<bool>,
    acts: Vec<String>,
    keys: u8,
}

const FUNCTIONS: [Selector; 6] = [
    function::EXECUTE,
    function::EXECUTE_BATCH,
    Selector::new(upgradeToCall::SELECTOR),
    Selector::new(hex!("d5416221")),
    Selector::new(hex!("deadbeef")),
    Selector::new(hex!("0badcafe")),
];

/// Calldata of an account function that does no harm where it runs.
fn call_of(selector: Selector) -> Bytes {
    match selector {
        function::EXECUTE => execute(TARGET, vec![1, 2, 3, 4]),
        function::EXECUTE_BATCH => AccountCall::ExecuteBatch(Vec::new()).encode(),
        other if other.0 == upgradeToCall::SELECTOR => {
            upgradeToCall { implementation: KernelVersion::V0_2_4.implementation() }.abi_encode().into()
        }
        other if other.0 == hex!("d5416221") => disable_mode(0),
        other => Bytes::copy_from_slice(other.as_slice()),
    }
}

impl Story {
    fn new(service: Service, seed: u64) -> Self {
        let mut world = World::new(service);
        let kept = world.wallet.keep_secret(&world.owner, "owner").unwrap();
        world.account.owner_secret = Some(kept);
        let account = world.account.clone();
        world.wallet.store.write(|w| w.put_account(&account)).unwrap();
        world.chain(|service| service.fund(account.owner, U256::from(10u64.pow(18))));
        Self { world, dice: Dice(seed), grants: Vec::new(), recorded: Vec::new(), acts: Vec::new(), keys: 20 }
    }

    /// Whether it is mined and its call succeeds.
    fn try_bundle(&self, op: &UserOperation) -> bool {
        let hash = op.hash(ENTRY_POINT, CHAIN_ID);
        self.world.chain(|service| {
            let request = Request::to(ENTRY_POINT, handle_ops(std::slice::from_ref(op))).from(BUNDLER);
            let Ok(mined) = service.act(&request) else { return false };
            mined.success
                && mined.logs.iter().any(|log| {
                    let topics = log.topics();
                    topics.first() == Some(&UserOperationEvent::SIGNATURE_HASH) && topics.get(1) == Some(&hash)
                })
        })
    }

    fn owner_does(&mut self, data: Bytes) {
        let wrapped = execute(self.world.account.address, data);
        if self.dice.below(2) == 0 {
            let op = self.world.op(wrapped);
            let op = self.world.by_owner(op);
            self.try_bundle(&op);
        } else {
            let request = Request::to(self.world.account.address, wrapped).from(self.world.account.owner);
            self.world.chain(|service| {
                service.act(&request).ok();
            });
        }
    }

    fn tell_validator(&mut self, call: Bytes) {
        let op = self.world.op(call);
        let op = self.world.by_owner(op);
        self.try_bundle(&op);
    }

    fn grant(&mut self, recorded: bool) {
        let next = self.world.nonces().0 + 1 + self.dice.below(2) as u128;
        let permissions = self.dice.of(&[0, 1, 1]);
        // Sometimes one holder gets a second approval.
        let key = if self.dice.below(4) == 0 && self.keys > 20 { self.keys } else { self.keys + 1 };
        self.keys = self.keys.max(key);
        let granted = self.world.grant(key, permissions, next);
        // The very same approval for the same holder is on record already.
        if self.grants.iter().any(|other| other.approval == granted.approval) {
            return;
        }
        if recorded {
            self.record(&granted);
        }
        self.grants.push(granted);
        self.recorded.push(recorded);
    }

    fn record(&self, granted: &Granted) {
        let account = &self.world.account;
        let id = format!("g{}", self.grants.len());
        let key = Key {
            id: id.clone(),
            label: id.clone(),
            network: NAME.into(),
            chain_id: CHAIN_ID,
            account: account.address,
            owner: account.owner,
            session_key: granted.key.address(),
            secret: None,
            generation: G2,
            scope: granted.scope.clone(),
            partial: None,
            functions: granted.scope.permissions.iter().map(|_| None).collect(),
            origin: Origin::Granted,
            init_code: account.init_code(),
            was_deployed: true,
            created_at: 0,
            revoked_at: None,
        };
        let Approval { request, signature } = granted.approval.clone();
        let approval = ApprovalRecord { key_id: id, request, signature: Some(signature), created_at: 0 };
        self.world
            .wallet
            .store
            .write(|w| {
                w.put_key(&key)?;
                w.put_approval(&approval)
            })
            .unwrap();
    }

    fn holder_tries(&mut self, at: usize, enabling: bool) -> bool {
        let approval = enabling.then(|| self.grants[at].approval.clone());
        let op = self.world.op(execute(TARGET, vec![1, 2, 3, 4]));
        let op = sign(op, &self.grants[at], approval.as_ref());
        self.try_bundle(&op)
    }

    /// An operation that nobody of ours signed, in this mode.
    fn junk_passes(&mut self, mode: u8, selector: Selector) -> bool {
        let op = self.world.op(call_of(selector));
        let op = UserOperation { signature: [&[0, 0, 0, mode][..], &[0x11; 85]].concat().into(), ..op };
        self.try_bundle(&op)
    }

    /// A route that an operation in mode 2 makes, with the owner's signature over it; nothing is logged of it.
    fn silent_route(&mut self) {
        let selector = self.dice.of(&FUNCTIONS);
        let executor = if matches!(selector.0[0], 0xde | 0x0b) { EXECUTOR } else { Address::ZERO };
        let account = self.world.account.clone();
        let data = account.owner.to_vec();
        let validator_data = U256::from_be_slice(&[&[0u8; 12][..], ANYBODY.as_slice()].concat());
        let mut word = [0u8; 32];
        word[..4].copy_from_slice(selector.as_slice());
        let type_hash =
            keccak256("ValidatorApproved(bytes4 sig,uint256 validatorData,address executor,bytes enableData)");
        let message = keccak256((type_hash, B256::from(word), validator_data, executor, keccak256(&data)).abi_encode());
        let domain = keccak256(
            (
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Kernel"),
                keccak256("0.2.4"),
                U256::from(CHAIN_ID),
                account.address,
            )
                .abi_encode(),
        );
        let digest = keccak256([&[0x19, 0x01][..], domain.as_slice(), message.as_slice()].concat());
        let signature = self.world.owner.sign_hash(digest).unwrap();
        let length = |n: usize| U256::from(n).to_be_bytes::<32>();
        let op = self.world.op(call_of(selector));
        let signature = [
            &[0, 0, 0, 2][..],
            &[0; 12],
            ANYBODY.as_slice(),
            executor.as_slice(),
            &length(data.len()),
            &data,
            &length(65),
            &signature,
            &[0x33; 85],
        ]
        .concat();
        self.try_bundle(&UserOperation { signature: signature.into(), ..op });
    }

    fn act(&mut self) {
        let owner = self.world.account.owner;
        let what = self.dice.below(16);
        self.acts.push(format!("{what}"));
        match what {
            0..=2 => self.grant(true),
            3 => self.grant(false),
            4..=6 if !self.grants.is_empty() => {
                let (at, enabling) = (self.dice.below(self.grants.len()), self.dice.below(3) > 0);
                self.holder_tries(at, enabling);
            }
            7 if !self.grants.is_empty() => {
                let at = self.dice.below(self.grants.len());
                self.tell_validator(enable(&self.grants[at]));
            }
            8 => {
                let last = self.world.nonces().0;
                let to = self.dice.below(usize::try_from(last).unwrap_or(0) + 2) as u128;
                self.tell_validator(invalidate(to));
            }
            9 => self.tell_validator(invalidate_all()),
            10 => {
                let validator = self.dice.of(&[ANYBODY, ECDSA_VALIDATOR]);
                let data = Bytes::copy_from_slice(owner.as_slice());
                self.owner_does(setDefaultValidatorCall { defaultValidator: validator, data }.abi_encode().into());
            }
            11 | 12 => {
                let selector = self.dice.of(&FUNCTIONS);
                let validator = self.dice.of(&[ANYBODY, ANYBODY, G2.address(), ECDSA_VALIDATOR]);
                let executor = if matches!(selector.0[0], 0xde | 0x0b) { EXECUTOR } else { Address::ZERO };
                let data = if validator == G2.address() {
                    let at = self.world.nonces().0 + 1;
                    Bytes::copy_from_slice(&self.world.grant(19, 1, at).approval.request.enable.encode())
                } else {
                    Bytes::copy_from_slice(owner.as_slice())
                };
                let call = setExecutionCall {
                    selector,
                    executor,
                    validator,
                    validUntil: U48::ZERO,
                    validAfter: U48::ZERO,
                    enableData: data,
                };
                self.owner_does(call.abi_encode().into());
            }
            13 => self.silent_route(),
            14 => {
                let to = self.dice.of(&[KernelVersion::V0_2_3, KernelVersion::V0_2_4]).implementation();
                self.owner_does(upgradeToCall { implementation: to }.abi_encode().into());
            }
            15 => self.owner_does(restore_default_validator(owner)),
            _ => {}
        }
    }

    /// Everything that anybody but the owner has, until nothing new goes through. `keys`: positions of grants that must be dead;
    /// `strangers`: functions
    /// that nobody else may get at.
    fn somebody_acts(&mut self, keys: &[usize], strangers: &[Selector]) -> Option<String> {
        for round in 0..2 {
            for at in keys.iter().copied() {
                for enabling in [true, false] {
                    if self.holder_tries(at, enabling) {
                        return Some(format!("holder {at}, enabling {enabling}, round {round}"));
                    }
                }
            }
            for selector in strangers.iter().copied() {
                for mode in [0, 1] {
                    if self.junk_passes(mode, selector) {
                        return Some(format!("junk in mode {mode} for {selector}, round {round}"));
                    }
                }
            }
        }
        None
    }

    /// Revokes something, and tries what is claimed. Answers whether anything was claimed.
    fn revoke_and_try(&mut self) -> bool {
        let named: Vec<usize> = (0..self.grants.len()).filter(|at| self.recorded[*at]).collect();
        let one = (!named.is_empty()).then(|| self.dice.of(&named));
        let wish = match (self.dice.below(4), one) {
            (0, Some(at)) => Wish::Keys(vec![format!("g{at}")]),
            (1, _) => Wish::Panic,
            _ => Wish::All,
        };
        let via = self.dice.of(&[Via::Auto, Via::Owner]);
        let intent = RevokeIntent { account: "treasury".into(), wish: wish.clone(), via, max_cost: None };
        let done = block_on(async {
            let plan = self.world.wallet.plan_revoke(intent).await?;
            self.world.wallet.execute_revoke(plan).await
        });
        let claimed = match &done {
            Ok(revoked) => matches!(revoked.verdict(), Verdict::Proven | Verdict::Done),
            Err(_) => false,
        };
        if !claimed {
            return false;
        }
        let keys: Vec<usize> = match &wish {
            // An approval that nobody here has on record is not claimed about; one of a holder that is, is.
            Wish::Keys(_) => {
                let holder = self.grants[one.unwrap()].key.address();
                (0..self.grants.len())
                    .filter(|at| self.grants[*at].key.address() == holder)
                    .filter(|at| self.recorded[*at] || !self.is_unused(*at))
                    .collect()
            }
            Wish::Panic => (0..self.grants.len()).collect(),
            _ => (0..self.grants.len()).filter(|at| self.recorded[*at] || !self.is_unused(*at)).collect(),
        };
        // Of functions other than the known ones, a revocation of named keys and a pause say how far the history was read.
        let all = matches!(wish, Wish::All);
        let read = FUNCTIONS.into_iter().filter(|f| all || function::KNOWN.contains(f)).collect::<Vec<_>>();
        let acted = self.somebody_acts(&keys, &read);
        assert_eq!(acted, None, "after {wish:?} by {via:?}: {:?}; history {:?}", done, self.acts);
        true
    }

    /// Signed elsewhere and never used: nobody can know of it.
    fn is_unused(&self, at: usize) -> bool {
        let address = self.grants[at].key.address();
        let picture = block_on(async {
            let services = self.world.wallet.services(NAME).await.unwrap();
            services.snapshot(&SnapshotRequest::of(self.world.account.address, &[address], None)).await.unwrap()
        });
        !picture.holds(G2, &self.grants[at].approval.request.enable)
    }
}

#[test]
fn what_is_called_revoked_can_do_nothing_after_any_history_with_foreign_acts() {
    let Some(chain) = deployed_chain() else { return };
    let long = std::env::var_os("KEYLEASH_LONG").is_some();
    let histories = if long { LONG } else { HISTORIES };
    let mut claims = 0;
    for seed in 0..histories as u64 {
        let mut story = Story::new(chain.clone(), seed + if long { 1 << 32 } else { 0 });
        for _ in 0..3 + story.dice.below(8) {
            story.act();
        }
        claims += usize::from(story.revoke_and_try());
    }
    println!("{claims} claims in {histories} histories");
    assert!(claims * 5 > histories, "only {claims} of {histories} histories led to a claim: the test sees nothing");
}
