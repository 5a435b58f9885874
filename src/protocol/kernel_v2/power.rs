//! Who decides over the account by its state: the default validator over everything that "the owner" signs, and for each
//! function the validator and executor that it is routed to. Whatever of that is not understood counts as somebody else's.

use alloy::primitives::{Address, U256};

use super::{
    account::{close_route, restore_default_validator, selector},
    generation::{ECDSA_VALIDATOR, Generation},
    snapshot::{Route, Snapshot},
};
use crate::{
    policy::sentence,
    protocol::{
        Call, Step,
        power::{Control, Remaining},
    },
};

/// Whose the account is, by its state, and what of that is not understood.
pub fn foreign_power(account: Address, owner_on_record: Address, picture: &Snapshot) -> (Control, Vec<Remaining>) {
    if !picture.deployed {
        return (Control::Ours, Vec::new());
    }
    let mut foreign = Vec::new();
    let mut add = |what: String, address: Address, why: String| foreign.push(Remaining { what, address, why });
    let mut control = Control::Ours;
    match picture.owner {
        Some(owner) if owner == owner_on_record => {}
        owner => {
            control = Control::Foreign;
            let owner = owner.unwrap_or_default();
            add(
                "owner".into(),
                owner,
                format!("the owner on record, {owner_on_record}, is not the account's owner any more"),
            );
        }
    }
    if let Some(validator) = picture.default_validator.filter(|v| *v != ECDSA_VALIDATOR) {
        add(
            "default validator".into(),
            validator,
            "it decides over the account instead of the ECDSAValidator: whoever it accepts can do everything, and it can refuse \
             the owner"
                .into(),
        );
    }
    if !picture.known_proxy {
        add("code".into(), account, "the account's own code is not the proxy that the Kernel factory makes".into());
    }
    if picture.kernel.is_none() {
        let implementation = picture.implementation.unwrap_or_default();
        add("implementation".into(), implementation, "it is no Kernel version that is known here".into());
    }
    for (function, route) in &picture.routes {
        let Some((address, why)) = foreign_route(owner_on_record, picture, route) else { continue };
        add(format!("route of {}", selector::described(*function)), address, why);
    }
    (control, foreign)
}

fn foreign_route(owner_on_record: Address, picture: &Snapshot, route: &Route) -> Option<(Address, String)> {
    if !route.executor.is_zero() {
        let why = "code of this executor runs in the account's name when the function is called".to_owned();
        return Some((route.executor, why));
    }
    let known = route.validator.is_zero()
        || Generation::from_address(route.validator).is_some_and(|g| picture.has_validator(g))
        || route.validator == ECDSA_VALIDATOR && picture.owner == Some(owner_on_record);
    (!known).then(|| {
        let until = match route.window.until {
            0 => String::new(),
            until => format!(" (until {})", sentence::time(until)),
        };
        (route.validator, format!("whoever this validator accepts can use the function{until}"))
    })
}

/// The calls that give an account back to its owner, as far as its owner can make them, and what each does.
pub fn way_back(account: Address, owner_on_record: Address, picture: &Snapshot) -> Vec<(Call, Step)> {
    let to_itself = |data| Call { to: account, value: U256::ZERO, data };
    let mut calls = Vec::new();
    if let Some(validator) = picture.default_validator.filter(|v| *v != ECDSA_VALIDATOR) {
        calls.push((
            to_itself(restore_default_validator(owner_on_record)),
            Step {
                call: "Kernel.setDefaultValidator(ECDSAValidator, owner)".to_owned(),
                effect: format!("the owner's signature decides again, not {validator}"),
            },
        ));
    }
    for (function, route) in &picture.routes {
        if foreign_route(owner_on_record, picture, route).is_some() {
            let name = selector::described(*function);
            calls.push((
                to_itself(close_route(*function, owner_on_record)),
                Step {
                    call: format!("Kernel.setExecution({name}, no executor, ECDSAValidator)"),
                    effect: format!(
                        "closes {name} to everybody but the owner: {} cannot use it any more",
                        route.validator
                    ),
                },
            ));
        }
    }
    calls
}
