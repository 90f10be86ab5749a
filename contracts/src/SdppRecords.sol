// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Digests of statements, or roots of Merkle trees of them, as events.
/// @notice An event's place (transaction and log index) in a final block proves that the digest was known then, and to
/// whom. Nothing is stored: nothing can be overwritten.
contract SdppRecords {
    event Anchored(address indexed by, bytes32 indexed digest);

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
}
