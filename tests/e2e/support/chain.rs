//! A real node (anvil) with the deployed contracts replayed on it, a VerifyingPaymaster, and contracts to act on.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use alloy::{
    primitives::{Address, Bytes, U256},
    signers::local::PrivateKeySigner,
    sol_types::{SolCall, SolValue},
};
use keyleash::erc4337::v06::{ENTRY_POINT, UserOperation};
use serde_json::{Value, json};

use super::{
    here, log_file,
    process::{Supervised, free_port, tail},
    rpc::{self, RpcError},
    wait_for,
};

/// Anvil's chain id, the one the vectors and the SDK scripts use as well.
pub const CHAIN_ID: u64 = 31_337;

/// Wei in one ether.
pub const ETHER: u128 = 1_000_000_000_000_000_000;

/// Anvil's well-known development keys, by position.
const DEVELOPMENT_KEYS: [&str; 10] = [
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    "47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    "8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
    "92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
    "4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356",
    "dbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97",
    "2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6",
];

/// Who has which development key: 0 sends set-up transactions, 1 signs for the paymaster, 8 and 9 are the bundler's; 2 to 7 are owners.
pub const DEPLOYER: usize = 0;
pub const PAYMASTER_SIGNER: usize = 1;
pub const OWNERS: std::ops::Range<usize> = 2..8;
pub const BUNDLER_EXECUTOR: usize = 8;
pub const BUNDLER_UTILITY: usize = 9;

/// A development key, as 64 hex digits.
pub fn development_key(position: usize) -> &'static str {
    DEVELOPMENT_KEYS[position]
}

pub fn development_signer(position: usize) -> PrivateKeySigner {
    development_key(position).parse().expect("a development key")
}

alloy::sol! {
    struct WireUserOperation {
        address sender; uint256 nonce; bytes initCode; bytes callData; uint256 callGasLimit; uint256 verificationGasLimit;
        uint256 preVerificationGas; uint256 maxFeePerGas; uint256 maxPriorityFeePerGas; bytes paymasterAndData; bytes signature;
    }

    function getHash(WireUserOperation userOp, uint48 validUntil, uint48 validAfter) returns (bytes32);
    function deposit();
    function addStake(uint32 unstakeDelaySec);
    function getNonce(address sender, uint192 key) returns (uint256);
    function handleOps(WireUserOperation[] ops, address beneficiary);
    function balanceOf(address account) returns (uint256);
    function nonces(address account) returns (uint128 lastNonce, uint128 invalidNonce);
    function sessionData(address sessionKey, address account)
        returns (bytes32 merkleRoot, uint48 validAfter, uint48 validUntil, address paymaster, uint256 nonce);

    // The contracts of tests/e2e/contracts.
    function mint(address to);
    function transfer(address to, uint256 amount);
    function approve(address spender, uint256 amount);
    function count(address account) returns (uint256);
    function last() returns (uint256);
    function tick();
    function set(uint256 value);
    function pay();
    function note(string text);
    function boom();
    function broke();
    function silent();
    function mark();
}

/// The contracts that session keys act on; sources in tests/e2e/contracts.
#[derive(Debug, Clone, Copy)]
pub struct Targets {
    pub nft: Address,
    pub token: Address,
    pub board: Address,
    pub reverter: Address,
    pub mark: Address,
}

pub struct Chain {
    /// Node RPC, `http://127.0.0.1:PORT`.
    pub url: String,
    /// VerifyingPaymaster of @account-abstraction/contracts 0.6.0, with deposit and stake.
    pub paymaster: Address,
    pub targets: Targets,
    /// Held while a transaction is handed in: the node gives out the nonces of its accounts one by one.
    sending: Mutex<()>,
    _anvil: Supervised,
    _states: tempfile::TempDir,
}

/// The node's own binary, without the npm shim around it.
pub fn anvil() -> PathBuf {
    let platform = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("macos", "aarch64") => "darwin-arm64",
        ("macos", _) => "darwin-amd64",
        (_, "aarch64") => "linux-arm64",
        _ => "linux-amd64",
    };
    here(&format!("js/tools/node_modules/@foundry-rs/anvil-{platform}/bin/anvil"))
}

/// The recorded deployments of the real contracts, which stay outside this project.
pub fn deployments() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/chain/deployments.json")
}

impl From<&UserOperation> for WireUserOperation {
    fn from(op: &UserOperation) -> Self {
        Self {
            sender: op.sender,
            nonce: op.nonce,
            initCode: op.init_code.clone(),
            callData: op.call_data.clone(),
            callGasLimit: op.call_gas_limit,
            verificationGasLimit: op.verification_gas_limit,
            preVerificationGas: op.pre_verification_gas,
            maxFeePerGas: op.max_fee_per_gas,
            maxPriorityFeePerGas: op.max_priority_fee_per_gas,
            paymasterAndData: op.paymaster_and_data.clone(),
            signature: op.signature.clone(),
        }
    }
}

impl Chain {
    pub fn start() -> Self {
        let mut chain = Self::with_deployments(None);
        chain.deploy_targets();
        chain.deploy_paymaster();
        chain
    }

    /// A node of its own with the real contracts and nothing else, whose clock starts at `timestamp` where one is given.
    pub fn with_deployments(timestamp: Option<u64>) -> Self {
        let port = free_port();
        let log = log_file(&format!("anvil-{port}"));
        let chain_id = CHAIN_ID.to_string();
        let port_text = port.to_string();
        let timestamp = timestamp.map(|t| t.to_string());
        let mut args = vec!["--host", "127.0.0.1", "--port", &port_text, "--chain-id", &chain_id, "--silent"];
        args.extend(timestamp.iter().flat_map(|t| ["--timestamp", t.as_str()]));
        // Old states that anvil writes to disk would stay in the home of whoever runs the tests.
        let states = tempfile::tempdir().expect("a folder for a chain's old states");
        args.extend(["--cache-path", states.path().to_str().expect("a path in UTF-8")]);
        let anvil = Supervised::start(&anvil(), &args, &log);
        let url = format!("http://127.0.0.1:{port}");
        wait_for(60, || rpc::call(&url, "eth_chainId", json!([])).ok())
            .unwrap_or_else(|| panic!("anvil does not answer; its log ends with:\n{}", tail(&log)));

        let nowhere = Targets {
            nft: Address::ZERO,
            token: Address::ZERO,
            board: Address::ZERO,
            reverter: Address::ZERO,
            mark: Address::ZERO,
        };
        let chain = Self {
            url,
            paymaster: Address::ZERO,
            targets: nowhere,
            sending: Mutex::new(()),
            _anvil: anvil,
            _states: states,
        };
        chain.replay_deployments();
        chain
    }

    fn replay_deployments(&self) {
        for item in read_json(&deployments()).as_array().expect("a list of deployments") {
            if item["kind"] == "call" {
                let from = item["from"].as_str().and_then(|a| a.parse().ok()).expect("a sender");
                self.fund(from, 10 * ETHER);
                self.rpc("anvil_impersonateAccount", json!([from]));
                self.transact(json!({ "from": from, "to": item["to"], "value": item["value"], "data": item["data"] }));
                self.rpc("anvil_stopImpersonatingAccount", json!([from]));
            } else {
                let text = |key: &str| item[key].as_str().expect("a hex string");
                let data = format!("{}{}", text("salt"), text("initCode").trim_start_matches("0x"));
                self.transact(json!({
                    "from": development_signer(DEPLOYER).address(), "to": item["deployer"], "data": data, "gas": "0xe4e1c0",
                }));
                let address = text("address").parse().expect("an address");
                assert!(!self.code(address).is_empty(), "{} did not land on {address}", item["name"]);
            }
        }
    }

    pub fn deploy_targets(&mut self) {
        let built = read_json(&here("contracts/targets.json"));
        let deploy = |name: &str| self.deploy(&bytecode(&built[name]), &[]);
        self.targets = Targets {
            nft: deploy("Nft"),
            token: deploy("Token"),
            board: deploy("Board"),
            reverter: deploy("Reverter"),
            mark: deploy("Mark"),
        };
    }

    pub fn deploy_paymaster(&mut self) {
        self.paymaster = self.deploy_verifying_paymaster();
    }

    /// One more VerifyingPaymaster, with 100 ether of deposit and a stake.
    pub fn deploy_verifying_paymaster(&self) -> Address {
        let artifact =
            read_json(&here("js/tools/node_modules/@account-abstraction/contracts/artifacts/VerifyingPaymaster.json"));
        let signer = development_signer(PAYMASTER_SIGNER).address();
        let paymaster = self.deploy(&bytecode(&artifact), &(ENTRY_POINT, signer).abi_encode());
        let from = development_signer(DEPLOYER).address();
        let calls = [
            (depositCall {}.abi_encode(), 100 * ETHER),
            (addStakeCall { unstakeDelaySec: 86_400 }.abi_encode(), ETHER),
        ];
        for (data, value) in calls {
            self.send_as(from, paymaster, U256::from(value), data.into());
        }
        paymaster
    }

    fn deploy(&self, code: &[u8], arguments: &[u8]) -> Address {
        let data = Bytes::from([code, arguments].concat());
        let from = development_signer(DEPLOYER).address();
        let receipt = self.transact(json!({ "from": from, "data": data, "gas": "0x5b8d80" }));
        receipt["contractAddress"].as_str().and_then(|a| a.parse().ok()).expect("a contract address")
    }

    /// A call of the node's RPC that has to work.
    pub fn rpc(&self, method: &str, params: Value) -> Value {
        rpc::call(&self.url, method, params).unwrap_or_else(|e| panic!("{method}: {e}"))
    }

    /// Sends from an unlocked or impersonated account, waits, and insists on success. The receipt.
    pub fn transact(&self, transaction: Value) -> Value {
        let hash = {
            let _turn = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
            self.rpc("eth_sendTransaction", json!([transaction]))
        };
        let receipt = wait_for(30, || {
            Some(self.rpc("eth_getTransactionReceipt", json!([hash]))).filter(|receipt| !receipt.is_null())
        })
        .expect("a mined transaction");
        assert_eq!(receipt["status"], "0x1", "transaction {hash} reverted");
        receipt
    }

    /// The same, in words. `from` is a development account.
    pub fn send_as(&self, from: Address, to: Address, value: U256, data: Bytes) -> Value {
        self.transact(json!({ "from": from, "to": to, "value": value, "data": data }))
    }

    /// Bundles an operation oneself, as any agent can: straight to the EntryPoint, past every bundler's checks.
    pub fn handle_op(&self, op: WireUserOperation) {
        let from = development_signer(DEPLOYER).address();
        let call = handleOpsCall { ops: vec![op], beneficiary: from };
        self.send_as(from, ENTRY_POINT, U256::ZERO, call.abi_encode().into());
    }

    /// Sets a balance, in wei.
    pub fn fund(&self, address: Address, wei: u128) {
        self.rpc("anvil_setBalance", json!([address, U256::from(wei)]));
    }

    /// Wei.
    pub fn balance(&self, address: Address) -> U256 {
        parse(self.rpc("eth_getBalance", json!([address, "latest"])))
    }

    pub fn code(&self, address: Address) -> Bytes {
        parse(self.rpc("eth_getCode", json!([address, "latest"])))
    }

    /// Time of the newest block, unix seconds.
    pub fn now(&self) -> u64 {
        let block = self.rpc("eth_getBlockByNumber", json!(["latest", false]));
        parse::<U256>(block["timestamp"].clone()).to()
    }

    /// An empty block.
    pub fn mine(&self) {
        self.rpc("evm_mine", json!([]));
    }

    /// `eth_call` of a view function.
    pub fn view<C: SolCall>(&self, to: Address, call: &C) -> C::Return {
        let data = self.try_call(to, call.abi_encode().into()).unwrap_or_else(|e| panic!("{}: {e}", C::SIGNATURE));
        C::abi_decode_returns(&data).unwrap_or_else(|e| panic!("{} answered {data}: {e}", C::SIGNATURE))
    }

    pub fn try_call(&self, to: Address, data: Bytes) -> Result<Bytes, RpcError> {
        rpc::call(&self.url, "eth_call", json!([{ "to": to, "data": data }, "latest"])).map(parse)
    }
}

/// A value of the node's answer.
pub fn parse<T: serde::de::DeserializeOwned>(value: Value) -> T {
    let text = value.to_string();
    serde_json::from_value(value).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn read_json(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn bytecode(artifact: &Value) -> Bytes {
    artifact["bytecode"].as_str().and_then(|code| code.parse().ok()).expect("bytecode in the artifact")
}
