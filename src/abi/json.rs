//! JSON ABIs: a plain array, a compiler's artifact with an `abi` field, or one of the interfaces everyone knows.

use alloy::primitives::Selector;
use serde::Deserialize;
use serde_json::Value;

use super::{AbiError, AbiType, Function, MAX_DEPTH, MAX_PARAMS, Param, signature};
use crate::text::clean;

/// Largest JSON document that is read, in bytes.
pub const MAX_JSON_LEN: usize = 4 * 1024 * 1024;
/// Most entries of an ABI.
const MAX_ITEMS: usize = 10_000;

/// Interfaces that need no file: the standards' functions.
pub const KNOWN_INTERFACES: [&str; 4] = ["erc20", "erc721", "erc1155", "weth"];

/// The functions of a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    functions: Vec<Function>,
}

/// A compiler's output; its other fields (bytecode, sources) are passed over.
#[derive(Deserialize)]
struct Artifact {
    abi: Vec<Value>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    inputs: Vec<JsonParam>,
}

#[derive(Deserialize)]
struct JsonParam {
    #[serde(default)]
    name: String,
    #[serde(rename = "type")]
    ty: String,
    #[serde(default)]
    components: Vec<JsonParam>,
}

impl Interface {
    /// Reads a JSON ABI: an array, or an object whose `abi` field is one. Events and errors are passed over.
    pub fn from_json(text: &str) -> Result<Self, AbiError> {
        if text.len() > MAX_JSON_LEN {
            return Err(AbiError::TooLong { what: "the JSON ABI", len: text.len(), max: MAX_JSON_LEN });
        }
        let unreadable = |e: serde_json::Error| AbiError::Json(clean(&e.to_string(), 160));
        let items: Vec<Value> = if text.trim_start().starts_with('[') {
            serde_json::from_str(text).map_err(unreadable)?
        } else {
            serde_json::from_str::<Artifact>(text).map_err(unreadable)?.abi
        };
        if items.len() > MAX_ITEMS {
            return Err(AbiError::TooMany { what: "entries in the ABI", max: MAX_ITEMS });
        }
        let mut functions: Vec<Function> = Vec::new();
        for item in items {
            // Some tools write signatures where others write objects.
            if let Value::String(text) = item {
                match Function::parse(&text) {
                    Err(AbiError::NotAFunction { .. }) => {}
                    parsed => functions.push(parsed?),
                }
                continue;
            }
            let item = Item::deserialize(item).map_err(unreadable)?;
            if item.kind.as_deref().unwrap_or("function") == "function" {
                functions.push(Function::new(&item.name, params(item.inputs, 0)?)?);
            }
        }
        // The same function twice (a proxy's ABI joined with its implementation's) is no overload.
        functions.sort_by(|a, b| a.signature().cmp(b.signature()));
        functions.dedup_by(|a, b| a.signature() == b.signature());
        if functions.is_empty() {
            return Err(AbiError::NoFunctions);
        }
        Ok(Self { functions })
    }

    /// One of [`KNOWN_INTERFACES`], in any case, with or without the dash of `ERC-20`.
    pub fn known(name: &str) -> Result<Self, AbiError> {
        let json = match name.trim().to_ascii_lowercase().replace("erc-", "erc").as_str() {
            "erc20" => include_str!("../../assets/abi/erc20.json"),
            "erc721" => include_str!("../../assets/abi/erc721.json"),
            "erc1155" => include_str!("../../assets/abi/erc1155.json"),
            "weth" => include_str!("../../assets/abi/weth.json"),
            _ => return Err(AbiError::UnknownInterface(clean(name, 64))),
        };
        Self::from_json(json)
    }

    /// All functions, sorted by signature.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The function with this bare name or full signature. A bare name must not be overloaded.
    pub fn function(&self, wanted: &str) -> Result<&Function, AbiError> {
        let wanted = wanted.trim();
        if wanted.contains('(') {
            let parsed = Function::parse(wanted)?;
            let found = self.functions.iter().find(|f| f.signature() == parsed.signature());
            return found.ok_or_else(|| self.not_found(parsed.name(), wanted));
        }
        let named: Vec<&Function> = self.functions.iter().filter(|f| f.name() == wanted).collect();
        match named.as_slice() {
            [] => Err(self.not_found(wanted, wanted)),
            [one] => Ok(one),
            several => Err(AbiError::Overloaded {
                name: clean(wanted, 64),
                signatures: several.iter().map(|f| f.signature().to_owned()).collect(),
            }),
        }
    }

    /// The functions with this selector: one, unless two signatures collide.
    pub fn by_selector(&self, selector: Selector) -> impl Iterator<Item = &Function> {
        self.functions.iter().filter(move |f| f.selector() == selector)
    }

    /// What there is instead: the overloads of the name if it has any, else every function.
    fn not_found(&self, name: &str, wanted: &str) -> AbiError {
        let same_name = self.functions.iter().filter(|f| f.name() == name);
        let mut available: Vec<String> = same_name.map(|f| f.signature().to_owned()).collect();
        if available.is_empty() {
            available = self.functions.iter().map(|f| f.signature().to_owned()).collect();
        }
        AbiError::NotFound { wanted: clean(wanted, 120), available }
    }
}

/// Functions of the known interfaces with this selector, with the interface's name: a guess to read foreign scopes by.
pub fn known_functions(selector: Selector) -> Vec<(&'static str, Function)> {
    let mut found = Vec::new();
    for name in KNOWN_INTERFACES {
        if let Ok(interface) = Interface::known(name) {
            found.extend(interface.by_selector(selector).map(|f| (name, f.clone())));
        }
    }
    found
}

fn params(inputs: Vec<JsonParam>, depth: usize) -> Result<Vec<Param>, AbiError> {
    if inputs.len() > MAX_PARAMS {
        return Err(AbiError::TooMany { what: "parameters", max: MAX_PARAMS });
    }
    if depth > MAX_DEPTH {
        return Err(AbiError::TooDeep);
    }
    inputs.into_iter().map(|input| param(input, depth)).collect()
}

fn param(input: JsonParam, depth: usize) -> Result<Param, AbiError> {
    let text = input.ty.trim();
    let (base, suffixes) = text.split_at(text.find('[').unwrap_or(text.len()));
    let base = if base == "tuple" {
        let members = params(input.components, depth + 1)?;
        if members.is_empty() {
            return Err(AbiError::EmptyTuple);
        }
        AbiType::Tuple(members)
    } else {
        signature::elementary(base).ok_or_else(|| signature::unknown_type(base))?
    };
    Ok(Param::new(&input.name, signature::with_array_suffixes(base, suffixes)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVERLOADED: &str = r#"[
        {"type": "function", "name": "mint", "inputs": [{"name": "to", "type": "address"}]},
        {"type": "function", "name": "mint", "inputs": []},
        {"type": "event", "name": "Minted", "inputs": [{"name": "to", "type": "address", "indexed": true}]},
        {"name": "fill", "inputs": [{"name": "o", "type": "tuple[2]", "components": [
            {"name": "id", "type": "uint256"}, {"name": "\u202eevil", "type": "bytes4"}]}]}
    ]"#;

    #[test]
    fn a_bare_name_with_overloads_lists_their_signatures() {
        let interface = Interface::from_json(OVERLOADED).unwrap();
        assert_eq!(
            interface.function("mint"),
            Err(AbiError::Overloaded {
                name: "mint".into(),
                signatures: vec!["mint()".into(), "mint(address)".into()]
            })
        );
        assert_eq!(interface.function("mint(address who)").unwrap().signature(), "mint(address)");
        assert!(matches!(interface.function("Minted"), Err(AbiError::NotFound { .. })));
    }

    #[test]
    fn tuples_keep_their_members_and_lose_names_that_are_none() {
        let interface = Interface::from_json(OVERLOADED).unwrap();
        let fill = interface.function("fill").unwrap();
        assert_eq!(fill.to_string(), "fill((uint256 id, bytes4)[2] o)");
        let paths: Vec<String> = fill.head().into_iter().map(|w| w.path).collect();
        assert_eq!(paths, ["o[0].id", "o[0].1", "o[1].id", "o[1].1"]);
    }

    #[test]
    fn an_artifact_and_a_list_of_signatures_are_abis_too() {
        let artifact = format!(r#"{{"contractName": "C", "bytecode": "0x60", "abi": {OVERLOADED}}}"#);
        assert_eq!(Interface::from_json(&artifact), Interface::from_json(OVERLOADED));
        let list = r#"["function mint(address to) external", "event Minted(address to)"]"#;
        assert_eq!(Interface::from_json(list).unwrap().functions().len(), 1);
    }

    #[test]
    fn a_missing_function_is_answered_with_what_there_is() {
        let error = Interface::from_json(OVERLOADED).unwrap().function("mint(uint256)").unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no function `mint(uint256)` in this ABI; it has `mint()`, `mint(address)`"
        );
    }

    #[test]
    fn what_is_no_abi_is_refused_with_the_reason() {
        let refused = |json: &str| Interface::from_json(json).unwrap_err();
        assert!(matches!(refused("{}"), AbiError::Json(_)));
        assert!(matches!(refused("[1]"), AbiError::Json(_)));
        assert!(matches!(refused("[{]"), AbiError::Json(_)));
        assert_eq!(refused("[]"), AbiError::NoFunctions);
        assert!(matches!(refused(r#"[{"name": "a b", "inputs": []}]"#), AbiError::BadName(_)));
        assert!(matches!(refused(r#"[{"name": "f", "inputs": [{"type": "uint7"}]}]"#), AbiError::UnknownType { .. }));
        assert_eq!(refused(r#"[{"name": "f", "inputs": [{"type": "tuple"}]}]"#), AbiError::EmptyTuple);
        assert!(matches!(refused(&" ".repeat(MAX_JSON_LEN + 1)), AbiError::TooLong { .. }));
        let many = format!("[{}]", vec![r#"{"type":"event"}"#; MAX_ITEMS + 1].join(","));
        assert!(matches!(refused(&many), AbiError::TooMany { .. }));
    }

    #[test]
    fn the_known_interfaces_have_the_selectors_of_their_standards() {
        let selector = |interface: &str, name: &str| {
            Interface::known(interface).unwrap().function(name).unwrap().selector().to_string()
        };
        for (interface, name, expected) in [
            ("erc20", "transfer", "0xa9059cbb"),
            ("erc20", "approve", "0x095ea7b3"),
            ("ERC-20", "transferFrom", "0x23b872dd"),
            ("erc20", "balanceOf", "0x70a08231"),
            ("erc20", "allowance", "0xdd62ed3e"),
            ("erc20", "totalSupply", "0x18160ddd"),
            ("erc721", "safeTransferFrom(address,address,uint256)", "0x42842e0e"),
            ("erc721", "safeTransferFrom(address,address,uint256,bytes)", "0xb88d4fde"),
            ("erc721", "setApprovalForAll", "0xa22cb465"),
            ("erc721", "ownerOf", "0x6352211e"),
            ("erc721", "getApproved", "0x081812fc"),
            ("erc721", "isApprovedForAll", "0xe985e9c5"),
            ("erc721", "tokenURI", "0xc87b56dd"),
            ("erc721", "supportsInterface", "0x01ffc9a7"),
            ("erc1155", "safeTransferFrom", "0xf242432a"),
            ("erc1155", "safeBatchTransferFrom", "0x2eb2c2d6"),
            ("erc1155", "balanceOf", "0x00fdd58e"),
            ("erc1155", "balanceOfBatch", "0x4e1273f4"),
            ("erc1155", "uri", "0x0e89341c"),
            ("weth", "deposit", "0xd0e30db0"),
            ("weth", "withdraw", "0x2e1a7d4d"),
        ] {
            assert_eq!(selector(interface, name), expected, "{interface} {name}");
        }
        assert!(matches!(Interface::known("erc777"), Err(AbiError::UnknownInterface(_))));
    }

    #[test]
    fn a_selector_of_several_standards_is_answered_by_each() {
        let transfer_from = Selector::new([0x23, 0xb8, 0x72, 0xdd]);
        let standards: Vec<&str> = known_functions(transfer_from).into_iter().map(|(name, _)| name).collect();
        assert_eq!(standards, ["erc20", "erc721", "weth"]);
        assert!(known_functions(Selector::ZERO).is_empty());
    }
}
