//! The other side: keys made here for somebody's account.

use alloy::primitives::Address;
use serde::Serialize;

use crate::{
    secret::Secret,
    wallet::{
        Wallet,
        error::{Error, Result},
        now,
        policy::check_label,
        records::{label, model::Agent},
    },
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgentView {
    pub label: String,
    pub address: Address,
}

impl Wallet {
    /// Makes a session key whose private half never leaves this machine; its address goes to the owner.
    pub fn new_agent(&self, label: &str) -> Result<AgentView> {
        let label = check_label("the agent's label", label)?;
        if self.store.read(|r| r.agent_by_label(&label))?.is_some() {
            return Err(Error::failed("agent.exists", format!("there is an agent {label} already"))
                .hint("choose another label"));
        }
        let agents = self.store.read(|r| r.agents())?;
        let others = agents.iter().map(|a| (a.label.as_str(), format!("agent {}", a.address).into()));
        label::look_alike(&label, others).map_or(Ok(()), Err)?;
        let secret = Secret::random()?;
        let agent = Agent {
            label: label.clone(),
            address: secret.address(),
            secret: self.keep_secret(&secret, &format!("agent {label}"))?,
            created_at: now(),
        };
        self.store.write(|w| w.put_agent(&agent))?;
        Ok(AgentView { label, address: agent.address })
    }

    pub fn agents(&self) -> Result<Vec<AgentView>> {
        let agents = self.store.read(|r| r.agents())?;
        Ok(agents.into_iter().map(|a| AgentView { label: a.label, address: a.address }).collect())
    }
}
