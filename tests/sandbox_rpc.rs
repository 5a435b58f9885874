//! The sandbox as a wallet meets it: JSON in, JSON out, with the codes and texts of live services (docs/kernel-v2.md#what-an-answer-means).
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

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::Encodable2718,
    primitives::{Address, B256, Bytes, FixedBytes, TxKind, U256, address, eip191_hash_message},
    signers::{SignerSync, local::PrivateKeySigner},
    sol,
    sol_types::SolCall,
};
use keyleash::{
    erc4337::v06::{ENTRY_POINT, UserOperation},
    policy::scope::{Condition, ExecutionRule, Operation, Permission, Rule, Scope},
    protocol::{
        AccountCall, Call, DUMMY_SIGNATURE,
        kernel_v2::{
            account::{self, AccountSeed, selector},
            approval::{Approval, ApprovalRequest, EnableData},
            generation::{Generation, KernelVersion},
            signature::{self, Shown, proof_data},
        },
    },
    sandbox::{
        CHAIN_ID,
        contracts::{DEMO_NFT, SPONSOR},
        rpc::{RpcFault, Service},
    },
};
use serde_json::{Value, json};

sol! {
    function mint(address to) returns (uint256);
    function ownerOf(uint256 id) returns (address);
    function getNonce(address sender, uint192 key) returns (uint256);
}

const NOW: u64 = 1_700_000_000;
const GWEI: u64 = 1_000_000_000;
const STRANGER: Address = address!("000000000000000000000000000000000000f00d");

fn key(number: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(number)).unwrap()
}

/// A wallet's side of the talk: an owner, its account, and one session key.
struct Talk {
    service: Service,
    owner: PrivateKeySigner,
    agent: PrivateKeySigner,
    seed: AccountSeed,
}

impl Talk {
    fn new() -> Self {
        let owner = key(1);
        let seed = AccountSeed { owner: owner.address(), index: U256::ZERO };
        let mut service = Service::new(NOW).unwrap();
        service.fund(seed.address(), U256::from(1_000_000_000u64) * U256::from(GWEI));
        Self { service, owner, agent: key(2), seed }
    }

    /// The same with the account deployed by its owner's first operation.
    fn deployed() -> Self {
        let mut talk = Self::new();
        let op = talk.sudo_op(AccountCall::Execute(mint_to(STRANGER)).encode());
        talk.send(&op).unwrap();
        talk
    }

    fn account(&self) -> Address {
        self.seed.address()
    }

    fn ask(&mut self, method: &str, params: Value) -> Result<Value, RpcFault> {
        self.service.answer(method, &params)
    }

    fn get(&mut self, method: &str, params: Value) -> Value {
        self.ask(method, params).unwrap()
    }

    fn call<C: SolCall>(&mut self, to: Address, call: C) -> C::Return {
        let answer = self.get("eth_call", json!([{ "to": to, "data": Bytes::from(call.abi_encode()) }, "latest"]));
        C::abi_decode_returns(&serde_json::from_value::<Bytes>(answer).unwrap()).unwrap()
    }

    /// Everything of an operation but gas and signature.
    fn draft(&mut self, call_data: Bytes) -> UserOperation {
        let sender = self.account();
        let nonce = self.call(ENTRY_POINT, getNonceCall { sender, key: alloy::primitives::Uint::ZERO });
        let code: Bytes = serde_json::from_value(self.get("eth_getCode", json!([sender, "latest"]))).unwrap();
        let init_code = if code.is_empty() { self.seed.init_code(KernelVersion::V0_2_4) } else { Bytes::new() };
        let price = self.get("pimlico_getUserOperationGasPrice", json!([]));
        let wei = |name: &str| serde_json::from_value::<U256>(price["standard"][name].clone()).unwrap();
        UserOperation {
            sender,
            nonce,
            init_code,
            call_data,
            max_fee_per_gas: wei("maxFeePerGas"),
            max_priority_fee_per_gas: wei("maxPriorityFeePerGas"),
            ..UserOperation::default()
        }
    }

    fn estimate(&mut self, op: &mut UserOperation) -> Result<(), RpcFault> {
        let gas = self.ask("eth_estimateUserOperationGas", json!([op, ENTRY_POINT]))?;
        let units = |name: &str| serde_json::from_value::<U256>(gas[name].clone()).unwrap();
        op.pre_verification_gas = units("preVerificationGas");
        op.verification_gas_limit = units("verificationGasLimit");
        op.call_gas_limit = units("callGasLimit");
        Ok(())
    }

    fn sudo_op(&mut self, call_data: Bytes) -> UserOperation {
        let mut op = self.draft(call_data);
        op.signature = signature::sudo(&DUMMY_SIGNATURE);
        self.estimate(&mut op).unwrap();
        op.signature = signature::sudo(&message(&self.owner, op.hash(ENTRY_POINT, CHAIN_ID)));
        op
    }

    fn approve(&self, scope: &Scope, nonce: u128) -> Approval {
        let request = ApprovalRequest {
            chain_id: CHAIN_ID,
            account: self.account(),
            kernel: KernelVersion::V0_2_4,
            validator: Generation::G2,
            selector: selector::EXECUTE,
            executor: Address::ZERO,
            plugin_window: FixedBytes::ZERO,
            enable: EnableData::new(self.agent.address(), scope, nonce, Generation::G2),
        };
        let signature = self.owner.sign_hash_sync(&request.digest()).unwrap().as_bytes().into();
        Approval { request, signature }
    }

    fn sign_as_agent(&self, op: &mut UserOperation, approval: Option<&Approval>, proof: &[u8], signed: &[u8; 65]) {
        let session = signature::session(self.agent.address(), signed, proof);
        op.signature = match approval {
            Some(approval) => signature::enable_and_use(approval, &session),
            None => signature::use_enabled(&session),
        };
    }

    /// A signed operation of the session key, with ample gas.
    fn agent_op(&mut self, scope: &Scope, call: Call, approval: Option<&Approval>) -> UserOperation {
        let proof = proof_data(&scope.permissions, Shown::One(0), Generation::G2).unwrap();
        let mut op = self.draft(AccountCall::Execute(call).encode());
        (op.call_gas_limit, op.verification_gas_limit) = (U256::from(300_000), U256::from(600_000));
        op.pre_verification_gas = U256::from(100_000);
        let signed = message(&self.agent, op.hash(ENTRY_POINT, CHAIN_ID));
        self.sign_as_agent(&mut op, approval, &proof, &signed);
        op
    }

    fn send(&mut self, op: &UserOperation) -> Result<B256, RpcFault> {
        let hash = self.ask("eth_sendUserOperation", json!([op, ENTRY_POINT]))?;
        let hash: B256 = serde_json::from_value(hash).unwrap();
        assert_eq!(hash, op.hash(ENTRY_POINT, CHAIN_ID));
        Ok(hash)
    }

    /// Code and text of the refusal.
    #[track_caller]
    fn refused(&mut self, op: &UserOperation) -> (i64, String) {
        let before = self.get("eth_blockNumber", json!([]));
        let fault = self.send(op).unwrap_err();
        assert_eq!(self.get("eth_blockNumber", json!([])), before, "a refused operation was mined");
        (fault.code, fault.message)
    }
}

fn message(signer: &PrivateKeySigner, hash: B256) -> [u8; 65] {
    signer.sign_hash_sync(&eip191_hash_message(hash)).unwrap().as_bytes()
}

fn mint_to(to: Address) -> Call {
    Call { to: DEMO_NFT, value: U256::ZERO, data: mintCall { to }.abi_encode().into() }
}

/// May mint NFTs to one address.
fn minting_scope(to: Address) -> Scope {
    let own = Rule { offset: U256::ZERO, condition: Condition::Eq, param: to.into_word() };
    let permission = Permission {
        index: 0,
        target: DEMO_NFT,
        sig: alloy::primitives::Selector::new(mintCall::SELECTOR),
        value_limit: U256::ZERO,
        rules: vec![own],
        execution_rule: ExecutionRule { valid_after: 0, interval: 0, runs: 2 },
        operation: Operation::Call,
    };
    Scope { valid_after: 0, valid_until: 0, paymaster: Address::ZERO, permissions: vec![permission] }
}

fn simulated(text: &str) -> String {
    format!("UserOperation reverted during simulation with reason: {text}")
}

#[test]
fn the_first_operation_of_a_sponsored_key_deploys_enables_and_uses() {
    let mut talk = Talk::new();
    let me = talk.account();
    talk.service.fund(me, U256::ZERO);
    let mut scope = minting_scope(me);
    scope.paymaster = SPONSOR;
    let approval = talk.approve(&scope, 1);
    let proof = proof_data(&scope.permissions, Shown::One(0), Generation::G2).unwrap();
    let mut op = talk.draft(AccountCall::Execute(mint_to(me)).encode());

    let chain = format!("0x{CHAIN_ID:x}");
    let stub = talk.get("pm_getPaymasterStubData", json!([op, ENTRY_POINT, chain, {}]));
    op.paymaster_and_data = serde_json::from_value(stub["paymasterAndData"].clone()).unwrap();
    talk.sign_as_agent(&mut op, Some(&approval), &proof, &DUMMY_SIGNATURE);
    talk.estimate(&mut op).unwrap();
    let length = op.paymaster_and_data.len();
    let sponsored = talk.get("pm_getPaymasterData", json!([op, ENTRY_POINT, chain, {}]));
    op.paymaster_and_data = serde_json::from_value(sponsored["paymasterAndData"].clone()).unwrap();
    assert_eq!(op.paymaster_and_data.len(), length);
    let signed = message(&talk.agent, op.hash(ENTRY_POINT, CHAIN_ID));
    talk.sign_as_agent(&mut op, Some(&approval), &proof, &signed);
    let hash = talk.send(&op).unwrap();

    let receipt = talk.get("eth_getUserOperationReceipt", json!([hash]));
    assert_eq!((&receipt["success"], &receipt["userOpHash"]), (&json!(true), &json!(hash)));
    assert_eq!(receipt["paymaster"], json!(SPONSOR));
    let known = talk.get("eth_getUserOperationByHash", json!([hash]));
    assert_eq!(serde_json::from_value::<UserOperation>(known["userOperation"].clone()).unwrap(), op);
    assert_eq!(talk.call(DEMO_NFT, ownerOfCall { id: U256::ONE }), me);
    // the node tells of the same transaction
    let transaction = talk.get("eth_getTransactionByHash", json!([receipt["receipt"]["transactionHash"]]));
    assert_eq!(transaction["to"], json!(ENTRY_POINT));
    let logs = talk.get("eth_getLogs", json!([{ "fromBlock": "0x0", "toBlock": "latest", "topics": [null, hash] }]));
    assert_eq!(logs.as_array().unwrap().len(), 2, "AccountDeployed and UserOperationEvent");
}

#[test]
fn an_estimate_is_enough_and_not_extravagant() {
    let mut talk = Talk::new();
    let me = talk.account();
    for _ in 0..2 {
        // the first deploys
        let op = talk.sudo_op(AccountCall::Execute(mint_to(me)).encode());
        let hash = talk.send(&op).unwrap();
        let receipt = talk.get("eth_getUserOperationReceipt", json!([hash]));
        assert_eq!(receipt["success"], json!(true));
        let used: U256 = serde_json::from_value(receipt["actualGasUsed"].clone()).unwrap();
        assert!(op.max_gas() < used * U256::from(2), "{} asked, {used} used", op.max_gas());
        // what the bundler is paid covers what its transaction cost
        let spent: U256 = serde_json::from_value(receipt["receipt"]["gasUsed"].clone()).unwrap();
        println!("{used} paid, {spent} spent {}", op.pre_verification_gas);
        assert!(used >= spent, "{used} paid, {spent} spent");
    }
}

#[test]
fn a_broken_rule_is_told_in_the_validators_words() {
    let mut talk = Talk::deployed();
    let me = talk.account();
    let scope = minting_scope(me);
    let approval = talk.approve(&scope, 1);
    let validator = |text: &str| (-32500, simulated(&format!("AA23 reverted: SessionKeyValidator: {text}")));
    let tries = [
        (Call { to: STRANGER, ..mint_to(me) }, "target mismatch"),
        (mint_to(STRANGER), "permission verification failed"),
        (Call { value: U256::ONE, ..mint_to(me) }, "value limit exceeded"),
    ];
    for (call, text) in tries {
        let op = talk.agent_op(&scope, call, Some(&approval));
        assert_eq!(talk.refused(&op), validator(text));
        let estimate = talk.ask("eth_estimateUserOperationGas", json!([op, ENTRY_POINT])).unwrap_err();
        assert_eq!((estimate.code, estimate.message), validator(text));
    }
    let op = talk.agent_op(&scope, mint_to(me), None);
    assert_eq!(talk.refused(&op).1, simulated("AA23 reverted (or OOG)"), "nothing is routed yet");
    let op = talk.agent_op(&scope, mint_to(me), Some(&approval));
    talk.send(&op).unwrap();
    let op = talk.agent_op(&scope, mint_to(me), Some(&approval));
    assert_eq!(talk.refused(&op), validator("invalid nonce"));
    let op = talk.agent_op(&scope, mint_to(me), None);
    talk.send(&op).unwrap();
    let op = talk.agent_op(&scope, mint_to(me), None);
    assert_eq!(talk.refused(&op), validator("runs exceeded"));
}

#[test]
fn a_revoked_key_is_refused() {
    let mut talk = Talk::deployed();
    let me = talk.account();
    let scope = minting_scope(me);
    let approval = talk.approve(&scope, 1);
    let op = talk.agent_op(&scope, mint_to(me), Some(&approval));
    talk.send(&op).unwrap();
    let revoke =
        Call { to: Generation::G2.address(), value: U256::ZERO, data: account::disable_key(talk.agent.address()) };
    let op = talk.sudo_op(AccountCall::Execute(revoke).encode());
    talk.send(&op).unwrap();
    let op = talk.agent_op(&scope, mint_to(me), None);
    let text = simulated("AA23 reverted: SessionKeyValidator: session key not enabled");
    assert_eq!(talk.refused(&op), (-32500, text));
}

#[test]
fn signatures_are_refused_on_sending_not_on_estimating() {
    let mut talk = Talk::deployed();
    let me = talk.account();
    let scope = minting_scope(me);
    let wrong = (-32507, "Invalid UserOperation signature or paymaster signature".to_owned());
    let approval = talk.approve(&scope, 1);
    let mut op = talk.agent_op(&scope, mint_to(me), Some(&approval));
    op.max_fee_per_gas += U256::ONE; // signed for another price
    assert_eq!(talk.refused(&op), wrong);
    let forged = Approval {
        signature: talk.agent.sign_hash_sync(&approval.request.digest()).unwrap().as_bytes().into(),
        ..approval
    };
    let mut op = talk.agent_op(&scope, mint_to(me), Some(&forged));
    assert_eq!(talk.refused(&op), wrong);
    talk.estimate(&mut op).unwrap();
}

#[test]
fn a_window_is_refused_on_sending_not_on_estimating() {
    let mut talk = Talk::deployed();
    let me = talk.account();
    let mut scope = minting_scope(me);
    (scope.valid_after, scope.valid_until) = (NOW + 100, NOW + 200);
    let approval = talk.approve(&scope, 1);
    let mut op = talk.agent_op(&scope, mint_to(me), Some(&approval));
    assert_eq!(talk.refused(&op), (-32503, "User operation is not valid yet".into()));
    talk.service.tick(NOW + 196);
    assert_eq!(talk.refused(&op), (-32503, "expires too soon".into()));
    talk.service.tick(NOW + 300);
    assert_eq!(talk.refused(&op), (-32503, "expires too soon".into()));
    let estimated = op.clone();
    talk.estimate(&mut op).unwrap();
    assert_eq!(op.signature, estimated.signature);
    // in time
    let mut talk = Talk::deployed();
    talk.service.tick(NOW + 100);
    talk.send(&estimated).unwrap();
}

#[test]
fn a_call_that_reverts_is_refused_in_estimation_and_mined_without_success_when_sent() {
    let mut talk = Talk::deployed();
    let nothing = Call { to: DEMO_NFT, value: U256::ZERO, data: mintCall { to: Address::ZERO }.abi_encode().into() };
    let mut op = talk.draft(AccountCall::Execute(nothing).encode());
    op.signature = signature::sudo(&DUMMY_SIGNATURE);
    let fault = talk.estimate(&mut op).unwrap_err();
    assert_eq!(fault.code, -32521);
    assert!(fault.message.starts_with(&simulated("0x08c379a0")), "{}", fault.message);
    (op.call_gas_limit, op.verification_gas_limit) = (U256::from(100_000), U256::from(200_000));
    op.pre_verification_gas = U256::from(60_000);
    op.signature = signature::sudo(&message(&talk.owner, op.hash(ENTRY_POINT, CHAIN_ID)));
    let hash = talk.send(&op).unwrap();
    let receipt = talk.get("eth_getUserOperationReceipt", json!([hash]));
    assert_eq!(receipt["success"], json!(false));
    assert!(receipt["reason"].as_str().unwrap().starts_with("0x08c379a0"));
}

#[test]
fn what_the_entry_point_refuses_keeps_its_code() {
    let mut talk = Talk::deployed();
    let call = AccountCall::Execute(mint_to(STRANGER)).encode();
    let resigned = |talk: &Talk, mut op: UserOperation| {
        op.signature = signature::sudo(&message(&talk.owner, op.hash(ENTRY_POINT, CHAIN_ID)));
        op
    };
    let good = talk.sudo_op(call);
    let tries = [
        (UserOperation { nonce: good.nonce + U256::from(3), ..good.clone() }, -32500, "AA25 invalid account nonce"),
        (
            UserOperation { init_code: talk.seed.init_code(KernelVersion::V0_2_4), ..good.clone() },
            -32500,
            "AA10 sender already constructed",
        ),
        (UserOperation { sender: STRANGER, ..good.clone() }, -32500, "AA20 account not deployed"),
        (
            UserOperation { paymaster_and_data: STRANGER.as_slice().to_vec().into(), ..good.clone() },
            -32501,
            "AA30 paymaster not deployed",
        ),
        (
            UserOperation { paymaster_and_data: SPONSOR.as_slice().to_vec().into(), ..good.clone() },
            -32501,
            "AA33 reverted: Sponsor: malformed paymasterAndData",
        ),
        (
            UserOperation { paymaster_and_data: DEMO_NFT.as_slice().to_vec().into(), ..good.clone() },
            -32508,
            "AA31 paymaster deposit too low",
        ),
        (
            UserOperation { paymaster_and_data: Bytes::from_static(&[1; 19]), ..good.clone() },
            -32500,
            "AA93 invalid paymasterAndData",
        ),
        (
            UserOperation { max_fee_per_gas: U256::from(1_000_000 * GWEI), ..good.clone() },
            -32500,
            "AA21 didn't pay prefund",
        ),
    ];
    for (op, code, text) in tries {
        let op = resigned(&talk, op);
        assert_eq!(talk.refused(&op), (code, simulated(text)));
    }
    // before the EntryPoint is asked
    let cheap =
        UserOperation { max_fee_per_gas: U256::from(7), max_priority_fee_per_gas: U256::from(7), ..good.clone() };
    assert_eq!(talk.refused(&cheap).0, -32602);
    let greedy = UserOperation { call_gas_limit: U256::MAX, ..good.clone() };
    assert_eq!(talk.refused(&greedy).0, -32602);
    talk.send(&good).unwrap();
}

#[test]
fn operations_of_another_version_or_entry_point_are_not_taken() {
    let mut talk = Talk::deployed();
    let op = talk.sudo_op(Bytes::new());
    let mut newer = json!(op);
    newer["paymasterVerificationGasLimit"] = Value::Null;
    let mut partial = json!(op);
    partial.as_object_mut().unwrap().remove("callData");
    for params in
        [json!([newer, ENTRY_POINT]), json!([op, STRANGER]), json!([op]), json!([partial, ENTRY_POINT]), json!({})]
    {
        for method in ["eth_sendUserOperation", "eth_estimateUserOperationGas"] {
            assert_eq!(talk.ask(method, params.clone()).unwrap_err().code, -32602, "{params}");
        }
    }
    assert_eq!(talk.ask("pm_getPaymasterData", json!([op, ENTRY_POINT, "0x1", {}])).unwrap_err().code, -32602);
    assert_eq!(talk.ask("eth_mining", json!([])).unwrap_err().code, -32601);
}

#[test]
fn the_owner_acts_without_a_bundler() {
    let mut talk = Talk::deployed();
    let (me, owner) = (talk.account(), talk.owner.clone());
    let call = AccountCall::Execute(mint_to(me)).encode();
    let estimate = talk.get("eth_estimateGas", json!([{ "from": owner.address(), "to": me, "data": call }]));
    let gas: U256 = serde_json::from_value(estimate).unwrap();
    let signed = |nonce, chain_id| {
        let transaction = TxEip1559 {
            chain_id,
            nonce,
            gas_limit: gas.to(),
            max_fee_per_gas: 2_000_000_000,
            max_priority_fee_per_gas: 1,
            to: TxKind::Call(me),
            input: call.clone(),
            ..TxEip1559::default()
        };
        let signature = owner.sign_hash_sync(&transaction.signature_hash()).unwrap();
        let envelope: TxEnvelope = transaction.into_signed(signature).into();
        (*envelope.tx_hash(), Bytes::from(envelope.encoded_2718()))
    };
    let (hash, raw) = signed(0, CHAIN_ID);
    assert!(talk.ask("eth_sendRawTransaction", json!([raw])).is_err(), "the owner has no money");
    talk.service.fund(owner.address(), U256::from(1_000_000 * GWEI));
    assert!(talk.ask("eth_sendRawTransaction", json!([signed(1, CHAIN_ID).1])).is_err(), "a nonce too high");
    assert!(talk.ask("eth_sendRawTransaction", json!([signed(0, 1).1])).is_err(), "for another chain");
    assert!(talk.ask("eth_sendRawTransaction", json!(["0x02c0"])).is_err());
    assert_eq!(talk.get("eth_sendRawTransaction", json!([raw])), json!(hash));
    let receipt = talk.get("eth_getTransactionReceipt", json!([hash]));
    assert_eq!((&receipt["status"], &receipt["effectiveGasPrice"]), (&json!("0x1"), &json!("0x3b9aca01")));
    assert_eq!(talk.get("eth_getTransactionCount", json!([owner.address(), "pending"])), json!("0x1"));
    assert!(talk.ask("eth_sendRawTransaction", json!([raw])).unwrap_err().message.contains("already known"));
}

#[test]
fn a_call_that_reverts_carries_its_data() {
    let mut talk = Talk::deployed();
    let me = talk.account();
    let call = |from: Address, data: Vec<u8>| json!([{ "from": from, "to": me, "data": Bytes::from(data) }, "latest"]);
    let fault = talk.ask("eth_call", call(STRANGER, AccountCall::Execute(mint_to(me)).encode().to_vec())).unwrap_err();
    assert_eq!((fault.code, fault.data), (3, Some(json!("0x7046c88d"))));
    let refused = json!([{ "to": DEMO_NFT, "data": Bytes::from(mintCall { to: Address::ZERO }.abi_encode()) }]);
    for method in ["eth_call", "eth_estimateGas"] {
        let fault = talk.ask(method, refused.clone()).unwrap_err();
        assert_eq!((fault.code, fault.message.as_str()), (3, "execution reverted: DemoNft: no recipient"));
    }
}

#[test]
fn the_node_tells_of_blocks_balances_and_prices() {
    let mut talk = Talk::deployed();
    let me = talk.account();
    assert_eq!(talk.get("eth_chainId", json!([])), json!(format!("0x{CHAIN_ID:x}")));
    let newest = talk.get("eth_blockNumber", json!([]));
    let block = talk.get("eth_getBlockByNumber", json!(["latest", true]));
    assert_eq!((&block["number"], &block["timestamp"]), (&newest, &json!(format!("0x{NOW:x}"))));
    assert_eq!(block["transactions"][0]["to"], json!(ENTRY_POINT));
    assert_eq!(talk.get("eth_getBlockByHash", json!([block["hash"], false]))["number"], newest);
    assert_eq!(talk.get("eth_getBlockByNumber", json!(["0xffff", false])), Value::Null);
    let balance: U256 = serde_json::from_value(talk.get("eth_getBalance", json!([me, newest]))).unwrap();
    assert!(balance > U256::ZERO);
    let slot = account::IMPLEMENTATION_SLOT;
    let implementation = talk.get("eth_getStorageAt", json!([me, slot, "latest"]));
    assert_eq!(implementation, json!(KernelVersion::V0_2_4.implementation().into_word()));
    // only the newest state is kept
    assert_eq!(talk.ask("eth_getBalance", json!([me, "0x1"])).unwrap_err().code, -32000);
    assert_eq!(talk.ask("eth_call", json!([{ "to": me }, "0xfff"])).unwrap_err().code, -32000);
    let history = talk.get("eth_feeHistory", json!(["0x5", "latest", [50.0, 90.0]]));
    assert_eq!(history["baseFeePerGas"].as_array().unwrap().len(), history["reward"].as_array().unwrap().len() + 1);
    for malformed in [json!([]), json!(["0xzz", "latest"]), json!([7, 7]), json!("x")] {
        assert!(talk.ask("eth_getBalance", malformed).is_err());
    }
}

#[test]
fn blocks_follow_the_time_at_their_pace() {
    let mut service = Service::new(NOW).unwrap();
    let newest = |service: &Service| service.chain().latest().unwrap().clone();
    let kept = service.revision();
    let first = newest(&service).number;
    service.tick(NOW + 5);
    assert_eq!((newest(&service).number, service.revision()), (first, kept));
    service.tick(NOW + 13);
    assert_eq!((newest(&service).number, newest(&service).timestamp), (first + 1, NOW + 13));
    assert!(service.revision() > kept);
    // moved ahead, it stays ahead of the clock
    service.advance(1000);
    service.tick(NOW + 20);
    assert_eq!(newest(&service).timestamp, NOW + 1013);
    service.tick(NOW + 30);
    assert_eq!(newest(&service).timestamp, NOW + 1030);
    // an empty block does not outdate the state
    let question = json!([SPONSOR, format!("0x{first:x}")]);
    service.answer("eth_getBalance", &question).unwrap();
}

#[test]
fn a_sandbox_is_kept_and_found_again() {
    let mut talk = Talk::deployed();
    let kept = talk.service.to_json().unwrap();
    talk.service = Service::from_json(&kept).unwrap();
    let op = talk.sudo_op(AccountCall::Execute(mint_to(STRANGER)).encode());
    talk.send(&op).unwrap();
    assert_eq!(talk.call(DEMO_NFT, ownerOfCall { id: U256::from(2) }), STRANGER);
    let foreign = kept.replacen(&format!("\"chain_id\":{CHAIN_ID}"), "\"chain_id\":1", 1);
    assert!(Service::from_json(&foreign).is_err());
}

#[test]
fn no_parameters_make_it_panic() {
    use proptest::{
        prelude::*,
        test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
    };

    const METHODS: [&str; 24] = [
        "eth_chainId",
        "eth_blockNumber",
        "eth_getBlockByNumber",
        "eth_getBlockByHash",
        "eth_getBalance",
        "eth_getCode",
        "eth_getStorageAt",
        "eth_getTransactionCount",
        "eth_call",
        "eth_estimateGas",
        "eth_gasPrice",
        "eth_feeHistory",
        "eth_sendRawTransaction",
        "eth_getTransactionByHash",
        "eth_getTransactionReceipt",
        "eth_getLogs",
        "eth_supportedEntryPoints",
        "eth_estimateUserOperationGas",
        "eth_sendUserOperation",
        "eth_getUserOperationByHash",
        "eth_getUserOperationReceipt",
        "pimlico_getUserOperationGasPrice",
        "pm_getPaymasterStubData",
        "pm_getPaymasterData",
    ];
    let mut talk = Talk::deployed();
    let op = json!(talk.sudo_op(Bytes::new()));
    let block = talk.get("eth_getBlockByNumber", json!(["latest", false]))["hash"].clone();
    let service = talk.service;
    let word = prop_oneof![
        Just(Value::Null),
        Just(json!("latest")),
        Just(json!("0x")),
        Just(json!("0x0")),
        Just(json!("0x1")),
        Just(json!(format!("0x{}", "f".repeat(64)))),
        Just(json!(format!("0x{}", "f".repeat(16)))),
        Just(json!(ENTRY_POINT)),
        Just(json!(SPONSOR)),
        Just(json!(format!("0x{CHAIN_ID:x}"))),
        Just(block),
        any::<u64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        "\\PC{0,8}".prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
    ];
    let fields = prop::sample::select(vec![
        "from",
        "to",
        "data",
        "input",
        "value",
        "gas",
        "fromBlock",
        "toBlock",
        "address",
        "topics",
        "blockHash",
        "blockNumber",
    ]);
    // an operation with one field that is something else
    let changed = (any::<prop::sample::Index>(), word.clone()).prop_map(move |(index, value)| {
        let mut op = op.clone();
        let names: Vec<String> = op.as_object().unwrap().keys().cloned().collect();
        op[index.get(&names)] = value;
        op
    });
    let object = prop::collection::btree_map(fields, word.clone(), 0..5).prop_map(|map| json!(map));
    let list = prop::collection::vec(word.clone(), 0..4).prop_map(Value::from);
    let params = prop::collection::vec(prop_oneof![4 => word, 2 => object, 1 => list, 2 => changed], 0..4);
    let config = Config { cases: 1500, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[11; 32]);
    let calls = (prop::sample::select(METHODS.to_vec()), params);
    TestRunner::new_with_rng(config, rng)
        .run(&calls, |(method, params)| {
            let mut service = service.clone();
            let _ = service.answer(method, &Value::from(params));
            Ok(())
        })
        .unwrap();
}
