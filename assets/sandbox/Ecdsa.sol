// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// Signature recovery, as strict as the deployed validators are - and no stricter.
library Ecdsa {
    error InvalidSignature();

    /// Half the order of secp256k1: the owner's validator refuses an `s` above it, the session key's does not ask.
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    function ethereumMessage(bytes32 hash) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked("\x19Ethereum Signed Message:\n32", hash));
    }

    /// Exactly 65 bytes with a low `s`; anything that recovers to nobody reverts.
    function recoverStrict(bytes32 digest, bytes calldata signature) internal pure returns (address) {
        if (signature.length != 65 || uint256(bytes32(signature[32:64])) > HALF_ORDER) revert InvalidSignature();
        return recover(digest, bytes32(signature[0:32]), bytes32(signature[32:64]), uint8(signature[64]));
    }

    function recover(bytes32 digest, bytes32 r, bytes32 s, uint8 v) internal pure returns (address signer) {
        signer = ecrecover(digest, v, r, s);
        if (signer == address(0)) revert InvalidSignature();
    }
}
