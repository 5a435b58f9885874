//! Many reads in one `eth_call`, for endpoints that take no batches: a picture of an account is some twenty reads, and each would
//! be a request of its own.
//!
//! The call creates a contract that is never kept: its constructor makes the reads and returns what came of each. Nothing needs to
//! be deployed for that. A node that does not run it is asked for each read alone, as before.

use alloy::{
    hex,
    primitives::{Address, B256, Bytes, U256, hex as literal},
};
use serde_json::{Value, json};

use super::transport::{Call, ChainError};

/// Reads in one call: well inside the gas that nodes allow a call, and the bytes that a created contract may have.
pub const MOST: usize = 60;
/// Bytes of one read's calldata.
const LONGEST: usize = 0x2000;

/// Reads items `kind1 ‖ address20 ‖ length2 ‖ data` behind itself: 0 a static call, 1 a code hash, 2 a balance. Answers
/// `success32 ‖ length32 ‖ data` for each.
///
/// ```text
/// mem[0] = where the items begin; mem[0x20] = 0x3000
/// while mem[0] < codesize:
///   header = 23 bytes of code at mem[0]; data = the bytes after it, copied to 0x1000; mem[0] goes past both
///   kind 1, 2: mem[mem[0x20]] = 1, 32, extcodehash or balance
///   else:      mem[mem[0x20]] = staticcall(address, data), the size of what it returned, what it returned
///   mem[0x20] goes past what was written
/// return mem[0x3000..mem[0x20]]
/// ```
const READER: [u8; 215] = literal!(
    "60d76000526130006020525b38600051101560cb5760176000516040396040518060481c61ffff1680600051601701611000398060170160005101"
    "6000528160581c73ffffffffffffffffffffffffffffffffffffffff168260f81c80600114609d578060021460a357506000600083611000845a"
    "fa602051523d602051602001523d60006020516040013e3d60400160205101602052505050600b565b503f60a6565b50315b6020516040015260"
    "01602051526020602051602001526060602051016020525050600b565b61300060205103613000f3"
);

enum Kind {
    View,
    CodeHash,
    Balance,
}

/// What the reader makes of a call; `None` for one that it cannot make.
fn item(call: &Call) -> Option<(Kind, Address, Vec<u8>)> {
    let first = call.params.get(0)?;
    match call.method {
        "eth_call" => {
            let fields = first.as_object()?;
            if fields.keys().any(|name| name != "to" && name != "data") {
                return None;
            }
            let data = hex::decode(fields.get("data")?.as_str()?).ok().filter(|data| data.len() <= LONGEST)?;
            Some((Kind::View, fields.get("to")?.as_str()?.parse().ok()?, data))
        }
        "eth_getCode" => Some((Kind::CodeHash, first.as_str()?.parse().ok()?, Vec::new())),
        "eth_getBalance" => Some((Kind::Balance, first.as_str()?.parse().ok()?, Vec::new())),
        _ => None,
    }
}

/// Whether the reader can make this call.
pub fn can_carry(call: &Call) -> bool {
    item(call).is_some()
}

/// One call that makes all of these, which must be about one block; `None` when one of them cannot be made so.
pub fn carrying(calls: &[&Call]) -> Option<Call> {
    let mut code = READER.to_vec();
    let mut block: Option<&Value> = None;
    for call in calls {
        let (kind, address, data) = item(call)?;
        let at = call.params.get(1)?;
        if *block.get_or_insert(at) != at {
            return None;
        }
        code.push(match kind {
            Kind::View => 0,
            Kind::CodeHash => 1,
            Kind::Balance => 2,
        });
        code.extend(address);
        code.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        code.extend(data);
    }
    let data = Bytes::from(code);
    Some(Call::read("eth_call", json!([{ "data": data }, block?])).named("several reads in one call"))
}

/// The answers to the calls that one call made, as if each had been asked alone - but for code, of which there is the hash
/// ([`told_hash`]). `None` when it is not an answer of the reader: the node did something else.
pub fn carried(endpoint: &str, calls: &[&Call], answer: &Value) -> Option<Vec<Result<Value, ChainError>>> {
    let bytes = hex::decode(answer.as_str()?).ok()?;
    let mut rest = bytes.as_slice();
    let mut answers = Vec::with_capacity(calls.len());
    for call in calls {
        let (success, more) = word(rest)?;
        let (length, more) = word(more)?;
        let length = usize::try_from(length).ok()?;
        let data = more.get(..length)?;
        rest = more.get(length..)?;
        answers.push(match (item(call)?.0, success == U256::ONE) {
            (Kind::View, true) => Ok(json!(Bytes::copy_from_slice(data))),
            (Kind::View, false) => {
                let data = Some(json!(Bytes::copy_from_slice(data)));
                Err(ChainError::rpc(endpoint, call.purpose, 3, "execution reverted", data))
            }
            (Kind::CodeHash, _) => Ok(json!({ HASH: B256::try_from(data).ok()? })),
            (Kind::Balance, _) => Ok(json!(U256::try_from_be_slice(data)?)),
        });
    }
    rest.is_empty().then_some(answers)
}

fn word(bytes: &[u8]) -> Option<(U256, &[u8])> {
    Some((U256::try_from_be_slice(bytes.get(..32)?)?, bytes.get(32..)?))
}

const HASH: &str = "codeHash";

/// The hash in the reader's answer about code, zero where nothing is at the address.
pub fn told_hash(value: &Value) -> Option<B256> {
    serde_json::from_value(value.get(HASH)?.clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads() -> [Call; 3] {
        let to = Address::repeat_byte(0x11);
        [
            Call::read("eth_call", json!([{ "to": to, "data": "0x12345678" }, "0x10"])),
            Call::read("eth_getCode", json!([to, "0x10"])),
            Call::read("eth_getBalance", json!([to, "0x10"])),
        ]
    }

    #[test]
    fn reads_stand_behind_the_reader_each_with_its_length() {
        let calls = reads();
        let call = carrying(&calls.iter().collect::<Vec<_>>()).unwrap();
        let data: Bytes = serde_json::from_value(call.params[0]["data"].clone()).unwrap();
        let address = "11".repeat(20);
        let items = format!("00{address}000412345678 01{address}0000 02{address}0000").replace(' ', "");
        assert_eq!(hex::encode(&data[READER.len()..]), items);
        assert_eq!((call.params[1].clone(), call.params[0].get("to")), (json!("0x10"), None));
    }

    #[test]
    fn what_the_reader_cannot_make_is_not_given_to_it() {
        let to = Address::repeat_byte(0x11);
        let from = Call::read("eth_call", json!([{ "to": to, "data": "0x", "from": to }, "latest"]));
        let slot = Call::read("eth_getStorageAt", json!([to, "0x0", "latest"]));
        let elsewhere = Call::read("eth_getBalance", json!([to, "0x11"]));
        let [view, ..] = reads();
        assert!(!can_carry(&from) && !can_carry(&slot) && can_carry(&view));
        assert!(carrying(&[&view, &elsewhere]).is_none(), "all of them are about one block");
    }

    #[test]
    fn an_answer_that_is_not_the_readers_counts_as_none() {
        let calls = reads();
        let calls: Vec<&Call> = calls.iter().collect();
        let word = |n: u64| format!("{n:064x}");
        let whole =
            ["0x", &word(1), &word(4), "aabbccdd", &word(1), &word(32), &word(7), &word(1), &word(32), &word(9)];
        let whole = whole.concat();
        let answers = carried("node", &calls, &json!(whole)).unwrap();
        assert_eq!(answers[0], Ok(json!("0xaabbccdd")));
        assert_eq!(told_hash(answers[1].as_ref().unwrap()), Some(B256::with_last_byte(7)));
        assert_eq!(answers[2], Ok(json!("0x9")));
        for odd in [json!("0x"), json!(null), json!(whole[..whole.len() - 2]), json!(format!("{whole}00"))] {
            assert_eq!(carried("node", &calls, &odd), None, "{odd}");
        }
    }
}
