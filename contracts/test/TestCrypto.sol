// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Blake3} from "../src/lib/Blake3.sol";
import {Ed25519} from "../src/lib/Ed25519.sol";
import {Sha512} from "../src/lib/Sha512.sol";
import {Statements} from "../src/lib/Statements.sol";

/// @title The libraries of the bond, to be called one by one.
contract TestCrypto {
    function sha512(bytes calldata data) external pure returns (uint256 left, uint256 right) {
        return Sha512.hash(data);
    }

    function isKey(bytes32 key) external view returns (bool) {
        return Ed25519.isKey(key);
    }

    function verify(bytes32 key, bytes calldata message, bytes32 r, bytes32 s) external view returns (bool) {
        return Ed25519.verify(key, message, r, s);
    }

    function blake3(bytes calldata data) external pure returns (bytes32) {
        return Blake3.hash(data);
    }

    /// @notice Whether these are the messages of an invoice.
    function isWindow(Statements.Invoice memory body, bytes32 salt, bytes calldata messages, bool areSigned)
        external
        pure
        returns (bool)
    {
        bytes32 digest = Blake3.hash(Statements.span(body, salt, messages));
        return Statements.areOf(body, messages, areSigned) && digest == body.digest;
    }
}
