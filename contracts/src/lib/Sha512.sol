// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title SHA-512 (FIPS 180-4), which chains have no precompile for.
library Sha512 {
    /// @dev The first 64 bits of the fractional parts of the cube roots of the first eighty primes.
    bytes private constant K =
        hex"428a2f98d728ae227137449123ef65cdb5c0fbcfec4d3b2fe9b5dba58189dbbc"
        hex"3956c25bf348b53859f111f1b605d019923f82a4af194f9bab1c5ed5da6d8118"
        hex"d807aa98a303024212835b0145706fbe243185be4ee4b28c550c7dc3d5ffb4e2"
        hex"72be5d74f27b896f80deb1fe3b1696b19bdc06a725c71235c19bf174cf692694"
        hex"e49b69c19ef14ad2efbe4786384f25e30fc19dc68b8cd5b5240ca1cc77ac9c65"
        hex"2de92c6f592b02754a7484aa6ea6e4835cb0a9dcbd41fbd476f988da831153b5"
        hex"983e5152ee66dfaba831c66d2db43210b00327c898fb213fbf597fc7beef0ee4"
        hex"c6e00bf33da88fc2d5a79147930aa72506ca6351e003826f142929670a0e6e70"
        hex"27b70a8546d22ffc2e1b21385c26c9264d2c6dfc5ac42aed53380d139d95b3df"
        hex"650a73548baf63de766a0abb3c77b2a881c2c92e47edaee692722c851482353b"
        hex"a2bfe8a14cf10364a81a664bbc423001c24b8b70d0f89791c76c51a30654be30"
        hex"d192e819d6ef5218d69906245565a910f40e35855771202a106aa07032bbd1b8"
        hex"19a4c116b8d2d0c81e376c085141ab532748774cdf8eeb9934b0bcb5e19b48a8"
        hex"391c0cb3c5c95a634ed8aa4ae3418acb5b9cca4f7763e373682e6ff3d6b2b8a3"
        hex"748f82ee5defb2fc78a5636f43172f6084c87814a1f0ab728cc702081a6439ec"
        hex"90befffa23631e28a4506cebde82bde9bef9a3f7b2c67915c67178f2e372532b"
        hex"ca273eceea26619cd186b8c721c0c207eada7dd6cde0eb1ef57d4f7fee6ed178"
        hex"06f067aa72176fba0a637dc5a2c898a6113f9804bef90dae1b710b35131c471b"
        hex"28db77f523047d8432caab7b40c724933c9ebe0a15c9bebc431d67c49c100d4c"
        hex"4cc5d4becb3e42b6597f299cfc657e2a5fcb6fab3ad6faec6c44198c4a475817";

    /// @notice The hash, as its first and its last 32 bytes.
    function hash(bytes memory data) internal pure returns (uint256 left, uint256 right) {
        bytes memory padded = _pad(data);
        bytes memory k = K;
        uint256[8] memory state = [
            uint256(0x6a09e667f3bcc908),
            0xbb67ae8584caa73b,
            0x3c6ef372fe94f82b,
            0xa54ff53a5f1d36f1,
            0x510e527fade682d1,
            0x9b05688c2b3e6c1f,
            0x1f83d9abfb41bd6b,
            0x5be0cd19137e2179
        ];
        uint256[80] memory w;
        for (uint256 offset = 0; offset < padded.length; offset += 128) {
            _expand(w, padded, offset);
            _compress(state, w, k);
        }
        left = state[0] << 192 | state[1] << 128 | state[2] << 64 | state[3];
        right = state[4] << 192 | state[5] << 128 | state[6] << 64 | state[7];
    }

    /// @dev A one bit, zeros, and the length in bits, up to a whole number of blocks.
    function _pad(bytes memory data) private pure returns (bytes memory) {
        uint256 zeros = (239 - data.length % 128) % 128;
        return bytes.concat(data, hex"80", new bytes(zeros), bytes16(uint128(data.length * 8)));
    }

    /// @dev The eighty words of a block.
    function _expand(uint256[80] memory w, bytes memory data, uint256 offset) private pure {
        assembly ("memory-safe") {
            let block_ := add(add(data, 32), offset)
            for { let i := 0 } lt(i, 16) { i := add(i, 1) } {
                mstore(add(w, shl(5, i)), shr(192, mload(add(block_, shl(3, i)))))
            }
            for { let p := add(w, 512) } lt(p, add(w, 2560)) { p := add(p, 32) } {
                // Twice the word, one behind the other: a shift is a rotation.
                let x := mload(sub(p, 480))
                let xx := or(x, shl(64, x))
                let y := mload(sub(p, 64))
                let yy := or(y, shl(64, y))
                x := xor(xor(shr(1, xx), shr(8, xx)), shr(7, x))
                y := xor(xor(shr(19, yy), shr(61, yy)), shr(6, y))
                x := add(and(x, 0xffffffffffffffff), and(y, 0xffffffffffffffff))
                x := add(x, add(mload(sub(p, 512)), mload(sub(p, 224))))
                mstore(p, and(x, 0xffffffffffffffff))
            }
        }
    }

    /// @dev Eighty rounds over one block.
    function _compress(uint256[8] memory state, uint256[80] memory w, bytes memory k) private pure {
        assembly ("memory-safe") {
            let a := mload(state)
            let b := mload(add(state, 32))
            let c := mload(add(state, 64))
            let d := mload(add(state, 96))
            let e := mload(add(state, 128))
            let f := mload(add(state, 160))
            let g := mload(add(state, 192))
            let h := mload(add(state, 224))
            for { let i := 0 } lt(i, 80) { i := add(i, 1) } {
                let t := or(e, shl(64, e))
                t := and(xor(xor(shr(14, t), shr(18, t)), shr(41, t)), 0xffffffffffffffff)
                t := add(add(t, h), xor(g, and(e, xor(f, g))))
                t := add(add(t, mload(add(w, shl(5, i)))), shr(192, mload(add(add(k, 32), shl(3, i)))))
                h := g
                g := f
                f := e
                e := and(add(d, t), 0xffffffffffffffff)
                d := or(a, shl(64, a))
                t := add(t, and(xor(xor(shr(28, d), shr(34, d)), shr(39, d)), 0xffffffffffffffff))
                t := and(add(t, or(and(a, b), and(c, or(a, b)))), 0xffffffffffffffff)
                d := c
                c := b
                b := a
                a := t
            }
            function raise(p, by) {
                mstore(p, and(add(mload(p), by), 0xffffffffffffffff))
            }
            raise(state, a)
            raise(add(state, 32), b)
            raise(add(state, 64), c)
            raise(add(state, 96), d)
            raise(add(state, 128), e)
            raise(add(state, 160), f)
            raise(add(state, 192), g)
            raise(add(state, 224), h)
        }
    }
}
