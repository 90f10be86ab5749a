// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

/// @title Dual-deposit escrow for a known good (Asgaonkar and Krishnamachari, arXiv 1806.08379), with time limits.
/// @notice Both lock a deposit, the buyer the price too. The seller delivers the good off the chain, encrypted for the buyer,
/// in pieces, and signs the hash of each. The buyer accepts, or complains with a signed hash:
///
/// - it is not the hash that the good has there: the buyer has all of its own back and its cost from the seller's deposit;
/// - it is: the buyer's deposit pays the seller's cost, and the seller has the price and its own deposit;
/// - the seller did not sign it: all is burned, since nobody can tell who lies.
///
/// What is left of a loser's deposit is burned: neither side gains by having the other one punished.
///
/// Silence, which the published protocol leaves open: until `lockBy` the buyer may lock, afterwards the seller takes its
/// deposit back. Once both have locked, the buyer answers until `answerBy`; silence burns all, as a complaint without
/// evidence does. Any other meaning would pay somebody for saying nothing: the seller for not delivering, or the buyer for
/// keeping quiet about what it has.
contract SdppDualDeposit is EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @notice What both agree on; its hash is the deal's id.
    struct Terms {
        address seller;
        address buyer;
        /// The ERC-20 token of all amounts; zero for the native coin.
        address token;
        uint96 price;
        uint96 sellerDeposit;
        uint96 buyerDeposit;
        /// What a complaint costs whoever is right: paid from the loser's deposit.
        uint96 cost;
        /// Root of the Merkle tree (OpenZeppelin's, sorted pairs) over the hashes of the good's pieces, see `leafOf`.
        bytes32 good;
        /// Key that signs what was delivered.
        address signer;
        uint40 lockBy;
        uint40 answerBy;
        bytes32 salt;
    }

    /// @notice Life of a deal.
    enum State {
        None,
        Offered,
        Locked,
        Over
    }

    address public constant BURNED = 0x000000000000000000000000000000000000dEaD;

    bytes32 private constant DELIVERY_TYPE = keccak256("Delivery(bytes32 dealId,uint256 piece,bytes32 digest)");

    mapping(bytes32 id => State) public stateOf;
    mapping(address token => mapping(address account => uint256)) public balanceOf;

    event Offered(bytes32 indexed id, address indexed seller, address indexed buyer, Terms terms);
    event Locked(bytes32 indexed id);
    event Cancelled(bytes32 indexed id);
    event Accepted(bytes32 indexed id);
    event SellerWasWrong(bytes32 indexed id, uint256 piece);
    event BuyerWasWrong(bytes32 indexed id, uint256 piece);
    event AllBurned(bytes32 indexed id);

    error BadTerms();
    error BadState(State state);
    error BadAmount();
    error NotAllowed();
    error TooEarly();
    error TooLate();
    error NotOfTheGood();

    constructor() EIP712("SDPP Dual Deposit", "1") {}

    /// @notice The seller offers, and locks its deposit.
    function offer(Terms calldata terms) external payable nonReentrant returns (bytes32 id) {
        if (msg.sender != terms.seller) revert NotAllowed();
        if (terms.buyer == address(0) || terms.signer == address(0) || terms.buyer == terms.seller) revert BadTerms();
        // A loser's deposit covers the cost of whoever is right.
        if (terms.cost > terms.sellerDeposit || terms.cost > terms.buyerDeposit) revert BadTerms();
        if (terms.lockBy <= block.timestamp || terms.answerBy <= terms.lockBy) revert BadTerms();
        id = idOf(terms);
        if (stateOf[id] != State.None) revert BadState(stateOf[id]);
        stateOf[id] = State.Offered;
        _take(terms.token, terms.sellerDeposit);
        emit Offered(id, terms.seller, terms.buyer, terms);
    }

    /// @notice The buyer locks the price and its deposit.
    function lock(Terms calldata terms) external payable nonReentrant {
        bytes32 id = _at(terms, State.Offered);
        if (msg.sender != terms.buyer) revert NotAllowed();
        if (block.timestamp > terms.lockBy) revert TooLate();
        stateOf[id] = State.Locked;
        _take(terms.token, uint256(terms.price) + terms.buyerDeposit);
        emit Locked(id);
    }

    /// @notice The seller takes its deposit back where the buyer did not lock in time.
    function cancel(Terms calldata terms) external nonReentrant {
        bytes32 id = _at(terms, State.Offered);
        if (msg.sender != terms.seller) revert NotAllowed();
        if (block.timestamp <= terms.lockBy) revert TooEarly();
        stateOf[id] = State.Over;
        balanceOf[terms.token][terms.seller] += terms.sellerDeposit;
        emit Cancelled(id);
    }

    /// @notice The buyer has the good.
    function accept(Terms calldata terms) external nonReentrant {
        bytes32 id = _answer(terms);
        balanceOf[terms.token][terms.seller] += uint256(terms.price) + terms.sellerDeposit;
        balanceOf[terms.token][terms.buyer] += terms.buyerDeposit;
        emit Accepted(id);
    }

    /// @notice The buyer complains of a piece: `digest` is the hash of what was delivered for it, with the seller's
    /// signature; `expected` is what the good has there, with its way to the root.
    function complain(
        Terms calldata terms,
        uint256 piece,
        bytes32 digest,
        bytes calldata signature,
        bytes32 expected,
        bytes32[] calldata proof
    ) external nonReentrant {
        bytes32 id = _answer(terms);
        // Not of this good: the buyer has nothing to say, and may say it again in time.
        if (!MerkleProof.verifyCalldata(proof, terms.good, leafOf(piece, expected))) revert NotOfTheGood();
        bytes32 signed = _hashTypedDataV4(keccak256(abi.encode(DELIVERY_TYPE, id, piece, digest)));
        (address signer, ECDSA.RecoverError wrong,) = ECDSA.tryRecoverCalldata(signed, signature);
        if (wrong != ECDSA.RecoverError.NoError || signer != terms.signer) {
            _burn(terms.token, uint256(terms.price) + terms.sellerDeposit + terms.buyerDeposit);
            emit AllBurned(id);
        } else if (digest != expected) {
            balanceOf[terms.token][terms.buyer] += uint256(terms.price) + terms.buyerDeposit + terms.cost;
            _burn(terms.token, terms.sellerDeposit - terms.cost);
            emit SellerWasWrong(id, piece);
        } else {
            balanceOf[terms.token][terms.seller] += uint256(terms.price) + terms.sellerDeposit + terms.cost;
            _burn(terms.token, terms.buyerDeposit - terms.cost);
            emit BuyerWasWrong(id, piece);
        }
    }

    /// @notice Nobody has answered in time; anybody may say so.
    function expire(Terms calldata terms) external nonReentrant {
        bytes32 id = _at(terms, State.Locked);
        if (block.timestamp <= terms.answerBy) revert TooEarly();
        stateOf[id] = State.Over;
        _burn(terms.token, uint256(terms.price) + terms.sellerDeposit + terms.buyerDeposit);
        emit AllBurned(id);
    }

    /// @notice Sends an account what is its own here; anybody may ask for it.
    function withdraw(address token, address account) external nonReentrant {
        uint256 amount = balanceOf[token][account];
        if (amount == 0) revert BadAmount();
        balanceOf[token][account] = 0;
        if (token == address(0)) Address.sendValue(payable(account), amount);
        else IERC20(token).safeTransfer(account, amount);
    }

    /// @notice The id of a deal, on this chain and in this contract.
    function idOf(Terms calldata terms) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), terms));
    }

    /// @notice The leaf of a piece: its number and the hash (keccak256) of its bytes, hashed twice.
    function leafOf(uint256 piece, bytes32 digest) public pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(piece, digest))));
    }

    function _at(Terms calldata terms, State state) private view returns (bytes32 id) {
        id = idOf(terms);
        if (stateOf[id] != state) revert BadState(stateOf[id]);
    }

    /// @dev The buyer's one answer, in time.
    function _answer(Terms calldata terms) private returns (bytes32 id) {
        id = _at(terms, State.Locked);
        if (msg.sender != terms.buyer) revert NotAllowed();
        if (block.timestamp > terms.answerBy) revert TooLate();
        stateOf[id] = State.Over;
    }

    /// @dev A token that keeps a fee has no deals: what is promised would not be there.
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

    function _burn(address token, uint256 amount) private {
        balanceOf[token][BURNED] += amount;
    }
}
