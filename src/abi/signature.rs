//! Reads a function from a pasted signature: `function transfer(address to, uint256 amount) external returns (bool)`.
//!
//! Parameter names, tuple member names, data locations, modifiers and `returns` may be there or not.

use super::{AbiError, AbiType, Function, MAX_DEPTH, MAX_PARAMS, MAX_SIGNATURE_LEN, MAX_WEIGHT, Param};
use crate::text::clean;

impl Function {
    /// Reads a signature. Named tuple members, `memory` and the like, modifiers and `returns (…)` are understood.
    pub fn parse(text: &str) -> Result<Self, AbiError> {
        if text.len() > MAX_SIGNATURE_LEN {
            return Err(AbiError::TooLong { what: "the signature", len: text.len(), max: MAX_SIGNATURE_LEN });
        }
        let mut cursor = Cursor { whole: text, rest: text.trim() };
        let mut name = cursor.word();
        if name == "function" && cursor.rest.starts_with(char::is_whitespace) {
            name = cursor.word();
        } else if let Some(what) = other_item(name) {
            return Err(AbiError::NotAFunction { text: clean(text, 80), what });
        }
        if name.is_empty() {
            return Err(AbiError::BadName(clean(text, 80)));
        }
        cursor.expect('(', "`(` after the function name")?;
        let inputs = cursor.params(0)?;
        cursor.trailer()?;
        Self::new(name, inputs)
    }
}

/// What else can be pasted from a contract's source.
fn other_item(word: &str) -> Option<&'static str> {
    Some(match word {
        "event" => "an event",
        "error" => "an error",
        "constructor" => "a constructor",
        "struct" => "a struct",
        "modifier" => "a modifier",
        "receive" | "fallback" => "what a contract does with plain coins",
        _ => return None,
    })
}

/// The elementary type with this name.
pub(super) fn elementary(name: &str) -> Option<AbiType> {
    Some(match name {
        "address" => AbiType::Address,
        "bool" => AbiType::Bool,
        "bytes" => AbiType::Bytes,
        "string" => AbiType::String,
        "function" => AbiType::Function,
        "uint" => AbiType::Uint(256),
        "int" => AbiType::Int(256),
        _ => {
            if let Some(size) = name.strip_prefix("uint") {
                AbiType::Uint(bits(size)?)
            } else if let Some(size) = name.strip_prefix("int") {
                AbiType::Int(bits(size)?)
            } else {
                let len = size(name.strip_prefix("bytes")?)?;
                AbiType::FixedBytes((1..=32).contains(&len).then_some(len)?)
            }
        }
    })
}

fn bits(text: &str) -> Option<usize> {
    size(text).filter(|bits| (8..=256).contains(bits) && bits % 8 == 0)
}

/// A number as it stands in a type name: no sign, no leading zero.
fn size(text: &str) -> Option<usize> {
    let plain = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// The error for a type name nobody knows, with the usual replacement.
pub(super) fn unknown_type(name: &str) -> AbiError {
    let hint = match name {
        "fixed" | "ufixed" => "; fixed-point numbers exist in no compiler",
        "mapping" => "; a mapping cannot be an argument",
        "uint" | "int" | "bytes" | "tuple" => "",
        _ if name.starts_with("uint") || name.starts_with("int") => {
            "; sizes are 8 to 256 in steps of 8, as in `uint256`"
        }
        _ if name.starts_with("bytes") => "; sizes are 1 to 32, as in `bytes32`",
        _ => "; write `address` for a contract, `uint8` for an enum, `(type name, …)` for a struct",
    };
    AbiError::UnknownType { name: clean(name, 64), hint }
}

/// Reads `[]` and `[3]` behind a type.
pub(super) fn with_array_suffixes(mut ty: AbiType, suffixes: &str) -> Result<AbiType, AbiError> {
    let mut rest = suffixes;
    let mut depth = ty.depth();
    while !rest.is_empty() {
        let inner_and_rest = rest.strip_prefix('[').and_then(|r| r.split_once(']'));
        let Some((inner, behind)) = inner_and_rest else {
            return Err(AbiError::Syntax {
                signature: clean(suffixes, 80),
                expected: "`[]` or `[length]`",
                found: format!("`{}`", clean(rest, 32)),
            });
        };
        depth += 1;
        if depth > MAX_DEPTH {
            return Err(AbiError::TooDeep);
        }
        let inner = inner.trim();
        ty = if inner.is_empty() {
            AbiType::Array(Box::new(ty))
        } else {
            let len = size(inner).filter(|len| *len <= MAX_WEIGHT);
            AbiType::FixedArray(Box::new(ty), len.ok_or_else(|| AbiError::ArrayLength(clean(inner, 32)))?)
        };
        rest = behind.trim_start();
    }
    Ok(ty)
}

struct Cursor<'a> {
    whole: &'a str,
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// The next run of identifier characters, possibly empty.
    fn word(&mut self) -> &'a str {
        self.skip_space();
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '$'));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn eat(&mut self, c: char) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes the next word if it is this one.
    fn eat_word(&mut self, wanted: &str) -> bool {
        let before = self.rest;
        let found = self.word() == wanted;
        if !found {
            self.rest = before;
        }
        found
    }

    fn expect(&mut self, c: char, expected: &'static str) -> Result<(), AbiError> {
        if self.eat(c) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn unexpected(&self, expected: &'static str) -> AbiError {
        let rest = self.rest.trim_start();
        let found = if rest.is_empty() { "the end".to_owned() } else { format!("`{}`", clean(rest, 32)) };
        AbiError::Syntax { signature: clean(self.whole, 120), expected, found }
    }

    /// A parameter list behind its opening parenthesis.
    fn params(&mut self, depth: usize) -> Result<Vec<Param>, AbiError> {
        let mut params = Vec::new();
        if self.eat(')') {
            return Ok(params);
        }
        loop {
            params.push(self.param(depth)?);
            if params.len() > MAX_PARAMS {
                return Err(AbiError::TooMany { what: "parameters", max: MAX_PARAMS });
            }
            if self.eat(')') {
                return Ok(params);
            }
            self.expect(',', "`,` or `)`")?;
        }
    }

    fn param(&mut self, depth: usize) -> Result<Param, AbiError> {
        let ty = self.base_type(depth)?;
        self.skip_space();
        let ty = with_array_suffixes(ty, self.suffixes())?;
        let mut name = self.word();
        while matches!(name, "memory" | "calldata" | "storage") {
            name = self.word();
        }
        if name == "indexed" {
            return Err(AbiError::NotAFunction { text: clean(self.whole, 80), what: "an event" });
        }
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.unexpected("a parameter name that does not start with a digit"));
        }
        Ok(Param::new(name, ty))
    }

    fn base_type(&mut self, depth: usize) -> Result<AbiType, AbiError> {
        let word = self.word();
        let is_tuple = matches!(word, "" | "tuple") && self.eat('(');
        if !is_tuple {
            if word.is_empty() {
                return Err(self.unexpected("a type"));
            }
            let ty = elementary(word).ok_or_else(|| unknown_type(word))?;
            if ty == AbiType::Function && self.rest.trim_start().starts_with('(') {
                return Err(unknown_type("function (…)"));
            }
            if ty == AbiType::Address {
                self.eat_word("payable");
            }
            return Ok(ty);
        }
        if depth >= MAX_DEPTH {
            return Err(AbiError::TooDeep);
        }
        let members = self.params(depth + 1)?;
        if members.is_empty() { Err(AbiError::EmptyTuple) } else { Ok(AbiType::Tuple(members)) }
    }

    /// The text of the array suffixes that follow here.
    fn suffixes(&mut self) -> &'a str {
        let mut end = 0;
        while let Some(tail) = self.rest.get(end..) {
            let inner = tail.trim_start();
            let Some(close) = inner.starts_with('[').then(|| inner.find(']')).flatten() else { break };
            end += tail.len() - inner.len() + close + 1;
        }
        let (suffixes, rest) = self.rest.split_at_checked(end).unwrap_or(("", self.rest));
        self.rest = rest;
        suffixes
    }

    /// What may follow the parameters: modifiers with or without arguments, `returns (…)`, a semicolon.
    fn trailer(&mut self) -> Result<(), AbiError> {
        loop {
            if self.eat(';') || self.eat('{') {
                // A body, or the end of a declaration: nothing behind it changes the function.
                return Ok(());
            }
            let word = self.word();
            if word.is_empty() {
                self.skip_space();
                return if self.rest.is_empty() {
                    Ok(())
                } else {
                    Err(self.unexpected("the end, `returns (…)` or a modifier"))
                };
            }
            if self.eat('(') {
                let Some((_, rest)) = self.balanced() else { return Err(self.unexpected("`)`")) };
                self.rest = rest;
            }
        }
    }

    /// Splits behind the parenthesis that closes the one just taken.
    fn balanced(&self) -> Option<(&'a str, &'a str)> {
        let mut open = 1usize;
        for (at, c) in self.rest.char_indices() {
            match c {
                '(' => open += 1,
                ')' => open -= 1,
                _ => {}
            }
            if open == 0 {
                return self.rest.split_at_checked(at + 1);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(text: &str) -> String {
        Function::parse(text).unwrap().signature().to_owned()
    }

    fn refused(text: &str) -> String {
        Function::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_signature_is_read_however_it_is_pasted() {
        for text in [
            "transfer(address,uint256)",
            "transfer(address to, uint amount)",
            "  function transfer( address payable to , uint256 amount )  external returns (bool) ; ",
            "function transfer(address to, uint256 amount) public virtual override(ERC20, IERC20) onlyOwner returns (bool ok) {",
            "function\ttransfer(\n  address to,\n  uint256 amount\n)",
        ] {
            assert_eq!(signature(text), "transfer(address,uint256)", "{text}");
        }
        assert_eq!(Function::parse("transfer(address,uint256)").unwrap().selector().to_string(), "0xa9059cbb");
    }

    #[test]
    fn named_tuple_members_and_arrays_are_understood() {
        let text = "fill((address maker, (uint256 id, bytes4 kind)[2] parts)[] calldata orders, tuple(bool a, int b) flags, uint8[3][] n)";
        let function = Function::parse(text).unwrap();
        assert_eq!(function.signature(), "fill((address,(uint256,bytes4)[2])[],(bool,int256),uint8[3][])");
        assert_eq!(
            function.to_string(),
            "fill((address maker, (uint256 id, bytes4 kind)[2] parts)[] orders, (bool a, int256 b) flags, uint8[3][] n)"
        );
    }

    #[test]
    fn what_is_not_a_function_says_what_it_is() {
        assert!(refused("event Transfer(address indexed from)").contains("describes an event"));
        assert!(refused("Transfer(address indexed from)").contains("describes an event"));
        assert!(refused("error Nope()").contains("describes an error"));
        assert!(refused("constructor()").contains("describes a constructor"));
        assert!(refused("").contains("is not a function name"));
        assert!(refused("1transfer()").contains("is not a function name"));
        assert!(refused("transfer").contains("expected `(` after the function name but found the end"));
        assert!(refused("f(uint256").contains("expected `,` or `)` but found the end"));
        assert!(refused("f(uint256) returns (bool").contains("expected `)`"));
        assert!(refused("f(uint256) => x").contains("found `=> x`"));
        assert!(refused("f(,)").contains("expected a type"));
        assert!(refused("f(uint256[)").contains("expected `,` or `)`"));
        assert!(refused("f(uint256 1a)").contains("does not start with a digit"));
    }

    #[test]
    fn a_type_that_is_not_in_the_abi_gets_its_usual_replacement() {
        assert!(refused("f(IERC20 token)").contains("write `address` for a contract"));
        assert!(refused("f(uint7 a)").contains("8 to 256 in steps of 8"));
        assert!(refused("f(uint0256 a)").contains("8 to 256 in steps of 8"));
        assert!(refused("f(bytes33 a)").contains("1 to 32"));
        assert!(refused("f(mapping(address => uint) a)").contains("a mapping cannot be an argument"));
        assert!(refused("f(function (uint) external g)").contains("is not an ABI type"));
    }

    #[test]
    fn size_depth_and_count_are_bounded() {
        assert!(matches!(Function::parse(&"a".repeat(MAX_SIGNATURE_LEN + 1)), Err(AbiError::TooLong { .. })));
        let nested = format!("f({}uint{})", "(".repeat(10), ")".repeat(10));
        assert_eq!(Function::parse(&nested), Err(AbiError::TooDeep));
        assert_eq!(Function::parse(&format!("f(uint{})", "[]".repeat(9))), Err(AbiError::TooDeep));
        let many = format!("f({})", vec!["uint"; MAX_PARAMS + 1].join(","));
        assert!(matches!(Function::parse(&many), Err(AbiError::TooMany { .. })));
        assert!(matches!(Function::parse("f(uint[1000000])"), Err(AbiError::ArrayLength(_))));
        assert!(matches!(Function::parse("f(bytes[100][100])"), Err(AbiError::TooMany { .. })));
        assert!(matches!(Function::parse("f(uint[0])"), Err(AbiError::ArrayLength(_))));
        assert_eq!(Function::parse("f(())"), Err(AbiError::EmptyTuple));
    }

    #[test]
    fn a_name_with_hidden_characters_never_becomes_a_function() {
        assert!(matches!(Function::parse("trans\u{202e}fer(address)"), Err(AbiError::Syntax { .. })));
        assert!(matches!(Function::parse("tr\u{430}nsfer(address)"), Err(AbiError::Syntax { .. })));
        assert!(!refused("x\u{202e}(address)").contains('\u{202e}'));
    }
}
