//! JSON ABIs: a plain array, a compiler's artifact with an `abi` field, or one of the interfaces everyone knows.

use alloy::primitives::Selector;
use serde::Deserialize;
use serde_json::Value;

use super::{AbiError, AbiType, Function, MAX_DEPTH, MAX_PARAMS, Param, signature};
use crate::kernel::text::clean;

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
            "erc20" => include_str!("../../../assets/abi/erc20.json"),
            "erc721" => include_str!("../../../assets/abi/erc721.json"),
            "erc1155" => include_str!("../../../assets/abi/erc1155.json"),
            "weth" => include_str!("../../../assets/abi/weth.json"),
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
