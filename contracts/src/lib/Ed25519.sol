// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Sha512} from "./Sha512.sol";

/// @title Ed25519 (RFC 8032), with the one strict rule of SDPP (`spec/protocol.md` §3).
/// @notice A and R are canonical encodings of points and not of small order, S < L, and S·B = R + k·A holds without the
/// cofactor. A second answer to any signature would let somebody be punished here for what nobody believes elsewhere.
library Ed25519 {
    /// @dev The field: 2^255 - 19.
    uint256 private constant P = 0x7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed;
    uint256 private constant TWO_P = 0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffda;
    /// @dev -x² + y² = 1 + D·x²·y².
    uint256 private constant D = 0x52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3;
    uint256 private constant TWO_D = 0x2406d9dc56dffce7198e80f2eef3d13000e0149a8283b156ebd69b9426b2f159;
    uint256 private constant ROOT_OF_MINUS_ONE = 0x2b8324804fc1df0b2b4d00993dfbd7a72f431806ad2fe478c4ee1b274a0ea0b0;
    /// @dev The order of the base point, and 2^256 modulo that.
    uint256 private constant L = 0x1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed;
    uint256 private constant R256 = 0x0ffffffffffffffffffffffffffffffec6ef5bf4737dcf70d6ec31748d98951d;
    /// @dev The base point.
    uint256 private constant BASE_X = 0x216936d3cd6e53fec0a4e231fdd6dc5c692cc7609525a7b2c9562d608f25d51a;
    uint256 private constant BASE_Y = 0x6666666666666666666666666666666666666666666666666666666666666658;
    uint256 private constant BASE_T = 0x67875f0fd78b766566ea4e8e64abe37d20f09f80775152f56dde8ab3a5b7dda3;
    /// @dev One of the two y of order eight; the other one is P less it.
    uint256 private constant ORDER_EIGHT_Y = 0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826;

    /// @notice Whether 32 bytes are a key that a signature can be verified under.
    function isKey(bytes32 key) internal view returns (bool found) {
        (found,,) = _point(uint256(key));
    }

    /// @notice Whether the key signed the message: R and S are the first and the last 32 bytes of the signature.
    function verify(bytes32 key, bytes memory message, bytes32 r, bytes32 s) internal view returns (bool) {
        uint256 scalar = _reverse(uint256(s));
        (bool found, uint256 x, uint256 y) = _point(uint256(key));
        if (scalar >= L || !found || !_mayBePoint(_reverse(uint256(r)) & (2 ** 255 - 1))) return false;
        (uint256 left, uint256 right) = Sha512.hash(bytes.concat(r, key, message));
        uint256 k = addmod(mulmod(_reverse(right), R256, L), _reverse(left), L);
        // What R has to be, encoded: an R that is no point is never that.
        return _combine(scalar, k, P - x, y) == _reverse(uint256(r));
    }

    /// @dev Canonical, and not one of the eight points of small order.
    function _mayBePoint(uint256 y) private pure returns (bool) {
        return y > 1 && y < P - 1 && y != ORDER_EIGHT_Y && y != P - ORDER_EIGHT_Y;
    }

    /// @dev The point of an encoding, if it is an acceptable one.
    function _point(uint256 encoded) private view returns (bool, uint256 x, uint256 y) {
        encoded = _reverse(encoded);
        y = encoded & (2 ** 255 - 1);
        if (!_mayBePoint(y)) return (false, 0, 0);
        uint256 yy = mulmod(y, y, P);
        uint256 u = yy - 1;
        uint256 v = addmod(mulmod(D, yy, P), 1, P);
        // x = u·v³·(u·v⁷)^((p-5)/8), RFC 8032 §5.1.3.
        uint256 v3 = mulmod(mulmod(v, v, P), v, P);
        uint256 power = mulmod(mulmod(mulmod(v3, v3, P), v, P), u, P);
        x = mulmod(mulmod(u, v3, P), _power(power, 2 ** 252 - 3), P);
        uint256 back = mulmod(v, mulmod(x, x, P), P);
        if (back != u) {
            if (back != P - u) return (false, 0, 0);
            x = mulmod(x, ROOT_OF_MINUS_ONE, P);
        }
        // Not zero: that would be a point of small order.
        if (x & 1 != encoded >> 255) x = P - x;
        return (true, x, y);
    }

    /// @dev The encoding of s·B + k·(x, y), both together bit by bit (Shamir's trick).
    function _combine(uint256 s, uint256 k, uint256 x, uint256 y) private view returns (uint256) {
        // B, the point, and the sum of both, each as y - x, y + x, 2·D·t, 2·z. The formulas of both functions are complete:
        // Hisil, Wong, Carter, Dawson, "Twisted Edwards Curves Revisited" (2008), §3.1 and §3.3.
        uint256[12] memory table;
        uint256 z;
        (table[0], table[1]) = (BASE_Y - BASE_X + P, BASE_Y + BASE_X);
        (table[2], table[3]) = (mulmod(TWO_D, BASE_T, P), 2);
        (table[4], table[5]) = (y + P - x, y + x);
        (table[6], table[7]) = (mulmod(TWO_D, mulmod(x, y, P), P), 2);
        assembly ("memory-safe") {
            // No sum of two reduced numbers reaches 2^256, and mulmod reduces: few sums are.
            function double(x1, y1, z1) -> x3, y3, z3, t3 {
                let a := mulmod(x1, x1, P)
                let b := mulmod(y1, y1, P)
                let h := sub(TWO_P, add(a, b))
                let e := add(x1, y1)
                e := addmod(mulmod(e, e, P), h, P)
                let g := add(b, sub(P, a))
                let f := addmod(g, sub(P, mulmod(z1, add(z1, z1), P)), P)
                x3 := mulmod(e, f, P)
                y3 := mulmod(g, h, P)
                z3 := mulmod(f, g, P)
                t3 := mulmod(e, h, P)
            }
            function sum(x1, y1, z1, t1, entry) -> x3, y3, z3, t3 {
                x3 := mulmod(add(y1, sub(P, x1)), mload(entry), P)
                y3 := mulmod(add(y1, x1), mload(add(entry, 32)), P)
                t3 := mulmod(t1, mload(add(entry, 64)), P)
                z3 := mulmod(z1, mload(add(entry, 96)), P)
                let e := add(y3, sub(P, x3))
                let h := add(y3, x3)
                let f := add(z3, sub(P, t3))
                let g := add(z3, t3)
                x3 := mulmod(e, f, P)
                y3 := mulmod(g, h, P)
                z3 := mulmod(f, g, P)
                t3 := mulmod(e, h, P)
            }
            let t
            x, y, z, t := sum(BASE_X, BASE_Y, 1, BASE_T, add(table, 128))
            mstore(add(table, 256), add(y, sub(P, x)))
            mstore(add(table, 288), add(y, x))
            mstore(add(table, 320), mulmod(TWO_D, t, P))
            mstore(add(table, 352), add(z, z))
            x := 0
            y := 1
            z := 1
            for { let i := 253 } i { } {
                i := sub(i, 1)
                x, y, z, t := double(x, y, z)
                let which := or(and(shr(i, s), 1), shl(1, and(shr(i, k), 1)))
                if which { x, y, z, t := sum(x, y, z, t, add(table, shl(7, sub(which, 1)))) }
            }
        }
        z = _power(z, P - 2);
        return mulmod(y, z, P) | (mulmod(x, z, P) & 1) << 255;
    }

    function _power(uint256 base, uint256 exponent) private view returns (uint256 result) {
        assembly ("memory-safe") {
            let input := mload(0x40)
            mstore(input, 32)
            mstore(add(input, 32), 32)
            mstore(add(input, 64), 32)
            mstore(add(input, 96), base)
            mstore(add(input, 128), exponent)
            mstore(add(input, 160), P)
            if iszero(staticcall(gas(), 5, input, 192, 0, 32)) { revert(0, 0) }
            result := mload(0)
        }
    }

    /// @dev The bytes in the other order.
    function _reverse(uint256 x) private pure returns (uint256) {
        uint256 every2 = 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff;
        uint256 every4 = 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff;
        uint256 every8 = 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff;
        uint256 every16 = 0x0000000000000000ffffffffffffffff0000000000000000ffffffffffffffff;
        x = (x >> 8 & every2) | (x & every2) << 8;
        x = (x >> 16 & every4) | (x & every4) << 16;
        x = (x >> 32 & every8) | (x & every8) << 32;
        x = (x >> 64 & every16) | (x & every16) << 64;
        return x >> 128 | x << 128;
    }
}
