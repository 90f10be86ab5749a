// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SdppChannels} from "./SdppChannels.sol";

/// @title Products for sale, and what parties to settled channels say of each other.
/// @notice A listing itself stays off the chain: here is its hash, and where to get it. Nobody removes what another one
/// has posted. A rating costs a channel that was opened, paid from and closed; readers weigh it by what was paid.
contract SdppRegistry {
    /// @notice A product.
    struct Product {
        address owner;
        /// The owner's own name for it.
        bytes32 name;
        /// Hash of the signed listing.
        bytes32 listing;
        /// Where the listing is, at most LOCATION_MAX bytes.
        string location;
        /// How often it was changed.
        uint32 version;
        bool isRetired;
    }

    /// @notice What was said of an account.
    struct Score {
        uint64 ratings;
        /// Sum of points.
        uint64 points;
    }

    uint256 public constant LOCATION_MAX = 256;
    /// @notice Best rating; the worst is 1.
    uint8 public constant POINTS_MAX = 5;

    uint8 private constant BY_PAYER = 1;
    uint8 private constant BY_PAYEE = 2;

    /// @notice The contract whose channels count.
    SdppChannels public immutable channels;

    Product[] private _products;
    mapping(address owner => mapping(bytes32 name => uint256 index)) private _places;
    mapping(bytes32 channelId => uint8 sides) private _rated;
    mapping(address account => Score) private _scores;

    event Posted(uint256 indexed index, address indexed owner, bytes32 name, bytes32 listing, string location);
    event Updated(uint256 indexed index, bytes32 listing, string location, uint32 version);
    event Retired(uint256 indexed index);
    event Rated(
        bytes32 indexed channelId, address indexed by, address indexed about, uint8 points, uint256 paid, bytes32 review
    );

    error NotAllowed();
    error Known(uint256 index);
    error TooLong();
    error AlreadyRetired();
    error BadPoints();
    error NotSettled(bytes32 channelId);
    error AlreadyRated(bytes32 channelId);

    constructor(SdppChannels channels_) {
        channels = channels_;
    }

    /// @notice Posts a product under a name that the caller has not used before.
    function post(bytes32 name, bytes32 listing, string calldata location) external returns (uint256 index) {
        if (bytes(location).length > LOCATION_MAX) revert TooLong();
        uint256 known = _places[msg.sender][name];
        if (known != 0) revert Known(known - 1);
        index = _products.length;
        _products.push(Product(msg.sender, name, listing, location, 0, false));
        _places[msg.sender][name] = index + 1;
        emit Posted(index, msg.sender, name, listing, location);
    }

    /// @notice Changes the caller's product.
    function update(uint256 index, bytes32 listing, string calldata location) external {
        if (bytes(location).length > LOCATION_MAX) revert TooLong();
        Product storage product = _own(index);
        (product.listing, product.location) = (listing, location);
        product.version += 1;
        emit Updated(index, listing, location, product.version);
    }

    /// @notice Takes the caller's product off the market, for good.
    function retire(uint256 index) external {
        _own(index).isRetired = true;
        emit Retired(index);
    }

    /// @notice Says something of the other party to a channel that is closed and brought its payee something: once for each
    /// of the two. `review` is the hash of words, or zero.
    function rate(SdppChannels.Terms calldata terms, uint8 points, bytes32 review) external {
        if (points == 0 || points > POINTS_MAX) revert BadPoints();
        bytes32 id = channels.idOf(terms);
        SdppChannels.Channel memory channel = channels.channel(id);
        if (channel.state != SdppChannels.State.Closed || channel.redeemed == 0) revert NotSettled(id);
        // Who pays itself says nothing of anybody.
        if (terms.payer == terms.payee) revert NotAllowed();
        (uint8 side, address about) = (BY_PAYER, terms.payee);
        if (msg.sender == terms.payee) (side, about) = (BY_PAYEE, terms.payer);
        else if (msg.sender != terms.payer) revert NotAllowed();
        uint8 rated = _rated[id];
        if (rated & side != 0) revert AlreadyRated(id);
        _rated[id] = rated | side;
        Score storage score = _scores[about];
        score.ratings += 1;
        score.points += points;
        emit Rated(id, msg.sender, about, points, channel.redeemed, review);
    }

    /// @notice How many products were posted so far.
    function count() external view returns (uint256) {
        return _products.length;
    }

    /// @notice Products from `first` on, at most `most`.
    function products(uint256 first, uint256 most) external view returns (Product[] memory found) {
        uint256 all = _products.length;
        uint256 size = first >= all ? 0 : all - first;
        if (size > most) size = most;
        found = new Product[](size);
        for (uint256 i = 0; i < size; ++i) {
            found[i] = _products[first + i];
        }
    }

    /// @notice What was said of an account so far.
    function scoreOf(address account) external view returns (Score memory) {
        return _scores[account];
    }

    function _own(uint256 index) private view returns (Product storage product) {
        if (index >= _products.length) revert NotAllowed();
        product = _products[index];
        if (product.owner != msg.sender) revert NotAllowed();
        if (product.isRetired) revert AlreadyRetired();
    }
}
