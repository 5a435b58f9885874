//! Documents that are no approvals, named for what they are.

use crate::protocol::serialized::Node;

/// What a document is that is no approval at all; `None` where it may be one.
pub(super) fn named(root: &Node<'_, '_>) -> Option<&'static str> {
    let has = |key: &str| root.get(key).is_some();
    if has("crypto") || has("Crypto") {
        return Some(
            "it is an Ethereum keystore, a sealed private key; give it to `account new --owner-keystore FILE`",
        );
    }
    if has("keyleash_operation") {
        return Some("it is an operation that waits for the owner's signature; `keyleash complete FILE` takes it");
    }
    if has("primaryType") && has("domain") {
        return Some("it is an EIP-712 message to be signed; `grant --complete FILE` takes it with the signature");
    }
    if has("callData") && has("sender") {
        return Some("it is a UserOperation; `keyleash status HASH` follows one that was sent from here");
    }
    if has("jsonrpc") {
        return Some("it is an answer or a question of a node (JSON-RPC)");
    }
    let is_list_of_objects =
        root.items(usize::MAX, "").is_ok_and(|items| items.first().is_some_and(|item| item.check_object().is_ok()));
    if has("abi") || is_list_of_objects {
        return Some("it is a list, such as an ABI; a policy takes that in `abi = \"FILE\"`");
    }
    if has("permission") && has("valid_until") {
        return Some("it is a policy; give it to `grant --policy FILE`");
    }
    None
}
