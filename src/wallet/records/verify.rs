//! Whether a key on record is what its owner signed. Records lie on a disk that other programs write to: whatever is shown is
//! verified first, and what does not verify is called damaged.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use alloy::primitives::{B256, keccak256};

use super::model::{ApprovalRecord, Key, Origin};
use crate::{abi::Function, protocol::family::approval::Terms};

/// What does not verify about an approval and the key it is recorded for; `None` when all of it does.
pub fn damage(key: &Key, approval: &ApprovalRecord) -> Option<String> {
    let request = &approval.request;
    if let Some(what) = request.differs_from(&key.recorded()) {
        return Some(format!("{what} on record is not the one of its approval (nonce {})", request.nonce()));
    }
    match &approval.signature {
        // A scan keeps the owner of today beside signatures of earlier ones; that the chain took them is its evidence.
        Some(signature) if key.origin == Origin::Discovered => {
            request.recover_owner(signature).is_none().then(|| "its signature cannot be read".to_owned())
        }
        Some(signature) => (!is_signed(key, approval, signature)).then(|| {
            format!(
                "the signature on record for nonce {} is not that of the owner {} over this scope",
                request.nonce(),
                key.owner
            )
        }),
        None => None,
    }
}

/// What the owner signed, as far as the signature on record vouches for it.
pub fn signed(key: &Key, approval: &ApprovalRecord) -> Option<Terms> {
    let signature = approval.signature.as_ref()?;
    is_signed(key, approval, signature).then(|| approval.request.terms())
}

/// Recovering a signer costs more than all the rest, and a list shows the same signatures again and again.
fn is_signed(key: &Key, approval: &ApprovalRecord, signature: &[u8]) -> bool {
    /// 32 bytes each.
    const MOST: usize = 20_000;
    static VERIFIED: Mutex<Option<HashSet<B256>>> = Mutex::new(None);
    let seen = || VERIFIED.lock().unwrap_or_else(PoisonError::into_inner);
    let all = keccak256([approval.digest().as_slice(), key.owner.as_slice(), signature].concat());
    if seen().as_ref().is_some_and(|verified| verified.contains(&all)) {
        return true;
    }
    let signed = approval.request.is_signed_by(key.owner, signature);
    if signed {
        let mut verified = seen();
        let verified = verified.get_or_insert_default();
        if verified.len() >= MOST {
            verified.clear();
        }
        verified.insert(all);
    }
    signed
}

/// The function names on record that are those of the selectors beside them: another name would make a harmless call of any other.
pub fn functions(key: &Key) -> Vec<Option<String>> {
    let fits = |(at, permission): (usize, &crate::policy::scope::Permission)| {
        let signature = key.functions.get(at)?.as_ref()?;
        Function::parse(signature).is_ok_and(|f| f.selector() == permission.sig).then(|| signature.clone())
    };
    key.scope.permissions.iter().enumerate().map(fits).collect()
}

#[cfg(test)]
mod tests {
    use alloy::{
        primitives::{Address, Bytes, FixedBytes, Selector, U256},
        signers::{SignerSync, local::PrivateKeySigner},
    };

    use super::*;
    use crate::protocol::kernel_v2::merkle::Tree;
    use crate::{
        policy::scope::{Permission, Scope},
        protocol::kernel_v2::{
            account::selector,
            approval::{ApprovalRequest, EnableData},
            generation::{Generation, KernelVersion},
        },
    };

    fn permission(index: u32, function: &str) -> Permission {
        Permission {
            index,
            target: Address::repeat_byte(0x11),
            sig: Function::parse(function).unwrap().selector(),
            value_limit: U256::ZERO,
            rules: Vec::new(),
            execution_rule: Default::default(),
            operation: Default::default(),
        }
    }

    fn signed_by(owner: &PrivateKeySigner) -> (Key, ApprovalRecord) {
        let key = Key {
            id: "0a1b2c3d".into(),
            label: "mint-bot".into(),
            network: "local".into(),
            chain_id: 1,
            account: Address::repeat_byte(0xac),
            owner: owner.address(),
            session_key: Address::repeat_byte(0x5e),
            secret: None,
            validator: Generation::G2.into(),
            scope: Scope {
                valid_after: 1,
                valid_until: 2_000_000_000,
                paymaster: Address::repeat_byte(0x77),
                permissions: vec![permission(0, "mint(address)"), permission(1, "tick()")],
            },
            partial: None,
            functions: vec![Some("mint(address to)".into()), Some("tick()".into())],
            origin: Origin::Granted,
            init_code: None,
            was_deployed: true,
            created_at: 0,
            revoked_at: None,
        };
        let request = ApprovalRequest {
            chain_id: 1,
            account: key.account,
            kernel: KernelVersion::V0_2_4,
            validator: Generation::G2,
            selector: selector::EXECUTE,
            executor: Address::ZERO,
            plugin_window: FixedBytes::ZERO,
            enable: EnableData::new(key.session_key, &key.scope, 7, Generation::G2),
        };
        let signature = Bytes::from(owner.sign_hash_sync(&request.digest()).unwrap().as_bytes());
        (
            key.clone(),
            ApprovalRecord { key_id: key.id, request: request.into(), signature: Some(signature), created_at: 0 },
        )
    }

    type Edit = fn(&mut Key, &mut ApprovalRecord);

    #[test]
    fn k13_every_edit_of_a_key_or_its_approval_is_found() {
        let owner = PrivateKeySigner::random();
        let (key, approval) = signed_by(&owner);
        assert_eq!(damage(&key, &approval), None);
        let edits: [(&str, Edit); 11] = [
            ("permissions", |k, _| k.scope.permissions[0].target = Address::ZERO),
            ("permissions", |k, _| drop(k.scope.permissions.pop())),
            ("permissions", |k, _| k.scope.permissions[1].value_limit = U256::from(1)),
            ("window", |k, _| k.scope.valid_until = 0),
            ("window", |k, a| (k.scope.valid_after, a.request.kernel_v2_mut().enable.merkle_root) = (0, B256::ZERO)),
            ("paymaster", |k, _| k.scope.paymaster = Address::ZERO),
            ("session key", |k, _| k.session_key = Address::ZERO),
            ("account", |k, _| k.account = Address::ZERO),
            ("signature", |k, _| k.owner = Address::repeat_byte(1)),
            ("signature", |_, a| a.signature = Some(Bytes::from_static(&[0x1b; 65]))),
            ("signature", |k, a| {
                k.scope.paymaster = Address::ZERO;
                a.request.kernel_v2_mut().enable.paymaster = Address::ZERO;
            }),
        ];
        for (named, edit) in edits {
            let (mut key, mut approval) = (key.clone(), approval.clone());
            edit(&mut key, &mut approval);
            let found = damage(&key, &approval);
            assert!(found.as_ref().is_some_and(|why| why.contains(named)), "{named}: {found:?}");
        }
        assert_eq!(damage(&key, &approval), None, "what verified before is not taken for what was edited");
    }

    #[test]
    fn k13_permissions_that_the_chain_showed_must_prove_that_they_belong_to_the_scope() {
        let (mut key, approval) = signed_by(&PrivateKeySigner::random());
        let tree = Tree::new(&key.scope.permissions, Generation::G2);
        key.partial =
            Some(crate::wallet::records::model::PartialScope { merkle_root: tree.root(), proofs: vec![tree.proof(1)] });
        key.scope.permissions.remove(0);
        assert_eq!(damage(&key, &approval), None);
        key.scope.permissions[0].target = Address::ZERO;
        assert!(damage(&key, &approval).is_some_and(|why| why.contains("permissions")));
    }

    #[test]
    fn k13_a_function_name_that_is_not_that_of_its_selector_is_not_shown() {
        let (mut key, _) = signed_by(&PrivateKeySigner::random());
        assert_eq!(functions(&key), key.functions);
        key.functions[0] = Some("tick()".into());
        key.scope.permissions[1].sig = Selector::ZERO;
        assert_eq!(functions(&key), [None, None]);
    }

    /// Measured, not asserted: `cargo test --lib k13_how_long -- --ignored --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    fn k13_how_long_500_keys_take() {
        let keys: Vec<_> = (0..500).map(|_| signed_by(&PrivateKeySigner::random())).collect();
        for round in ["first", "again"] {
            let start = std::time::Instant::now();
            assert!(keys.iter().all(|(key, approval)| damage(key, approval).is_none()));
            println!("{round}: {:?} for 500 keys", start.elapsed());
        }
    }
}
