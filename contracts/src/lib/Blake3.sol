// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title BLAKE3, the hash of 32 bytes without a key, which chains have no precompile for.
/// @dev References: O'Connor, Aumasson, Neves, Wilcox-O'Hearn, "BLAKE3: one function, fast everywhere" (2020).
library Blake3 {
    uint256 private constant CHUNK = 1024;
    uint256 private constant CHUNK_START = 1;
    uint256 private constant CHUNK_END = 2;
    uint256 private constant PARENT = 4;
    uint256 private constant ROOT = 8;
    /// @dev A row of the state is four words of 32 bits, 64 bits apart and the first one highest, in one number: a step of
    /// the compression works on four columns at once, and no carry reaches the next word.
    uint256 private constant ROW = 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff;
    uint256 private constant IV_LOW = 0x000000006a09e66700000000bb67ae85000000003c6ef37200000000a54ff53a;
    uint256 private constant IV_HIGH = 0x00000000510e527f000000009b05688c000000001f83d9ab000000005be0cd19;

    /// @notice The hash.
    function hash(bytes memory data) internal pure returns (bytes32) {
        // For the words of a block, see `_compress`: what stands between them stays zero.
        uint256[32] memory words;
        // Chaining values of whole subtrees that wait for their right half, the largest first: 2^32 chunks at most.
        uint256[64] memory waiting;
        uint256 depth = 0;
        uint256 chunks = data.length == 0 ? 1 : (data.length + CHUNK - 1) / CHUNK;
        for (uint256 i = 0; i + 1 < chunks; ++i) {
            (uint256 low, uint256 high) = _chunk(words, data, i, 0);
            // As often as the number of chunks so far can be halved: that many subtrees are whole now.
            for (uint256 count = i + 1; count & 1 == 0; count >>= 1) {
                --depth;
                (low, high) = _parent(words, waiting, depth, low, high, 0);
            }
            (waiting[2 * depth], waiting[2 * depth + 1]) = (low, high);
            ++depth;
        }
        (uint256 left, uint256 right) = _chunk(words, data, chunks - 1, depth == 0 ? ROOT : 0);
        while (depth > 0) {
            --depth;
            (left, right) = _parent(words, waiting, depth, left, right, depth == 0 ? ROOT : 0);
        }
        return bytes32(_bytes(left) << 128 | _bytes(right));
    }

    /// @dev The chaining value of a chunk.
    function _chunk(uint256[32] memory words, bytes memory data, uint256 index, uint256 root)
        private
        pure
        returns (uint256 low, uint256 high)
    {
        (low, high) = (IV_LOW, IV_HIGH);
        uint256 place = index * CHUNK;
        uint256 left = data.length - place;
        if (left > CHUNK) left = CHUNK;
        uint256 flags = CHUNK_START;
        while (left > 64) {
            _load(words, data, place, 64);
            (low, high) = _compress(words, low, high, _row(index, 64, flags));
            (place, left, flags) = (place + 64, left - 64, 0);
        }
        _load(words, data, place, left);
        (low, high) = _compress(words, low, high, _row(index, left, flags | CHUNK_END | root));
    }

    /// @dev The chaining value above two, of which the left one waits.
    function _parent(
        uint256[32] memory words,
        uint256[64] memory waiting,
        uint256 depth,
        uint256 low,
        uint256 high,
        uint256 root
    ) private pure returns (uint256, uint256) {
        _spread(words, 0, waiting[2 * depth]);
        _spread(words, 4, waiting[2 * depth + 1]);
        _spread(words, 8, low);
        _spread(words, 12, high);
        return _compress(words, IV_LOW, IV_HIGH, _row(0, 64, PARENT | root));
    }

    /// @dev The last row of the state: counter, length of the block, flags.
    function _row(uint256 counter, uint256 length, uint256 flags) private pure returns (uint256) {
        return (counter & 0xffffffff) << 192 | counter >> 32 << 128 | length << 64 | flags;
    }

    /// @dev Puts the four words of a row in their places.
    function _spread(uint256[32] memory words, uint256 first, uint256 row) private pure {
        words[2 * first] = row >> 192;
        words[2 * first + 2] = row >> 128 & 0xffffffff;
        words[2 * first + 4] = row >> 64 & 0xffffffff;
        words[2 * first + 6] = row & 0xffffffff;
    }

    /// @dev Puts the sixteen words of a block in their places; what is behind its end counts as zero.
    function _load(uint256[32] memory words, bytes memory data, uint256 place, uint256 length) private pure {
        assembly ("memory-safe") {
            function put(to, x) {
                // Bytes within a word come lowest first.
                let every2 := 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff
                let every4 := 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff
                x := or(and(shr(8, x), every2), shl(8, and(x, every2)))
                x := or(and(shr(16, x), every4), shl(16, and(x, every4)))
                mstore(to, shr(224, x))
                mstore(add(to, 64), and(shr(192, x), 0xffffffff))
                mstore(add(to, 128), and(shr(160, x), 0xffffffff))
                mstore(add(to, 192), and(shr(128, x), 0xffffffff))
                mstore(add(to, 256), and(shr(96, x), 0xffffffff))
                mstore(add(to, 320), and(shr(64, x), 0xffffffff))
                mstore(add(to, 384), and(shr(32, x), 0xffffffff))
                mstore(add(to, 448), and(x, 0xffffffff))
            }
            let from := add(add(data, 32), place)
            let one := mload(from)
            let other := mload(add(from, 32))
            if lt(length, 64) {
                // A shift by 256 or more leaves nothing.
                switch lt(length, 32)
                case 0 { other := and(other, not(shr(shl(3, sub(length, 32)), not(0)))) }
                default {
                    one := and(one, not(shr(shl(3, length), not(0))))
                    other := 0
                }
            }
            put(words, one)
            put(add(words, 512), other)
        }
    }

    /// @dev Seven rounds over the words of a block: from a chaining value to the next one.
    ///
    /// Word i stands in the last four bytes of 32 that begin 64·i bytes behind `words`, and all else there is zero: read 8, 16
    /// or 24 bytes later, it is in the next place of a row. The words of a round are those of the one before, permuted.
    function _compress(uint256[32] memory words, uint256 low, uint256 high, uint256 last)
        private
        pure
        returns (uint256, uint256)
    {
        assembly ("memory-safe") {
            // A word twice, one behind the other, and a shift: a rotation, of four words at once.
            function mix(a, b, c, d, x, y) -> a2, b2, c2, d2 {
                a2 := and(add(add(a, b), x), ROW)
                d2 := and(shr(16, mul(xor(d, a2), 0x100000001)), ROW)
                c2 := and(add(c, d2), ROW)
                b2 := and(shr(12, mul(xor(b, c2), 0x100000001)), ROW)
                a2 := and(add(add(a2, b2), y), ROW)
                d2 := and(shr(8, mul(xor(d2, a2), 0x100000001)), ROW)
                c2 := and(add(c2, d2), ROW)
                b2 := and(shr(7, mul(xor(b2, c2), 0x100000001)), ROW)
            }
            let a := low
            let b := high
            let c := IV_LOW
            let d := last
            let x
            let y
            x := or(or(mload(add(words, 0x018)), mload(add(words, 0x090))), or(mload(add(words, 0x108)), mload(add(words, 0x180))))
            y := or(or(mload(add(words, 0x058)), mload(add(words, 0x0d0))), or(mload(add(words, 0x148)), mload(add(words, 0x1c0))))
            a, b, c, d := mix(a, b, c, d, x, y)
            x := or(or(mload(add(words, 0x218)), mload(add(words, 0x290))), or(mload(add(words, 0x308)), mload(add(words, 0x380))))
            y := or(or(mload(add(words, 0x258)), mload(add(words, 0x2d0))), or(mload(add(words, 0x348)), mload(add(words, 0x3c0))))
            a, b, c, d := mix(a, or(shl(64, b), shr(192, b)), or(shl(128, c), shr(128, c)), or(shl(192, d), shr(64, d)), x, y)
            b := or(shr(64, b), shl(192, b))
            c := or(shr(128, c), shl(128, c))
            d := or(shr(192, d), shl(64, d))
            x := or(or(mload(add(words, 0x098)), mload(add(words, 0x0d0))), or(mload(add(words, 0x1c8)), mload(add(words, 0x100))))
            y := or(or(mload(add(words, 0x198)), mload(add(words, 0x290))), or(mload(add(words, 0x008)), mload(add(words, 0x340))))
            a, b, c, d := mix(a, b, c, d, x, y)
            x := or(or(mload(add(words, 0x058)), mload(add(words, 0x310))), or(mload(add(words, 0x248)), mload(add(words, 0x3c0))))
            y := or(or(mload(add(words, 0x2d8)), mload(add(words, 0x150))), or(mload(add(words, 0x388)), mload(add(words, 0x200))))
            a, b, c, d := mix(a, or(shl(64, b), shr(192, b)), or(shl(128, c), shr(128, c)), or(shl(192, d), shr(64, d)), x, y)
            b := or(shr(64, b), shl(192, b))
            c := or(shr(128, c), shl(128, c))
            d := or(shr(192, d), shl(64, d))
            x := or(or(mload(add(words, 0x0d8)), mload(add(words, 0x290))), or(mload(add(words, 0x348)), mload(add(words, 0x1c0))))
            y := or(or(mload(add(words, 0x118)), mload(add(words, 0x310))), or(mload(add(words, 0x088)), mload(add(words, 0x380))))
            a, b, c, d := mix(a, b, c, d, x, y)
            x := or(or(mload(add(words, 0x198)), mload(add(words, 0x250))), or(mload(add(words, 0x2c8)), mload(add(words, 0x200))))
            y := or(or(mload(add(words, 0x158)), mload(add(words, 0x010))), or(mload(add(words, 0x3c8)), mload(add(words, 0x040))))
            a, b, c, d := mix(a, or(shl(64, b), shr(192, b)), or(shl(128, c), shr(128, c)), or(shl(192, d), shr(64, d)), x, y)
            b := or(shr(64, b), shl(192, b))
            c := or(shr(128, c), shl(128, c))
            d := or(shr(192, d), shl(64, d))
            x := or(or(mload(add(words, 0x298)), mload(add(words, 0x310))), or(mload(add(words, 0x388)), mload(add(words, 0x340))))
            y := or(or(mload(add(words, 0x1d8)), mload(add(words, 0x250))), or(mload(add(words, 0x0c8)), mload(add(words, 0x3c0))))
            a, b, c, d := mix(a, b, c, d, x, y)
            x := or(or(mload(add(words, 0x118)), mload(add(words, 0x2d0))), or(mload(add(words, 0x148)), mload(add(words, 0x040))))
            y := or(or(mload(add(words, 0x018)), mload(add(words, 0x090))), or(mload(add(words, 0x208)), mload(add(words, 0x180))))
            a, b, c, d := mix(a, or(shl(64, b), shr(192, b)), or(shl(128, c), shr(128, c)), or(shl(192, d), shr(64, d)), x, y)
            b := or(shr(64, b), shl(192, b))
            c := or(shr(128, c), shl(128, c))
            d := or(shr(192, d), shl(64, d))
            x := or(or(mload(add(words, 0x318)), mload(add(words, 0x250))), or(mload(add(words, 0x3c8)), mload(add(words, 0x380))))
            y := or(or(mload(add(words, 0x358)), mload(add(words, 0x2d0))), or(mload(add(words, 0x288)), mload(add(words, 0x200))))
            a, b, c, d := mix(a, b, c, d, x, y)
            x := or(or(mload(add(words, 0x1d8)), mload(add(words, 0x150))), or(mload(add(words, 0x008)), mload(add(words, 0x180))))
            y := or(or(mload(add(words, 0x098)), mload(add(words, 0x0d0))), or(mload(add(words, 0x048)), mload(add(words, 0x100))))
            a, b, c, d := mix(a, or(shl(64, b), shr(192, b)), or(shl(128, c), shr(128, c)), or(shl(192, d), shr(64, d)), x, y)
            b := or(shr(64, b), shl(192, b))
            c := or(shr(128, c), shl(128, c))
            d := or(shr(192, d), shl(64, d))
            x := or(or(mload(add(words, 0x258)), mload(add(words, 0x2d0))), or(mload(add(words, 0x208)), mload(add(words, 0x3c0))))
            y := or(or(mload(add(words, 0x398)), mload(add(words, 0x150))), or(mload(add(words, 0x308)), mload(add(words, 0x040))))
            a, b, c, d := mix(a, b, c, d, x, y)
            x := or(or(mload(add(words, 0x358)), mload(add(words, 0x010))), or(mload(add(words, 0x088)), mload(add(words, 0x100))))
            y := or(or(mload(add(words, 0x0d8)), mload(add(words, 0x290))), or(mload(add(words, 0x188)), mload(add(words, 0x1c0))))
            a, b, c, d := mix(a, or(shl(64, b), shr(192, b)), or(shl(128, c), shr(128, c)), or(shl(192, d), shr(64, d)), x, y)
            b := or(shr(64, b), shl(192, b))
            c := or(shr(128, c), shl(128, c))
            d := or(shr(192, d), shl(64, d))
            x := or(or(mload(add(words, 0x2d8)), mload(add(words, 0x150))), or(mload(add(words, 0x048)), mload(add(words, 0x200))))
            y := or(or(mload(add(words, 0x3d8)), mload(add(words, 0x010))), or(mload(add(words, 0x248)), mload(add(words, 0x180))))
            a, b, c, d := mix(a, b, c, d, x, y)
            x := or(or(mload(add(words, 0x398)), mload(add(words, 0x090))), or(mload(add(words, 0x0c8)), mload(add(words, 0x1c0))))
            y := or(or(mload(add(words, 0x298)), mload(add(words, 0x310))), or(mload(add(words, 0x108)), mload(add(words, 0x340))))
            a, b, c, d := mix(a, or(shl(64, b), shr(192, b)), or(shl(128, c), shr(128, c)), or(shl(192, d), shr(64, d)), x, y)
            b := or(shr(64, b), shl(192, b))
            c := or(shr(128, c), shl(128, c))
            d := or(shr(192, d), shl(64, d))
            low := xor(a, c)
            high := xor(b, d)
        }
        return (low, high);
    }

    /// @dev A row as the bytes it stands for.
    function _bytes(uint256 row) private pure returns (uint256 x) {
        x = (row >> 192) << 96 | (row >> 128 & 0xffffffff) << 64 | (row >> 64 & 0xffffffff) << 32 | (row & 0xffffffff);
        uint256 every2 = 0x00ff00ff00ff00ff00ff00ff00ff00ff;
        uint256 every4 = 0x0000ffff0000ffff0000ffff0000ffff;
        x = (x >> 8 & every2) | (x & every2) << 8;
        x = (x >> 16 & every4) | (x & every4) << 16;
    }
}
