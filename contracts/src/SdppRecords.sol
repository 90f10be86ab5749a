// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Statements, digests of them, or roots of Merkle trees, as events.
/// @notice An event's place (transaction and log index) in a final block proves that the digest was known then, and to
/// whom. Nothing is stored: nothing can be overwritten.
contract SdppRecords {
    event Anchored(address indexed by, bytes32 indexed digest);
    event Kept(address indexed by, bytes32 indexed digest, bytes statement);

    /// @notice Anchors one digest.
    function anchor(bytes32 digest) external {
        emit Anchored(msg.sender, digest);
    }

    /// @notice Anchors many.
    function anchorMany(bytes32[] calldata digests) external {
        for (uint256 i = 0; i < digests.length; ++i) {
            emit Anchored(msg.sender, digests[i]);
        }
    }

    /// @notice Keeps a whole statement under its digest. What digest that is, its readers know: it is not looked at here.
    function keep(bytes32 digest, bytes calldata statement) external {
        emit Kept(msg.sender, digest, statement);
    }
}
