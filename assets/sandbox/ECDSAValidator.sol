// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {UserOperation, IValidator, Validation} from "./Types.sol";
import {Ecdsa} from "./Ecdsa.sol";

/// The default ("sudo") validator: one owner an account (docs/kernel-v2.md#account).
contract ECDSAValidator is IValidator {
    event OwnerChanged(address indexed kernel, address indexed oldOwner, address indexed newOwner);

    /// The owner of each account. The public name is what wallets read.
    mapping(address account => address) public ecdsaValidatorStorage;

    function enable(bytes calldata data) external payable {
        address owner = address(bytes20(data[0:20]));
        emit OwnerChanged(msg.sender, ecdsaValidatorStorage[msg.sender], owner);
        ecdsaValidatorStorage[msg.sender] = owner;
    }

    function disable(bytes calldata) external payable {
        delete ecdsaValidatorStorage[msg.sender];
    }

    /// The owner may sign the hash as an Ethereum message or bare.
    function validateUserOp(UserOperation calldata op, bytes32 opHash, uint256) external payable returns (uint256) {
        address owner = ecdsaValidatorStorage[op.sender];
        if (owner == Ecdsa.recoverStrict(Ecdsa.ethereumMessage(opHash), op.signature)) return 0;
        return owner == Ecdsa.recoverStrict(opHash, op.signature) ? 0 : Validation.SIGNATURE_FAILED;
    }

    function validateSignature(bytes32 hash, bytes calldata signature) external view returns (uint256) {
        address owner = ecdsaValidatorStorage[msg.sender];
        if (owner == Ecdsa.recoverStrict(hash, signature)) return 0;
        return owner == Ecdsa.recoverStrict(Ecdsa.ethereumMessage(hash), signature) ? 0 : Validation.SIGNATURE_FAILED;
    }

    /// The owner's own EOA may call the account directly.
    function validCaller(address caller, bytes calldata) external view returns (bool) {
        return ecdsaValidatorStorage[msg.sender] == caller;
    }
}
