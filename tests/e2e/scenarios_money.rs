//! What an operation may cost, and that it is paid once: nodes, bundlers and paymaster services that lie about prices, nonces,
//! results and promises, in front of real ones.

use std::sync::{Arc, Mutex};

use alloy::primitives::{Address, U256};
use keyleash::{erc4337::v06::UserOperation, protocol::kernel_v2::generation::KernelVersion};
use serde_json::{Value, json};

use crate::support::{
    World,
    account::{TestAccount, session_key},
    chain::{CHAIN_ID, ETHER, parse},
    keyleash::{ACCOUNT, Keyleash, Outcome},
    rpc::{self, RpcError},
    world,
};

const GWEI: u128 = 1_000_000_000;

type Answer = Result<Value, RpcError>;

/// A service in front of a real one: `lie` gets each request and the true answer.
struct Liar {
    url: String,
    heard: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Liar {
    fn before(real: &str, lie: impl Fn(&str, &Value, &dyn Fn() -> Answer) -> Answer + Send + Sync + 'static) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (real, notes) = (real.to_owned(), Arc::clone(&heard));
        let url = rpc::serve(move |method, params| {
            notes.lock().expect("the notes").push((method.to_owned(), params.clone()));
            lie(method, params, &|| rpc::call(&real, method, params.clone()))
        });
        Self { url, heard }
    }

    fn honest(real: &str) -> Self {
        Self::before(real, |_, _, truth| truth())
    }

    fn heard(&self, method: &str) -> Vec<Value> {
        let heard = self.heard.lock().expect("the notes");
        heard.iter().filter(|(m, _)| m == method).map(|(_, params)| params.clone()).collect()
    }

    /// The operations that it was sent.
    fn operations(&self) -> Vec<UserOperation> {
        self.heard("eth_sendUserOperation").into_iter().map(|params| operation(&params[0])).collect()
    }
}

fn operation(sent: &Value) -> UserOperation {
    let field = |name: &str| sent[name].clone();
    UserOperation {
        sender: parse(field("sender")),
        nonce: parse(field("nonce")),
        init_code: parse(field("initCode")),
        call_data: parse(field("callData")),
        call_gas_limit: parse(field("callGasLimit")),
        verification_gas_limit: parse(field("verificationGasLimit")),
        pre_verification_gas: parse(field("preVerificationGas")),
        max_fee_per_gas: parse(field("maxFeePerGas")),
        max_priority_fee_per_gas: parse(field("maxPriorityFeePerGas")),
        paymaster_and_data: parse(field("paymasterAndData")),
        signature: parse(field("signature")),
    }
}

/// An owner with a deployed account of 10 coins, who reaches the chain through these.
fn owner(world: &World, node: &str, bundler: &str, paymaster: Option<(&str, &str)>) -> (Keyleash, TestAccount) {
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    world.chain.fund(account.address, 10 * ETHER);
    let owner = Keyleash::bare();
    owner.ok(&["init", "--vault", "file"]);
    let chain_id = CHAIN_ID.to_string();
    let mut add = vec!["network", "add", "local", "--chain-id", &chain_id, "--rpc", node, "--bundler", bundler];
    if let Some((url, kind)) = paymaster {
        add.extend(["--paymaster", url, "--paymaster-kind", kind]);
    }
    owner.ok(&add);
    let key = owner.file("owner.key", account.owner_key());
    let address = account.address.to_string();
    owner.ok(&["account", "add", ACCOUNT, "--network", "local", "--address", &address, "--owner-key-file", &key]);
    (owner, account)
}

fn pay(to: Address) -> Vec<String> {
    ["send", "--as-owner", ACCOUNT, "--to", &to.to_string(), "--value", "1eth"].map(String::from).to_vec()
}

fn with(mut args: Vec<String>, more: &[&str]) -> Vec<String> {
    args.extend(more.iter().map(|m| (*m).to_owned()));
    args
}

/// Somebody nobody has paid yet.
fn stranger() -> Address {
    session_key().address()
}

fn hex(number: u128) -> Value {
    json!(format!("0x{number:x}"))
}

#[test]
fn k08_a_node_and_a_bundler_that_lie_about_prices_get_nothing_signed() {
    let Some(world) = world() else { return };
    for whole in [false, true] {
        // As it was done to us. `whole`: the node keeps its lie up in the block itself.
        let node = Liar::before(&world.chain.url, move |method, _, truth| match method {
            "eth_feeHistory" => {
                let price = hex(6000 * GWEI);
                Ok(json!({
                    "oldestBlock": "0x1", "baseFeePerGas": ["0x1", "0x1", "0x1"], "gasUsedRatio": [0.5, 0.5],
                    "reward": [[price, price], [price, price]],
                }))
            }
            "eth_maxPriorityFeePerGas" | "eth_gasPrice" => Ok(hex(6000 * GWEI)),
            "eth_getBlockByNumber" => truth().map(|mut block| {
                block["baseFeePerGas"] = if whole { json!("0x1") } else { hex(GWEI) };
                block
            }),
            _ => truth(),
        });
        let bundler = Liar::before(&world.bundler.url, |method, _, truth| match method {
            "eth_estimateUserOperationGas" => truth().map(|mut gas| {
                gas["preVerificationGas"] = hex(1_000_000);
                gas
            }),
            "pimlico_getUserOperationGasPrice" => {
                let tier = json!({ "maxFeePerGas": hex(6000 * GWEI), "maxPriorityFeePerGas": hex(6000 * GWEI) });
                Ok(json!({ "slow": tier, "standard": tier, "fast": tier }))
            }
            _ => truth(),
        });
        let (owner, account) = owner(world, &node.url, &bundler.url, None);
        let to = stranger();
        if whole {
            let refused = owner.run(&pay(to)).exits(8);
            assert_eq!(refused.error_code(), "limit.cap", "{refused:#?}");
            assert!(refused.message().contains("0.05 ETH (50000000000000000 wei)"), "{refused:#?}");
            // What is named would pass, and nothing else is needed for it; it says what it costs before anything is signed.
            let named = refused.hint().split("--max-cost ").nth(1).unwrap_or_default().to_owned();
            let plan = owner.ok(&with(pay(to), &["--max-cost", &named, "--dry-run"]));
            let most: U256 = plan["max_cost"].as_str().unwrap_or_default().parse().unwrap();
            let cap: U256 = plan["cap"].as_str().unwrap_or_default().parse().unwrap();
            assert!(most > U256::from(ETHER) && most <= cap, "{plan}");
            assert_eq!(plan["coin"], "ETH");
            owner.refused(&with(pay(to), &["--max-cost", "0.06eth"]), 8, "limit.max_cost");
            // A pause tries its other ways, and is held under the same cap.
            let refused = owner.run(&["revoke", ACCOUNT, "--panic"]).exits(8);
            assert!(refused.message().contains("Other routes tried"), "{refused:#?}");
        } else {
            owner.refused(&pay(to), 4, "chain.mismatch");
        }
        assert!(bundler.operations().is_empty(), "nothing was sent");
        assert!(node.heard("eth_sendRawTransaction").is_empty(), "nothing was sent");
        assert_eq!(world.chain.balance(account.address), U256::from(10 * ETHER));
    }
}

#[test]
fn k08_a_lie_in_the_fee_history_alone_does_not_stop_the_brake() {
    let Some(world) = world() else { return };
    let node = Liar::before(&world.chain.url, |method, _, truth| match method {
        "eth_feeHistory" => Ok(json!({
            "oldestBlock": "0x1", "baseFeePerGas": [hex(90_000 * GWEI), hex(90_000 * GWEI)], "gasUsedRatio": [0.5],
            "reward": [[hex(6000 * GWEI), hex(6000 * GWEI)]],
        })),
        _ => truth(),
    });
    let (owner, _account) = owner(world, &node.url, &world.bundler.url, None);
    owner.refused(&pay(stranger()), 4, "chain.mismatch");
    let paused = owner.ok(&["revoke", ACCOUNT, "--panic"]);
    assert_eq!(paused["success"], Value::Bool(true), "{paused}");
}

/// A bundler that refuses the first operation as AA25, and has it all the same.
fn refusing_the_first(world: &World) -> Liar {
    let refused = Mutex::new(false);
    Liar::before(&world.bundler.url, move |method, _, truth| {
        if method == "eth_sendUserOperation" && !std::mem::replace(&mut *refused.lock().expect("a flag"), true) {
            return Err(RpcError::new(-32500, "AA25 invalid account nonce"));
        }
        truth()
    })
}

#[test]
fn k09_a_refused_operation_and_its_retry_have_one_nonce_so_that_only_one_is_paid() {
    let Some(world) = world() else { return };
    let bundler = refusing_the_first(world);
    let (owner, _account) = owner(world, &world.chain.url, &bundler.url, None);
    let to = stranger();
    let refused = owner.run(&pay(to)).exits(4);
    assert!(refused.message().contains("signed; it can still be mined until its nonce is used"), "{refused:#?}");
    let plan = owner.ok(&with(pay(to), &["--dry-run"]));
    assert!(plan["replaces"].is_string(), "the plan says whose nonce it takes: {plan}");
    let done = owner.ok(&pay(to));
    assert_eq!(done["success"], Value::Bool(true), "{done}");
    let [kept, retried] = bundler.operations().try_into().expect("two operations");
    assert_eq!(kept.nonce, retried.nonce);
    // The one that was kept comes too late.
    let receipt = std::panic::catch_unwind(|| world.chain.handle_op((&kept).into()));
    assert!(receipt.is_err(), "its nonce is used");
    assert_eq!(world.chain.balance(to), U256::from(ETHER), "paid once");
}

#[test]
fn k09_a_refused_operation_that_was_mined_is_told_before_it_is_paid_again() {
    let Some(world) = world() else { return };
    let bundler = refusing_the_first(world);
    let (owner, _account) = owner(world, &world.chain.url, &bundler.url, None);
    let to = stranger();
    let refused = owner.run(&pay(to)).exits(4);
    let kept = bundler.operations().remove(0);
    world.chain.handle_op((&kept).into());
    assert_eq!(world.chain.balance(to), U256::from(ETHER));
    let message = owner.refused(&pay(to), 1, "send.mined_before");
    assert!(message.contains("was mined in transaction"), "{message}");
    assert_eq!(world.chain.balance(to), U256::from(ETHER), "paid once");
    let hash = refused.hint().split('`').nth(1).and_then(|c| c.split(' ').next_back()).unwrap_or_default().to_owned();
    let status = owner.ok(&["status", &hash]);
    assert_eq!(status["success"], Value::Bool(true), "the record knows it now: {status}");
    // Whoever wants it twice says so by asking again.
    owner.ok(&pay(to));
    assert_eq!(world.chain.balance(to), U256::from(2 * ETHER));
}

#[test]
fn k10_a_nonce_that_is_not_the_one_asked_for_is_a_lie() {
    const GET_NONCE: &str = "0x35567e1a";
    let Some(world) = world() else { return };
    let own = |params: &Value| -> U256 {
        let data = params[0]["data"].as_str().unwrap_or_default();
        U256::from_str_radix(data.get(74..138).unwrap_or_default(), 16).unwrap_or_default() << 64
    };
    let lies: [fn(U256) -> U256; 5] = [
        |_| U256::ZERO,
        |_| U256::from(77) << 64,
        |first| first + U256::from(9),
        |_| U256::MAX,
        |first| first + U256::ONE,
    ];
    for (i, lie) in lies.into_iter().enumerate() {
        let node = Liar::before(&world.chain.url, move |method, params, truth| {
            let asked = params[0]["data"].as_str().is_some_and(|data| data.starts_with(GET_NONCE));
            // The account's picture reads key 0; an owner's operation has a key of its own.
            match method == "eth_call" && asked && !own(params).is_zero() {
                true => Ok(json!(format!("0x{:064x}", lie(own(params))))),
                false => truth(),
            }
        });
        let bundler = Liar::honest(&world.bundler.url);
        let (owner, _account) = owner(world, &node.url, &bundler.url, None);
        let message = owner.refused(&pay(stranger()), 4, "chain.mismatch");
        assert!(message.contains("nonce"), "lie {i}: {message}");
        assert!(bundler.operations().is_empty(), "lie {i}: nothing was sent");
        // There is only one right answer, and the brake knows it by itself.
        let paused = owner.ok(&["revoke", ACCOUNT, "--panic", "--via", "bundler"]);
        assert_eq!(paused["success"], Value::Bool(true), "lie {i}: {paused}");
    }
}

/// A payment whose receipt the bundler changes.
fn paid_with(world: &World, change: fn(&mut Value)) -> Outcome {
    let bundler = Liar::before(&world.bundler.url, move |method, _, truth| {
        let mut answer = truth()?;
        if method == "eth_getUserOperationReceipt" && !answer.is_null() {
            change(&mut answer);
        }
        Ok(answer)
    });
    let (owner, _account) = owner(world, &world.chain.url, &bundler.url, None);
    owner.run(&pay(stranger()))
}

#[test]
fn k11_a_success_is_the_nodes_word_too() {
    let Some(world) = world() else { return };
    let honest = paid_with(world, |_| {}).exits(0);
    assert_eq!(honest.data()["success"], Value::Bool(true));

    let said_to_fail = paid_with(world, |receipt| {
        receipt["success"] = json!(false);
        for log in receipt["receipt"]["logs"].as_array_mut().expect("logs") {
            let data = log["data"].as_str().unwrap_or_default().to_owned();
            if data.len() == 2 + 4 * 64 {
                log["data"] = json!(format!("{}{:064x}{}", &data[..66], 0, &data[130..]));
            }
        }
    });
    assert_eq!((said_to_fail.exit, said_to_fail.error_code()), (4, "chain.mismatch"), "{said_to_fail:#?}");

    let nowhere = paid_with(world, |receipt| {
        let made_up = json!(format!("0x{:064x}", 0xdead));
        receipt["receipt"]["transactionHash"] = made_up.clone();
        for log in receipt["receipt"]["logs"].as_array_mut().expect("logs") {
            log["transactionHash"] = made_up.clone();
        }
    })
    .exits(0);
    assert_eq!(nowhere.data()["success"], Value::Null, "not known: {nowhere:#?}");
    let note = nowhere.data()["note"].as_str().unwrap_or_default();
    assert!(note.contains("the bundler says") && note.contains("does not have it yet"), "{nowhere:#?}");
}

/// Puts another paymaster's address into a promise.
fn names(answer: &mut Value, paymaster: Address) {
    let data = answer["paymasterAndData"].as_str().unwrap_or_default().to_owned();
    answer["paymasterAndData"] = json!(format!("{paymaster:#x}{}", data.get(42..).unwrap_or_default()));
}

#[test]
fn k12_a_paymaster_service_that_starves_the_call_or_names_nobody_is_refused() {
    let Some(world) = world() else { return };
    let sponsored = |lie: fn(&mut Value, Address), kind: &str| {
        let account = Arc::new(Mutex::new(Address::ZERO));
        let own = Arc::clone(&account);
        let service = Liar::before(&world.paymaster.url, move |method, _, truth| {
            let mut answer = truth()?;
            if method.contains("ponsor") || method.contains("aymaster") {
                lie(&mut answer, *own.lock().expect("the account"));
            }
            Ok(answer)
        });
        let bundler = Liar::honest(&world.bundler.url);
        let (owner, made) = owner(world, &world.chain.url, &bundler.url, Some((&service.url, kind)));
        *account.lock().expect("the account") = made.address;
        let outcome = owner.run(&pay(stranger()));
        assert!(outcome.exit == 0 || bundler.operations().is_empty(), "nothing was sent: {outcome:#?}");
        outcome
    };
    for kind in ["erc7677", "pimlico", "zerodev"] {
        sponsored(|_, _| {}, kind).exits(0);
        let own_account = sponsored(names, kind);
        assert_eq!((own_account.exit, own_account.error_code()), (4, "chain.malformed"), "{own_account:#?}");
        let nobody = sponsored(|answer, _| names(answer, Address::repeat_byte(0xab)), kind);
        assert_eq!((nobody.exit, nobody.error_code()), (4, "paymaster.no_code"), "{nobody:#?}");
    }
    for kind in ["pimlico", "zerodev"] {
        let starved = sponsored(|answer, _| answer["callGasLimit"] = json!("0x1"), kind);
        assert_eq!((starved.exit, starved.error_code()), (4, "chain.mismatch"), "{starved:#?}");
        assert!(starved.message().contains("callGasLimit"), "{starved:#?}");
    }
}
