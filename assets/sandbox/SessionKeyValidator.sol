// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {UserOperation, IValidator, Validation} from "./Types.sol";
import {Ecdsa} from "./Ecdsa.sol";

/// The session key validator as deployed at 0x5C06…72A5 (generation G2), *with what it gets wrong*: a shorter nonce
/// rewinds the counter, "some paymaster" is satisfied by 20 zero bytes, runs count in validation, a missed interval can be
/// caught up. Order of checks and texts are part of the behaviour (docs/kernel-v2.md#order-of-checks).
contract SessionKeyValidator is IValidator {
    enum Condition {
        Equal,
        GreaterThan,
        LessThan,
        GreaterThanOrEqual,
        LessThanOrEqual,
        NotEqual
    }

    enum Operation {
        Call,
        DelegateCall
    }

    struct Rule {
        uint256 offset;
        Condition condition;
        bytes32 param;
    }

    struct ExecutionRule {
        uint48 validAfter;
        uint48 interval;
        uint48 runs;
    }

    struct Permission {
        uint32 index;
        address target;
        bytes4 sig;
        uint256 valueLimit;
        Rule[] rules;
        ExecutionRule executionRule;
        Operation operation;
    }

    /// One call of `executeBatch`.
    struct Call {
        address to;
        uint256 value;
        bytes data;
    }

    struct SessionData {
        bytes32 merkleRoot;
        uint48 validAfter;
        uint48 validUntil;
        address paymaster;
        uint256 nonce;
    }

    struct Nonces {
        uint128 lastNonce;
        uint128 invalidNonce;
    }

    struct ExecutionStatus {
        uint48 validAfter;
        uint48 runs;
    }

    error NotImplemented();

    bytes4 private constant EXECUTE = bytes4(keccak256("execute(address,uint256,bytes,uint8)"));
    bytes4 private constant EXECUTE_BATCH = bytes4(keccak256("executeBatch((address,uint256,bytes)[])"));
    bytes4 private constant EXECUTE_DELEGATE_CALL = bytes4(keccak256("executeDelegateCall(address,bytes)"));

    /// Paymaster value for "some paymaster, whichever".
    address private constant ANY_PAYMASTER = address(1);

    /// Where the session signature starts in the signature, and where it ends.
    uint256 private constant SIGNATURE_AT = 20;
    uint256 private constant PROOF_AT = 85;

    mapping(address account => Nonces) public nonces;
    mapping(address sessionKey => mapping(address account => SessionData)) public sessionData;
    mapping(bytes32 counter => mapping(address account => ExecutionStatus)) public executionStatus;

    // Enabling and taking back

    /// `sessionKey20 ‖ root32 ‖ validAfter6 ‖ validUntil6 ‖ paymaster20 ‖ nonce32`. What follows is ignored.
    function enable(bytes calldata data) external payable {
        address sessionKey = address(bytes20(data[0:20]));
        uint256 nonce = uint256(bytes32(data[84:116]));
        sessionData[sessionKey][msg.sender] = SessionData({
            merkleRoot: bytes32(data[20:52]),
            validAfter: uint48(bytes6(data[52:58])),
            validUntil: uint48(bytes6(data[58:64])),
            paymaster: address(bytes20(data[64:84])),
            nonce: nonce
        });
        require(nonce == ++nonces[msg.sender].lastNonce, "SessionKeyValidator: invalid nonce");
    }

    /// 20 bytes: one key. 16 bytes: every key up to this nonce. Any other length: every key up to the last nonce.
    function disable(bytes calldata data) external payable {
        if (data.length == 20) {
            delete sessionData[address(bytes20(data))][msg.sender];
        } else if (data.length == 16) {
            invalidateNonce(uint128(bytes16(data)));
        } else {
            invalidateNonce(nonces[msg.sender].lastNonce);
        }
    }

    /// Also *sets* the last nonce: below it, this is a rewind, and approvals that were used can be used again.
    function invalidateNonce(uint128 nonce) public {
        require(nonce > nonces[msg.sender].invalidNonce, "SessionKeyValidator: invalid nonce");
        nonces[msg.sender] = Nonces({lastNonce: nonce, invalidNonce: nonce});
    }

    // Validation

    function validateUserOp(UserOperation calldata op, bytes32 opHash, uint256) external payable returns (uint256) {
        address sessionKey = address(bytes20(op.signature[0:SIGNATURE_AT]));
        SessionData storage session = sessionData[sessionKey][msg.sender];
        require(
            session.nonce > nonces[msg.sender].invalidNonce, "SessionKeyValidator: session key not enabled"
        );
        _checkPaymaster(session.paymaster, op.paymasterAndData);

        uint48 validAfter = session.validAfter;
        if (session.merkleRoot != 0) {
            bool proven;
            bytes4 selector = bytes4(op.callData[0:4]);
            if (selector == EXECUTE || selector == EXECUTE_DELEGATE_CALL) {
                (validAfter, proven) = _checkCall(session, op.callData, op.signature[PROOF_AT:]);
            } else if (selector == EXECUTE_BATCH) {
                (validAfter, proven) = _checkBatch(session, op.callData, op.signature[PROOF_AT:]);
            }
            if (!proven) return Validation.SIGNATURE_FAILED;
        }
        if (_signer(opHash, op.signature) != sessionKey) return Validation.SIGNATURE_FAILED;
        return Validation.pack(address(0), validAfter, session.validUntil);
    }

    function validateSignature(bytes32, bytes calldata) external pure returns (uint256) {
        revert NotImplemented();
    }

    function validCaller(address, bytes calldata) external pure returns (bool) {
        revert NotImplemented();
    }

    function _checkPaymaster(address wanted, bytes calldata paymasterAndData) private pure {
        if (wanted == ANY_PAYMASTER) {
            require(paymasterAndData.length != 0, "SessionKeyValidator: paymaster not set");
        } else if (wanted != address(0)) {
            require(
                address(bytes20(paymasterAndData[0:20])) == wanted, "SessionKeyValidator: paymaster mismatch"
            );
        }
    }

    /// `execute` and `executeDelegateCall`: one call, one permission. `proof` is abi.encode(Permission, bytes32[]).
    function _checkCall(SessionData storage session, bytes calldata callData, bytes calldata proof)
        private
        returns (uint48 validAfter, bool proven)
    {
        Permission calldata permission;
        assembly {
            permission := add(proof.offset, calldataload(proof.offset))
        }
        bool isExecute = bytes4(callData[0:4]) == EXECUTE;
        require(
            permission.target == address(0) || permission.target == address(bytes20(callData[16:36])),
            "SessionKeyValidator: target mismatch"
        );
        if (isExecute) {
            require(
                uint256(bytes32(callData[36:68])) <= permission.valueLimit, "SessionKeyValidator: value limit exceeded"
            );
        } else {
            require(permission.operation == Operation.DelegateCall, "SessionKeyValidator: operation mismatch");
        }
        // `data` is the third argument of execute and the second of executeDelegateCall.
        require(
            _matches(permission, _bytesAt(callData, isExecute ? 0x44 : 0x24)),
            "SessionKeyValidator: permission verification failed"
        );
        validAfter = _later(session.validAfter, _countRun(session, permission));
        proven = _inTree(_pathAt(proof), session.merkleRoot, keccak256(abi.encode(permission)));
    }

    /// A `bytes` argument, found as the chain finds it: without a check that it lies inside the call data.
    function _bytesAt(bytes calldata callData, uint256 pointer) private pure returns (bytes calldata data) {
        assembly {
            let at := add(add(callData.offset, 4), calldataload(add(callData.offset, pointer)))
            data.offset := add(at, 0x20)
            data.length := calldataload(at)
        }
    }

    /// The second half of abi.encode(Permission, bytes32[]).
    function _pathAt(bytes calldata proof) private pure returns (bytes32[] calldata path) {
        assembly {
            let at := add(proof.offset, calldataload(add(proof.offset, 0x20)))
            path.offset := add(at, 0x20)
            path.length := calldataload(at)
        }
    }

    /// `executeBatch`: permission i is for call i. `proof` is abi.encode(Permission[], bytes32[][]).
    function _checkBatch(SessionData storage session, bytes calldata callData, bytes calldata proof)
        private
        returns (uint48 validAfter, bool proven)
    {
        Call[] calldata calls = _callsAt(callData);
        (Permission[] calldata permissions, bytes32[][] calldata paths) = _permissionsAt(proof);
        validAfter = session.validAfter;
        for (uint256 i = 0; i < calls.length; i++) {
            _checkOne(calls[i], permissions[i]);
            validAfter = _later(validAfter, _countRun(session, permissions[i]));
            if (!_inTree(paths[i], session.merkleRoot, keccak256(abi.encode(permissions[i])))) {
                return (validAfter, false);
            }
        }
        return (validAfter, true);
    }

    function _checkOne(Call calldata call_, Permission calldata permission) private pure {
        require(
            permission.target == address(0) || permission.target == call_.to, "SessionKeyValidator: target mismatch"
        );
        require(call_.value <= permission.valueLimit, "SessionKeyValidator: value limit exceeded");
        require(_matches(permission, call_.data), "SessionKeyValidator: permission verification failed");
    }

    function _callsAt(bytes calldata callData) private pure returns (Call[] calldata calls) {
        assembly {
            let args := add(callData.offset, 4)
            let at := add(args, calldataload(args))
            calls.offset := add(at, 0x20)
            calls.length := calldataload(at)
        }
    }

    function _permissionsAt(bytes calldata proof)
        private
        pure
        returns (Permission[] calldata permissions, bytes32[][] calldata paths)
    {
        assembly {
            let at := add(proof.offset, calldataload(proof.offset))
            permissions.offset := add(at, 0x20)
            permissions.length := calldataload(at)
            at := add(proof.offset, calldataload(add(proof.offset, 0x20)))
            paths.offset := add(at, 0x20)
            paths.length := calldataload(at)
        }
    }

    /// The function and every rule, in order. Words are compared as unsigned numbers; one beyond the data reverts.
    function _matches(Permission calldata permission, bytes calldata data) private pure returns (bool) {
        if (bytes4(data[0:4]) != permission.sig) return false;
        for (uint256 i = 0; i < permission.rules.length; i++) {
            Rule calldata rule = permission.rules[i];
            bytes32 word = bytes32(data[4 + rule.offset:4 + rule.offset + 32]);
            if (!_holds(rule.condition, word, rule.param)) return false;
        }
        return true;
    }

    function _holds(Condition condition, bytes32 word, bytes32 param) private pure returns (bool) {
        if (condition == Condition.Equal) return word == param;
        if (condition == Condition.GreaterThan) return word > param;
        if (condition == Condition.LessThan) return word < param;
        if (condition == Condition.GreaterThanOrEqual) return word >= param;
        if (condition == Condition.LessThanOrEqual) return word <= param;
        return word != param;
    }

    /// Moves the schedule and counts the run, for good even if the call fails later. Answers from when the use is valid.
    function _countRun(SessionData storage session, Permission calldata permission)
        private
        returns (uint48 validAfter)
    {
        ExecutionRule calldata rule = permission.executionRule;
        ExecutionStatus storage status =
            executionStatus[keccak256(abi.encodePacked(session.nonce, permission.index))][msg.sender];
        if (rule.interval == 0) {
            validAfter = rule.validAfter;
        } else {
            require(rule.validAfter != 0, "SessionKeyValidator: invalid execution rule");
            validAfter = status.validAfter == 0 ? rule.validAfter : status.validAfter + rule.interval;
            status.validAfter = validAfter;
        }
        if (rule.runs != 0) {
            status.runs += 1;
            require(status.runs <= rule.runs, "SessionKeyValidator: runs exceeded");
        }
    }

    /// Pairs are sorted before they are hashed.
    function _inTree(bytes32[] calldata path, bytes32 root, bytes32 leaf) private pure returns (bool) {
        bytes32[] memory siblings = path; // reverts when the path is not inside the call data
        bytes32 node = leaf;
        for (uint256 i = 0; i < siblings.length; i++) {
            bytes32 other = siblings[i];
            node = node < other
                ? keccak256(abi.encodePacked(node, other))
                : keccak256(abi.encodePacked(other, node));
        }
        return node == root;
    }

    /// The session key signs the hash as an Ethereum message. The 65 bytes are read wherever they end: only the call data
    /// as a whole bounds them.
    function _signer(bytes32 opHash, bytes calldata signature) private pure returns (address) {
        bytes32 r;
        bytes32 s;
        uint8 v;
        assembly {
            let at := add(signature.offset, SIGNATURE_AT)
            if gt(add(at, 65), calldatasize()) { revert(0, 0) }
            r := calldataload(at)
            s := calldataload(add(at, 32))
            v := byte(0, calldataload(add(at, 64)))
        }
        return Ecdsa.recover(Ecdsa.ethereumMessage(opHash), r, s, v);
    }

    function _later(uint48 a, uint48 b) private pure returns (uint48) {
        return a > b ? a : b;
    }
}
