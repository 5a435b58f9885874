//! What the EntryPoint holds for an account: its nonces and its deposit.

use alloy::{
    primitives::{Address, U256, aliases::U192},
    sol,
    sol_types::SolCall,
};
use serde_json::{Value, json};

use super::{At, CallRequest, Node};
use crate::{
    erc4337::v06::ENTRY_POINT,
    wallet::rpc::transport::{Call, ChainError},
};

sol! {
    function getNonce(address sender, uint192 key) returns (uint256);
    function balanceOf(address account) returns (uint256);
}

/// What an account and the EntryPoint hold for its next operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purse {
    /// The EntryPoint's next nonce, the nonce key included.
    pub nonce: U256,
    /// Wei held by the account.
    pub balance: U256,
    /// Wei held for it by the EntryPoint.
    pub deposit: U256,
}

impl Node {
    /// What an account has for its next operation, as of one block.
    pub async fn purse(&self, account: Address, key: U192, at: At) -> Result<Purse, ChainError> {
        let view = |purpose, data: Vec<u8>| CallRequest::new(ENTRY_POINT, data).eth_call(purpose, at);
        let calls = vec![
            view("EntryPoint.getNonce", getNonceCall { sender: account, key }.abi_encode()),
            Call::read("eth_getBalance", json!([account, at.tag()])),
            view("EntryPoint.balanceOf", balanceOfCall { account }.abi_encode()),
        ];
        let mut answers = self.ask(&calls).await.into_iter().zip(&calls);
        let mut next = || match answers.next() {
            Some((answer, call)) => answer.map(|value| (call.purpose, value)),
            None => Err(ChainError::malformed(self.endpoint.origin(), "a purse", "the answer", "complete")),
        };
        let [nonce, balance, deposit] = [next()?, next()?, next()?];
        let returned = |(purpose, value): (&'static str, Value)| Ok((purpose, self.answer(purpose, &value).bytes()?));
        let (purpose, nonce) = returned(nonce)?;
        let nonce = self.returned::<getNonceCall>(purpose, &nonce)?;
        let (purpose, deposit) = returned(deposit)?;
        let deposit = self.returned::<balanceOfCall>(purpose, &deposit)?;
        Ok(Purse { nonce, balance: self.answer(balance.0, &balance.1).number()?, deposit })
    }

    /// What the EntryPoint says the next nonce is, checked to belong to the nonce key (192 bits) that was asked about.
    pub fn nonce_of_key(&self, key: U192, told: U256) -> Result<U256, ChainError> {
        let theirs = told >> 64;
        if theirs != U256::from(key) {
            let what = "which key an EntryPoint nonce belongs to";
            let origin = self.endpoint.origin();
            return Err(ChainError::mismatch(origin, what, format!("0x{key:x}"), format!("0x{theirs:x}")));
        }
        Ok(told)
    }

    /// The same for a key that nobody has used. The EntryPoint counts it from 0, so that there is only one right answer; the
    /// node is asked because another one shows that it lies, or that the key is not fresh.
    pub fn nonce_of_fresh_key(&self, key: U192, told: U256) -> Result<U256, ChainError> {
        let (ours, theirs) = (first_nonce(key), self.nonce_of_key(key, told)?);
        if theirs != ours {
            let what = "the sequence of a nonce key that was never used";
            return Err(ChainError::mismatch(self.endpoint.origin(), what, 0, theirs.saturating_sub(ours)));
        }
        Ok(ours)
    }

    /// The EntryPoint's next nonce for a nonce key (192 bits) of an account, the key included.
    pub async fn entry_point_nonce(&self, account: Address, key: U192, at: At) -> Result<U256, ChainError> {
        let told = self.read("EntryPoint.getNonce", ENTRY_POINT, &getNonceCall { sender: account, key }, at).await?;
        self.nonce_of_key(key, told)
    }

    /// Wei the EntryPoint holds for an account or paymaster.
    #[allow(dead_code, reason = "an operation reads all that it needs at once: see `purse`")]
    pub async fn deposit(&self, account: Address, at: At) -> Result<U256, ChainError> {
        self.read("EntryPoint.balanceOf", ENTRY_POINT, &balanceOfCall { account }, at).await
    }
}

/// `key ‖ sequence 0`, as the EntryPoint begins.
pub fn first_nonce(key: U192) -> U256 {
    U256::from(key) << 64
}
