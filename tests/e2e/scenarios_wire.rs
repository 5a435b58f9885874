//! Requests on the wire, counted in front of the real node and bundler: a command makes few of them, over
//! one connection to each, also where batches are refused.

use alloy::primitives::Address;
use keyleash::protocol::kernel_v2::generation::KernelVersion;

use crate::support::{
    World,
    account::TestAccount,
    chain::CHAIN_ID,
    counting::{Counting, Side, before_waiting, count},
    keyleash::{ACCOUNT, Keyleash, send, text},
    policy::{may_call, policy},
    world,
};

/// A home that reaches node and bundler through counting proxies, with a deployed account.
fn home(world: &World, counting: &Counting) -> Keyleash {
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let home = Keyleash::bare();
    home.ok(&["init", "--vault", "file"]);
    let chain_id = CHAIN_ID.to_string();
    let (node, bundler) = (&counting.node, &counting.bundler);
    home.ok(&["network", "add", "local", "--chain-id", &chain_id, "--rpc", node, "--bundler", bundler]);
    home.adopt(world, &account);
    home
}

/// The commands, and what each may make: requests to the node and to the bundler before it waits.
fn count_commands(batches: bool, most_node: usize, most_bundler: usize) {
    let Some(world) = world() else { return };
    let counting = Counting::start(world, batches);
    let home = home(world, &counting);
    let board: Address = world.chain.targets.board;
    let file = home.file("policy.toml", &policy("bot", &may_call(board, "tick()")));
    let tick = send("bot", board, "tick()", &[]);
    let mut as_owner = tick.clone();
    as_owner.splice(0..2, ["send", "--as-owner", ACCOUNT].map(String::from));
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let commands = [
        ("grant", words(&["grant", ACCOUNT, "--policy", &file, "--new-key"]), false),
        ("send, enabling", tick.clone(), true),
        ("send", tick, true),
        ("send as owner", as_owner, true),
        ("revoke", words(&["revoke", ACCOUNT, "bot"]), true),
    ];
    let mut figures = Vec::new();
    for (what, command, sends) in commands {
        counting.take();
        let data = home.ok(&command);
        let seen = counting.take();
        let until = before_waiting(&seen);
        let (node, bundler) = (count(until, Side::Node), count(until, Side::Bundler));
        let whole = [count(&seen, Side::Node), count(&seen, Side::Bundler)];
        figures.push(format!("{what}: node {node:?}, bundler {bundler:?}, in all {whole:?}"));
        if sends {
            assert!(what == "revoke" || text(&data, "phase") == "included", "{what}: {data}");
        }
        // The bounds are for a send. A grant reads the account again before it signs and after; a revocation tries every key
        // before and after: with batches that is a few requests more, without them the figures are only told.
        let more = if what.starts_with("send") { 0 } else { 4 };
        if batches || more == 0 {
            assert!(node.requests <= most_node + more, "{what}: {until:#?}");
            assert!(bundler.requests <= most_bundler, "{what}: {until:#?}");
        }
        if batches {
            // A second one is made where the first has not come back yet when the next question is asked.
            assert!(whole.iter().all(|c| c.connections <= 2), "{what}: one connection each: {seen:#?}");
        }
    }
    println!("batches {batches}:\n{}", figures.join("\n"));
}

#[test]
fn section_d_a_command_makes_few_requests_over_one_connection_each() {
    count_commands(true, 5, 5);
}

#[test]
fn section_d_without_batches_a_command_makes_a_few_more() {
    count_commands(false, 12, 5);
}
