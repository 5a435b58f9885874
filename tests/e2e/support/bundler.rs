//! A real ERC-4337 bundler (alto), started the one way that works on a local node (docs/kernel-v2.md#a-local-chain).

use std::path::{Path, PathBuf};

use alloy::primitives::{B256, U256};
use keyleash::erc4337::v06::{ENTRY_POINT, UserOperation};
use serde_json::{Value, json};

use super::{
    chain::{self, BUNDLER_EXECUTOR, BUNDLER_UTILITY, Chain, development_key, parse},
    here, log_file,
    process::{Supervised, free_port, tail},
    rpc::{self, RpcError},
    wait_for,
};

/// The bundler's entry script.
pub fn alto() -> PathBuf {
    here("js/tools/node_modules/@pimlico/alto/esm/cli/alto.js")
}

pub struct Bundler {
    /// Bundler RPC, `http://127.0.0.1:PORT`.
    pub url: String,
    _alto: Supervised,
}

impl Bundler {
    pub fn start(chain: &Chain) -> Self {
        let port = free_port().to_string();
        let log = log_file("alto");
        let preload = here("js/loopback.cjs");
        let script = alto();
        let key = |position| format!("0x{}", development_key(position));
        let options = [
            ("--entrypoints", ENTRY_POINT.to_string()),
            ("--rpc-url", chain.url.clone()),
            ("--port", port.clone()),
            ("--executor-private-keys", key(BUNDLER_EXECUTOR)),
            ("--utility-private-key", key(BUNDLER_UTILITY)),
            ("--safe-mode", "false".into()),
            ("--bundle-mode", "auto".into()),
            ("--enable-debug-endpoints", "true".into()),
            ("--utility-wallet-monitor", "false".into()),
            ("--block-time", "200".into()),
            ("--min-bundle-interval", "10".into()),
            ("--max-bundle-interval", "50".into()),
            ("--static-max-priority-fee-per-gas", "1".into()),
            ("--log-level", "warn".into()),
        ];
        let paths = [preload.to_str().expect("a UTF-8 path"), script.to_str().expect("a UTF-8 path")];
        let mut args = vec!["--require", paths[0], paths[1], "run"];
        args.extend(options.iter().flat_map(|(name, value)| [*name, value.as_str()]));
        let process = Supervised::start(Path::new("node"), &args, &log);
        let url = format!("http://127.0.0.1:{port}");
        wait_for(120, || rpc::call(&url, "eth_supportedEntryPoints", json!([])).ok())
            .unwrap_or_else(|| panic!("the bundler does not answer; its log ends with:\n{}", tail(&log)));
        Self { url, _alto: process }
    }

    pub fn rpc(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        rpc::call(&self.url, method, params)
    }

    /// `(maxFeePerGas, maxPriorityFeePerGas)` that it takes now, wei.
    pub fn fees(&self) -> (U256, U256) {
        let fees = self.rpc("pimlico_getUserOperationGasPrice", json!([])).expect("gas prices");
        let fast = |name: &str| parse(fees["fast"][name].clone());
        (fast("maxFeePerGas"), fast("maxPriorityFeePerGas"))
    }

    /// Hands an operation in; its hash must be the one we compute.
    pub fn send(&self, op: &UserOperation) -> Result<B256, RpcError> {
        let hash: B256 = parse(self.rpc("eth_sendUserOperation", json!([op, ENTRY_POINT]))?);
        assert_eq!(hash, op.hash(ENTRY_POINT, chain::CHAIN_ID), "the bundler's userOpHash");
        Ok(hash)
    }

    /// Waits until it is mined; whether the account's call succeeded.
    pub fn succeeded(&self, user_op_hash: B256) -> bool {
        let receipt = wait_for(60, || {
            self.rpc("eth_getUserOperationReceipt", json!([user_op_hash])).ok().filter(|r| !r.is_null())
        })
        .unwrap_or_else(|| panic!("no receipt for {user_op_hash} within a minute"));
        receipt["success"].as_bool().expect("success in the receipt")
    }

    /// Hands in and waits; whether the account's call succeeded.
    pub fn run(&self, op: &UserOperation) -> Result<bool, RpcError> {
        self.send(op).map(|hash| self.succeeded(hash))
    }
}
