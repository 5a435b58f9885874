//! Functions and contracts whose power is known, as data (assets/functions.json): which argument says who receives, who
//! pays and how much, which ones carry further calls, which ones administer a contract.
//!
//! Read once, however many scopes are assessed. A test reads every entry, so that a slip in the file is no silent gap.

use std::{collections::HashMap, sync::LazyLock};

use alloy::primitives::{Address, Selector};
use serde::Deserialize;

use crate::abi::{AbiType, Function};

/// What a function does with assets or power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Moves assets.
    Transfer,
    /// Lets a spender move assets later, up to an amount.
    Allowance,
    /// Lets an operator move everything later.
    Operator,
    /// Makes new tokens.
    Mint,
    /// Exchanges assets; who receives the result is an argument.
    Swap,
    /// Carries calls, routes or orders that no condition can look into.
    Carrier,
    /// Administers a contract: owner, roles, code.
    Privileged,
    /// Only reads.
    View,
}

/// A known function, with the places of its arguments as words of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub function: Function,
    pub kind: Kind,
    /// Who receives, or may spend: name and word.
    pub to: Vec<Place>,
    /// Whose assets are moved.
    pub from: Option<Place>,
    pub amount: Vec<Place>,
    /// The bool that turns an operator on.
    pub allowed: Option<Place>,
    /// No condition can limit the amount.
    pub unlimited: bool,
    /// Each call adds to what earlier ones allowed.
    pub adds_up: bool,
    /// Dangerous on a contract that is not named, besides what `kind` says.
    pub privileged_on_any: bool,
    /// What it carries that no condition can look into.
    pub carries: Option<String>,
}

/// An argument by name, and the byte where its word begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub name: String,
    pub offset: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    functions: Vec<Entry>,
    names: Vec<Name>,
    recipients: Vec<String>,
    contracts: Vec<Named>,
    token_paymasters: Vec<Named>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    function: String,
    is: Kind,
    #[serde(default)]
    to: Vec<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    amount: Vec<String>,
    #[serde(default)]
    allowed: Option<String>,
    #[serde(default)]
    unlimited: bool,
    #[serde(default)]
    adds_up: bool,
    #[serde(default)]
    privileged: Option<String>,
    #[serde(default)]
    carries: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Name {
    begins: String,
    is: Kind,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    address: Address,
    name: String,
}

#[derive(Default)]
struct Table {
    functions: HashMap<Selector, Known>,
    names: Vec<(String, Kind)>,
    recipients: Vec<String>,
    contracts: HashMap<Address, String>,
    token_paymasters: Vec<Address>,
}

static TABLE: LazyLock<Table> =
    LazyLock::new(|| read(include_str!("../../../assets/functions.json")).unwrap_or_default());

fn read(text: &str) -> Result<Table, String> {
    let file: File = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let mut functions = HashMap::with_capacity(file.functions.len());
    for entry in file.functions {
        let known = known(entry)?;
        let signature = known.function.signature().to_owned();
        if functions.insert(known.function.selector(), known).is_some() {
            return Err(format!("{signature} is there twice"));
        }
    }
    let named = |all: Vec<Named>| all.into_iter().map(|n| (n.address, n.name));
    Ok(Table {
        functions,
        names: file.names.into_iter().map(|n| (n.begins, n.is)).collect(),
        recipients: file.recipients,
        contracts: named(file.contracts).collect(),
        token_paymasters: named(file.token_paymasters).map(|(address, _)| address).collect(),
    })
}

fn known(entry: Entry) -> Result<Known, String> {
    let function = Function::parse(&entry.function).map_err(|e| e.to_string())?;
    let places: Vec<Place> = words(&function).map(|(name, offset, _)| Place { name, offset }).collect();
    let place = |name: &String| {
        let found = places.iter().find(|p| p.name == *name).cloned();
        found.ok_or_else(|| format!("{} has no argument {name}", entry.function))
    };
    let all = |names: &[String]| names.iter().map(place).collect::<Result<Vec<_>, _>>();
    Ok(Known {
        kind: entry.is,
        to: all(&entry.to)?,
        from: entry.from.as_ref().map(place).transpose()?,
        amount: all(&entry.amount)?,
        allowed: entry.allowed.as_ref().map(place).transpose()?,
        unlimited: entry.unlimited,
        adds_up: entry.adds_up,
        privileged_on_any: entry.is == Kind::Privileged || entry.privileged.as_deref() == Some("any"),
        carries: entry.carries,
        function,
    })
}

/// The words of a function's arguments: name, byte offset, type.
pub fn words(function: &Function) -> impl Iterator<Item = (String, u64, &AbiType)> {
    (0u64..).step_by(32).zip(function.head()).map(|(offset, word)| (word.path, offset, word.ty))
}

/// The known function with this selector.
pub fn function(selector: Selector) -> Option<&'static Known> {
    TABLE.functions.get(&selector)
}

/// What a function's name alone says of it.
pub fn by_name(name: &str) -> Option<Kind> {
    let name = name.to_lowercase();
    TABLE.names.iter().find(|(begins, _)| name.starts_with(begins.as_str())).map(|(_, kind)| *kind)
}

/// Whether an argument of this name usually says who receives or may spend.
pub fn names_a_recipient(argument: &str) -> bool {
    let last = argument.rsplit('.').next().unwrap_or(argument);
    let plain: String = last.chars().filter(|c| *c != '_').collect::<String>().to_lowercase();
    TABLE.recipients.contains(&plain)
}

/// A contract that does what its caller's data says.
pub fn contract(address: Address) -> Option<&'static str> {
    TABLE.contracts.get(&address).map(String::as_str)
}

/// Paymasters that are paid in tokens by an allowance.
pub fn token_paymasters() -> &'static [Address] {
    &TABLE.token_paymasters
}

/// All known functions of a kind, for tests and for asking a chain.
pub fn functions() -> impl Iterator<Item = &'static Known> {
    TABLE.functions.values()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_of_the_table_can_be_read() {
        let table = read(include_str!("../../../assets/functions.json")).unwrap();
        assert!(table.functions.len() > 100 && !table.names.is_empty() && !table.contracts.is_empty());
        for (begins, _) in &table.names {
            assert_eq!(*begins, begins.to_lowercase(), "names are compared in lower case");
        }
    }

    #[test]
    fn an_argument_that_is_not_there_or_a_function_twice_is_an_error() {
        let file = |functions: &str| {
            read(&format!(
                r#"{{"functions": [{functions}], "names": [], "recipients": [], "contracts": [], "token_paymasters": []}}"#
            ))
            .err()
        };
        assert_eq!(file(r#"{"function": "f(address to)", "is": "mint", "to": ["to"]}"#), None);
        let absent = file(r#"{"function": "f(address to)", "is": "mint", "to": ["who"]}"#);
        assert!(absent.is_some_and(|e| e.contains("no argument who")));
        let twice = r#"{"function": "f()", "is": "view"}, {"function": "f()", "is": "mint"}"#;
        assert!(file(twice).is_some_and(|e| e.contains("twice")));
    }

    #[test]
    fn recipients_are_known_by_the_last_part_of_their_name() {
        for name in ["to", "_to", "params.recipient", "onBehalfOf", "dstReceiver"] {
            assert!(names_a_recipient(name), "{name}");
        }
        for name in ["token", "from", "to.token", "operators", "amount"] {
            assert!(!names_a_recipient(name), "{name}");
        }
    }
}
