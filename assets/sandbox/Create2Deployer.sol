// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// Behaves like the deterministic deployer that is found at this address on most chains: call data is `salt32 ‖ creation
/// code`, the answer is the 20 bytes of the address. So that other contracts land where they live elsewhere.
contract Create2Deployer {
    fallback() external payable {
        assembly {
            let length := sub(calldatasize(), 32)
            calldatacopy(0, 32, length)
            let created := create2(callvalue(), 0, length, calldataload(0))
            if iszero(created) { revert(0, 0) }
            mstore(0, created)
            return(12, 20)
        }
    }
}
