// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {UserOperation, IAccount, IPaymaster, Validation, VALID, FAILED} from "./Types.sol";

/// EntryPoint v0.6 as far as a Kernel account, its bundler and its paymaster meet it: validation of all operations first,
/// then execution of each, with the same codes, events and money. Aggregators are left out.
contract EntryPoint {
    struct DepositInfo {
        uint112 deposit;
        bool staked;
        uint112 stake;
        uint32 unstakeDelaySec;
        uint48 withdrawTime;
    }

    struct ReturnInfo {
        uint256 preOpGas;
        uint256 prefund;
        bool sigFailed;
        uint48 validAfter;
        uint48 validUntil;
        bytes paymasterContext;
    }

    struct StakeInfo {
        uint256 stake;
        uint256 unstakeDelaySec;
    }

    /// What validation leaves for execution.
    struct Prepared {
        UserOperation op;
        bytes32 opHash;
        address paymaster;
        uint256 prefund;
        uint256 preOpGas;
        bytes context;
        uint256 accountValidation;
        uint256 paymasterValidation;
    }

    event UserOperationEvent(
        bytes32 indexed userOpHash,
        address indexed sender,
        address indexed paymaster,
        uint256 nonce,
        bool success,
        uint256 actualGasCost,
        uint256 actualGasUsed
    );
    event AccountDeployed(bytes32 indexed userOpHash, address indexed sender, address factory, address paymaster);
    event UserOperationRevertReason(
        bytes32 indexed userOpHash, address indexed sender, uint256 nonce, bytes revertReason
    );
    event BeforeExecution();
    event Deposited(address indexed account, uint256 totalDeposit);
    event Withdrawn(address indexed account, address withdrawAddress, uint256 amount);
    event StakeLocked(address indexed account, uint256 totalStaked, uint256 unstakeDelaySec);
    event StakeUnlocked(address indexed account, uint256 withdrawTime);
    event StakeWithdrawn(address indexed account, address withdrawAddress, uint256 amount);

    error FailedOp(uint256 opIndex, string reason);
    error ValidationResult(ReturnInfo returnInfo, StakeInfo senderInfo, StakeInfo factoryInfo, StakeInfo paymasterInfo);
    error ExecutionResult(
        uint256 preOpGas, uint256 paid, uint48 validAfter, uint48 validUntil, bool targetSuccess, bytes targetResult
    );
    error SenderAddressResult(address sender);

    SenderCreator private constant SENDER_CREATOR = SenderCreator(0x7fc98430eAEdbb6070B35B39D798725049088348);

    /// Revert data of an inner call that was given too little gas: the whole bundle is to blame, not the operation.
    bytes32 private constant INNER_OUT_OF_GAS = hex"deaddead";

    /// Gas that must be left beside an operation's own limits, and the longest revert reason that is logged.
    uint256 private constant INNER_OVERHEAD = 5000;
    uint256 private constant LONGEST_REASON = 2048;

    mapping(address account => DepositInfo) public deposits;
    /// Next sequence number of each account's 192-bit nonce keys.
    mapping(address account => mapping(uint192 key => uint256)) public nonceSequenceNumber;
    bool private _busy;

    function _enter() private {
        require(!_busy, "ReentrancyGuard: reentrant call");
        _busy = true;
    }

    // Bundles

    function handleOps(UserOperation[] calldata ops, address payable beneficiary) external {
        _enter();
        Prepared[] memory prepared = new Prepared[](ops.length);
        for (uint256 i = 0; i < ops.length; i++) {
            _validate(i, ops[i], prepared[i]);
            _checkAnswers(i, prepared[i]);
        }
        emit BeforeExecution();

        uint256 collected = 0;
        for (uint256 i = 0; i < ops.length; i++) {
            collected += _execute(i, prepared[i]);
        }
        require(beneficiary != address(0), "AA90 invalid beneficiary");
        (bool sent,) = beneficiary.call{value: collected}("");
        require(sent, "AA91 failed send to beneficiary");
        _busy = false;
    }

    /// Always reverts: with `ValidationResult` when validation came to an answer.
    function simulateValidation(UserOperation calldata op) external {
        Prepared memory prepared;
        _checkCodes(op);
        _validate(0, op, prepared);
        (address who, uint48 validAfter, uint48 validUntil) = _combined(prepared);
        revert ValidationResult(
            ReturnInfo(prepared.preOpGas, prepared.prefund, who == FAILED, validAfter, validUntil, prepared.context),
            _stakeOf(op.sender),
            _stakeOf(op.initCode.length >= 20 ? address(bytes20(op.initCode[0:20])) : address(0)),
            _stakeOf(prepared.paymaster)
        );
    }

    /// Always reverts: with `ExecutionResult` after validating, executing, and one call more when `target` is given.
    function simulateHandleOp(UserOperation calldata op, address target, bytes calldata targetCallData) external {
        _enter();
        Prepared memory prepared;
        _checkCodes(op);
        _validate(0, op, prepared);
        (, uint48 validAfter, uint48 validUntil) = _combined(prepared);
        uint256 paid = _execute(0, prepared);
        bool targetSuccess;
        bytes memory targetResult;
        if (target != address(0)) (targetSuccess, targetResult) = target.call(targetCallData);
        revert ExecutionResult(prepared.preOpGas, paid, validAfter, validUntil, targetSuccess, targetResult);
    }

    /// Always reverts: with the address that this initCode creates.
    function getSenderAddress(bytes calldata initCode) external {
        revert SenderAddressResult(SENDER_CREATOR.createSender(initCode));
    }

    function getUserOpHash(UserOperation calldata op) public view returns (bytes32) {
        bytes32 inner = keccak256(
            abi.encode(
                op.sender,
                op.nonce,
                keccak256(op.initCode),
                keccak256(op.callData),
                op.callGasLimit,
                op.verificationGasLimit,
                op.preVerificationGas,
                op.maxFeePerGas,
                op.maxPriorityFeePerGas,
                keccak256(op.paymasterAndData)
            )
        );
        return keccak256(abi.encode(inner, address(this), block.chainid));
    }

    function SIG_VALIDATION_FAILED() external pure returns (uint256) {
        return Validation.SIGNATURE_FAILED;
    }

    // Validation

    /// Creates the account, asks it, takes the prefund and the nonce, and asks the paymaster. Order decides which code shows.
    function _validate(uint256 index, UserOperation calldata op, Prepared memory prepared) private {
        uint256 startGas = gasleft();
        prepared.op = op;
        if (op.paymasterAndData.length != 0) {
            require(op.paymasterAndData.length >= 20, "AA93 invalid paymasterAndData");
            prepared.paymaster = address(bytes20(op.paymasterAndData[0:20]));
        }
        prepared.opHash = getUserOpHash(op);
        uint256 widest = op.preVerificationGas | op.verificationGasLimit | op.callGasLimit | op.maxFeePerGas
            | op.maxPriorityFeePerGas;
        require(widest <= type(uint120).max, "AA94 gas values overflow");

        uint256 verifications = prepared.paymaster == address(0) ? 1 : 3;
        prepared.prefund =
            (op.callGasLimit + op.verificationGasLimit * verifications + op.preVerificationGas) * op.maxFeePerGas;

        uint256 accountGas = gasleft();
        _createSender(index, op, prepared);
        prepared.accountValidation = _askAccount(index, op, prepared);
        accountGas -= gasleft();

        if (nonceSequenceNumber[op.sender][uint192(op.nonce >> 64)]++ != uint64(op.nonce)) {
            revert FailedOp(index, "AA25 invalid account nonce");
        }
        if (prepared.paymaster != address(0)) _askPaymaster(index, op, prepared, accountGas);

        uint256 used = startGas - gasleft();
        if (used > op.verificationGasLimit) revert FailedOp(index, "AA40 over verificationGasLimit");
        prepared.preOpGas = used + op.preVerificationGas;
    }

    function _createSender(uint256 index, UserOperation calldata op, Prepared memory prepared) private {
        if (op.initCode.length == 0) return;
        if (op.sender.code.length != 0) revert FailedOp(index, "AA10 sender already constructed");
        address created = SENDER_CREATOR.createSender{gas: op.verificationGasLimit}(op.initCode);
        if (created == address(0)) revert FailedOp(index, "AA13 initCode failed or OOG");
        if (created != op.sender) revert FailedOp(index, "AA14 initCode must return sender");
        if (created.code.length == 0) revert FailedOp(index, "AA15 initCode must create sender");
        emit AccountDeployed(prepared.opHash, op.sender, address(bytes20(op.initCode[0:20])), prepared.paymaster);
    }

    function _askAccount(uint256 index, UserOperation calldata op, Prepared memory prepared)
        private
        returns (uint256 validation)
    {
        bool selfPaid = prepared.paymaster == address(0);
        uint256 missing = 0;
        if (selfPaid && deposits[op.sender].deposit < prepared.prefund) {
            missing = prepared.prefund - deposits[op.sender].deposit;
        }
        try IAccount(op.sender).validateUserOp{gas: op.verificationGasLimit}(op, prepared.opHash, missing) returns (
            uint256 answer
        ) {
            validation = answer;
        } catch Error(string memory reason) {
            revert FailedOp(index, string.concat("AA23 reverted: ", reason));
        } catch {
            revert FailedOp(index, "AA23 reverted (or OOG)");
        }
        if (selfPaid) _takePrefund(index, op.sender, prepared.prefund, "AA21 didn't pay prefund");
    }

    function _askPaymaster(
        uint256 index,
        UserOperation calldata op,
        Prepared memory prepared,
        uint256 accountGas
    ) private {
        require(op.verificationGasLimit > accountGas, "AA41 too little verificationGas");
        _takePrefund(index, prepared.paymaster, prepared.prefund, "AA31 paymaster deposit too low");
        try IPaymaster(prepared.paymaster).validatePaymasterUserOp{gas: op.verificationGasLimit - accountGas}(
            op, prepared.opHash, prepared.prefund
        ) returns (bytes memory context, uint256 answer) {
            prepared.context = context;
            prepared.paymasterValidation = answer;
        } catch Error(string memory reason) {
            revert FailedOp(index, string.concat("AA33 reverted: ", reason));
        } catch {
            revert FailedOp(index, "AA33 reverted (or OOG)");
        }
    }

    function _takePrefund(uint256 index, address payer, uint256 prefund, string memory reason) private {
        uint256 deposit = deposits[payer].deposit;
        if (deposit < prefund) revert FailedOp(index, reason);
        deposits[payer].deposit = uint112(deposit - prefund);
    }

    function _checkAnswers(uint256 index, Prepared memory prepared) private view {
        (address who, uint48 validAfter, uint48 validUntil) = Validation.unpack(prepared.accountValidation);
        if (who != VALID) revert FailedOp(index, "AA24 signature error");
        if (Validation.outsideWindow(validAfter, validUntil)) revert FailedOp(index, "AA22 expired or not due");
        (who, validAfter, validUntil) = Validation.unpack(prepared.paymasterValidation);
        if (who != VALID) revert FailedOp(index, "AA34 signature error");
        if (Validation.outsideWindow(validAfter, validUntil)) {
            revert FailedOp(index, "AA32 paymaster expired or not due");
        }
    }

    /// The window in which both account and paymaster agree, and whose answer counts.
    function _combined(Prepared memory prepared)
        private
        pure
        returns (address who, uint48 validAfter, uint48 validUntil)
    {
        address paymasterWho;
        uint48 otherAfter;
        uint48 otherUntil;
        (who, validAfter, validUntil) = Validation.unpack(prepared.accountValidation);
        (paymasterWho, otherAfter, otherUntil) = Validation.unpack(prepared.paymasterValidation);
        if (who == VALID) who = paymasterWho;
        if (otherAfter > validAfter) validAfter = otherAfter;
        if (otherUntil < validUntil) validUntil = otherUntil;
    }

    /// Only the simulations say this in words.
    function _checkCodes(UserOperation calldata op) private view {
        if (op.initCode.length == 0 && op.sender.code.length == 0) revert FailedOp(0, "AA20 account not deployed");
        if (op.paymasterAndData.length >= 20 && address(bytes20(op.paymasterAndData[0:20])).code.length == 0) {
            revert FailedOp(0, "AA30 paymaster not deployed");
        }
    }

    // Execution

    function _execute(uint256 index, Prepared memory prepared) private returns (uint256 cost) {
        uint256 startGas = gasleft();
        try this.executeInner(prepared) returns (uint256 charged) {
            cost = charged;
        } catch (bytes memory reason) {
            if (bytes32(reason) == INNER_OUT_OF_GAS) revert FailedOp(index, "AA95 out of gas");
            cost = _settle(
                index, IPaymaster.PostOpMode.PostOpReverted, prepared, startGas - gasleft() + prepared.preOpGas
            );
        }
    }

    /// The call itself and what the paymaster does after it, in a frame of their own so that they can be undone.
    function executeInner(Prepared memory prepared) external returns (uint256) {
        uint256 startGas = gasleft();
        require(msg.sender == address(this), "AA92 internal call only");
        UserOperation memory op = prepared.op;
        if (gasleft() < op.callGasLimit + op.verificationGasLimit + INNER_OVERHEAD) {
            bytes32 code = INNER_OUT_OF_GAS;
            assembly {
                mstore(0, code)
                revert(0, 32)
            }
        }

        IPaymaster.PostOpMode mode = IPaymaster.PostOpMode.OpSucceeded;
        if (op.callData.length != 0 && !_callSender(op)) {
            mode = IPaymaster.PostOpMode.OpReverted;
            bytes memory reason = _returnData();
            if (reason.length != 0) {
                emit UserOperationRevertReason(prepared.opHash, op.sender, op.nonce, reason);
            }
        }
        return _settle(0, mode, prepared, startGas - gasleft() + prepared.preOpGas);
    }

    function _callSender(UserOperation memory op) private returns (bool done) {
        address sender = op.sender;
        bytes memory data = op.callData;
        uint256 gasLimit = op.callGasLimit;
        assembly {
            done := call(gasLimit, sender, 0, add(data, 0x20), mload(data), 0, 0)
        }
    }

    function _returnData() private pure returns (bytes memory data) {
        assembly {
            let length := returndatasize()
            if gt(length, LONGEST_REASON) { length := LONGEST_REASON }
            data := mload(0x40)
            mstore(0x40, add(data, and(add(length, 0x3f), not(0x1f))))
            mstore(data, length)
            returndatacopy(add(data, 0x20), 0, length)
        }
    }

    /// Lets the paymaster finish, pays back what the prefund has over, and logs the operation.
    function _settle(uint256 index, IPaymaster.PostOpMode mode, Prepared memory prepared, uint256 gasUsed)
        private
        returns (uint256 cost)
    {
        uint256 startGas = gasleft();
        UserOperation memory op = prepared.op;
        uint256 price = _gasPrice(op);
        if (prepared.paymaster != address(0) && prepared.context.length != 0) {
            _postOp(index, mode, prepared, gasUsed * price);
        }
        gasUsed += startGas - gasleft();
        cost = gasUsed * price;
        if (prepared.prefund < cost) revert FailedOp(index, "AA51 prefund below actualGasCost");
        _credit(prepared.paymaster == address(0) ? op.sender : prepared.paymaster, prepared.prefund - cost);
        emit UserOperationEvent(
            prepared.opHash,
            op.sender,
            prepared.paymaster,
            op.nonce,
            mode == IPaymaster.PostOpMode.OpSucceeded,
            cost,
            gasUsed
        );
    }

    function _postOp(uint256 index, IPaymaster.PostOpMode mode, Prepared memory prepared, uint256 cost) private {
        uint256 gasLimit = prepared.op.verificationGasLimit;
        if (mode != IPaymaster.PostOpMode.PostOpReverted) {
            IPaymaster(prepared.paymaster).postOp{gas: gasLimit}(mode, prepared.context, cost);
            return;
        }
        try IPaymaster(prepared.paymaster).postOp{gas: gasLimit}(mode, prepared.context, cost) {}
        catch Error(string memory reason) {
            revert FailedOp(index, string.concat("AA50 postOp reverted: ", reason));
        } catch {
            revert FailedOp(index, "AA50 postOp revert");
        }
    }

    /// Wei per gas unit, as ERC-1559 reads the operation's own fee fields.
    function _gasPrice(UserOperation memory op) private view returns (uint256) {
        if (op.maxFeePerGas == op.maxPriorityFeePerGas) return op.maxFeePerGas;
        uint256 offered = op.maxPriorityFeePerGas + block.basefee;
        return offered < op.maxFeePerGas ? offered : op.maxFeePerGas;
    }

    // Nonces

    function getNonce(address sender, uint192 key) external view returns (uint256) {
        return nonceSequenceNumber[sender][key] | (uint256(key) << 64);
    }

    function incrementNonce(uint192 key) external {
        nonceSequenceNumber[msg.sender][key]++;
    }

    // Deposits and stakes, in wei

    receive() external payable {
        depositTo(msg.sender);
    }

    function depositTo(address account) public payable {
        _credit(account, msg.value);
        emit Deposited(account, deposits[account].deposit);
    }

    function balanceOf(address account) external view returns (uint256) {
        return deposits[account].deposit;
    }

    function getDepositInfo(address account) external view returns (DepositInfo memory) {
        return deposits[account];
    }

    function withdrawTo(address payable to, uint256 amount) external {
        DepositInfo storage info = deposits[msg.sender];
        require(amount <= info.deposit, "Withdraw amount too large");
        info.deposit -= uint112(amount);
        emit Withdrawn(msg.sender, to, amount);
        (bool sent,) = to.call{value: amount}("");
        require(sent, "failed to withdraw");
    }

    function addStake(uint32 unstakeDelaySec) external payable {
        DepositInfo storage info = deposits[msg.sender];
        require(unstakeDelaySec > 0, "must specify unstake delay");
        require(unstakeDelaySec >= info.unstakeDelaySec, "cannot decrease unstake time");
        uint256 stake = info.stake + msg.value;
        require(stake > 0, "no stake specified");
        require(stake <= type(uint112).max, "stake overflow");
        deposits[msg.sender] = DepositInfo(info.deposit, true, uint112(stake), unstakeDelaySec, 0);
        emit StakeLocked(msg.sender, stake, unstakeDelaySec);
    }

    function unlockStake() external {
        DepositInfo storage info = deposits[msg.sender];
        require(info.unstakeDelaySec != 0, "not staked");
        require(info.staked, "already unstaking");
        info.withdrawTime = uint48(block.timestamp) + info.unstakeDelaySec;
        info.staked = false;
        emit StakeUnlocked(msg.sender, info.withdrawTime);
    }

    function withdrawStake(address payable to) external {
        DepositInfo storage info = deposits[msg.sender];
        uint256 stake = info.stake;
        require(stake > 0, "No stake to withdraw");
        require(info.withdrawTime > 0, "must call unlockStake() first");
        require(info.withdrawTime <= block.timestamp, "Stake withdrawal is not due");
        (info.unstakeDelaySec, info.withdrawTime, info.stake) = (0, 0, 0);
        emit StakeWithdrawn(msg.sender, to, stake);
        (bool sent,) = to.call{value: stake}("");
        require(sent, "failed to withdraw stake");
    }

    function _credit(address account, uint256 amount) private {
        uint256 deposit = deposits[account].deposit + amount;
        require(deposit <= type(uint112).max, "deposit overflow");
        deposits[account].deposit = uint112(deposit);
    }

    function _stakeOf(address account) private view returns (StakeInfo memory) {
        return StakeInfo(deposits[account].stake, deposits[account].unstakeDelaySec);
    }
}

/// Calls factories from an address that has no rights anywhere.
contract SenderCreator {
    /// The address the factory answers with, or zero when it fails.
    function createSender(bytes calldata initCode) external returns (address sender) {
        (bool done, bytes memory answer) = address(bytes20(initCode[0:20])).call(initCode[20:]);
        if (done && answer.length >= 32) sender = address(uint160(uint256(bytes32(answer))));
    }
}
