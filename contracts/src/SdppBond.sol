// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Ed25519} from "./lib/Ed25519.sol";
import {Statements} from "./lib/Statements.sol";

/// @title Bonds behind the invoices of sellers: the dual-deposit escrow's deposit, for streams.
/// @notice An account locks a bond behind an Ed25519 key. Whoever shows two invoices that this key signed for one window (an
/// order and a number) with different digests is paid an award from the bond; the rest is burned.
/// @dev The invoices are those that travel (`spec/protocol.md` §2 and §7): nothing is signed for this contract. Anybody may
/// post behind any key, and risks only its own money. No owner, no fees, no upgrades; pull payments.
contract SdppBond is ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @notice What a bond is made of; its id is the hash of it.
    struct Terms {
        /// Who has the bond back in the end.
        address owner;
        /// The ERC-20 token of all amounts; zero for the native coin.
        address token;
        /// The seller's identity, whose invoices the bond stands behind.
        bytes32 key;
        /// What is paid to whoever proves a fault: half of the bond at most, the rest is burned. So a seller that proves its
        /// own fault loses half at least, and nobody gains more than an award by having a seller punished.
        uint96 award;
        /// Seconds between the request to release the bond and the release.
        uint32 notice;
        /// Anything not used before.
        bytes32 salt;
    }

    /// @notice Life of a bond.
    enum State {
        None,
        Standing,
        Lost,
        Released
    }

    /// @notice What is known of a bond.
    struct Bond {
        State state;
        uint96 amount;
        /// When it was posted.
        uint40 since;
        /// From when on it may be released; zero while its owner has not asked for it.
        uint40 leaveAt;
    }

    address public constant BURNED = 0x000000000000000000000000000000000000dEaD;

    mapping(bytes32 id => Bond) private _bonds;
    /// @notice In which block a proof was announced.
    mapping(bytes32 commitment => uint256) public announcedIn;
    mapping(address token => mapping(address account => uint256)) public balanceOf;

    event Posted(bytes32 indexed id, bytes32 indexed key, address indexed owner, Terms terms, uint256 amount);
    event ToppedUp(bytes32 indexed id, uint256 amount);
    event ReleaseRequested(bytes32 indexed id, uint256 leaveAt);
    event Released(bytes32 indexed id);
    event TwoShown(bytes32 indexed id, bytes32 indexed order, uint256 n);
    event Lost(bytes32 indexed id, address indexed paid, uint256 award, uint256 burned);

    error BadTerms();
    error BadState(State state);
    error BadAmount();
    error NotAllowed();
    error TooEarly();
    error BadSignature();
    error NotTwo();

    /// @notice The owner posts a bond.
    function post(Terms calldata terms, uint96 amount) external payable nonReentrant returns (bytes32 id) {
        if (msg.sender != terms.owner) revert NotAllowed();
        if (terms.award == 0 || terms.notice == 0 || amount / 2 < terms.award || !Ed25519.isKey(terms.key)) {
            revert BadTerms();
        }
        id = idOf(terms);
        if (_bonds[id].state != State.None) revert BadState(_bonds[id].state);
        _bonds[id] = Bond(State.Standing, amount, uint40(block.timestamp), 0);
        _take(terms.token, amount);
        emit Posted(id, terms.key, terms.owner, terms, amount);
    }

    /// @notice Adds to a bond; anybody may.
    function topUp(Terms calldata terms, uint96 amount) external payable nonReentrant {
        (bytes32 id, Bond storage bond) = _standing(terms);
        bond.amount += amount;
        _take(terms.token, amount);
        emit ToppedUp(id, amount);
    }

    /// @notice The owner asks for its bond, once.
    function requestRelease(Terms calldata terms) external nonReentrant {
        (bytes32 id, Bond storage bond) = _standing(terms);
        if (msg.sender != terms.owner || bond.leaveAt != 0) revert NotAllowed();
        bond.leaveAt = uint40(block.timestamp + terms.notice);
        emit ReleaseRequested(id, bond.leaveAt);
    }

    /// @notice The notice is over: the owner has its bond back. Anybody may say so.
    function release(Terms calldata terms) external nonReentrant {
        (bytes32 id, Bond storage bond) = _standing(terms);
        if (bond.leaveAt == 0 || block.timestamp < bond.leaveAt) revert TooEarly();
        balanceOf[terms.token][terms.owner] += bond.amount;
        (bond.state, bond.amount) = (State.Released, 0);
        emit Released(id);
    }

    /// @notice Says that the caller has a proof, without saying which: see `commitmentOf`. A proof is worth money to whoever
    /// sends it first, and who waits for transactions to copy would always be the first.
    function announce(bytes32 commitment) external {
        // The first one counts: nobody makes it younger.
        if (announcedIn[commitment] == 0) announcedIn[commitment] = block.number;
    }

    /// @notice Shows two invoices of one window with different digests, announced in an earlier block.
    function showTwo(Terms calldata terms, bytes calldata one, bytes calldata other) external nonReentrant {
        (bytes32 id, Bond storage bond) = _standing(terms);
        uint256 announced = announcedIn[commitmentOf(msg.sender, one, other)];
        if (announced == 0 || announced == block.number) revert TooEarly();
        Statements.Invoice memory first = _invoice(terms, one);
        Statements.Invoice memory second = _invoice(terms, other);
        if (first.order != second.order || first.n != second.n || first.digest == second.digest) revert NotTwo();
        emit TwoShown(id, first.order, first.n);
        _lose(id, bond, terms, msg.sender);
    }

    /// @notice Sends an account what is its own here; anybody may ask for it.
    function withdraw(address token, address account) external nonReentrant {
        uint256 amount = balanceOf[token][account];
        if (amount == 0) revert BadAmount();
        balanceOf[token][account] = 0;
        if (token == address(0)) Address.sendValue(payable(account), amount);
        else IERC20(token).safeTransfer(account, amount);
    }

    /// @notice What a bond is at the moment.
    function bondOf(bytes32 id) external view returns (Bond memory) {
        return _bonds[id];
    }

    /// @notice The id of a bond, on this chain and in this contract.
    function idOf(Terms calldata terms) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), terms));
    }

    /// @notice What an account announces before it shows two invoices.
    function commitmentOf(address by, bytes calldata one, bytes calldata other) public pure returns (bytes32) {
        return keccak256(abi.encode(by, keccak256(one), keccak256(other)));
    }

    function _standing(Terms calldata terms) private view returns (bytes32 id, Bond storage bond) {
        id = idOf(terms);
        bond = _bonds[id];
        if (bond.state != State.Standing) revert BadState(bond.state);
    }

    /// @dev An invoice that the seller signed.
    function _invoice(Terms calldata terms, bytes calldata statement)
        private
        view
        returns (Statements.Invoice memory body)
    {
        Statements.Statement memory found;
        (found, body) = Statements.invoice(statement);
        if (!Ed25519.verify(terms.key, found.signed, found.r, found.s)) revert BadSignature();
    }

    function _lose(bytes32 id, Bond storage bond, Terms calldata terms, address winner) private {
        uint256 burned = bond.amount - terms.award;
        balanceOf[terms.token][winner] += terms.award;
        balanceOf[terms.token][BURNED] += burned;
        (bond.state, bond.amount) = (State.Lost, 0);
        emit Lost(id, winner, terms.award, burned);
    }

    /// @dev A token that keeps a fee has no bonds: what is promised would not be there.
    function _take(address token, uint256 amount) private {
        if (token == address(0)) {
            if (msg.value != amount) revert BadAmount();
            return;
        }
        if (msg.value != 0) revert BadAmount();
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
        if (IERC20(token).balanceOf(address(this)) - before != amount) revert BadAmount();
    }
}
