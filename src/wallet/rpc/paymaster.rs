//! Paymaster services: who pays for the gas instead of the account, and what their promise may change.
//!
//! Three kinds (docs/kernel-v2.md#bundlers-and-paymasters): ERC-7677, Pimlico's and ZeroDev's sponsoring. A paymaster may set
//! `paymasterAndData`, and within the fee ceiling gas and fees; nothing else of the operation. Its gas for the inner call is at
//! least what the bundler found: with less, the operation would be paid for, use up its nonce, and do nothing. And the one
//! who pays is neither the account, the EntryPoint, nor an address without code.

use alloy::primitives::{Address, Bytes};
use serde_json::{Value, json};

use super::{
    answer::Answer,
    bundler::GasEstimate,
    fees::{FeeCeiling, Fees},
    transport::{Call, ChainError, Endpoint},
};
use crate::{
    erc4337::v06::{ENTRY_POINT, UserOperation},
    wallet::records::model::PaymasterKind,
};

/// Most bytes of `paymasterAndData`: an address, a window and a signature take some 200.
const MAX_PAYMASTER_DATA: usize = 4 * 1024;

/// What a paymaster promises for an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sponsorship {
    /// The paymaster's address and its data; at least 20 bytes.
    pub paymaster_and_data: Bytes,
    /// Set by the services that estimate themselves: their signature covers it.
    pub gas: Option<GasEstimate>,
    /// Set when the service also fixes the fees.
    pub fees: Option<Fees>,
    /// Nothing more is asked of the service: what remains is to sign.
    pub is_final: bool,
    /// Who sent it, for errors.
    proposer: String,
}

impl Sponsorship {
    /// The paymaster that pays. Never zero.
    pub fn paymaster(&self) -> Address {
        self.paymaster_and_data.get(..20).map(Address::from_slice).unwrap_or_default()
    }

    /// Puts the promise into the operation - unless another paymaster than `expected` would pay, or it would cost more
    /// than the ceiling allows. An operation that is refused is not changed.
    pub fn apply(
        &self,
        operation: &mut UserOperation,
        expected: Option<Address>,
        ceiling: &FeeCeiling,
    ) -> Result<(), ChainError> {
        if let Some(expected) = expected
            && expected != self.paymaster()
        {
            return Err(ChainError::mismatch(&self.proposer, "which paymaster pays", expected, self.paymaster()));
        }
        let mut sponsored = operation.clone();
        sponsored.paymaster_and_data = self.paymaster_and_data.clone();
        if let Some(gas) = &self.gas {
            gas.apply(&mut sponsored);
        }
        if let Some(fees) = &self.fees {
            fees.apply(&mut sponsored);
        }
        ceiling.check(&self.proposer, &sponsored)?;
        *operation = sponsored;
        Ok(())
    }

    /// Refuses gas for the inner call below what the bundler found it to need.
    pub fn check_call_gas(&self, estimate: &GasEstimate) -> Result<(), ChainError> {
        match &self.gas {
            Some(gas) if gas.call_gas_limit < estimate.call_gas_limit => {
                let (least, found) = (format!("at least {}", estimate.call_gas_limit), gas.call_gas_limit);
                Err(ChainError::mismatch(&self.proposer, "callGasLimit (gas)", least, found))
            }
            _ => Ok(()),
        }
    }
}

/// Refuses a promise of a length nobody needs, and one in which the account or the EntryPoint would "pay".
pub fn check_data(proposer: &str, sender: Address, paymaster_and_data: &Bytes) -> Result<(), ChainError> {
    const FIELD: &str = "paymasterAndData";
    let refused = |expected| Err(ChainError::malformed(proposer, "sponsoring", FIELD, expected));
    let Some(address) = paymaster_and_data.get(..20).map(Address::from_slice) else {
        return refused("at least 20 bytes: nobody pays for this operation");
    };
    // The EntryPoint reads the zero address as "no paymaster": the account would pay.
    if address.is_zero() {
        return refused("a paymaster's address, not zero: with zero the account pays");
    }
    if address == sender {
        return refused("a paymaster's address, not the account's own");
    }
    if address == ENTRY_POINT {
        return refused("a paymaster's address, not the EntryPoint's");
    }
    if paymaster_and_data.len() > MAX_PAYMASTER_DATA {
        return refused("shorter: 4096 bytes at most");
    }
    Ok(())
}

/// A paymaster service for one EntryPoint on one chain. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Paymaster {
    endpoint: Endpoint,
    kind: PaymasterKind,
    /// What the service wants to know besides the operation: a policy id, a token. `null` when nothing.
    context: Value,
    entry_point: Address,
    chain_id: u64,
}

impl Paymaster {
    pub fn new(endpoint: Endpoint, kind: PaymasterKind, context: Value, entry_point: Address, chain_id: u64) -> Self {
        Self { endpoint, kind, context, entry_point, chain_id }
    }

    /// Whether the service answers at all. That it knows `eth_chainId` is not asked of it; when it does, it must be ours.
    pub async fn check(&self) -> Result<(), ChainError> {
        const METHOD: &str = "eth_chainId";
        match self.endpoint.call(Call::read(METHOD, json!([]))).await {
            Ok(value) => match self.answer(METHOD, &value).u64()? {
                theirs if theirs == self.chain_id => Ok(()),
                theirs => {
                    let endpoint = self.endpoint.origin().to_owned();
                    Err(ChainError::WrongChain { endpoint, ours: self.chain_id, theirs })
                }
            },
            Err(ChainError::Rpc(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Before estimation. An ERC-7677 service gives data of the right length to estimate with; the other two estimate
    /// themselves, and their answer is final: this uses up a sponsorship where the service counts them.
    pub async fn stub(&self, operation: &UserOperation) -> Result<Sponsorship, ChainError> {
        match self.kind {
            PaymasterKind::Erc7677 => {
                let call = Call::read("pm_getPaymasterStubData", self.erc7677(operation));
                let value = self.endpoint.call(call).await?;
                let answer = self.answer("pm_getPaymasterStubData", &value);
                let is_final = answer.optional("isFinal").map_or(Ok(false), |last| last.truth())?;
                self.sponsorship(&answer, operation.sender, is_final, Covers::DataAlone)
            }
            PaymasterKind::Pimlico | PaymasterKind::Zerodev => self.sponsor(operation).await,
        }
    }

    /// After estimation: the promise for exactly this operation, to be signed with it. Its paymaster must be the one
    /// already in the operation, if there is one.
    pub async fn sponsor(&self, operation: &UserOperation) -> Result<Sponsorship, ChainError> {
        let (method, params, covers) = match self.kind {
            PaymasterKind::Erc7677 => ("pm_getPaymasterData", self.erc7677(operation), Covers::DataAlone),
            PaymasterKind::Pimlico => ("pm_sponsorUserOperation", self.pimlico(operation), Covers::GasToo),
            PaymasterKind::Zerodev => ("zd_sponsorUserOperation", self.zerodev(operation), Covers::GasToo),
        };
        let value = self.endpoint.call(Call::once(method, params)).await?;
        let sponsorship = self.sponsorship(&self.answer(method, &value), operation.sender, true, covers)?;
        match operation.paymaster() {
            Some(before) if before != sponsorship.paymaster() => {
                let (origin, after) = (self.endpoint.origin(), sponsorship.paymaster());
                Err(ChainError::mismatch(origin, "which paymaster pays", before, after))
            }
            _ => Ok(sponsorship),
        }
    }

    fn answer<'a>(&'a self, purpose: &'static str, value: &'a Value) -> Answer<'a> {
        Answer::new(self.endpoint.origin(), purpose, value)
    }

    fn erc7677(&self, operation: &UserOperation) -> Value {
        let chain_id = format!("0x{:x}", self.chain_id);
        // The context is an object by the standard, also when there is nothing to say.
        let context = if self.context.is_null() { json!({}) } else { self.context.clone() };
        json!([operation, self.entry_point, chain_id, context])
    }

    fn pimlico(&self, operation: &UserOperation) -> Value {
        if self.context.is_null() {
            json!([operation, self.entry_point])
        } else {
            json!([operation, self.entry_point, self.context])
        }
    }

    /// ZeroDev takes one object. Of our context it understands `gasTokenData`.
    #[allow(clippy::indexing_slicing, reason = "an object that is made here")]
    fn zerodev(&self, operation: &UserOperation) -> Value {
        let mut request = json!({
            "chainId": self.chain_id,
            "userOp": operation,
            "entryPointAddress": self.entry_point,
            "shouldOverrideFee": false,
            "shouldConsume": true,
        });
        if let Some(token) = self.context.get("gasTokenData") {
            request["gasTokenData"] = token.clone();
        }
        json!([request])
    }

    fn sponsorship(
        &self,
        answer: &Answer<'_>,
        sender: Address,
        is_final: bool,
        covers: Covers,
    ) -> Result<Sponsorship, ChainError> {
        let paymaster_and_data = answer.field("paymasterAndData")?.bytes()?;
        check_data(self.endpoint.origin(), sender, &paymaster_and_data)?;
        let gas = match covers {
            Covers::GasToo => Some(GasEstimate::read(answer)?),
            Covers::DataAlone if answer.optional("callGasLimit").is_some() => Some(GasEstimate::read(answer)?),
            Covers::DataAlone => None,
        };
        let fees = match (answer.optional("maxFeePerGas"), answer.optional("maxPriorityFeePerGas")) {
            (Some(max), Some(priority)) => {
                Some(Fees { max_fee_per_gas: max.u128()?, max_priority_fee_per_gas: priority.u128()? })
            }
            _ => None,
        };
        let proposer = self.endpoint.origin().to_owned();
        Ok(Sponsorship { paymaster_and_data, gas, fees, is_final, proposer })
    }
}

/// What an answer must hold besides `paymasterAndData`.
enum Covers {
    DataAlone,
    GasToo,
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use alloy::primitives::{B256, U256};

    use super::*;
    use crate::{
        erc4337::v06::ENTRY_POINT,
        wallet::{
            coin::{Coin, Limit},
            rpc::{
                fees::Market,
                stub_server::{Canned, canned},
            },
        },
    };

    type Seen = Arc<Mutex<Vec<(String, Value)>>>;

    fn service(kind: PaymasterKind, context: Value, answer: Value) -> (Paymaster, Seen) {
        let seen = Seen::default();
        let noted = Arc::clone(&seen);
        let endpoint = canned(move |method, params| -> Canned {
            noted.lock().unwrap().push((method.to_owned(), params.clone()));
            Ok(answer.clone())
        });
        (Paymaster::new(endpoint, kind, context, ENTRY_POINT, 31337), seen)
    }

    fn data(paymaster: u8) -> Bytes {
        [[paymaster; 20].as_slice(), &[7; 65]].concat().into()
    }

    fn operation() -> UserOperation {
        UserOperation { sender: Address::repeat_byte(0x11), call_gas_limit: U256::from(5), ..UserOperation::default() }
    }

    fn ceiling() -> FeeCeiling {
        let market = Market { base_fee: 1_000_000_000, usual_priority: 0, high_priority: 0, dynamic: true };
        FeeCeiling::new(&market, Limit::new(Coin::of(1), None))
    }

    fn with_gas() -> Value {
        json!({
            "paymasterAndData": data(0xaa), "preVerificationGas": "0xc350", "verificationGasLimit": 90000,
            "callGasLimit": "30000", "somethingNew": null,
        })
    }

    #[tokio::test]
    async fn erc7677_asks_for_a_stub_and_then_for_the_promise() {
        let answer = json!({ "paymasterAndData": data(0xaa), "sponsor": { "name": "someone" } });
        let (paymaster, seen) = service(PaymasterKind::Erc7677, json!({ "policyId": "p" }), answer);
        let stub = paymaster.stub(&operation()).await.unwrap();
        assert!(!stub.is_final);
        let mut sponsored = operation();
        stub.apply(&mut sponsored, Some(Address::repeat_byte(0xaa)), &ceiling()).unwrap();
        assert!(paymaster.sponsor(&sponsored).await.unwrap().is_final);
        let seen = seen.lock().unwrap();
        assert_eq!(seen[0].0, "pm_getPaymasterStubData");
        assert_eq!(seen[0].1, json!([operation(), ENTRY_POINT, "0x7a69", { "policyId": "p" }]));
        assert_eq!((seen[1].0.as_str(), &seen[1].1[0]), ("pm_getPaymasterData", &json!(sponsored)));
    }

    #[tokio::test]
    async fn a_stub_that_is_final_says_so() {
        let answer = json!({ "paymasterAndData": data(0xaa), "isFinal": true });
        let (paymaster, seen) = service(PaymasterKind::Erc7677, Value::Null, answer);
        assert!(paymaster.stub(&operation()).await.unwrap().is_final);
        assert_eq!(seen.lock().unwrap()[0].1[3], json!({}));
    }

    #[tokio::test]
    async fn pimlico_estimates_and_sponsors_in_one_answer() {
        let context = json!({ "sponsorshipPolicyId": "sp_1" });
        let (paymaster, seen) = service(PaymasterKind::Pimlico, context.clone(), with_gas());
        let mut sponsored = operation();
        let sponsorship = paymaster.stub(&sponsored).await.unwrap();
        assert!(sponsorship.is_final);
        sponsorship.apply(&mut sponsored, None, &ceiling()).unwrap();
        assert_eq!(sponsored.paymaster_and_data, data(0xaa));
        assert_eq!(sponsored.verification_gas_limit, U256::from(90000));
        assert_eq!(sponsored.call_gas_limit, U256::from(30000));
        let seen = seen.lock().unwrap();
        assert_eq!(seen[0], ("pm_sponsorUserOperation".into(), json!([operation(), ENTRY_POINT, context])));
    }

    #[tokio::test]
    async fn zerodev_gets_one_object_and_may_set_the_fees() {
        let mut answer = with_gas();
        answer["maxFeePerGas"] = json!("0x77359400");
        answer["maxPriorityFeePerGas"] = json!("0x1");
        let token = json!({ "tokenAddress": B256::ZERO });
        let (paymaster, seen) = service(PaymasterKind::Zerodev, json!({ "gasTokenData": token }), answer);
        let mut sponsored = operation();
        paymaster.sponsor(&operation()).await.unwrap().apply(&mut sponsored, None, &ceiling()).unwrap();
        assert_eq!(sponsored.max_fee_per_gas, U256::from(2_000_000_000u64));
        let expected = json!([{
            "chainId": 31337, "userOp": operation(), "entryPointAddress": ENTRY_POINT, "gasTokenData": token,
            "shouldOverrideFee": false, "shouldConsume": true,
        }]);
        assert_eq!(seen.lock().unwrap()[0], ("zd_sponsorUserOperation".into(), expected));
    }

    #[tokio::test]
    async fn a_promise_that_leaves_the_account_to_pay_is_refused() {
        let zero = Bytes::from(vec![0; 85]);
        for data in
            [json!("0x"), json!("0x0102"), json!(zero), json!(null), json!(7), json!(Bytes::from(vec![1; 5000]))]
        {
            for kind in [PaymasterKind::Erc7677, PaymasterKind::Pimlico, PaymasterKind::Zerodev] {
                let mut answer = with_gas();
                answer["paymasterAndData"] = data.clone();
                let (paymaster, _) = service(kind, Value::Null, answer);
                for refused in [paymaster.stub(&operation()).await, paymaster.sponsor(&operation()).await] {
                    assert!(matches!(refused, Err(ChainError::Malformed { .. })), "{data} {refused:?}");
                }
            }
        }
    }

    #[tokio::test]
    async fn another_paymaster_than_expected_or_than_the_stubs_is_refused() {
        let (paymaster, _) = service(PaymasterKind::Erc7677, Value::Null, json!({ "paymasterAndData": data(0xaa) }));
        let mut sponsored = operation();
        let stub = paymaster.stub(&sponsored).await.unwrap();
        let refused = stub.apply(&mut sponsored, Some(Address::repeat_byte(0xbb)), &ceiling()).unwrap_err();
        assert!(matches!(refused, ChainError::Mismatch { .. }), "{refused}");
        assert_eq!(sponsored, operation());
        sponsored.paymaster_and_data = data(0xbb);
        let refused = paymaster.sponsor(&sponsored).await.unwrap_err();
        assert!(matches!(refused, ChainError::Mismatch { .. }), "{refused}");
    }

    #[tokio::test]
    async fn k12_neither_the_account_nor_the_entry_point_is_taken_as_paymaster() {
        let account = Address::repeat_byte(0x11);
        for paymaster in [account, ENTRY_POINT] {
            for kind in [PaymasterKind::Erc7677, PaymasterKind::Pimlico, PaymasterKind::Zerodev] {
                let mut answer = with_gas();
                answer["paymasterAndData"] = json!(Bytes::from([paymaster.as_slice(), &[7; 65]].concat()));
                let (service, _) = service(kind, Value::Null, answer);
                let refused = service.sponsor(&operation()).await.unwrap_err();
                assert!(matches!(refused, ChainError::Malformed { .. }), "{paymaster}: {refused}");
            }
        }
    }

    #[tokio::test]
    async fn k12_gas_for_the_inner_call_below_the_bundlers_estimate_is_refused() {
        let estimate = |call: u64| GasEstimate { call_gas_limit: U256::from(call), ..GasEstimate::default() };
        let (paymaster, _) = service(PaymasterKind::Pimlico, Value::Null, with_gas());
        let sponsorship = paymaster.sponsor(&operation()).await.unwrap();
        sponsorship.check_call_gas(&estimate(30_000)).unwrap();
        let refused = sponsorship.check_call_gas(&estimate(30_001)).unwrap_err();
        assert!(matches!(refused, ChainError::Mismatch { .. }), "{refused}");
        assert!(refused.to_string().contains("callGasLimit"), "{refused}");
    }

    #[tokio::test]
    async fn gas_and_fees_of_a_paymaster_are_held_under_the_ceiling() {
        for (field, absurd) in [
            ("callGasLimit", json!("0xffffffffff")),
            ("verificationGasLimit", json!("0xffffffffff")),
            ("preVerificationGas", json!(U256::MAX)),
            ("maxFeePerGas", json!(u64::MAX)),
        ] {
            let mut answer = with_gas();
            answer["maxFeePerGas"] = json!("0x1");
            answer["maxPriorityFeePerGas"] = json!("0x1");
            answer[field] = absurd;
            let (paymaster, _) = service(PaymasterKind::Pimlico, Value::Null, answer);
            let mut sponsored = operation();
            let sponsorship = paymaster.sponsor(&operation()).await.unwrap();
            let refused = sponsorship.apply(&mut sponsored, None, &ceiling()).unwrap_err();
            let held = matches!(refused, ChainError::AboveCeiling { .. } | ChainError::TooDear(_));
            assert!(held, "{field}: {refused}");
            assert_eq!(sponsored, operation(), "a refused promise must not change the operation");
        }
    }
}
