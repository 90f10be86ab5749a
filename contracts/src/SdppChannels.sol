// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// @title Unidirectional payment channels for metered data.
/// @notice A payer locks a deposit for one payee; vouchers, signed off chain by the channel's signer, state the total
/// that is owed so far. Whoever has one may redeem it: the money goes to the payee. The payee may close at any time; the
/// payer asks for the close and has the rest back after the grace period, with nobody's help.
/// @dev No owner, no fees, no upgrades. All money that leaves a channel becomes a balance of its owner here, who
/// withdraws it (pull payments): no account that refuses money can hold up another one's. An id is used once: a closed
/// channel leaves a tombstone, so vouchers of its earlier life are worth nothing. Tokens whose balances change by
/// themselves (rebasing) are not supported: what one channel lacks would be taken from others.
contract SdppChannels is EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @notice What a channel is made of; its id is the hash of it.
    struct Terms {
        /// Whose deposit it is, and who has the rest back.
        address payer;
        /// Who is paid.
        address payee;
        /// The ERC-20 token; zero for the native coin.
        address token;
        /// Whose vouchers count: a key apart from the payer's, without code behind it.
        address signer;
        /// Seconds between the payer's request to close and the close.
        uint32 grace;
        /// Anything not used before.
        bytes32 salt;
    }

    /// @notice A claim of the payee.
    struct Voucher {
        bytes32 channelId;
        /// Total owed since the channel was opened, in base units.
        uint256 cumulative;
        /// Messages delivered for it.
        uint64 messages;
        /// Hash of the receipt chain: what the money is for.
        bytes32 commitment;
        /// The signer's signature: r, s, v.
        bytes signature;
    }

    /// @notice Life of an id.
    enum State {
        Unused,
        Open,
        Closed
    }

    /// @notice What is known of a channel. Once it is closed, only the state and what was redeemed in all.
    struct Channel {
        State state;
        address payer;
        address payee;
        address token;
        address signer;
        uint32 grace;
        /// When it may be closed by anybody; zero while nobody has asked for it.
        uint40 closeAt;
        uint96 deposit;
        uint96 redeemed;
    }

    /// @dev The same in four slots; the last one stays empty for the native coin.
    struct Slots {
        address payer;
        uint32 grace;
        uint40 closeAt;
        State state;
        address payee;
        uint96 deposit;
        address signer;
        uint96 redeemed;
        address token;
    }

    /// @notice Longest grace period: nobody's money is locked up for longer.
    uint32 public constant GRACE_MAX = 90 days;

    bytes32 private constant VOUCHER_TYPE =
        keccak256("Voucher(bytes32 channelId,uint256 cumulative,uint64 messages,bytes32 commitment)");
    bytes32 private constant OPEN_TYPE = keccak256("Open(bytes32 channelId,uint256 amount)");
    bytes32 private constant REQUEST_CLOSE_TYPE = keccak256("RequestClose(bytes32 channelId)");
    bytes32 private constant CLOSE_TYPE = keccak256("Close(bytes32 channelId,uint256 redeemed)");

    /// @dev A balance that was ever used keeps this bit, so that using it again costs a fourth.
    uint256 private constant USED = 1 << 255;

    mapping(bytes32 id => Slots) private _channels;
    mapping(address token => mapping(address account => uint256)) private _balances;

    event Opened(
        bytes32 indexed id,
        address indexed payer,
        address indexed payee,
        address token,
        address signer,
        uint32 grace,
        uint256 deposit
    );
    event ToppedUp(bytes32 indexed id, uint256 deposit);
    event Redeemed(bytes32 indexed id, uint256 cumulative, uint64 messages, bytes32 commitment);
    event CloseRequested(bytes32 indexed id, uint256 closeAt);
    event Closed(bytes32 indexed id, uint256 redeemed, uint256 refund);
    event Withdrawn(address indexed token, address indexed account, address to, uint256 amount);

    error AlreadyUsed(bytes32 id);
    error NotOpen(bytes32 id);
    error ClosePending(bytes32 id);
    error NoCloseRequested(bytes32 id);
    error GraceNotOver(bytes32 id, uint256 closeAt);
    error BadTerms();
    error BadAmount();
    error BadSignature();
    error NotAllowed();
    error AboveDeposit(bytes32 id, uint256 cumulative, uint256 deposit);

    constructor() EIP712("SDPP Channels", "1") {}

    // Opening

    /// @notice Opens a channel of the caller's with `fromBalance` of its balance here, and the rest of `amount` of its own.
    function open(Terms calldata terms, uint256 amount, uint256 fromBalance)
        external
        payable
        nonReentrant
        returns (bytes32 id)
    {
        if (msg.sender != terms.payer) revert NotAllowed();
        id = _reserve(terms);
        _open(id, terms, _collect(terms.token, amount, fromBalance));
    }

    /// @notice Opens a channel for a payer who signed an ERC-3009 `ReceiveWithAuthorization` with the channel's id as its
    /// nonce; anybody may send it.
    function openWithAuthorization(
        Terms calldata terms,
        uint256 amount,
        uint256 validAfter,
        uint256 validBefore,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant returns (bytes32 id) {
        id = _reserve(terms);
        uint256 before = _held(terms.token);
        IERC3009(terms.token).receiveWithAuthorization(
            terms.payer, address(this), amount, validAfter, validBefore, id, v, r, s
        );
        _open(id, terms, _held(terms.token) - before);
    }

    /// @notice Opens a channel for a payer who signed an ERC-2612 permit for this contract and `Open(id, amount)`; anybody
    /// may send it. A permit that was used already does no harm.
    function openWithPermit(
        Terms calldata terms,
        uint256 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s,
        bytes calldata consent
    ) external nonReentrant returns (bytes32 id) {
        id = _reserve(terms);
        if (terms.token == address(0)) revert BadTerms();
        _checkConsent(terms.payer, keccak256(abi.encode(OPEN_TYPE, id, amount)), consent);
        try IERC20Permit(terms.token).permit(terms.payer, address(this), amount, deadline, v, r, s) {} catch {}
        _open(id, terms, _pull(terms.token, terms.payer, amount));
    }

    /// @notice Adds to a channel's deposit, whoever pays for it. Not while a close is pending.
    function topUp(bytes32 id, uint256 amount, uint256 fromBalance) external payable nonReentrant {
        address token = _toTopUp(id).token;
        _topUp(id, _collect(token, amount, fromBalance));
    }

    /// @notice The same for whoever signed an ERC-3009 `ReceiveWithAuthorization` with `topUpNonce(id, salt)` as its nonce.
    function topUpWithAuthorization(
        bytes32 id,
        address from,
        uint256 amount,
        bytes32 salt,
        uint256 validAfter,
        uint256 validBefore,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant {
        address token = _toTopUp(id).token;
        uint256 before = _held(token);
        bytes32 nonce = topUpNonce(id, salt);
        IERC3009(token).receiveWithAuthorization(from, address(this), amount, validAfter, validBefore, nonce, v, r, s);
        _topUp(id, _held(token) - before);
    }

    // Paying

    /// @notice Pays what a voucher claims beyond what was redeemed before; anybody may send it. One that claims no more
    /// changes nothing.
    function redeem(Voucher calldata voucher) external nonReentrant {
        if (_channels[voucher.channelId].state != State.Open) revert NotOpen(voucher.channelId);
        _redeem(voucher);
    }

    /// @notice The same for many. Channels that are not open are left out: one payer's close must not hold up the rest.
    function redeemMany(Voucher[] calldata vouchers) external nonReentrant {
        for (uint256 i = 0; i < vouchers.length; ++i) {
            if (_channels[vouchers[i].channelId].state == State.Open) _redeem(vouchers[i]);
        }
    }

    // Closing

    /// @notice The payee closes, and redeems a last voucher (whose signature is empty where there is none). The rest is the
    /// payer's at once.
    function close(Voucher calldata last) external nonReentrant {
        if (msg.sender != _channels[last.channelId].payee) revert NotAllowed();
        _closeWith(last);
    }

    /// @notice The same for a payee who signed `Close(id, redeemed)`; anybody may send it, with a voucher that brings the
    /// payee at least `redeemed` in all.
    function closeFor(Voucher calldata last, uint256 redeemed, bytes calldata consent) external nonReentrant {
        Slots storage slots = _channels[last.channelId];
        if (slots.state != State.Open) revert NotOpen(last.channelId);
        _checkConsent(slots.payee, keccak256(abi.encode(CLOSE_TYPE, last.channelId, redeemed)), consent);
        _closeWith(last);
        if (slots.redeemed < redeemed) revert BadAmount();
    }

    /// @notice The payer asks for the close: from the end of the grace period on, anybody may finish it.
    function requestClose(bytes32 id) external {
        if (msg.sender != _channels[id].payer) revert NotAllowed();
        _requestClose(id);
    }

    /// @notice The same for a payer who signed `RequestClose(id)`; anybody may send it.
    function requestCloseFor(bytes32 id, bytes calldata consent) external {
        if (_channels[id].state != State.Open) revert NotOpen(id);
        _checkConsent(_channels[id].payer, keccak256(abi.encode(REQUEST_CLOSE_TYPE, id)), consent);
        _requestClose(id);
    }

    /// @notice Closes a channel whose grace period is over; anybody may.
    function finishClose(bytes32 id) external {
        Slots storage slots = _channels[id];
        if (slots.state != State.Open) revert NotOpen(id);
        uint256 closeAt = slots.closeAt;
        if (closeAt == 0) revert NoCloseRequested(id);
        if (block.timestamp < closeAt) revert GraceNotOver(id, closeAt);
        _close(id, slots);
    }

    // Balances

    /// @notice Sends an account what is its own here; anybody may ask for it.
    function withdraw(address token, address account) external nonReentrant {
        _send(token, account, account, balanceOf(token, account));
    }

    /// @notice Sends some of the caller's balance to anybody.
    function withdrawTo(address token, address to, uint256 amount) external nonReentrant {
        _send(token, msg.sender, to, amount);
    }

    // Looking

    /// @notice The id of a channel with these terms, on this chain and in this contract.
    function idOf(Terms calldata terms) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), terms));
    }

    /// @notice What is known of a channel.
    function channel(bytes32 id) external view returns (Channel memory) {
        Slots storage slots = _channels[id];
        return Channel({
            state: slots.state,
            payer: slots.payer,
            payee: slots.payee,
            token: slots.token,
            signer: slots.signer,
            grace: slots.grace,
            closeAt: slots.closeAt,
            deposit: slots.deposit,
            redeemed: slots.redeemed
        });
    }

    /// @notice What an account can withdraw.
    function balanceOf(address token, address account) public view returns (uint256) {
        return _balances[token][account] & ~USED;
    }

    /// @notice The nonce of an authorization to top up.
    function topUpNonce(bytes32 id, bytes32 salt) public pure returns (bytes32) {
        return keccak256(abi.encode(id, salt));
    }

    /// @notice The digest that a channel's signer signs.
    function voucherDigest(bytes32 id, uint256 cumulative, uint64 messages, bytes32 commitment)
        public
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(keccak256(abi.encode(VOUCHER_TYPE, id, cumulative, messages, commitment)));
    }

    // Inside

    /// @dev Checks the terms, and that the id was never used.
    function _reserve(Terms calldata terms) private view returns (bytes32 id) {
        if (terms.payer == address(0) || terms.payee == address(0) || terms.signer == address(0)) revert BadTerms();
        if (terms.grace > GRACE_MAX) revert BadTerms();
        id = idOf(terms);
        if (_channels[id].state != State.Unused) revert AlreadyUsed(id);
    }

    function _open(bytes32 id, Terms calldata terms, uint256 deposit) private {
        if (deposit == 0 || deposit > type(uint96).max) revert BadAmount();
        Slots storage slots = _channels[id];
        slots.payer = terms.payer;
        slots.grace = terms.grace;
        slots.state = State.Open;
        slots.payee = terms.payee;
        slots.deposit = uint96(deposit);
        slots.signer = terms.signer;
        if (terms.token != address(0)) slots.token = terms.token;
        emit Opened(id, terms.payer, terms.payee, terms.token, terms.signer, terms.grace, deposit);
    }

    function _toTopUp(bytes32 id) private view returns (Slots storage slots) {
        slots = _channels[id];
        if (slots.state != State.Open) revert NotOpen(id);
        if (slots.closeAt != 0) revert ClosePending(id);
    }

    function _topUp(bytes32 id, uint256 more) private {
        Slots storage slots = _channels[id];
        uint256 deposit = slots.deposit + more;
        if (more == 0 || deposit > type(uint96).max) revert BadAmount();
        slots.deposit = uint96(deposit);
        emit ToppedUp(id, deposit);
    }

    function _redeem(Voucher calldata voucher) private {
        Slots storage slots = _channels[voucher.channelId];
        uint256 redeemed = slots.redeemed;
        if (voucher.cumulative <= redeemed) return;
        uint256 deposit = slots.deposit;
        if (voucher.cumulative > deposit) revert AboveDeposit(voucher.channelId, voucher.cumulative, deposit);
        bytes32 digest =
            voucherDigest(voucher.channelId, voucher.cumulative, voucher.messages, voucher.commitment);
        (address signer, ECDSA.RecoverError wrong,) = ECDSA.tryRecoverCalldata(digest, voucher.signature);
        if (wrong != ECDSA.RecoverError.NoError || signer != slots.signer) revert BadSignature();
        // At most the deposit.
        slots.redeemed = uint96(voucher.cumulative);
        _credit(slots.token, slots.payee, voucher.cumulative - redeemed);
        emit Redeemed(voucher.channelId, voucher.cumulative, voucher.messages, voucher.commitment);
    }

    function _closeWith(Voucher calldata last) private {
        Slots storage slots = _channels[last.channelId];
        if (last.signature.length > 0) _redeem(last);
        _close(last.channelId, slots);
    }

    /// @dev Leaves the tombstone and what was redeemed; the rest is given back for the gas.
    function _close(bytes32 id, Slots storage slots) private {
        (address payer, address token) = (slots.payer, slots.token);
        uint256 redeemed = slots.redeemed;
        uint256 rest = slots.deposit - redeemed;
        slots.payer = address(0);
        slots.grace = 0;
        slots.closeAt = 0;
        slots.state = State.Closed;
        slots.payee = address(0);
        slots.deposit = 0;
        slots.signer = address(0);
        if (token != address(0)) slots.token = address(0);
        if (rest > 0) _credit(token, payer, rest);
        emit Closed(id, redeemed, rest);
    }

    function _requestClose(bytes32 id) private {
        Slots storage slots = _channels[id];
        if (slots.closeAt != 0) revert ClosePending(id);
        uint256 closeAt = block.timestamp + slots.grace;
        slots.closeAt = uint40(closeAt);
        emit CloseRequested(id, closeAt);
    }

    function _credit(address token, address account, uint256 amount) private {
        // Sums of what was received: far below the bit.
        _balances[token][account] = (_balances[token][account] + amount) | USED;
    }

    function _debit(address token, address account, uint256 amount) private {
        uint256 balance = balanceOf(token, account);
        if (amount > balance) revert BadAmount();
        _balances[token][account] = (balance - amount) | USED;
    }

    /// @dev Takes `amount` of the caller's: `fromBalance` of its balance here, the rest from outside. Gives what came.
    function _collect(address token, uint256 amount, uint256 fromBalance) private returns (uint256) {
        if (fromBalance > amount) revert BadAmount();
        if (fromBalance > 0) _debit(token, msg.sender, fromBalance);
        uint256 rest = amount - fromBalance;
        if (token == address(0)) {
            if (msg.value != rest) revert BadAmount();
            return amount;
        }
        if (msg.value != 0) revert BadAmount();
        return rest == 0 ? amount : fromBalance + _pull(token, msg.sender, rest);
    }

    /// @dev Some tokens keep a part of what is transferred: what counts is what came.
    function _pull(address token, address from, uint256 amount) private returns (uint256) {
        uint256 before = _held(token);
        IERC20(token).safeTransferFrom(from, address(this), amount);
        return _held(token) - before;
    }

    function _held(address token) private view returns (uint256) {
        return IERC20(token).balanceOf(address(this));
    }

    function _send(address token, address account, address to, uint256 amount) private {
        if (amount == 0 || to == address(0)) revert BadAmount();
        _debit(token, account, amount);
        emit Withdrawn(token, account, to, amount);
        if (token == address(0)) Address.sendValue(payable(to), amount);
        else IERC20(token).safeTransfer(to, amount);
    }

    function _checkConsent(address account, bytes32 what, bytes calldata consent) private view {
        if (msg.sender == account) return;
        if (!SignatureChecker.isValidSignatureNowCalldata(account, _hashTypedDataV4(what), consent)) revert BadSignature();
    }
}
