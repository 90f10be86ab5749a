// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Statements of SDPP/2 (`spec/protocol.md` §2, `spec/sdpp.cddl`), as far as a bond has to read them.
/// @notice COSE_Sign1 in deterministic CBOR: a longer integer, another order of keys, an unknown key or a trailing byte is
/// refused, as every reader of SDPP does. No signature is verified here.
library Statements {
    /// @notice A statement taken apart.
    struct Statement {
        /// SHA-256 of what was signed.
        bytes32 id;
        /// What was signed.
        bytes signed;
        /// The signature.
        bytes32 r;
        bytes32 s;
    }

    /// @notice What of an invoice counts here.
    struct Invoice {
        bytes32 order;
        uint256 n;
        uint256 first;
        uint256 count;
        /// Payload bytes of its messages.
        uint256 payload;
        bytes32 digest;
    }

    error BadStatement();

    /// @notice Signatures of messages take so many bytes each, where a product has them.
    uint256 internal constant SIGNATURE = 64;
    /// @notice Time and length before each message.
    uint256 internal constant MESSAGE_HEADER = 12;

    bytes private constant INVOICE = "\xa3\x01\x27\x03\x78\x1dapplication/sdpp-invoice+cbor\x0f\xa2\x01\x78\x38did:key:z6Mk";
    bytes private constant ORDER = "\xa3\x01\x27\x03\x78\x1bapplication/sdpp-order+cbor\x0f";
    bytes private constant MENU = "\xa3\x01\x27\x03\x78\x1aapplication/sdpp-menu+cbor\x0f";
    bytes private constant ABOUT_ORDER = "\x02\x78\x46order:";
    /// @dev Of an invoice's protected header: all is of one length.
    uint256 private constant HEADER = 169;
    uint256 private constant SUBJECT = 73;

    uint256 private constant UINT = 0;
    uint256 private constant BYTES = 2;
    uint256 private constant MAP = 5;

    /// @notice An invoice and what it says.
    function invoice(bytes calldata statement)
        internal
        pure
        returns (Statement memory found, Invoice memory body)
    {
        bytes calldata header;
        bytes calldata payload;
        (found, header, payload) = _split(statement);
        body = _invoice(payload);
        // Whose name stands between the two is not read: only who has the key signs, and signs its own.
        if (header.length != HEADER) revert BadStatement();
        _check(header, INVOICE.length, INVOICE);
        _check(header[HEADER - SUBJECT:], SUBJECT, bytes.concat(ABOUT_ORDER, _hex(body.order)));
    }

    /// @notice Until when the menu was good that an order was placed by, in milliseconds. An order is placed while its menu is
    /// good, and that is a day at most after the seller signed it.
    /// @dev An order names its menu by hash, and an invoice its order: whoever signed the invoice stands for both, so their
    /// signatures are not looked at.
    function menuUntil(bytes32 id, bytes32 seller, bytes calldata order, bytes calldata menu)
        internal
        pure
        returns (uint256 until)
    {
        (Statement memory found, bytes calldata header, bytes calldata payload) = _split(order);
        _check(header, ORDER.length, ORDER);
        (, uint256 place) = _head(payload, 0, MAP);
        bytes32 about;
        (about, place) = _bytes32(payload, place, 1);
        if (found.id != id || about != seller) revert BadStatement();
        (id, place) = _bytes32(payload, place, 2);
        (found, header, payload) = _split(menu);
        _check(header, MENU.length, MENU);
        (, place) = _head(payload, 0, MAP);
        (about, place) = _bytes32(payload, place, 1);
        if (found.id != id || about != seller) revert BadStatement();
        (until,) = _uint(payload, place, 2);
    }

    /// @notice The digest of a span (`spec/protocol.md` §6) is BLAKE3 over these bytes.
    function span(Invoice memory body, bytes32 salt, bytes calldata messages) internal pure returns (bytes memory) {
        bytes8 n = bytes8(uint64(body.n));
        bytes8 count = bytes8(uint64(body.count));
        return bytes.concat("SDPP/2 span", body.order, n, bytes8(uint64(body.first)), salt, messages, count);
    }

    /// @notice Whether these are as many whole messages as an invoice says, with as many bytes of payload.
    function areOf(Invoice memory body, bytes calldata messages, bool areSigned) internal pure returns (bool) {
        uint256 around = areSigned ? MESSAGE_HEADER + SIGNATURE : MESSAGE_HEADER;
        uint256 payload = 0;
        uint256 place = 0;
        for (uint256 i = 0; i < body.count; ++i) {
            if (place + MESSAGE_HEADER > messages.length) return false;
            uint256 length = _read(messages, place + 8, 4);
            payload += length;
            place += length + around;
        }
        return place == messages.length && payload == body.payload;
    }

    /// @dev `18([header, {}, payload, signature])`, and `["Signature1", header, h'', payload]`, which is what is signed.
    function _split(bytes calldata statement)
        private
        pure
        returns (Statement memory found, bytes calldata header, bytes calldata payload)
    {
        if (_read(statement, 0, 2) != 0xd284) revert BadStatement();
        uint256 begin;
        uint256 end;
        (begin, end) = _bytes(statement, 2);
        header = statement[begin:end];
        if (_read(statement, end, 1) != 0xa0) revert BadStatement();
        uint256 rest = end + 1;
        bytes calldata first = statement[2:end];
        (begin, end) = _bytes(statement, rest);
        payload = statement[begin:end];
        found.signed = bytes.concat("\x84\x6aSignature1", first, "\x40", statement[rest:end]);
        found.id = sha256(found.signed);
        if (_read(statement, end, 2) != 0x5840 || statement.length != end + 66) revert BadStatement();
        found.r = bytes32(statement[end + 2:end + 34]);
        found.s = bytes32(statement[end + 34:]);
    }

    function _invoice(bytes calldata payload) private pure returns (Invoice memory body) {
        (uint256 fields, uint256 place) = _head(payload, 0, MAP);
        (body.order, place) = _bytes32(payload, place, 1);
        (body.n, place) = _uint(payload, place, 2);
        uint256 windows;
        (windows, place) = _uint(payload, place, 3);
        if (windows > type(uint32).max) revert BadStatement();
        (, place) = _bytes32(payload, place, 4);
        (body.first, place) = _uint(payload, place, 5);
        (body.count, place) = _uint(payload, place, 6);
        (body.payload, place) = _uint(payload, place, 7);
        // The times, which stand only where seconds are sold.
        for (uint256 key = 8; key < 10; ++key) {
            if (_read(payload, place, 1) != key) continue;
            (, place) = _uint(payload, place, key);
            --fields;
        }
        (body.digest, place) = _bytes32(payload, place, 10);
        (, place) = _uint(payload, place, 11);
        place = _amount(payload, _amount(payload, place, 12), 13);
        if (_read(payload, place, 1) == 14) {
            (, place) = _bytes32(payload, place, 14);
            --fields;
        }
        if (_read(payload, place, 2) | 1 != 0x0ff5 || fields != 12 || payload.length != place + 2) revert BadStatement();
    }

    function _uint(bytes calldata data, uint256 place, uint256 key) private pure returns (uint256, uint256) {
        if (_read(data, place, 1) != key) revert BadStatement();
        return _head(data, place + 1, UINT);
    }

    function _bytes32(bytes calldata data, uint256 place, uint256 key) private pure returns (bytes32, uint256) {
        if (_read(data, place, 3) != (key << 16 | 0x5820)) revert BadStatement();
        return (bytes32(_read(data, place + 3, 32)), place + 35);
    }

    /// @dev An integer, or from 2^64 on a bignum without leading zeros.
    function _amount(bytes calldata data, uint256 place, uint256 key) private pure returns (uint256 end) {
        if (_read(data, place, 1) != key) revert BadStatement();
        if (_read(data, place + 1, 1) != 0xc2) {
            (, end) = _head(data, place + 1, UINT);
            return end;
        }
        uint256 begin;
        (begin, end) = _bytes(data, place + 2);
        if (end < begin + 9 || end > begin + 16 || _read(data, begin, 1) == 0) revert BadStatement();
    }

    /// @dev Where a string of bytes begins and ends.
    function _bytes(bytes calldata data, uint256 place) private pure returns (uint256 begin, uint256 end) {
        (end, begin) = _head(data, place, BYTES);
        end += begin;
        if (end > data.length) revert BadStatement();
    }

    /// @dev The head of an item: its number in the shortest form, and where the item goes on.
    function _head(bytes calldata data, uint256 place, uint256 major) private pure returns (uint256, uint256) {
        uint256 head = _read(data, place, 1);
        uint256 number = head & 31;
        if (head >> 5 != major || number > 27) revert BadStatement();
        if (number < 24) return (number, place + 1);
        uint256 size = 1 << (number - 24);
        number = _read(data, place + 1, size);
        uint256 least = size == 1 ? 24 : 1 << (4 * size);
        if (number < least) revert BadStatement();
        return (number, place + 1 + size);
    }

    function _read(bytes calldata data, uint256 place, uint256 size) private pure returns (uint256 value) {
        if (place + size > data.length) revert BadStatement();
        assembly ("memory-safe") {
            value := shr(sub(256, shl(3, size)), calldataload(add(data.offset, place)))
        }
    }

    /// @dev That bytes begin as they have to.
    function _check(bytes calldata found, uint256 length, bytes memory expected) private pure {
        if (found.length < length || keccak256(found[:length]) != keccak256(expected)) revert BadStatement();
    }

    function _hex(bytes32 id) private pure returns (bytes memory text) {
        bytes16 digits = "0123456789abcdef";
        text = new bytes(64);
        for (uint256 i = 0; i < 32; ++i) {
            text[2 * i] = digits[uint8(id[i]) >> 4];
            text[2 * i + 1] = digits[uint8(id[i]) & 15];
        }
    }
}
