// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Blake3} from "./lib/Blake3.sol";
import {Ed25519} from "./lib/Ed25519.sol";
import {Statements} from "./lib/Statements.sol";

/// @title Bonds behind the invoices of sellers: the dual-deposit escrow's deposit, for streams.
/// @notice An account locks a bond behind an Ed25519 key. It is lost by two faults; whoever proves one is paid an award from
/// it, and the rest is burned:
///
/// - two invoices that this key signed for one window (an order and a number), with different digests: `showTwo`;
/// - one invoice whose window nobody can show in time: `challenge`, `answer`, `expire`. The answer is the window itself, and
///   its digest has to be the one that was signed.
///
/// Who challenges locks a stake, which pays the bond's owner for publishing the window, and comes back where nobody does.
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
        /// What a challenger locks.
        uint96 stake;
        /// Seconds to answer a challenge in; zero where the bond does not stand behind what a seller would have to keep.
        uint32 answerWithin;
        /// Seconds in which windows of an order may be challenged, from the end of its menu on: so long a seller keeps them.
        uint32 keep;
        /// Seconds between the request to release the bond and the release: more than to answer.
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
        /// Challenges that are not over.
        uint32 pending;
    }

    /// @notice Life of a challenge.
    enum Stage {
        None,
        Pending,
        Answered,
        Expired
    }

    /// @notice An invoice and what it comes from, as statements.
    struct Origin {
        bytes invoice;
        bytes order;
        /// The menu that the order was placed by.
        bytes menu;
    }

    /// @notice What is known of a challenge.
    struct Challenge {
        Stage stage;
        address challenger;
        uint40 answerBy;
    }

    /// @notice Most bytes of messages that an answer may have to publish, headers and signatures among them: more does not
    /// fit into one transaction (2^24 gas, EIP-7825, and the 128 KiB that nodes pass on).
    uint256 public constant REVEAL_MAX = 96 * 1024;
    /// @notice Seconds more to answer in for every challenge that is pending already: an owner that answers one after the other
    /// is never late, however many there are at once.
    uint256 public constant SPACING = 300;
    /// @notice Seconds that a menu is good for at most.
    uint256 private constant MENU_LIFE = 1 days;

    address public constant BURNED = 0x000000000000000000000000000000000000dEaD;

    mapping(bytes32 id => Bond) private _bonds;
    mapping(bytes32 id => mapping(bytes32 invoice => Challenge)) private _challenges;
    /// @notice In which block a proof was announced.
    mapping(bytes32 commitment => uint256) public announcedIn;
    mapping(address token => mapping(address account => uint256)) public balanceOf;

    event Posted(bytes32 indexed id, bytes32 indexed key, address indexed owner, Terms terms, uint256 amount);
    event ToppedUp(bytes32 indexed id, uint256 amount);
    event ReleaseRequested(bytes32 indexed id, uint256 leaveAt);
    event Released(bytes32 indexed id);
    event TwoShown(bytes32 indexed id, bytes32 indexed order, uint256 n);
    event Challenged(bytes32 indexed id, bytes32 indexed invoice, bytes32 order, uint256 n, uint256 answerBy);
    event Answered(bytes32 indexed id, bytes32 indexed invoice);
    event Expired(bytes32 indexed id, bytes32 indexed invoice);
    event Lost(bytes32 indexed id, address indexed paid, uint256 award, uint256 burned);

    error BadTerms();
    error BadState(State state);
    error BadAmount();
    error NotAllowed();
    error TooEarly();
    error TooLate();
    error TooLarge();
    error TooOld();
    error BadStage(Stage stage);
    error BadSignature();
    error NotTwo();
    error NotTheWindow();

    /// @notice The owner posts a bond.
    function post(Terms calldata terms, uint96 amount) external payable nonReentrant returns (bytes32 id) {
        if (msg.sender != terms.owner) revert NotAllowed();
        if (terms.award == 0 || amount / 2 < terms.award || !Ed25519.isKey(terms.key)) revert BadTerms();
        if (terms.notice <= terms.answerWithin) revert BadTerms();
        if (terms.answerWithin > 0 && (terms.stake == 0 || terms.answerWithin < SPACING)) revert BadTerms();
        id = idOf(terms);
        if (_bonds[id].state != State.None) revert BadState(_bonds[id].state);
        _bonds[id] = Bond(State.Standing, amount, uint40(block.timestamp), 0, 0);
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

    /// @notice The notice is over and no challenge is left: the owner has its bond back. Anybody may say so.
    function release(Terms calldata terms) external nonReentrant {
        (bytes32 id, Bond storage bond) = _standing(terms);
        if (bond.leaveAt == 0 || block.timestamp < bond.leaveAt || bond.pending > 0) revert TooEarly();
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
        (, Statements.Invoice memory first) = _invoice(terms, one);
        (, Statements.Invoice memory second) = _invoice(terms, other);
        if (first.order != second.order || first.n != second.n || first.digest == second.digest) revert NotTwo();
        emit TwoShown(id, first.order, first.n);
        _lose(id, bond, terms, msg.sender);
    }

    /// @notice Asks for the window of an invoice and locks the stake. Once per invoice.
    function challenge(Terms calldata terms, Origin calldata origin) external payable nonReentrant {
        (bytes32 id, Bond storage bond) = _standing(terms);
        if (terms.answerWithin == 0) revert NotAllowed();
        // What is challenged once the bond may go would hold it for ever.
        if (bond.leaveAt != 0 && block.timestamp >= bond.leaveAt) revert TooLate();
        (bytes32 invoice, Statements.Invoice memory body) = _invoice(terms, origin.invoice);
        _mayBeAskedFor(terms, origin, body, bond.since);
        Challenge storage known = _challenges[id][invoice];
        if (known.stage != Stage.None) revert BadStage(known.stage);
        uint256 answerBy = block.timestamp + terms.answerWithin + bond.pending * SPACING;
        bond.pending += 1;
        (known.stage, known.challenger, known.answerBy) = (Stage.Pending, msg.sender, uint40(answerBy));
        _take(terms.token, terms.stake);
        emit Challenged(id, invoice, body.order, body.n, answerBy);
    }

    /// @notice Shows the window of a challenged invoice: the salt of its span, and its messages in canonical form, with
    /// signatures or without. Anybody may, but the stake is the owner's: whoever copies an answer gains nothing.
    function answer(
        Terms calldata terms,
        bytes calldata statement,
        bytes32 salt,
        bytes calldata messages,
        bool areSigned
    ) external nonReentrant {
        (Statements.Statement memory found, Statements.Invoice memory body) = Statements.invoice(statement);
        (bytes32 id, Challenge storage pending) = _pending(terms, found.id);
        if (block.timestamp > pending.answerBy) revert TooLate();
        bool isWindow = Statements.areOf(body, messages, areSigned);
        if (!isWindow || Blake3.hash(Statements.span(body, salt, messages)) != body.digest) revert NotTheWindow();
        pending.stage = Stage.Answered;
        balanceOf[terms.token][terms.owner] += terms.stake;
        emit Answered(id, found.id);
    }

    /// @notice Nobody has answered a challenge in time; anybody may say so.
    function expire(Terms calldata terms, bytes32 invoice) external nonReentrant {
        (bytes32 id, Challenge storage pending) = _pending(terms, invoice);
        if (block.timestamp <= pending.answerBy) revert TooEarly();
        pending.stage = Stage.Expired;
        balanceOf[terms.token][pending.challenger] += terms.stake;
        emit Expired(id, invoice);
        // It may be lost already: then the challenger has its stake, and no more.
        if (_bonds[id].state == State.Standing) _lose(id, _bonds[id], terms, pending.challenger);
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

    /// @notice What a challenge of an invoice is at the moment.
    function challengeOf(bytes32 id, bytes32 invoice) external view returns (Challenge memory) {
        return _challenges[id][invoice];
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

    /// @dev An invoice that the seller signed, and its id.
    function _invoice(Terms calldata terms, bytes calldata statement)
        private
        view
        returns (bytes32, Statements.Invoice memory body)
    {
        Statements.Statement memory found;
        (found, body) = Statements.invoice(statement);
        if (!Ed25519.verify(terms.key, found.signed, found.r, found.s)) revert BadSignature();
        return (found.id, body);
    }

    /// @dev Whether an honest seller has to have the window of an invoice, and can show it.
    function _mayBeAskedFor(
        Terms calldata terms,
        Origin calldata origin,
        Statements.Invoice memory body,
        uint256 since
    ) private view {
        if (body.payload + body.count * (Statements.MESSAGE_HEADER + Statements.SIGNATURE) > REVEAL_MAX) revert TooLarge();
        uint256 until = Statements.menuUntil(body.order, terms.key, origin.order, origin.menu) / 1000;
        // Of windows that were sold before there was a bond, nobody promised to keep any.
        if (until < since + MENU_LIFE) revert TooOld();
        if (block.timestamp > until + terms.keep) revert TooLate();
    }

    /// @dev A challenge that is over with this call.
    function _pending(Terms calldata terms, bytes32 invoice) private returns (bytes32 id, Challenge storage found) {
        id = idOf(terms);
        found = _challenges[id][invoice];
        if (found.stage != Stage.Pending) revert BadStage(found.stage);
        _bonds[id].pending -= 1;
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
