// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {UserOperation, IValidator, Validation, VALID} from "./Types.sol";

/// A Kernel smart account (docs/kernel-v2.md#account): what versions 0.2.2 and 0.2.4 have in common. Runs behind the factory's proxy.
abstract contract Kernel {
    /// How one account selector may be used by someone else than the owner.
    struct Execution {
        uint48 validAfter;
        uint48 validUntil;
        address executor;
        IValidator validator;
    }

    /// The account's storage, at a slot of its own so that another implementation finds it again.
    struct Wallet {
        bytes4 disabledMode;
        uint48 lastDisabledTime;
        IValidator defaultValidator;
        mapping(bytes4 selector => Execution) execution;
    }

    struct Call {
        address to;
        uint256 value;
        bytes data;
    }

    enum Operation {
        Call,
        DelegateCall
    }

    event Upgraded(address indexed implementation);
    event Received(address sender, uint256 amount);
    event DefaultValidatorChanged(address indexed oldValidator, address indexed newValidator);
    event ExecutionChanged(bytes4 indexed selector, address indexed executor, address indexed validator);

    error NotEntryPoint();
    error NotAuthorizedCaller();
    error AlreadyInitialized();
    error DisabledMode();
    error DeprecatedOperation();

    address private constant ENTRY_POINT = 0x5FF137D4b0FDCD49DcA30c7CF57E578a026d2789;
    uint256 private constant WALLET_SLOT = 0x439ffe7df606b78489639bc0b827913bd09e1246fa6802968a5b3694c53e0dd9;
    uint256 private constant IMPLEMENTATION_SLOT = 0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc;

    bytes32 private constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant APPROVAL_TYPE =
        keccak256("ValidatorApproved(bytes4 sig,uint256 validatorData,address executor,bytes enableData)");

    bytes4 private constant SUDO_MODE = 0x00000000;
    bytes4 private constant USE_MODE = 0x00000001;
    bytes4 private constant ENABLE_MODE = 0x00000002;

    // What differs between the versions

    function version() public pure virtual returns (string memory);

    /// Asks the default validator about the owner's signature.
    function _askOwner(bytes32 hash, bytes calldata signature) internal view virtual returns (uint256);

    /// Whether two answers can stand together. Where they cannot, the window is lost too.
    function _agree(address whoA, address whoB) internal pure virtual returns (bool);

    /// What an ERC-1271 signature has to cover.
    function _signedHash(bytes32 hash) internal view virtual returns (bytes32);

    // Who may call

    modifier onlySelf() {
        if (msg.sender != ENTRY_POINT && msg.sender != address(this)) revert NotAuthorizedCaller();
        _;
    }

    modifier onlyAllowed() {
        if (msg.sender != ENTRY_POINT && msg.sender != address(this) && !_validCaller()) revert NotAuthorizedCaller();
        _;
    }

    /// Like `onlyAllowed`, but the account itself is a caller like any other.
    modifier onlyAllowedOutside() {
        if (msg.sender != ENTRY_POINT && !_validCaller()) revert NotAuthorizedCaller();
        _;
    }

    /// The owner, or whoever the validator of this selector lets call. The session key validator reverts instead of
    /// saying no.
    function _validCaller() private view returns (bool) {
        Wallet storage wallet = _wallet();
        if (wallet.defaultValidator.validCaller(msg.sender, msg.data)) return true;
        Execution storage execution = wallet.execution[msg.sig];
        if (address(execution.validator) == address(0)) return false;
        if (execution.validUntil != 0 && execution.validUntil < block.timestamp) return false;
        if (execution.validAfter > block.timestamp) return false;
        return execution.validator.validCaller(msg.sender, msg.data);
    }

    // Acting

    receive() external payable {
        emit Received(msg.sender, msg.value);
    }

    /// An account function that was routed to an executor runs the executor's code. Without one the call succeeds and
    /// does nothing.
    fallback() external payable {
        address executor = _wallet().execution[msg.sig].executor;
        if (msg.sender != ENTRY_POINT && !_validCaller()) revert NotAuthorizedCaller();
        (bool done, bytes memory answer) = executor.delegatecall(msg.data);
        _hand(done, answer);
    }

    function execute(address to, uint256 value, bytes memory data, Operation operation) external payable onlyAllowed {
        if (operation != Operation.Call) revert DeprecatedOperation();
        (bool done, bytes memory answer) = to.call{value: value}(data);
        _hand(done, answer);
    }

    /// All or nothing.
    function executeBatch(Call[] memory calls) external payable onlyAllowedOutside {
        for (uint256 i = 0; i < calls.length; i++) {
            (bool done, bytes memory answer) = calls[i].to.call{value: calls[i].value}(calls[i].data);
            if (!done) _hand(done, answer);
        }
    }

    /// Answers, or reverts, with exactly the bytes the callee answered.
    function _hand(bool done, bytes memory answer) internal pure {
        assembly {
            if done { return(add(answer, 0x20), mload(answer)) }
            revert(add(answer, 0x20), mload(answer))
        }
    }

    // Settings

    function initialize(IValidator defaultValidator, bytes calldata data) external payable {
        Wallet storage wallet = _wallet();
        if (address(wallet.defaultValidator) != address(0)) revert AlreadyInitialized();
        wallet.defaultValidator = defaultValidator;
        defaultValidator.enable(data);
    }

    function upgradeTo(address implementation) external payable onlySelf {
        assembly {
            sstore(IMPLEMENTATION_SLOT, implementation)
        }
        emit Upgraded(implementation);
    }

    function setExecution(
        bytes4 selector,
        address executor,
        IValidator validator,
        uint48 validUntil,
        uint48 validAfter,
        bytes calldata enableData
    ) external payable onlySelf {
        _wallet().execution[selector] = Execution({
            validAfter: validAfter,
            validUntil: validUntil,
            executor: executor,
            validator: validator
        });
        validator.enable(enableData);
        emit ExecutionChanged(selector, executor, address(validator));
    }

    function setDefaultValidator(IValidator validator, bytes calldata data) external payable onlySelf {
        Wallet storage wallet = _wallet();
        emit DefaultValidatorChanged(address(wallet.defaultValidator), address(validator));
        wallet.defaultValidator = validator;
        validator.enable(data);
    }

    /// A bit mask against the mode of later operations; sudo has no bits.
    function disableMode(bytes4 mode) external payable onlySelf {
        Wallet storage wallet = _wallet();
        wallet.disabledMode = mode;
        wallet.lastDisabledTime = uint48(block.timestamp);
    }

    // Validation

    function validateUserOp(UserOperation calldata op, bytes32 opHash, uint256 missingFunds)
        external
        payable
        returns (uint256)
    {
        if (msg.sender != ENTRY_POINT) revert NotEntryPoint();
        bytes4 mode = bytes4(op.signature[0:4]);
        if (mode == SUDO_MODE) {
            _pay(missingFunds);
            return _ask(_wallet().defaultValidator, op, op.signature[4:], opHash, missingFunds);
        }
        if (mode & _wallet().disabledMode != 0) revert DisabledMode();
        if (mode != USE_MODE && mode != ENABLE_MODE) return Validation.SIGNATURE_FAILED;

        bytes4 selector = bytes4(op.callData[0:4]);
        IValidator validator;
        uint256 window;
        bytes calldata signature = op.signature[4:];
        if (mode == USE_MODE) {
            Execution storage execution = _wallet().execution[selector];
            validator = execution.validator;
            window = Validation.pack(VALID, execution.validAfter, execution.validUntil);
        } else {
            (validator, window, signature) = _approve(selector, op.signature);
        }
        _pay(missingFunds);
        return _intersect(window, _ask(validator, op, signature, opHash, missingFunds));
    }

    /// `mode4 ‖ validAfter6 ‖ validUntil6 ‖ validator20 ‖ executor20 ‖ len32 ‖ enableData ‖ len32 ‖ ownerSig ‖ rest`:
    /// routes the selector, enables the key, and hands the rest on. The owner's answer goes into the window, so that a wrong
    /// signature shows only after everything else was checked.
    function _approve(bytes4 selector, bytes calldata approval)
        private
        returns (IValidator validator, uint256 window, bytes calldata rest)
    {
        validator = IValidator(address(bytes20(approval[16:36])));
        address executor = address(bytes20(approval[36:56]));
        bytes calldata enableData;
        (enableData, rest) = _split(approval[56:]);
        bytes calldata ownerSignature;
        (ownerSignature, rest) = _split(rest);

        bytes32 approved = keccak256(
            abi.encode(APPROVAL_TYPE, selector, uint256(bytes32(approval[4:36])), executor, keccak256(enableData))
        );
        window = _intersect(
            _askOwner(_typedHash(approved), ownerSignature), uint256(bytes32(approval[4:36])) & ~uint256(type(uint160).max)
        );

        _wallet().execution[selector] = Execution({
            validAfter: uint48(bytes6(approval[4:10])),
            validUntil: uint48(bytes6(approval[10:16])),
            executor: executor,
            validator: validator
        });
        validator.enable(enableData);
    }

    /// The window in which both agree, and the one who answers for both.
    function _intersect(uint256 a, uint256 b) private pure returns (uint256) {
        (address whoA, uint48 afterA, uint48 untilA) = Validation.unpack(a);
        (address whoB, uint48 afterB, uint48 untilB) = Validation.unpack(b);
        if (!_agree(whoA, whoB)) return Validation.SIGNATURE_FAILED;
        address who = whoA == VALID ? whoB : whoA;
        return Validation.pack(who, afterA > afterB ? afterA : afterB, untilA < untilB ? untilA : untilB);
    }

    /// A length word, that many bytes, and what follows.
    function _split(bytes calldata data) private pure returns (bytes calldata head, bytes calldata tail) {
        uint256 length = uint256(bytes32(data[0:32]));
        head = data[32:][:length];
        tail = data[32:][length:];
    }

    /// The EntryPoint checks afterwards that it has been paid.
    function _pay(uint256 missingFunds) private {
        if (missingFunds == 0) return;
        (bool paid,) = msg.sender.call{value: missingFunds}("");
        paid;
    }

    function _ask(
        IValidator validator,
        UserOperation calldata op,
        bytes calldata signature,
        bytes32 opHash,
        uint256 missingFunds
    ) private returns (uint256) {
        UserOperation memory shown = op;
        shown.signature = signature;
        return validator.validateUserOp(shown, opHash, missingFunds);
    }

    // ERC-1271 and EIP-712

    function validateSignature(bytes32 hash, bytes calldata signature) external view returns (uint256) {
        return _askOwner(hash, signature);
    }

    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        (address who, uint48 validAfter, uint48 validUntil) =
            Validation.unpack(_askOwner(_signedHash(hash), signature));
        if (who != VALID || Validation.outsideWindow(validAfter, validUntil)) return 0xffffffff;
        return this.isValidSignature.selector;
    }

    function eip712Domain()
        external
        view
        returns (
            bytes1 fields,
            string memory name_,
            string memory version_,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        )
    {
        return (0x0f, name(), version(), block.chainid, address(this), 0, new uint256[](0));
    }

    function _domainSeparator() private view returns (bytes32) {
        return keccak256(
            abi.encode(
                DOMAIN_TYPE, keccak256(bytes(name())), keccak256(bytes(version())), block.chainid, address(this)
            )
        );
    }

    function _typedHash(bytes32 structHash) internal view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", _domainSeparator(), structHash));
    }

    // Reading

    function name() public pure returns (string memory) {
        return "Kernel";
    }

    function entryPoint() external pure returns (address) {
        return ENTRY_POINT;
    }

    function getDefaultValidator() external view returns (IValidator) {
        return _wallet().defaultValidator;
    }

    function getDisabledMode() external view returns (bytes4) {
        return _wallet().disabledMode;
    }

    function getLastDisabledTime() external view returns (uint48) {
        return _wallet().lastDisabledTime;
    }

    function getExecution(bytes4 selector) external view returns (Execution memory) {
        return _wallet().execution[selector];
    }

    function getNonce() external view returns (uint256) {
        return INonces(ENTRY_POINT).getNonce(address(this), 0);
    }

    function getNonce(uint192 key) external view returns (uint256) {
        return INonces(ENTRY_POINT).getNonce(address(this), key);
    }

    function onERC721Received(address, address, uint256, bytes calldata) external pure returns (bytes4) {
        return this.onERC721Received.selector;
    }

    function onERC1155Received(address, address, uint256, uint256, bytes calldata) external pure returns (bytes4) {
        return this.onERC1155Received.selector;
    }

    function onERC1155BatchReceived(address, address, uint256[] calldata, uint256[] calldata, bytes calldata)
        external
        pure
        returns (bytes4)
    {
        return this.onERC1155BatchReceived.selector;
    }

    function _wallet() internal pure returns (Wallet storage wallet) {
        assembly {
            wallet.slot := WALLET_SLOT
        }
    }
}

interface INonces {
    function getNonce(address sender, uint192 key) external view returns (uint256);
}

/// 0x0DA6…E5: what SDK 4.7.8 deploys. ERC-1271 covers the bare hash; there is no executeDelegateCall.
contract Kernel022 is Kernel {
    function version() public pure override returns (string memory) {
        return "0.2.2";
    }

    function _askOwner(bytes32 hash, bytes calldata signature) internal view override returns (uint256) {
        return _wallet().defaultValidator.validateSignature(hash, signature);
    }

    function _agree(address whoA, address whoB) internal pure override returns (bool) {
        return whoA == whoB;
    }

    function _signedHash(bytes32 hash) internal pure override returns (bytes32) {
        return hash;
    }
}

/// 0xd308…cfC: the newest 0.2. ERC-1271 covers the hash inside the account's EIP-712 domain.
contract Kernel024 is Kernel {
    function version() public pure override returns (string memory) {
        return "0.2.4";
    }

    function executeDelegateCall(address to, bytes memory data) external payable onlyAllowed {
        (bool done, bytes memory answer) = to.delegatecall(data);
        _hand(done, answer);
    }

    function _askOwner(bytes32 hash, bytes calldata signature) internal view override returns (uint256) {
        (bool done, bytes memory answer) = address(_wallet().defaultValidator).staticcall(
            abi.encodeCall(IValidator.validateSignature, (hash, signature))
        );
        require(done, "Kernel::_validateSignature: failed to validate signature");
        return abi.decode(answer, (uint256));
    }

    function _agree(address whoA, address whoB) internal pure override returns (bool) {
        return whoA == whoB || whoA == VALID || whoB == VALID;
    }

    function _signedHash(bytes32 hash) internal view override returns (bytes32) {
        return _typedHash(hash);
    }
}
