"""What check.py and fsck.py share: signed notes, checkpoints and Merkle hashes, from the C2SP texts and RFC 6962.

Own here: all but SHA-256 and Ed25519. Strict: each value has one text.
"""

import base64
import binascii
import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

DASH = "\u2014 "
LOG, WITNESS = 1, 4
NOTE_BYTES_MAX = 64 * 1024


class Refused(Exception):
    """Something is not what it should be."""


class Checks:
    """Counts; the first that fails ends the run."""

    def __init__(self):
        self.passed = 0

    def true(self, value, what):
        if not value:
            raise Refused(what)
        self.passed += 1

    def equal(self, got, wanted, what):
        self.true(got == wanted, f"{what}: {show(got)} is not {show(wanted)}")

    def refused(self, act, what):
        try:
            act()
        except Refused:
            self.passed += 1
        else:
            raise Refused(f"{what} was NOT refused")


def show(value):
    return value.hex() if isinstance(value, bytes) else repr(value)


def need(condition, what):
    if not condition:
        raise Refused(what)


def unbase64(text, what):
    try:
        value = base64.b64decode(text.encode(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(f"{what}: {error}") from error
    need(base64.b64encode(value).decode() == text, f"{what}: another spelling of the same base64")
    return value


def decimal(text, what):
    need(text.isascii() and text.isdigit() and (text == "0" or text[0] != "0"), f"{what}: {text!r} is no decimal")
    need(int(text) < 2**63, f"{what}: {text} is too large")
    return int(text)


def utf8(data, what):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"{what} is not UTF-8") from error


class Key:
    """A verifier key: `name+id+base64(type || key)`."""

    def __init__(self, vkey, kind):
        parts = vkey.split("+", 2)
        need(len(parts) == 3, f"{vkey!r} is not a verifier key")
        self.name, key_id, blob = parts
        blob = unbase64(blob, "verifier key")
        need(len(blob) == 33 and blob[0] == kind, f"{vkey!r} is not a key of type {kind}")
        self.kind, self.public = kind, blob[1:]
        self.key_id = hashlib.sha256(self.name.encode() + b"\n" + blob).digest()[:4]
        need(self.key_id.hex() == key_id, f"{vkey!r} has another key id")

    def signed(self, text, signature):
        """Raises unless this key signed the text so; gives the time of a cosignature."""
        time = 0
        message = text.encode()
        if self.kind == WITNESS:
            need(len(signature) == 72, "a cosignature has 72 bytes")
            time = int.from_bytes(signature[:8], "big")
            need(time < 2**63, "time of a cosignature out of range")
            message = f"cosignature/v1\ntime {time}\n".encode() + message
            signature = signature[8:]
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature as error:
            raise Refused(f"the signature of {self.name} does not verify") from error
        return time


def open_note(data, keys):
    """The text of a note that every one of these keys signed."""
    need(len(data) <= NOTE_BYTES_MAX, "note is too large")
    note = utf8(data, "note")
    need(all(c >= " " or c == "\n" for c in note), "note has a control character")
    text, blank, lines = note.rpartition("\n\n")
    need(blank and lines.endswith("\n"), "note has no signatures")
    text += "\n"
    signed = set()
    for line in lines[:-1].split("\n"):
        need(line.startswith(DASH) and line.count(" ") == 2, f"{line!r} is not a signature line")
        name, blob = line[len(DASH) :].split(" ")
        blob = unbase64(blob, "signature")
        need(name and "+" not in name and len(blob) > 4, f"{line!r} is not a signature line")
        for key in keys:
            if (key.name, key.key_id) == (name, blob[:4]):
                key.signed(text, blob[4:])
                signed.add(key)
    for key in keys:
        need(key in signed, f"no signature of {key.name}")
    return text


def checkpoint(text, origin):
    """Size and root of a checkpoint's text."""
    lines = text.split("\n")
    need(len(lines) >= 4 and lines[-1] == "" and all(lines[:-1]), "not the text of a checkpoint")
    need(lines[0] == origin, f"checkpoint of {lines[0]!r}, not of {origin!r}")
    size, root = decimal(lines[1], "tree size"), unbase64(lines[2], "root")
    need(len(root) == 32, "a root has 32 bytes")
    need(size > 0 or root == hashlib.sha256(b"").digest(), "wrong root of the empty tree")
    return size, root


def leaf_hash(entry):
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_hash(hashes):
    """MTH of RFC 6962, over leaf hashes or the roots of equally large full subtrees."""
    need(hashes, "no leaves have no subtree")
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return node_hash(tree_hash(hashes[:split]), tree_hash(hashes[split:]))


def inclusion_root(leaf, index, size, path):
    """The root to which a path leads: PATH of RFC 6962, taken apart from its end."""
    need(index < size, "index is not below the size")
    if size == 1:
        need(not path, "path is too long")
        return leaf
    need(path, "path is too short")
    split = 1 << (size - 1).bit_length() - 1
    if index < split:
        return node_hash(inclusion_root(leaf, index, split, path[:-1]), path[-1])
    return node_hash(path[-1], inclusion_root(leaf, index - split, size - split, path[:-1]))


def verify_tlog_proof(data, entry, log, witnesses):
    """Index, size and root of a `.tlog-proof` for an entry, or Refused."""
    text = utf8(data, "proof")
    head, blank, note = text.partition("\n\n")
    need(blank, "proof has no checkpoint")
    lines = head.split("\n")
    need(lines.pop(0) == "c2sp.org/tlog-proof@v1", "not a proof of version 1")
    if lines and lines[0].startswith("extra "):
        unbase64(lines.pop(0)[len("extra ") :], "extra data")
    need(lines and lines[0].startswith("index "), "proof has no index")
    index = decimal(lines.pop(0)[len("index ") :], "index")
    path = [unbase64(line, "hash of the path") for line in lines]
    need(len(path) <= 63 and all(len(node) == 32 for node in path), "not a path")
    size, root = checkpoint(open_note(note.encode(), [log, *witnesses]), log.name)
    need(inclusion_root(leaf_hash(entry), index, size, path) == root, "the path leads to another root")
    return index, size, root
