// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {UserOperation, IPaymaster, Validation} from "./Types.sol";
import {Ecdsa} from "./Ecdsa.sol";

/// The sandbox's paymaster: pays for every operation that its signer has approved off chain.
/// `paymasterAndData = sponsor20 ‖ validUntil6 ‖ validAfter6 ‖ signature65`.
contract Sponsor is IPaymaster {
    uint256 private constant LENGTH = 97;

    address public signer;

    function validatePaymasterUserOp(UserOperation calldata op, bytes32, uint256)
        external
        view
        returns (bytes memory context, uint256 validationData)
    {
        require(op.paymasterAndData.length == LENGTH, "Sponsor: malformed paymasterAndData");
        uint48 validUntil = uint48(bytes6(op.paymasterAndData[20:26]));
        uint48 validAfter = uint48(bytes6(op.paymasterAndData[26:32]));
        bytes32 digest = Ecdsa.ethereumMessage(getHash(op, validUntil, validAfter));
        bool approved = Ecdsa.recoverStrict(digest, op.paymasterAndData[32:]) == signer;
        return ("", Validation.pack(approved ? address(0) : address(1), validAfter, validUntil));
    }

    /// Nothing is left to do: no context is ever handed out.
    function postOp(PostOpMode, bytes calldata, uint256) external {}

    /// What the signer signs: everything of the operation but its two signatures, for this chain and this sponsor.
    function getHash(UserOperation calldata op, uint48 validUntil, uint48 validAfter) public view returns (bytes32) {
        return keccak256(
            abi.encode(
                op.sender,
                op.nonce,
                keccak256(op.initCode),
                keccak256(op.callData),
                keccak256(
                    abi.encode(
                        op.callGasLimit,
                        op.verificationGasLimit,
                        op.preVerificationGas,
                        op.maxFeePerGas,
                        op.maxPriorityFeePerGas
                    )
                ),
                block.chainid,
                address(this),
                validUntil,
                validAfter
            )
        );
    }
}
