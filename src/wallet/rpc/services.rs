//! The clients that a network is reached through, made once for a process.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde_json::Value;

use super::{
    Bundler, Endpoint, Http, Node, Paymaster,
    address::{clear_text, in_the_clear},
};
use crate::{
    erc4337::v06::ENTRY_POINT,
    sandbox::CHAIN_ID,
    wallet::{
        Wallet,
        error::{Error, Result},
        now,
        records::model::{Network, PaymasterKind},
        sandbox_profile,
    },
};

/// The clients of one network, after its chain id was checked. Cheap to clone; clones share connections, and what was learned of
/// each endpoint.
#[derive(Debug, Clone)]
pub(in crate::wallet) struct Services {
    pub name: String,
    pub network: Network,
    pub node: Node,
    /// Asked whether it says the same as `node`; nothing is ever sent to it.
    pub second: Option<Node>,
    pub bundler: Option<Bundler>,
    pub paymaster: Option<Paymaster>,
}

/// The clients that were made so far, each once for a process: connections are kept, a chain id is asked once, and what an
/// endpoint cannot do is found out once.
#[derive(Default)]
pub(in crate::wallet) struct Clients {
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    /// By address: a node and a bundler behind one address share their connection.
    endpoints: BTreeMap<String, Endpoint>,
    services: BTreeMap<String, Services>,
}

impl Clients {
    /// The clients of this network - made anew when its config is not what it was.
    fn of(
        &self,
        name: &str,
        network: &Network,
        connect: impl FnOnce(&mut BTreeMap<String, Endpoint>) -> Result<Services>,
    ) -> Result<Services> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(services) = made.services.get(name).filter(|services| services.network == *network) {
            return Ok(services.clone());
        }
        let services = connect(&mut made.endpoints)?;
        made.services.insert(name.to_owned(), services.clone());
        Ok(services)
    }
}

impl Wallet {
    /// The clients for something on record, which must be of the network's chain: the config is the person's to edit (R22).
    pub(in crate::wallet) async fn services_of(&self, name: &str, chain_id: u64) -> Result<Services> {
        let configured = self.network_config(name)?.chain_id;
        if configured != chain_id {
            return Err(Error::failed(
                "network.chain_changed",
                format!(
                    "network {name} is chain {configured} now, and what is on record there is for chain {chain_id}"
                ),
            )
            .hint("put the chain id in config.toml right, or use another network name for the other chain"));
        }
        self.services(name).await
    }

    /// The network's clients; stops at a node of another chain (R22). The node is asked for its chain once in a process.
    pub(in crate::wallet) async fn services(&self, name: &str) -> Result<Services> {
        let network = self.network_config(name)?;
        let services = self.connect(name, network)?;
        services.node.check_chain(services.network.chain_id).await?;
        self.remember_chain(&services).await;
        Ok(services)
    }

    /// A number that changes when the network's chain does: the newest block; on a sandbox, which mines whenever it is looked at,
    /// only what another process did, so that `known` stays what it was otherwise.
    pub async fn head(&self, name: &str, known: u64) -> Result<u64> {
        if let Some(sandbox) = &self.sandbox {
            let changed = sandbox.changed_elsewhere().map_err(|e| Error::failed("sandbox.io", e.to_string()))?;
            return Ok(changed.unwrap_or(known));
        }
        Ok(self.services(name).await?.node.latest_block().await?.number)
    }

    pub(in crate::wallet) fn connect(&self, name: &str, network: Network) -> Result<Services> {
        let services =
            self.clients.of(name, &network.clone(), |endpoints| self.connect_anew(name, network, endpoints))?;
        if self.sandbox.is_none() {
            self.notices().asks(services.node.endpoint().origin());
        }
        Ok(services)
    }

    /// Names each host that is asked without TLS although it is another machine.
    pub(in crate::wallet) fn warn_of_clear_text(&self, network: &Network) {
        let urls =
            [Some(&network.rpc), network.second_rpc.as_ref(), network.bundler.as_ref(), network.paymaster.as_ref()];
        for host in urls.into_iter().flatten().filter_map(|url| in_the_clear(url)) {
            self.notices().add("network.http", clear_text(&host));
        }
    }

    fn connect_anew(
        &self,
        name: &str,
        network: Network,
        endpoints: &mut BTreeMap<String, Endpoint>,
    ) -> Result<Services> {
        self.warn_of_clear_text(&network);
        let mut endpoint = |address: &str| match (&self.sandbox, address) {
            (Some(chain), sandbox_profile::ADDRESS) => Ok(Endpoint::new(chain.clone())),
            (Some(_), _) => {
                Err(Error::failed("sandbox.closed", "config.toml: a sandbox profile knows no live network"))
            }
            (None, sandbox_profile::ADDRESS) => {
                Err(Error::failed("sandbox.only", "config.toml: the sandbox needs a profile of its own"))
            }
            (None, url) => match endpoints.get(url) {
                Some(endpoint) => Ok(endpoint.clone()),
                None => {
                    let endpoint = Http::new(url).map(Endpoint::new)?;
                    endpoints.insert(url.to_owned(), endpoint.clone());
                    Ok(endpoint)
                }
            },
        };
        let node = Node::new(endpoint(&network.rpc)?);
        let second = network.second_rpc.as_deref().map(|url| endpoint(url).map(Node::new)).transpose()?;
        let bundler = match &network.bundler {
            Some(url) => Some(Bundler::new(endpoint(url)?, ENTRY_POINT, network.chain_id)),
            None => None,
        };
        let paymaster = match &network.paymaster {
            Some(url) => {
                let context = network.paymaster_context.as_deref().map_or(Ok(Value::Null), serde_json::from_str);
                let context = context.map_err(|e| {
                    let field = format!("config.toml: network.{name}.paymaster_context is not JSON: {e}");
                    Error::failed("config.invalid", field)
                })?;
                let kind = network.paymaster_kind.unwrap_or(PaymasterKind::Erc7677);
                Some(Paymaster::new(endpoint(url)?, kind, context, ENTRY_POINT, network.chain_id))
            }
            None => None,
        };
        Ok(Services { name: name.to_owned(), network, node, second, bundler, paymaster })
    }
}

/// How far the newest block and this computer's clock may be apart before it is said (R31).
const HOUR: u64 = 60 * 60;
const DAY_AND_A_HALF: u64 = 36 * HOUR;

impl Services {
    /// What is said beside every claim that rests on the newest block when that block is old, or this computer's clock is off
    /// (R31). Nothing on chains whose time is not the world's, or that make blocks only when something is sent.
    pub(in crate::wallet) fn about_the_time(&self, newest: u64) -> Option<String> {
        const FOR_DEVELOPMENT: [u64; 2] = [1337, 31337];
        let clock = now();
        let (old, ahead) = (clock.saturating_sub(newest), newest.saturating_sub(clock));
        let node = self.node.endpoint().origin();
        let span = |seconds: u64| match seconds {
            0..DAY_AND_A_HALF => format!("{} hours", seconds / HOUR),
            _ => format!("{} days", seconds / (24 * HOUR)),
        };
        match self.network.chain_id {
            CHAIN_ID => None,
            _ if ahead > HOUR => Some(format!(
                "the newest block of {node} is {} ahead of this computer's clock: one of the two is wrong",
                span(ahead)
            )),
            chain if old > HOUR && !FOR_DEVELOPMENT.contains(&chain) => Some(format!(
                "the newest block of {node} is {} old: it may not know what happened since, or this computer's clock is wrong",
                span(old)
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(chain_id: u64) -> Network {
        Network {
            second_rpc: None,
            chain_id,
            rpc: "http://127.0.0.1:1".into(),
            bundler: None,
            paymaster: None,
            paymaster_kind: None,
            paymaster_context: None,
        }
    }

    fn services(network: &Network) -> Services {
        let node = Node::new(Endpoint::new(Http::new(&network.rpc).unwrap()));
        Services { name: "main".into(), network: network.clone(), node, second: None, bundler: None, paymaster: None }
    }

    #[test]
    fn section_d_the_clients_of_a_network_are_made_once_and_anew_when_its_config_changes() {
        let clients = Clients::default();
        let made = std::cell::Cell::new(0);
        let ask = |network: &Network| {
            clients.of("main", network, |_| {
                made.set(made.get() + 1);
                Ok(services(network))
            })
        };
        let first = network(1);
        ask(&first).unwrap();
        ask(&first).unwrap();
        assert_eq!(made.get(), 1);
        let moved = Network { rpc: "http://127.0.0.1:2".into(), ..first.clone() };
        assert_eq!(ask(&moved).unwrap().network, moved);
        assert_eq!(ask(&network(2)).unwrap().network.chain_id, 2);
        assert_eq!(made.get(), 3);
    }

    #[test]
    fn r31_a_node_whose_newest_block_is_old_is_named() {
        let said = |chain, block_time| services(&network(chain)).about_the_time(block_time);
        assert_eq!(said(1, now()), None);
        assert_eq!(said(1, now() - HOUR + 60), None);
        let old = said(1, now() - 3 * 24 * HOUR).unwrap();
        assert!(old.starts_with("the newest block of http://127.0.0.1:1 is 3 days old"), "{old}");
        let behind = said(1, now() + 2 * HOUR + 60).unwrap();
        assert!(behind.contains("2 hours ahead of this computer's clock"), "{behind}");
        assert_eq!(said(31337, now() - 3 * 24 * HOUR), None, "it makes blocks on demand");
        assert_eq!(said(CHAIN_ID, 1_700_000_000), None);
    }
}
