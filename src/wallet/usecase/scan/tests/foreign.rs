//! Random histories with foreign acts on the deployed bytecode: other default validators, functions routed with and without an
//! event, other tools' approvals on both deployed validators, rewinds, other versions, code that is no Kernel, and owners that change
//! and come back; the account under two names. After each, the owner revokes; and whenever that is called done, every holder, the
//! foreign validator and a stranger try everything they have, to a fixed point - and once more after the owner went back to each
//! owner and version that something was signed for.
//!
//! What the chain is like is read from its storage here, not by what is tested.

use alloy::{
    primitives::aliases::U48,
    sol,
    sol_types::{SolEvent, SolValue},
};

use super::*;
use crate::{
    protocol::kernel_v2::account::{
        disable_mode, executeDelegateCallCall, restore_default_validator, selector as function,
        setDefaultValidatorCall, setExecutionCall, upgradeToCall,
    },
    wallet::{
        chain_ids,
        submit::routes::RoutePreference,
        usecase::revoke::{RevokeAction, RevokeIntent, Verdict},
    },
};

sol! {
    function validCaller(address caller, bytes data) returns (bool);
}

/// Accepts everybody: every operation, and every caller.
const ANYBODY: Address = Address::repeat_byte(0xa1);
/// Answers every call with a word of zeros.
const EXECUTOR: Address = Address::repeat_byte(0xe1);
const ACCEPTS: [u8; 10] = hex!("600060005260206000f3");
/// Stores the second word behind the selector in the slot of the first, for whoever asks, and answers zero.
const WRITER: Address = Address::repeat_byte(0xb7);
const STORES: [u8; 13] = hex!("60243560043555" "60206000f3" "00");
/// Where a proxy keeps its implementation.
const IMPLEMENTATION: U256 =
    U256::from_be_bytes(hex!("360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc"));
/// Where a Kernel keeps its routes: a mapping, from function to `executor20 ‖ validUntil6 ‖ validAfter6` and the validator.
const ROUTES: U256 = U256::from_be_bytes(hex!("439ffe7df606b78489639bc0b827913bd09e1246fa6802968a5b3694c53e0dda"));
/// Another name of the same chain.
const ALIAS: &str = "again";
const GENERATIONS: [Generation; 2] = [Generation::G1, Generation::G2];

/// What histories the ordinary run goes through; the long run takes more.
const HISTORIES: usize = 200;
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

pub(super) fn foreign_code() -> [(Address, Bytes); 3] {
    let is_asked_about_callers = [&hex!("60003560e01c63")[..], &validCallerCall::SELECTOR, &hex!("1460005260206000f3")];
    let accepts_anybody = is_asked_about_callers.concat().into();
    [(ANYBODY, accepts_anybody), (EXECUTOR, ACCEPTS.into()), (WRITER, STORES.into())]
}

struct Story {
    world: World,
    /// Who is not the owner now, and may be again.
    other: Secret,
    dice: Dice,
    grants: Vec<Given>,
    acts: Vec<String>,
    keys: u8,
    /// Whether the account is on record under two names.
    twice: bool,
    /// Whether nobody else gets at the account in this history: where somebody does, little is claimed.
    peaceful: bool,
    seen: Seen,
}

struct Given {
    granted: Granted,
    signer: Address,
    /// Whether it is on record.
    recorded: bool,
    /// Whether the validator ever took it.
    used: bool,
}

impl Given {
    fn holder(&self) -> Address {
        self.granted.key.address()
    }

    fn generation(&self) -> Generation {
        self.granted.approval.request.validator
    }
}

/// What the histories came to: a test that sees nothing of a kind says nothing about it.
#[derive(Debug, Default)]
struct Seen {
    revocations: usize,
    claims: usize,
    keys: usize,
    all: usize,
    pauses: usize,
    lifts: usize,
    reclaims: usize,
    /// That there was nothing to take back.
    nothing: usize,
    /// Something was done between a plan and its block.
    races: usize,
    /// A key was shown as over.
    shown: usize,
    under_two_names: usize,
    on_g1: usize,
    /// With approvals of an owner or for a version that was not the account's, tried after it was again.
    went_back: usize,
    /// A holder's operation went through.
    uses: usize,
    /// A key that nothing was claimed of did what it could while the others tried.
    meanwhile: usize,
}

/// What is tried after a claim.
#[derive(Default)]
struct Tries {
    /// Positions of grants that must be dead.
    dead: Vec<usize>,
    /// Holders of other grants: as enabled keys these may act.
    kept: Vec<Address>,
    /// Functions that nobody else may get at.
    functions: Vec<Selector>,
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
        let other = secret(2);
        for owner in [account.owner, other.address()] {
            world.chain(|service| service.fund(owner, U256::from(10u64.pow(18))));
        }
        let mut dice = Dice(seed);
        let twice = dice.below(3) == 0;
        if twice {
            let network = world.wallet.network_config(NAME).unwrap();
            let again = Account { network: ALIAS.into(), name: "again".into(), ..account };
            // This home's config is not on disk.
            let mut config = world.wallet.config.write().unwrap();
            config.network.insert(ALIAS.into(), network);
            world.wallet.store.set_networks(chain_ids(&config));
            drop(config);
            world.wallet.store.write(|w| w.put_account(&again)).unwrap();
        }
        let (grants, acts, seen) = (Vec::new(), Vec::new(), Seen::default());
        let peaceful = dice.below(2) == 0;
        Self { world, other, dice, grants, acts, keys: 20, twice, peaceful, seen }
    }

    fn stored(&self, at: Address, slot: U256) -> U256 {
        self.world.chain(|service| service.chain().storage(at, slot))
    }

    fn kernel(&self) -> Option<KernelVersion> {
        let word = self.stored(self.world.account.address, IMPLEMENTATION);
        KernelVersion::from_implementation(Address::from_word(word.into()))
    }

    /// The newest turn that was used.
    fn last(&self, generation: Generation) -> u128 {
        let slot = keccak256((self.world.account.address, U256::ZERO).abi_encode());
        (self.stored(generation.address(), slot.into()) & U256::from(u128::MAX)).to()
    }

    /// Whether the validator holds this approval of its key, by root and turn.
    fn holds(&self, given: &Given) -> bool {
        let enable = given.granted.approval.request.enable;
        let outer = keccak256((enable.session_key, U256::ONE).abi_encode());
        let slot = U256::from_be_bytes(keccak256((self.world.account.address, outer).abi_encode()).0);
        let validator = given.generation().address();
        self.stored(validator, slot) == U256::from_be_bytes(enable.merkle_root.0)
            && self.stored(validator, slot + U256::from(2)) == U256::from(enable.nonce)
    }

    /// After something that may have changed the owner.
    fn follow_the_owner(&mut self) {
        let slot = keccak256((self.world.account.address, U256::ZERO).abi_encode());
        let owner = Address::from_word(self.stored(ECDSA_VALIDATOR, slot.into()).into());
        if owner == self.other.address() {
            std::mem::swap(&mut self.world.owner, &mut self.other);
        }
        assert_eq!(owner, self.world.owner.address(), "a third owner after {:?}", self.acts);
    }

    /// The validator may have taken something.
    fn follow_the_keys(&mut self) {
        for at in 0..self.grants.len() {
            let holds = self.holds(&self.grants[at]);
            self.grants[at].used |= holds;
        }
    }

    /// The owner adds the account again, as whoever it is now.
    fn adopt(&mut self) {
        let owner = self.world.owner.address();
        if owner == self.world.account.owner {
            return;
        }
        let kept = self.world.wallet.keep_secret(&self.world.owner, &format!("owner {owner}")).unwrap();
        self.world.account.owner = owner;
        self.world.account.owner_secret = Some(kept);
        let account = &self.world.account;
        let names = [(NAME, "treasury"), (ALIAS, "again")];
        for (network, name) in names.into_iter().take(1 + usize::from(self.twice)) {
            let account = Account { network: network.into(), name: name.into(), ..account.clone() };
            self.world.wallet.store.write(|w| w.put_account(&account)).unwrap();
        }
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

    /// The account calls itself.
    fn owner_does(&mut self, data: Bytes) {
        let wrapped = execute(self.world.account.address, data);
        self.owner_sends(wrapped);
    }

    /// By an operation or a transaction of the owner's.
    fn owner_sends(&mut self, call: Bytes) {
        if self.dice.below(2) == 0 {
            let op = self.world.op(call);
            let op = self.world.by_owner(op);
            self.try_bundle(&op);
        } else {
            self.anybody_sends(self.world.owner.address(), call);
        }
    }

    /// Whether it succeeds.
    fn anybody_sends(&self, from: Address, call: impl Into<Bytes>) -> bool {
        let request = Request::to(self.world.account.address, call).from(from);
        self.world.chain(|service| service.act(&request).is_ok_and(|mined| mined.success))
    }

    fn grant(&mut self, recorded: bool) {
        let generation = self.dice.of(&[Generation::G1, G2, G2]);
        let next = self.last(generation) + 1 + self.dice.below(2) as u128;
        let permissions = self.dice.of(&[0, 1, 1]);
        // Sometimes one holder gets a second approval.
        let key = if self.dice.below(4) == 0 && self.keys > 20 { self.keys } else { self.keys + 1 };
        self.keys = self.keys.max(key);
        // Sometimes it is signed for another version, or by who is not the owner now.
        let stale = self.dice.below(6);
        let kernel = self.kernel().filter(|_| stale != 0).unwrap_or(KernelVersion::V0_2_3);
        let granted = self.world.grant_for(key, permissions, next, generation, kernel);
        let signer = if stale == 1 { &self.other } else { &self.world.owner };
        let signature = Bytes::copy_from_slice(&signer.sign_hash(granted.approval.request.digest()).unwrap());
        let signer = signer.address();
        let granted = Granted { approval: Approval { signature, ..granted.approval }, ..granted };
        // The very same approval for the same holder is on record already.
        if self.grants.iter().any(|other| other.granted.approval.request == granted.approval.request) {
            return;
        }
        let given = Given { granted, signer, recorded, used: false };
        if recorded {
            self.record(&given);
        }
        self.grants.push(given);
    }

    fn record(&mut self, given: &Given) {
        let network = if self.twice { self.dice.of(&[NAME, ALIAS]) } else { NAME };
        // Signed elsewhere: here it is a draft.
        let is_draft = self.dice.below(6) == 0;
        let hidden = self.dice.below(6) == 0;
        let account = &self.world.account;
        let id = format!("g{}", self.grants.len());
        let Granted { key, scope, approval } = &given.granted;
        let key = Key {
            id: id.clone(),
            label: id.clone(),
            network: network.into(),
            chain_id: CHAIN_ID,
            account: account.address,
            owner: given.signer,
            session_key: key.address(),
            secret: None,
            validator: given.generation().into(),
            scope: scope.clone(),
            partial: None,
            functions: scope.permissions.iter().map(|_| None).collect(),
            origin: Origin::Granted,
            init_code: account.init_code(),
            was_deployed: true,
            created_at: 0,
            revoked_at: None,
        };
        let Approval { request, signature } = approval.clone();
        let signature = (!is_draft).then_some(signature);
        let approval = ApprovalRecord { key_id: id.clone(), request: request.into(), signature, created_at: 0 };
        self.world
            .wallet
            .store
            .write(|w| {
                w.put_key(&key)?;
                w.put_approval(&approval)?;
                if hidden { w.hide_key(&id) } else { Ok(()) }
            })
            .unwrap();
    }

    fn holder_tries(&mut self, at: usize, enabling: bool) -> bool {
        let given = &self.grants[at].granted;
        let approval = enabling.then(|| given.approval.clone());
        let op = self.world.op(execute(TARGET, vec![1, 2, 3, 4]));
        let op = sign(op, given, approval.as_ref());
        let passes = self.try_bundle(&op);
        self.grants[at].used |= passes && enabling;
        passes
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
        let Some(kernel) = self.kernel() else { return };
        let account = self.world.account.clone();
        let data = self.world.owner.address().to_vec();
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
                keccak256(kernel.as_str()),
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

    /// What another tool tells a validator about turns: further, or back.
    fn set_turns(&mut self) {
        let generation = self.dice.of(&GENERATIONS);
        let to = self.dice.below(usize::try_from(self.last(generation)).unwrap_or(0) + 2) as u128;
        let call: Bytes = match self.dice.below(2) {
            0 => invalidateNonceCall { nonce: to }.abi_encode().into(),
            _ => disableCall { data: Bytes::copy_from_slice(&to.to_be_bytes()) }.abi_encode().into(),
        };
        self.owner_sends(execute(generation.address(), call));
    }

    /// A function's route in storage, as foreign code writes it: nothing tells of it.
    fn route_in_storage(&mut self) -> [Bytes; 2] {
        let selector = self.dice.of(&FUNCTIONS);
        let executor = if matches!(selector.0[0], 0xde | 0x0b) { EXECUTOR } else { Address::ZERO };
        let slot = U256::from_be_bytes(keccak256((selector, ROUTES).abi_encode()).0);
        let executor = U256::from_be_bytes(executor.into_word().0) << 96;
        let validator = U256::from_be_bytes(ANYBODY.into_word().0);
        [(slot, executor), (slot + U256::ONE, validator)].map(|(slot, value)| stores(slot, value))
    }

    /// Another implementation, which is no Kernel and lets anybody write; and sometimes back.
    fn go_through_foreign_code(&mut self) {
        self.owner_does(upgradeToCall { implementation: WRITER }.abi_encode().into());
        let address = self.world.account.address;
        if self.stored(address, IMPLEMENTATION) != U256::from_be_bytes(WRITER.into_word().0) {
            return;
        }
        if self.dice.below(2) == 0 {
            for store in self.route_in_storage() {
                self.anybody_sends(STRANGER, store);
            }
        }
        if self.dice.below(4) > 0 {
            self.come_back();
        }
    }

    /// Whoever holds the storage puts a Kernel there again.
    fn come_back(&mut self) {
        let kernel = self.dice.of(&[KernelVersion::V0_2_3, KernelVersion::V0_2_4]).implementation();
        self.anybody_sends(STRANGER, stores(IMPLEMENTATION, U256::from_be_bytes(kernel.into_word().0)));
    }

    fn act(&mut self) {
        let owner = self.world.owner.address();
        // Who an owner's init data may name: setting a validator or a route changes the owner on the way.
        let named = if self.dice.below(4) == 0 { self.other.address() } else { owner };
        let what = match self.dice.below(25) {
            14..=17 | 22 | 23 if self.peaceful => 0,
            what => what,
        };
        self.acts.push(format!("{what}"));
        if self.kernel().is_none() && self.dice.below(2) == 0 {
            self.come_back();
        }
        let some = (!self.grants.is_empty()).then(|| self.dice.below(self.grants.len()));
        match (what, some) {
            (0..=3, _) => self.grant(true),
            (4, _) => self.grant(false),
            (5..=8, Some(at)) => {
                let enabling = self.dice.below(3) > 0;
                self.seen.uses += usize::from(self.holder_tries(at, enabling));
            }
            (9, Some(at)) => {
                let call = enable(&self.grants[at].granted);
                self.owner_sends(call);
            }
            (10, _) => self.set_turns(),
            // Another tool's approval is used, and then the turns go back.
            (11, _) => {
                let before = self.grants.len();
                self.grant(false);
                if self.grants.len() > before {
                    self.holder_tries(before, true);
                }
                self.set_turns();
            }
            (12, _) => {
                let generation = self.dice.of(&GENERATIONS);
                self.owner_sends(execute(generation.address(), disableCall { data: Bytes::new() }.abi_encode()));
            }
            (13, Some(at)) => {
                let call = disable_key(self.grants[at].holder());
                self.owner_sends(execute(self.grants[at].generation().address(), call));
            }
            (14, _) => {
                let validator = self.dice.of(&[ANYBODY, ECDSA_VALIDATOR]);
                let data = Bytes::copy_from_slice(named.as_slice());
                self.owner_does(setDefaultValidatorCall { defaultValidator: validator, data }.abi_encode().into());
            }
            (15 | 16, _) => {
                let selector = self.dice.of(&FUNCTIONS);
                let validator =
                    self.dice.of(&[ANYBODY, ANYBODY, Generation::G1.address(), G2.address(), ECDSA_VALIDATOR]);
                let executor = if matches!(selector.0[0], 0xde | 0x0b) { EXECUTOR } else { Address::ZERO };
                let data = match Generation::from_address(validator) {
                    Some(generation) => {
                        let next = self.last(generation) + 1;
                        let key = self.world.grant_for(19, 1, next, generation, KernelVersion::V0_2_4);
                        Bytes::copy_from_slice(&key.approval.request.enable.encode())
                    }
                    None => Bytes::copy_from_slice(named.as_slice()),
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
            (17, _) => self.silent_route(),
            (18, _) => {
                let to = self.dice.of(&KernelVersion::ALL).implementation();
                self.owner_does(upgradeToCall { implementation: to }.abi_encode().into());
            }
            (19, _) => self.owner_does(restore_default_validator(owner)),
            (20 | 21, _) => {
                let call = self.own(self.other.address());
                self.owner_sends(call);
            }
            (22, _) if self.dice.below(3) == 0 => self.go_through_foreign_code(),
            // The owner delegates once to code that writes.
            (23, _) if self.dice.below(3) == 0 => {
                for data in self.route_in_storage() {
                    let call = executeDelegateCallCall { to: WRITER, data };
                    let op = self.world.op(call.abi_encode().into());
                    let op = self.world.by_owner(op);
                    self.try_bundle(&op);
                }
            }
            (24, _) => {
                let mode = self.dice.of(&[0, 1, 2, u32::MAX]);
                self.owner_does(disable_mode(mode));
            }
            _ => {}
        }
        self.follow_the_owner();
        self.follow_the_keys();
    }

    /// What a holder or another tool does meanwhile.
    fn race(&mut self) {
        self.acts.push("race".into());
        match self.dice.below(3) {
            0 if !self.grants.is_empty() => {
                let (at, enabling) = (self.dice.below(self.grants.len()), self.dice.below(2) == 0);
                self.holder_tries(at, enabling);
            }
            1 => self.set_turns(),
            _ => self.act(),
        }
        self.follow_the_keys();
        self.seen.races += 1;
    }

    /// What is shown as over must be refused, whatever is done about it later.
    fn believe_what_is_shown(&mut self) {
        let keys = self.world.wallet.store.read(|r| r.keys_of(NAME, self.world.account.address, true)).unwrap();
        let addresses: Vec<Address> = keys.iter().map(|key| key.session_key).collect();
        let picture = block_on(async {
            let services = self.world.wallet.services(NAME).await.unwrap();
            services.snapshot(&SnapshotRequest::of(self.world.account.address, &addresses, None)).await
        });
        let account = self.world.account.address;
        let route = U256::from_be_bytes(keccak256((function::EXECUTE, ROUTES).abi_encode()).0);
        // Where nothing is routed, the default validator is asked.
        let asked = match self.stored(account, route + U256::ONE) {
            U256::ZERO => self.stored(account, ROUTES - U256::ONE) << 16 >> 96,
            validator => validator,
        };
        let open = asked == U256::from_be_bytes(ANYBODY.into_word().0);
        // Foreign code answers what it likes.
        let Ok(picture) = picture else { return };
        for key in keys {
            // A scan takes keys in as well.
            let Some(at) = key.id.strip_prefix('g').and_then(|at| at.parse::<usize>().ok()) else { continue };
            let view = self.world.wallet.key_view(&key, Some(&picture)).unwrap();
            // Through a route to whom everybody is welcome, any signature will do.
            let alone = !open && self.grants.iter().filter(|g| g.holder() == key.session_key).count() == 1;
            let modes: &[bool] = match view.state {
                State::Revoked | State::Dead if alone => &[true, false],
                State::Revoked | State::Dead | State::Stale => &[true],
                State::Paused if alone => &[false],
                _ => continue,
            };
            self.seen.shown += 1;
            for enabling in modes {
                let acted = self.holder_tries(at, *enabling);
                let (state, reason) = (view.state, &view.state_reason);
                assert!(!acted, "g{at} is shown as {state} ({reason}), enabling {enabling}: {:?}", self.acts);
            }
        }
    }

    /// The account makes this its owner.
    fn own(&self, owner: Address) -> Bytes {
        execute(ECDSA_VALIDATOR, enable_key(owner.as_slice()))
    }

    /// Everything that anybody but the owner has, until nothing new goes through.
    fn somebody_acts(&mut self, tries: &Tries) -> Option<String> {
        let dead = |at: usize| tries.dead.contains(&at);
        let holders: BTreeSet<Address> = tries.dead.iter().map(|at| self.grants[*at].holder()).collect();
        let others: Vec<usize> =
            (0..self.grants.len()).filter(|at| !dead(*at) && !holders.contains(&self.grants[*at].holder())).collect();
        for round in 0..2 {
            for at in tries.dead.iter().copied() {
                let kept = tries.kept.contains(&self.grants[at].holder());
                for enabling in [true, false] {
                    if (enabling || !kept) && self.holder_tries(at, enabling) {
                        return Some(format!("holder {at}, enabling {enabling}, round {round}"));
                    }
                }
            }
            for selector in tries.functions.iter().copied() {
                for mode in [0, 1] {
                    if self.junk_passes(mode, selector) {
                        return Some(format!("junk in mode {mode} for {selector}, round {round}"));
                    }
                }
                for from in [STRANGER, ANYBODY, EXECUTOR].into_iter().chain(holders.first().copied()) {
                    if self.anybody_sends(from, call_of(selector)) {
                        return Some(format!("a call of {selector} by {from}, round {round}"));
                    }
                }
            }
            // What nothing is claimed of may act, which must not help the others.
            for at in others.iter().copied().filter(|_| round == 0) {
                self.seen.meanwhile += usize::from(self.holder_tries(at, true));
            }
        }
        None
    }

    /// Each owner and version that a dead approval was signed by and for rules again: that must not bring it back.
    fn owner_goes_back(&mut self, Tries { dead, kept, .. }: &Tries) -> Option<String> {
        // Somebody may have changed it between the plan and its block.
        self.follow_the_owner();
        let signed = |at: &usize| {
            let given = &self.grants[*at];
            (given.signer, given.granted.approval.request.kernel)
        };
        let (owner, Some(kernel)) = (self.world.owner.address(), self.kernel()) else { return None };
        let before: BTreeSet<_> = dead.iter().map(signed).filter(|s| *s != (owner, kernel)).collect();
        self.seen.went_back += usize::from(!before.is_empty());
        for (signer, version) in before.into_iter().chain([(owner, kernel)]) {
            let upgrade = upgradeToCall { implementation: version.implementation() };
            let upgrade = execute(self.world.account.address, upgrade.abi_encode());
            let owned = self.own(signer);
            self.anybody_sends(self.world.owner.address(), upgrade);
            self.anybody_sends(self.world.owner.address(), owned);
            self.follow_the_owner();
            assert_eq!((self.world.owner.address(), self.kernel()), (signer, Some(version)), "{:?}", self.acts);
            let all = dead.iter().copied().filter(|at| signed_for(&self.grants[*at], signer, version));
            for at in all.collect::<Vec<_>>() {
                let kept = kept.contains(&self.grants[at].holder());
                if self.holder_tries(at, true) || !kept && self.holder_tries(at, false) {
                    return Some(format!("holder {at}, after {signer} owned it again on {version}"));
                }
            }
        }
        None
    }

    /// Revokes something, and tries what is claimed.
    fn revoke_and_try(&mut self) {
        let named: Vec<usize> = (0..self.grants.len()).filter(|at| self.grants[*at].recorded).collect();
        let one = (!named.is_empty()).then(|| self.dice.of(&named));
        let paused = self.stored(self.world.account.address, ROUTES - U256::ONE).byte(0) & 0b11 != 0;
        let action = match (self.dice.below(8), one) {
            (0..=3, Some(at)) if paused && self.dice.below(2) == 0 => {
                RevokeAction::LiftPanic { keep: vec![format!("g{at}")] }
            }
            (0..=3, _) if paused => RevokeAction::LiftPanic { keep: Vec::new() },
            (0..=2, Some(at)) => RevokeAction::Keys(vec![format!("g{at}")]),
            (3, _) => RevokeAction::Panic,
            (4, _) if !self.peaceful => RevokeAction::Reclaim,
            _ => RevokeAction::All,
        };
        let route = self.dice.of(&[RoutePreference::Auto, RoutePreference::Owner]);
        let account = if self.twice { self.dice.of(&["treasury", "again"]) } else { "treasury" };
        let intent = RevokeIntent { account: account.into(), action: action.clone(), route, max_cost: None };
        self.acts.push(format!("{action:?}"));
        let mut raced = false;
        let done = match block_on(self.world.wallet.plan_revoke(intent)) {
            Ok(plan) => {
                // Others do not wait between a plan and its block.
                raced = self.dice.below(3) == 0;
                if raced {
                    self.race();
                }
                block_on(self.world.wallet.execute_revoke(plan, &()))
            }
            Err(error) => Err(error),
        };
        self.seen.revocations += 1;
        if let Ok(revoked) = &done
            && self.peaceful
            && !raced
        {
            // Nobody was in the way: a plan ends what is known, and is proven to.
            let left = revoked.remaining.iter().any(|r| r.what.starts_with("key g"));
            let ends_all = matches!(action, RevokeAction::All | RevokeAction::LiftPanic { .. });
            let proven = matches!(revoked.verdict(), Verdict::Proven | Verdict::Done | Verdict::Remaining);
            assert!(proven && !(left && ends_all), "{action:?} by {route:?}: {done:?}; history {:?}", self.acts);
        }
        let claimed = match &done {
            Ok(revoked) => matches!(revoked.verdict(), Verdict::Proven | Verdict::Done),
            Err(error) => error.code == "revoke.nothing",
        };
        if !claimed {
            return;
        }
        let mut tries = Tries::default();
        let every = 0..self.grants.len();
        match &action {
            // That nothing can act is said of what is on record and what the validators hold of it.
            RevokeAction::Keys(_) if done.is_err() => {
                tries.dead.extend(one);
                let holder = self.grants[one.unwrap()].holder();
                tries.kept.extend((self.grants.iter().filter(|g| g.holder() == holder).count() > 1).then_some(holder));
                self.seen.nothing += 1;
            }
            RevokeAction::All if done.is_err() => {
                let holders: Vec<Address> = self.grants.iter().filter(|g| g.recorded).map(Given::holder).collect();
                tries.dead.extend(every.filter(|at| {
                    let given = &self.grants[*at];
                    given.recorded || holders.contains(&given.holder()) && self.holds(given)
                }));
                self.seen.nothing += 1;
            }
            // An approval that nobody here has on record is not claimed about; one of a holder that is, is.
            RevokeAction::Keys(_) => {
                let holder = self.grants[one.unwrap()].holder();
                tries.dead.extend(every.filter(|at| {
                    let given = &self.grants[*at];
                    given.holder() == holder && (given.recorded || self.holds(given))
                }));
                self.seen.keys += 1;
            }
            RevokeAction::Panic => {
                tries.dead.extend(every);
                self.seen.pauses += 1;
            }
            // Signed elsewhere and never used: nobody can know of it.
            RevokeAction::All => {
                tries.dead.extend(every.filter(|at| self.grants[*at].recorded || self.grants[*at].used));
                self.seen.all += 1;
            }
            RevokeAction::LiftPanic { keep } => {
                let is_kept = |at: usize| keep.contains(&format!("g{at}"));
                tries.kept.extend(every.clone().filter(|at| is_kept(*at)).map(|at| self.grants[at].holder()));
                let known = |at: &usize| self.grants[*at].recorded || self.grants[*at].used;
                tries.dead.extend(every.filter(|at| !is_kept(*at)).filter(known));
                self.seen.lifts += 1;
            }
            RevokeAction::Reclaim => self.seen.reclaims += 1,
        }
        // Of functions other than the known ones, a revocation of named keys and a pause say how far the history was read.
        let all = matches!(action, RevokeAction::All | RevokeAction::LiftPanic { .. } | RevokeAction::Reclaim);
        // Where nothing is sent, what else can act is told by itself.
        let told =
            done.is_err() && !block_on(self.world.wallet.foreign_power(account)).is_ok_and(|power| power.is_empty());
        if told {
            // Through what was told of, anybody may act as if a key were enabled.
            tries.kept.extend(tries.dead.iter().map(|at| self.grants[*at].holder()));
        }
        let whole = all && done.is_ok() || action == RevokeAction::Reclaim;
        tries.functions.extend(FUNCTIONS.into_iter().filter(|f| !told && (whole || function::KNOWN.contains(f))));
        self.seen.claims += 1;
        self.seen.under_two_names += usize::from(self.twice);
        self.seen.on_g1 += usize::from(tries.dead.iter().any(|at| self.grants[*at].generation() == Generation::G1));
        let acted = self.somebody_acts(&tries);
        assert_eq!(acted, None, "after {action:?} by {route:?}: {done:?}; history {:?}", self.acts);
        if !matches!(action, RevokeAction::Panic) {
            let acted = self.owner_goes_back(&tries);
            assert_eq!(acted, None, "after {action:?} by {route:?}: {done:?}; history {:?}", self.acts);
        }
    }
}

fn signed_for(given: &Given, owner: Address, version: KernelVersion) -> bool {
    given.signer == owner && given.granted.approval.request.kernel == version
}

/// What makes the [`WRITER`] store `value` in `slot`.
fn stores(slot: U256, value: U256) -> Bytes {
    [&[0x57, 0x0e, 0x5e, 0x5e][..], &slot.to_be_bytes::<32>(), &value.to_be_bytes::<32>()].concat().into()
}

#[test]
fn what_is_called_revoked_can_do_nothing_after_any_history_with_foreign_acts() {
    let Some(chain) = deployed_chain() else { return };
    // `1/2` and `2/2`: one half each, for two processes.
    let (histories, first) = match std::env::var("KEYLEASH_LONG").ok() {
        None => (HISTORIES, 0),
        Some(part) => {
            let (part, of) = part.split_once('/').unwrap_or(("1", "1"));
            let (part, of): (usize, usize) = (part.parse().unwrap(), of.parse().unwrap());
            (LONG / of, (1 << 32) + ((part - 1) * (LONG / of)) as u64)
        }
    };
    let mut seen = Seen::default();
    for seed in first..first + histories as u64 {
        let mut story = Story::new(chain.clone(), seed);
        story.seen = seen;
        story.acts.push(format!("seed {seed}"));
        for _ in 0..=story.dice.below(2) {
            for _ in 0..3 + story.dice.below(8) {
                story.act();
            }
            if story.dice.below(3) > 0 {
                story.adopt();
            }
            story.believe_what_is_shown();
            story.revoke_and_try();
            story.believe_what_is_shown();
        }
        seen = story.seen;
        if (seed + 1).is_multiple_of(500) {
            println!("through seed {seed}: {seen:?}");
        }
    }
    println!("{histories} histories: {seen:?}");
    let Seen {
        claims, keys, all, pauses, lifts, reclaims, nothing, under_two_names, on_g1, went_back, meanwhile, ..
    } = seen;
    assert!(claims * 5 > histories, "only {claims} claims in {histories} histories: the test sees nothing");
    for kind in [keys, all, pauses, lifts, reclaims, nothing, under_two_names, on_g1, went_back, meanwhile] {
        assert!(kind > 2, "of one kind there was next to nothing: {seen:?}");
    }
}
