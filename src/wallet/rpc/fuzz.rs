//! Tests only: every reader of node, bundler and paymaster, fed with answers that are nearly right (tests/fuzz_inputs.rs says how).

use crate::{
    erc4337::v06::{ENTRY_POINT, UserOperation},
    mutate::{Rng, corpus, feed, inputs, mutate, mutated_text},
    protocol::{kernel_v2::snapshot::SnapshotRequest, query::LogQuery, query::Moment},
    wallet::{
        coin::{Coin, Limit},
        records::model::PaymasterKind,
    },
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use alloy::primitives::{Address, B256, Bytes, U256, aliases::U192};
use serde_json::{Value, json};

use super::{
    At, Bundler, CallRequest, ChainError, Endpoint, FeeCeiling, Http, Market, Node, Paymaster, buffered,
    http::Patience,
    quote,
    stub_server::{Reply, StubServer, canned},
};

const ACCOUNT: Address = Address::repeat_byte(0x11);

/// Longest sentence about a bad answer, in characters.
const LONGEST: usize = 4000;

fn assert_showable<T>(read: Result<T, ChainError>) {
    let Err(error) = read else { return };
    let text = error.to_string();
    assert!(text.chars().count() <= LONGEST, "{} characters", text.chars().count());
    let bad = text.chars().find(|c| c.is_control() && *c != '\n' || matches!(c, '\u{202a}'..='\u{202e}'));
    assert_eq!(bad, None, "in: {text:?}");
}

/// Asks an endpoint everything that is ever asked.
async fn ask_everything(endpoint: &Endpoint) {
    let node = Node::new(endpoint.clone());
    assert_showable(node.chain_id().await);
    assert_showable(node.latest_block().await);
    assert_showable(node.block(16).await);
    assert_showable(node.blocks(&[16, 17]).await);
    assert_showable(node.transactions_in(16).await);
    assert_showable(node.code(ACCOUNT, At::Latest).await);
    assert_showable(node.balance(ACCOUNT, At::Block(16)).await);
    assert_showable(node.nonce(ACCOUNT, At::Pending).await);
    assert_showable(node.estimate_gas(&CallRequest::new(ACCOUNT, Bytes::new())).await);
    assert_showable(node.receipt(B256::repeat_byte(0xab)).await);
    assert_showable(node.transaction(B256::repeat_byte(0xab)).await);
    assert_showable(node.prices(10, &[50, 90]).await);
    assert_showable(node.logs(&[LogQuery::default()], 1, 20).await);
    assert_showable(node.entry_point_nonce(ACCOUNT, U192::ZERO, At::Latest).await);
    let request = SnapshotRequest::of(ACCOUNT, &[ACCOUNT], None);
    let moment = Moment { block: 16, timestamp: 1 };
    let told = node.ask_for(&request.queries(), At::Latest, |answers| request.read(moment, answers)).await;
    if let Ok(told) = &told {
        assert_showable(
            node.ask_for(&request.storage_queries(), At::Latest, |answers| request.read_storage(told, answers)).await,
        );
    }
    assert_showable(told);
    assert_showable(node.send_raw(&Bytes::from_static(&[1])).await);

    let bundler = Bundler::new(endpoint.clone(), ENTRY_POINT, 31_337);
    let operation = UserOperation::default();
    assert_showable(bundler.check().await);
    assert_showable(bundler.send(&operation).await);
    assert_showable(bundler.by_hash(B256::repeat_byte(0xab)).await);
    assert_showable(bundler.receipt(B256::repeat_byte(0xab)).await);
    let market = Market::read(&node).await;
    if let Ok(market) = &market {
        assert_showable(quote(&node, &bundler, market).await);
    }
    assert_showable(market);
    if let Ok(market) = Market::read(&node).await {
        let ceiling = FeeCeiling::new(&market, Limit::new(Coin::unlisted(), None));
        assert_showable(bundler.estimate(&operation).await.and_then(|gas| buffered("stub", &gas, &ceiling)));
        for dialect in [PaymasterKind::Erc7677, PaymasterKind::Pimlico, PaymasterKind::Zerodev] {
            let paymaster = Paymaster::new(endpoint.clone(), dialect, json!({}), ENTRY_POINT, 31_337);
            for offered in [paymaster.stub(&operation).await, paymaster.sponsor(&operation).await] {
                let applied = offered.and_then(|offer| offer.apply(&mut operation.clone(), None, &ceiling));
                assert_showable(applied);
            }
        }
    }
    assert_showable(node.deposit(ACCOUNT, At::Latest).await.map(|wei| wei.saturating_add(U256::ONE)));
}

fn seeds() -> Vec<Value> {
    corpus("answers").iter().map(|seed| serde_json::from_str(seed).expect("JSON")).collect()
}

fn changed(rng: &mut Rng, seeds: &[Value]) -> Value {
    let mut value = rng.pick(seeds).clone();
    for _ in 0..=rng.below(3) {
        mutate(rng, &mut value);
    }
    value
}

#[test]
fn answers_of_any_shape_are_read_or_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let seeds = seeds();
    feed(
        "answers",
        inputs(1_000),
        |rng| changed(rng, &seeds).to_string(),
        |text| {
            let Ok(answer) = serde_json::from_str::<Value>(text) else { return };
            // Now as a result, now as an error; and each other kind of question gets a right answer.
            let right: Arc<Mutex<usize>> = Arc::default();
            let known = seeds.clone();
            let endpoint = canned(move |method, _| {
                let mut turn = right.lock().unwrap();
                *turn += 1;
                match method {
                    "eth_getBlockByNumber" if turn.is_multiple_of(3) => Ok(known[0].clone()),
                    _ if turn.is_multiple_of(7) => {
                        Err((answer["code"].as_i64().unwrap_or(-32000), answer["message"].to_string()))
                    }
                    _ => Ok(answer.clone()),
                }
            });
            runtime.block_on(ask_everything(&endpoint));
        },
    );
}

/// The bytes of an HTTP answer: framing, ids and batches, over a socket.
#[test]
fn bodies_of_any_shape_are_read_or_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let seeds = seeds();
    let body = Arc::new(Mutex::new(String::new()));
    let said = Arc::clone(&body);
    let server = StubServer::start(move |_, _| Reply::Http(200, said.lock().unwrap().clone()));
    let patience = Patience { attempts: 1, ..Patience::default() };
    let make = |rng: &mut Rng| {
        let one = json!({ "jsonrpc": "2.0", "id": 1 + rng.below(40), "result": changed(rng, &seeds) });
        let error = json!({ "jsonrpc": "2.0", "id": null, "error": changed(rng, &seeds) });
        let mut framed = if rng.one_in(2) { one } else { json!([one, error]) };
        if rng.one_in(2) {
            mutate(rng, &mut framed);
        }
        let text = framed.to_string();
        if rng.one_in(4) { mutated_text(rng, &text, &["null", "[", "{\"id\":1}"]) } else { text }
    };
    feed("bodies", inputs(200), make, |text| {
        *body.lock().unwrap() = text.to_owned();
        let endpoint = Endpoint::new(Http::with_patience(&server.url, patience).unwrap());
        let node = Node::new(endpoint);
        runtime.block_on(async {
            assert_showable(tokio::time::timeout(Duration::from_secs(2), node.latest_block()).await.unwrap());
            assert_showable(node.blocks(&[16, 17]).await);
            assert_showable(node.receipt(B256::repeat_byte(0xab)).await);
        });
    });
}
