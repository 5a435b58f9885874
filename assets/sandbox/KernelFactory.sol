// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// Puts accounts where every client expects them: the proxy's creation code is a fact of the protocol (docs/kernel-v2.md#account), so an
/// address here equals the one on a live chain.
contract KernelFactory {
    event Deployed(address indexed proxy, address indexed implementation);

    error Unauthorized();
    error DeploymentFailed();

    /// Creation code of the proxy around the factory's address. On a call by the factory it stores its implementation
    /// and forwards the rest; on any other it delegates.
    bytes private constant PROXY_HEAD = hex"607f3d8160093d39f33d3d3373";
    bytes private constant PROXY_TAIL =
        hex"14605757363d3d37363d7f360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc545af43d6000803e6052573d6000fd5b3d6000f35b3d356020355560408036111560525736038060403d373d3d355af43d6000803e6052573d6000fd00";
    uint256 private constant IMPLEMENTATION_SLOT = 0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc;

    address public entryPoint;
    mapping(address implementation => bool) public isAllowedImplementation;
    address public owner;

    modifier onlyOwner() {
        if (msg.sender != owner) revert Unauthorized();
        _;
    }

    /// Anyone may create anyone's account; `data` is the call the new account gets, and decides where it is.
    function createAccount(address implementation, bytes calldata data, uint256 index)
        external
        payable
        returns (address proxy)
    {
        require(isAllowedImplementation[implementation], "KernelFactory: implementation not allowed");
        bytes32 salt = _salt(data, index);
        proxy = predictDeterministicAddress(salt);
        if (proxy.code.length != 0) return proxy;

        bytes memory code = _proxyCode();
        assembly {
            proxy := create2(0, add(code, 0x20), mload(code), salt)
        }
        if (proxy == address(0)) revert DeploymentFailed();
        (bool done, bytes memory answer) =
            proxy.call{value: msg.value}(abi.encodePacked(abi.encode(implementation, IMPLEMENTATION_SLOT), data));
        if (!done) {
            if (answer.length == 0) revert DeploymentFailed();
            assembly {
                revert(add(answer, 0x20), mload(answer))
            }
        }
        emit Deployed(proxy, implementation);
    }

    function getAccountAddress(bytes calldata data, uint256 index) external view returns (address) {
        return predictDeterministicAddress(_salt(data, index));
    }

    function predictDeterministicAddress(bytes32 salt) public view returns (address) {
        return address(uint160(uint256(keccak256(abi.encodePacked(hex"ff", address(this), salt, initCodeHash())))));
    }

    function initCodeHash() public view returns (bytes32) {
        return keccak256(_proxyCode());
    }

    function setImplementation(address implementation, bool allowed) external onlyOwner {
        isAllowedImplementation[implementation] = allowed;
    }

    function setEntryPoint(address entryPoint_) external onlyOwner {
        entryPoint = entryPoint_;
    }

    function addStake(uint32 unstakeDelaySec) external payable onlyOwner {
        IStakes(entryPoint).addStake{value: msg.value}(unstakeDelaySec);
    }

    function _salt(bytes calldata data, uint256 index) private pure returns (bytes32) {
        return bytes32(uint256(uint96(uint256(keccak256(abi.encodePacked(data, index))))));
    }

    function _proxyCode() private view returns (bytes memory) {
        return abi.encodePacked(PROXY_HEAD, address(this), PROXY_TAIL);
    }
}

interface IStakes {
    function addStake(uint32 unstakeDelaySec) external payable;
}
