//! Who decides over the account by its state: its code, its root and the root's hook; and what can act for it beside its keys:
//! validators, executors, and functions that are routed to a module (docs/kernel-v3.md#other-powers). Whatever of that is not
//! understood counts as somebody else's.

use alloy::primitives::Address;

use super::{
    contracts::{ECDSA_VALIDATOR, ECDSA_VALIDATOR_3_0, KernelVersion, unsupported_name},
    nonce::{ValidationId, ValidationType},
    revocation::Move,
    snapshot::{AccountCode, Fallback, NO_HOOK, Snapshot},
};
use crate::protocol::{
    Call, Step,
    power::{Control, Remaining},
};

/// Whose the account is, by its state, and what of that is not understood, worst first.
pub fn foreign_power(account: Address, owner_on_record: Address, snapshot: &Snapshot) -> (Control, Vec<Remaining>) {
    if !snapshot.is_deployed() {
        return (Control::Ours, Vec::new());
    }
    let mut foreign = Vec::new();
    let mut add =
        |what: &str, address: Address, why: String| foreign.push(Remaining { what: what.into(), address, why });
    let mut control = Control::Ours;
    match snapshot.code {
        AccountCode::Delegated(version) if !version.is_safe_to_delegate() => {
            control = Control::Foreign;
            let why = format!("the EOA is delegated to Kernel {version}, which any stranger can take over");
            add("delegation", version.implementation(), why);
        }
        AccountCode::Other(_) => {
            add(
                "code",
                account,
                "the account's own code is neither a Kernel factory's proxy nor a known delegation".into(),
            );
        }
        _ => {}
    }
    if snapshot.kernel.is_none() {
        let implementation = snapshot.implementation.unwrap_or_default();
        if KernelVersion::from_implementation(implementation).is_some() {
            // It is the code in front of it that is not known.
            return (if control == Control::Ours { Control::Shared } else { control }, foreign);
        }
        let named = unsupported_name(implementation).map_or(String::new(), |name| format!(" ({name})"));
        add("implementation", implementation, format!("it is no Kernel version that is known here{named}"));
        return (if control == Control::Ours { Control::Shared } else { control }, foreign);
    }
    match (snapshot.owner(), snapshot.root) {
        (Some(owner), _) if owner == owner_on_record => {}
        (Some(owner), _) => {
            control = Control::Foreign;
            let why = format!("the owner on record, {owner_on_record}, is not the account's owner any more");
            add("owner", owner, why);
        }
        (None, root) => {
            let (address, why) = unknown_root(root.unwrap_or(ValidationId::EIP7702_ROOT));
            if snapshot.ecdsa_root().is_some() {
                control = Control::Foreign;
                add("owner", Address::ZERO, "nobody owns the account: its root validator knows no owner".into());
            } else {
                add("root", address, why);
            }
        }
    }
    if let Some((hook, why)) = root_hook(snapshot) {
        add("hook of the root", hook, why);
    }
    for (id, held) in &snapshot.validations {
        let Some(validator) = id.validator().filter(|_| Some(*id) != snapshot.root && !held.hook.is_zero()) else {
            continue;
        };
        let who = match (is_ecdsa(validator), snapshot.owners.get(&validator)) {
            (true, Some(owner)) if *owner == owner_on_record => continue,
            (true, Some(owner)) => format!("its owner {owner} signs for the account"),
            _ => "whoever this validator accepts can act or sign for the account".to_owned(),
        };
        add("validator", validator, who);
    }
    for (executor, hook) in &snapshot.executors {
        let guarded = if *hook == NO_HOOK { String::new() } else { format!(", unless its hook {hook} refuses") };
        add("executor", *executor, format!("it may move everything at any time{guarded}; no stop of keys ends that"));
    }
    for (function, fallback) in &snapshot.fallbacks {
        add(&format!("route of {function}"), fallback.target, route(fallback));
    }
    if control == Control::Ours && !foreign.is_empty() {
        control = Control::Shared;
    }
    (control, foreign)
}

fn is_ecdsa(validator: Address) -> bool {
    [ECDSA_VALIDATOR, ECDSA_VALIDATOR_3_0].contains(&validator)
}

fn unknown_root(root: ValidationId) -> (Address, String) {
    let address = Address(root.identifier());
    let name = |address: Address| unsupported_name(address).map_or(String::new(), |name| format!(" ({name})"));
    match root.kind() {
        ValidationType::Permission => {
            (address, format!("a permission ({root}) decides over the account: whoever holds it can do everything"))
        }
        ValidationType::Validator => {
            let words = format!("whoever it accepts{} can do everything, and it can refuse the owner", name(address));
            (address, words)
        }
        _ => (address, format!("what decides over the account ({root}) is not known")),
    }
}

/// A hook of the root that is not known can refuse everything that the owner does by an operation; by a plain transaction it is not
/// asked.
fn root_hook(snapshot: &Snapshot) -> Option<(Address, String)> {
    let root = snapshot.root.filter(|root| *root != ValidationId::EIP7702_ROOT)?;
    let Some(held) = snapshot.validation(root) else {
        return Some((Address::ZERO, "it was not asked about, so that it may be anything".to_owned()));
    };
    (held.hook != NO_HOOK && !held.hook.is_zero()).then(|| {
        let way = match snapshot.owner_may_transact() {
            true => "; the owner's plain transaction does not ask it",
            false => "",
        };
        (held.hook, format!("it can refuse every operation of the owner{way}"))
    })
}

fn route(fallback: &Fallback) -> String {
    let runs = match fallback.call_type {
        0xff => "its code runs as the account",
        _ => "it is called in the account's name",
    };
    match fallback.hook {
        NO_HOOK => format!("anybody may call the function, and {runs}; no stop of keys ends that"),
        hook if hook.is_zero() => format!("{runs} when the function is called; no stop of keys ends that"),
        hook => format!("whoever its hook {hook} lets through may call the function, and {runs}"),
    }
}

/// The calls that take away what can act for the account beside its owner and keys, as far as its owner can make them, and what each
/// does. A root that is somebody else's is not taken back by any call of the owner's.
pub fn way_back(account: Address, owner_on_record: Address, snapshot: &Snapshot) -> Vec<(Call, Step)> {
    let mut calls = Vec::new();
    if snapshot.kernel.is_none() || !snapshot.is_deployed() {
        return calls;
    }
    let mut add = |step: Move, call: &str, effect: String| {
        for one in step.calls(account) {
            calls.push((one, Step { call: call.to_owned(), effect: effect.clone() }));
        }
    };
    for (id, held) in &snapshot.validations {
        let Some(validator) = id.validator().filter(|_| Some(*id) != snapshot.root && !held.hook.is_zero()) else {
            continue;
        };
        if is_ecdsa(validator) && snapshot.owners.get(&validator) == Some(&owner_on_record) {
            continue;
        }
        let effect = format!("takes validator {validator} away, which could act and sign for the account");
        add(Move::RemoveValidator { validator }, "Kernel.uninstallValidation(validator)", effect);
    }
    for executor in snapshot.executors.keys().copied() {
        let effect = format!("takes executor {executor} away, which may move everything at any time");
        add(Move::RemoveExecutor { executor }, "Kernel.uninstallModule(executor)", effect);
    }
    for (function, fallback) in &snapshot.fallbacks {
        let effect = format!("closes function {function}, which runs {}", fallback.target);
        let step = Move::CloseFallback { selector: *function, target: fallback.target };
        add(step, "Kernel.uninstallModule(fallback)", effect);
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::kernel_v3::snapshot::Validation;

    const OWNER: Address = Address::repeat_byte(1);

    fn told(snapshot: &Snapshot) -> (Control, Vec<String>) {
        let (control, remaining) = foreign_power(snapshot.account, OWNER, snapshot);
        (control, remaining.into_iter().map(|r| r.what).collect())
    }

    #[test]
    fn an_account_of_its_owner_has_nothing_else() {
        for version in KernelVersion::ALL {
            assert_eq!(told(&Snapshot::example(version)), (Control::Ours, vec![]));
        }
    }

    #[test]
    fn an_unknown_root_a_hook_of_the_root_and_another_owner_are_told() {
        type Change = fn(&mut Snapshot);
        let stranger = |p: &mut Snapshot| p.owners.values_mut().for_each(|owner| *owner = Address::repeat_byte(9));
        let changes: [(Change, Control, &[&str]); 6] = [
            (stranger, Control::Foreign, &["owner"]),
            (|p| p.owners.clear(), Control::Foreign, &["owner"]),
            (|p| p.root = Some(ValidationId::EIP7702_ROOT), Control::Shared, &["root"]),
            (
                |p| p.validations.values_mut().for_each(|v| v.hook = Address::repeat_byte(9)),
                Control::Shared,
                &["hook of the root"],
            ),
            (|p| p.validations.clear(), Control::Shared, &["hook of the root"]),
            (|p| p.code = AccountCode::Delegated(KernelVersion::V3_1), Control::Foreign, &["delegation"]),
        ];
        for (change, control, expected) in changes {
            let mut snapshot = Snapshot::example(KernelVersion::V3_3);
            change(&mut snapshot);
            let (told_control, what) = told(&snapshot);
            assert_eq!(told_control, control, "{what:?}");
            assert!(expected.iter().all(|e| what.iter().any(|w| w == e)), "{expected:?} in {what:?}");
        }
    }

    #[test]
    fn an_old_root_that_still_signs_is_told_and_taken_away() {
        let mut snapshot = Snapshot::example(KernelVersion::V3_3);
        let old = ValidationId::of_validator(Address::repeat_byte(7));
        snapshot.validations.insert(old, Validation { nonce: 1, hook: NO_HOOK, is_hook: false });
        assert_eq!(told(&snapshot), (Control::Shared, vec!["validator".to_owned()]));
        let back = way_back(snapshot.account, OWNER, &snapshot);
        assert_eq!(back.len(), 1);
        // What holds nothing any more is nobody's.
        snapshot.validations.insert(old, Validation::default());
        assert_eq!(told(&snapshot), (Control::Ours, vec![]));
    }
}
