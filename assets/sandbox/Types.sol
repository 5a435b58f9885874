// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// What the sandbox's contracts share: the UserOperation of EntryPoint v0.6 and the word that a validation answers with.

struct UserOperation {
    address sender;
    uint256 nonce;
    bytes initCode;
    bytes callData;
    uint256 callGasLimit;
    uint256 verificationGasLimit;
    uint256 preVerificationGas;
    uint256 maxFeePerGas;
    uint256 maxPriorityFeePerGas;
    bytes paymasterAndData;
    bytes signature;
}

// Who answers for a signature: `VALID`, `FAILED`, or (never here) an aggregator's address.
address constant VALID = address(0);
address constant FAILED = address(1);

uint48 constant FOREVER = type(uint48).max;

/// A validation word: `validAfter6 ‖ validUntil6 ‖ who20`. Seconds; `validUntil` 0 stands for "for ever".
library Validation {
    uint256 internal constant SIGNATURE_FAILED = 1;

    function pack(address who, uint48 validAfter, uint48 validUntil) internal pure returns (uint256) {
        return uint256(uint160(who)) | (uint256(validUntil) << 160) | (uint256(validAfter) << 208);
    }

    function unpack(uint256 word) internal pure returns (address who, uint48 validAfter, uint48 validUntil) {
        who = address(uint160(word));
        validUntil = uint48(word >> 160);
        validAfter = uint48(word >> 208);
        if (validUntil == 0) validUntil = FOREVER;
    }

    /// Both ends of the window count as inside.
    function outsideWindow(uint48 validAfter, uint48 validUntil) internal view returns (bool) {
        return block.timestamp < validAfter || block.timestamp > validUntil;
    }
}

interface IValidator {
    function enable(bytes calldata data) external payable;
    function disable(bytes calldata data) external payable;
    function validateUserOp(UserOperation calldata op, bytes32 opHash, uint256 missingFunds)
        external
        payable
        returns (uint256 validationData);
    function validateSignature(bytes32 hash, bytes calldata signature) external view returns (uint256 validationData);
    function validCaller(address caller, bytes calldata data) external view returns (bool);
}

interface IAccount {
    function validateUserOp(UserOperation calldata op, bytes32 opHash, uint256 missingFunds)
        external
        returns (uint256 validationData);
}

interface IPaymaster {
    /// What became of the operation, as `postOp` hears it.
    enum PostOpMode {
        OpSucceeded,
        OpReverted,
        PostOpReverted
    }

    function validatePaymasterUserOp(UserOperation calldata op, bytes32 opHash, uint256 maxCost)
        external
        returns (bytes memory context, uint256 validationData);

    function postOp(PostOpMode mode, bytes calldata context, uint256 actualGasCost) external;
}
