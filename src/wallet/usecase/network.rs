//! The networks a home knows, and the services each is reached through.

use serde::Serialize;
use toml_edit::{Item, Table, value};

use crate::{
    erc4337::v06::ENTRY_POINT,
    policy::sentence,
    protocol::family::Family,
    sandbox::CHAIN_ID,
    wallet::{
        Wallet,
        error::{Error, Result},
        records::{
            label::check_name,
            model::{Network, PaymasterKind},
            store::is_shared_id,
        },
        rpc::{At, ChainError, Http, node::Block, services::Services},
        sandbox_profile,
    },
};

pub use crate::wallet::rpc::address::{clear_text, in_the_clear, origin};

/// A network as it is shown: service addresses without what may be an API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkView {
    pub name: String,
    pub chain_id: u64,
    pub rpc: String,
    pub second_rpc: Option<String>,
    pub bundler: Option<String>,
    pub paymaster: Option<String>,
    pub paymaster_kind: Option<PaymasterKind>,
}

/// One thing that was probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Probe {
    pub what: String,
    pub ok: bool,
    pub detail: String,
}

/// ZeroDev's one address for node, bundler and paymaster (docs/kernel-v2.md#bundlers-and-paymasters).
pub fn zerodev(project_id: &str, chain_id: u64) -> Result<Network> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if project_id.is_empty() || project_id.len() > 64 || !project_id.chars().all(plain) {
        return Err(Error::usage("network.zerodev", "--zerodev: expected a project id of letters, digits and dashes"));
    }
    let url = format!("https://rpc.zerodev.app/api/v3/{project_id}/chain/{chain_id}");
    Ok(Network {
        chain_id,
        rpc: url.clone(),
        second_rpc: None,
        bundler: Some(url.clone()),
        paymaster: Some(url),
        paymaster_kind: Some(PaymasterKind::Zerodev),
        paymaster_context: None,
    })
}

impl Wallet {
    pub fn add_network(&self, name: &str, network: &Network) -> Result<NetworkView> {
        check_name("the network's name", name)?;
        if self.is_sandbox() {
            return Err(Error::failed(
                "sandbox.closed",
                "this profile is a sandbox: its keys are play keys, and it knows no live network",
            )
            .hint("make a profile for live networks: keyleash --home DIR init"));
        }
        if network.chain_id == CHAIN_ID {
            return Err(Error::usage(
                "network.chain_id",
                "--chain-id: this is the sandbox's own number, and no live chain",
            ));
        }
        if network.chain_id == 0 {
            return Err(Error::usage("network.chain_id", "--chain-id: 0 is no chain"));
        }
        let second = network.second_rpc.as_ref();
        if second.is_some_and(|second| second.trim() == network.rpc.trim()) {
            return Err(Error::usage("network.second_rpc", "--second-rpc: this is the first node again")
                .hint("give another provider's node: two answers of one machine are one answer"));
        }
        let urls = [Some(&network.rpc), second, network.bundler.as_ref(), network.paymaster.as_ref()];
        for url in urls.into_iter().flatten() {
            Http::new(url).map_err(|e| Error::usage("network.url", e.to_string()))?;
        }
        if let Some(context) = &network.paymaster_context {
            serde_json::from_str::<serde_json::Value>(context).map_err(|e| {
                Error::usage("network.paymaster_context", format!("--paymaster-context is not JSON: {e}"))
            })?;
        }
        if network.paymaster.is_none() && (network.paymaster_kind.is_some() || network.paymaster_context.is_some()) {
            return Err(Error::usage("network.paymaster", "a paymaster kind or context needs --paymaster URL"));
        }
        self.edit_config(|document| {
            let networks = document.entry("network").or_insert_with(|| {
                let mut table = Table::new();
                table.set_implicit(true);
                Item::Table(table)
            });
            let Some(networks) = networks.as_table_like_mut() else {
                return Err(Error::failed("config.invalid", "config.toml: `network` is not a table"));
            };
            if networks.contains_key(name) {
                return Err(Error::failed("network.exists", format!("there is a network {name} already"))
                    .hint("remove it first with `keyleash network rm`, or choose another name"));
            }
            networks.insert(name, Item::Table(to_table(network)));
            Ok(())
        })?;
        self.warn_of_clear_text(network);
        Ok(view(name, network))
    }

    pub fn networks(&self) -> Vec<NetworkView> {
        self.config(|c| c.network.iter().map(|(name, n)| view(name, n)).collect())
    }

    pub fn network(&self, name: &str) -> Result<NetworkView> {
        self.network_config(name).map(|n| view(name, &n))
    }

    /// Forgets how a network is reached. Refused while accounts or keys on record need it.
    pub fn remove_network(&self, name: &str) -> Result<()> {
        self.network_config(name)?;
        let (accounts, keys) = self.store.read(|r| {
            r.require_every_family_known()?;
            Ok((r.accounts()?, r.keys()?))
        })?;
        let users: Vec<String> = accounts
            .iter()
            .filter(|a| a.network == name)
            .map(|a| a.name.clone())
            .chain(keys.iter().filter(|k| k.network == name).map(|k| k.label.clone()))
            .collect();
        if !users.is_empty() {
            return Err(Error::failed("network.in_use", format!("{name} is still needed by {}", users.join(", ")))
                .hint("remove these accounts first; their approvals stay on record"));
        }
        self.edit_config(|document| {
            if let Some(networks) = document.get_mut("network").and_then(Item::as_table_like_mut) {
                networks.remove(name);
            }
            Ok(())
        })?;
        self.store.write(|w| w.forget_network(name))
    }

    /// Asks which chain a network's node is on, where its chain id alone does not say it. Answers why that is not known.
    pub async fn learn_chain(&self, name: &str) -> Option<String> {
        if !self.network_config(name).is_ok_and(|n| is_shared_id(n.chain_id)) {
            return None;
        }
        let known = |services: &Services| {
            self.store.read(|r| r.genesis(name, services.network.chain_id)).is_ok_and(|hash| hash.is_some())
        };
        let why = match self.services(name).await {
            Ok(services) if known(&services) => return None,
            Ok(_) => "its node does not give block 0".to_owned(),
            Err(error) => error.message,
        };
        Some(format!(
            "which local chain {name} is, is not known ({why}): until it is, every network of its chain id counts as the same chain"
        ))
    }

    /// The hash of block 0 belongs to a chain whose id others share. Asked once; until then all of that id count as one, which
    /// overlooks no approval. So neither a node without block 0 nor records that cannot be written are a reason to stop here.
    pub(in crate::wallet) async fn remember_chain(&self, services: &Services) {
        let (name, chain_id) = (&services.name, services.network.chain_id);
        let known = || self.store.read(|r| r.genesis(name, chain_id)).is_ok_and(|hash| hash.is_some());
        if !is_shared_id(chain_id) || known() {
            return;
        }
        if let Ok(block) = services.node.block(0).await {
            let _ = self.store.write(|w| w.put_genesis(name, chain_id, block.hash));
        }
    }

    /// The network that is meant when a command may leave it out.
    pub fn default_network(&self, wanted: Option<&str>) -> Result<String> {
        if let Some(name) = wanted {
            return self.network_config(name).map(|_| name.to_owned());
        }
        let names: Vec<String> = self.config(|c| c.network.keys().cloned().collect());
        match names.as_slice() {
            [only] => Ok(only.clone()),
            [] => {
                Err(Error::usage("network.none", "no network is known yet").hint("add one with `keyleash network add`"))
            }
            _ => Err(Error::usage("network.which", format!("which network? known are {}", names.join(", ")))
                .hint("say --network NAME")),
        }
    }

    pub(in crate::wallet) fn network_config(&self, name: &str) -> Result<Network> {
        let found = self.config(|c| c.network.get(name).cloned());
        // The config is a file that anybody may edit; an account made here would have an address on the live chain too.
        if let Some(network) = found.as_ref().filter(|_| self.is_sandbox()) {
            let reaches = [Some(&network.rpc), network.bundler.as_ref(), network.paymaster.as_ref()];
            if network.chain_id != CHAIN_ID || reaches.into_iter().flatten().any(|url| url != sandbox_profile::ADDRESS)
            {
                return Err(Error::failed(
                    "sandbox.closed",
                    format!("config.toml: a sandbox profile knows no live network, and {name} is one"),
                )
                .hint("its keys are play keys that everybody can open; make a profile for live networks: keyleash --home DIR init"));
            }
        }
        found.ok_or_else(|| {
            let known = self.config(|c| c.network.keys().cloned().collect::<Vec<_>>().join(", "));
            let known = if known.is_empty() { "none".to_owned() } else { known };
            Error::usage("network.unknown", format!("there is no network {}", crate::text::clean(name, 40)))
                .hint(format!("known: {known}; add one with `keyleash network add`"))
        })
    }

    /// Probes everything a network needs: chain id, EntryPoint, contracts, bundler, paymaster.
    pub async fn check_network(&self, name: &str) -> Result<Vec<Probe>> {
        let services = self.connect(name, self.network_config(name)?)?;
        let mut probes = Vec::new();
        let node = services.node.check_chain(services.network.chain_id).await;
        let reachable = node.is_ok();
        probes.push(probe("node, chain id", node.map(|()| format!("chain {}", services.network.chain_id))));
        if reachable {
            probes.push(probe_block(&services, services.node.latest_block().await));
            let contracts = [("EntryPoint v0.6", ENTRY_POINT)]
                .into_iter()
                .chain(Family::ALL.into_iter().flat_map(Family::contracts));
            for (what, address) in contracts {
                let code = services.node.code(address, At::Latest).await;
                probes.push(match code {
                    Ok(code) => Probe {
                        what: what.into(),
                        ok: !code.is_empty(),
                        detail: if code.is_empty() {
                            format!("no code at {address}: the contract is not deployed on this chain")
                        } else {
                            address.to_string()
                        },
                    },
                    Err(e) => Probe { what: what.into(), ok: false, detail: e.to_string() },
                });
            }
        }
        if let Some(second) = &services.second {
            let answer = second.check_chain(services.network.chain_id).await;
            probes
                .push(probe("second node, chain id", answer.map(|()| format!("chain {}", services.network.chain_id))));
        }
        match &services.bundler {
            Some(bundler) => {
                probes.push(probe("bundler", bundler.check().await.map(|()| "serves EntryPoint v0.6".to_owned())));
            }
            None => probes.push(Probe {
                what: "bundler".into(),
                ok: false,
                detail: "none configured: keys can be granted and inspected, but nothing can be sent".into(),
            }),
        }
        if let Some(paymaster) = &services.paymaster {
            probes.push(probe("paymaster", paymaster.check().await.map(|()| "serves this chain".to_owned())));
        }
        Ok(probes)
    }
}

fn probe_block(services: &Services, block: std::result::Result<Block, ChainError>) -> Probe {
    let (ok, detail) = match block {
        Ok(block) => match services.about_the_time(block.timestamp) {
            None => (true, format!("{} of {}", block.number, sentence::time(block.timestamp))),
            Some(old) => (false, old),
        },
        Err(e) => (false, e.to_string()),
    };
    Probe { what: "newest block".into(), ok, detail }
}

fn probe(what: &str, result: std::result::Result<String, ChainError>) -> Probe {
    match result {
        Ok(detail) => Probe { what: what.into(), ok: true, detail },
        Err(e) => Probe { what: what.into(), ok: false, detail: e.to_string() },
    }
}

pub(in crate::wallet) fn to_table(network: &Network) -> Table {
    let mut table = Table::new();
    table.insert("chain_id", value(i64::try_from(network.chain_id).unwrap_or(i64::MAX)));
    table.insert("rpc", value(&network.rpc));
    let optional = [
        ("second_rpc", network.second_rpc.clone()),
        ("bundler", network.bundler.clone()),
        ("paymaster", network.paymaster.clone()),
        ("paymaster_kind", network.paymaster_kind.map(|k| k.name().to_owned())),
        ("paymaster_context", network.paymaster_context.clone()),
    ];
    for (name, text) in optional {
        if let Some(text) = text {
            table.insert(name, value(text));
        }
    }
    table
}

fn view(name: &str, network: &Network) -> NetworkView {
    NetworkView {
        name: name.to_owned(),
        chain_id: network.chain_id,
        rpc: redact(&network.rpc),
        second_rpc: network.second_rpc.as_deref().map(redact),
        bundler: network.bundler.as_deref().map(redact),
        paymaster: network.paymaster.as_deref().map(redact),
        paymaster_kind: network.paymaster_kind,
    }
}

/// Scheme, host and port: the rest may be an API key.
fn redact(address: &str) -> String {
    if address == sandbox_profile::ADDRESS {
        return "inside this program".to_owned();
    }
    origin(address).unwrap_or_else(|| "(not a URL)".to_owned())
}
