#!/usr/bin/env python3
"""Replays the test vectors of SDPP/2 without any code of this project.

    python3 -m venv target/venv
    target/venv/bin/pip install -r spec/vectors/requirements.txt
    target/venv/bin/python spec/vectors/replay.py            # everything
    target/venv/bin/python spec/vectors/replay.py --prove    # changes every value once: each change must be noticed

Own here: base58, the strict Ed25519 check, COSE, HPKE's key schedule with its export, X-Wing, the key schedule and the
books of a sale. From libraries: curves, ML-KEM, AES-GCM, SHA, BLAKE3, CBOR.
"""

import copy
import functools
import hashlib
import hmac
import io
import json
import re
import sys
from pathlib import Path

import blake3
import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = Path(__file__).resolve().parent
# Prose of the vectors, for people: nothing follows from it.
PROSE = {"about", "name", "why"}
KINDS = "menu order attach acceptance invoice ack payment settlement default sample quote rotation revocation".split()
FRAMES = "hello menu ask answer order session sealed error".split()
BODY_MAX = dict(zip(FRAMES, [1024, 33024, 64, 33024, 102400, 102400, 131088, 256]))
CONTROL_ITEMS_MAX = 64


class Mismatch(Exception):
    """A vector is not what it should be."""


class Checks:
    """Counts; the first mismatch of a group ends it."""

    def __init__(self):
        self.passed = 0

    def equal(self, got, wanted, what):
        if got != wanted:
            raise Mismatch(f"{what}: {show(got)} is not {show(wanted)}")
        self.passed += 1

    def true(self, value, what):
        self.equal(bool(value), True, what)


def show(value):
    text = value.hex() if isinstance(value, bytes) else repr(value)
    return text if len(text) <= 80 else text[:80] + "…"


def unhex(text):
    if not re.fullmatch("([0-9a-f]{2})*", text):
        raise Mismatch(f"not lower-case hex: {show(text)}")
    return bytes.fromhex(text)


def sha256(data):
    return hashlib.sha256(data).digest()


def lp(data):
    return len(data).to_bytes(4, "big") + data


def labelled(label, *parts):
    return sha256(label.encode() + b"".join(map(lp, parts)))


def be(number, size):
    return int(number).to_bytes(size, "big", signed=int(number) < 0)


# ---- Ed25519: canonical, not of small order, S < L, cofactorless ----

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def ed_decode(data):
    """A point as (x, y), or None if the encoding is not canonical or not on the curve."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != square or (x == 0 and sign):
        return None
    return (P - x if x & 1 != sign else x), y


def ed_add(a, b):
    (x1, y1), (x2, y2) = a, b
    t = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + t, -1, P)
    return x % P, (y1 * y2 + x1 * x2) * pow(1 - t, -1, P) % P


def ed_mul(number, point):
    result = (0, 1)
    while number:
        if number & 1:
            result = ed_add(result, point)
        point, number = ed_add(point, point), number >> 1
    return result


ED_BASE = ed_decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def ed_acceptable(data):
    point = ed_decode(data)
    return point is not None and ed_mul(8, point) != (0, 1)


def ed_verify_by_hand(public, message, signature):
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if s >= L or not ed_acceptable(public) or not ed_acceptable(r):
        return False
    k = int.from_bytes(hashlib.sha512(r + public + message).digest(), "little") % L
    return ed_mul(s, ED_BASE) == ed_add(ed_decode(r), ed_mul(k, ed_decode(public)))


def ed_verify(public, message, signature):
    """The same by a library, with the strict checks before it."""
    if int.from_bytes(signature[32:], "little") >= L or not all(map(ed_acceptable_once, (public, signature[:32]))):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


ed_acceptable_once = functools.cache(ed_acceptable)


@functools.cache
def ed_key(seed):
    return Ed25519PrivateKey.from_private_bytes(seed)


@functools.cache
def ed_public(seed):
    return ed_key(seed).public_key().public_bytes_raw()


# ---- did:key ----

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def base58_encode(data):
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = BASE58[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def base58_decode(text):
    number = 0
    for digit in text:
        number = number * 58 + BASE58.index(digit)
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def did_of(public):
    return "did:key:z" + base58_encode(b"\xed\x01" + public)


@functools.cache
def key_of(did):
    """The key of a did:key; raises ValueError for any other text."""
    if not did.startswith("did:key:z"):
        raise ValueError("not a did:key in base58")
    data = base58_decode(did[len("did:key:z"):])
    if len(data) != 34 or data[:2] != b"\xed\x01" or did_of(data[2:]) != did or not ed_acceptable(data[2:]):
        raise ValueError("not an acceptable Ed25519 key")
    return data[2:]


# ---- CBOR by the CDDL ----


class Cddl:
    """The rules of sdpp.cddl, as far as this protocol uses the language."""

    def __init__(self, source):
        self.maps, self.arrays, self.types, fields = {}, {}, {}, None
        for line in source.splitlines():
            code, _, name = line.partition(";")
            code, name = code.strip(), name.strip()
            if opened := re.fullmatch(r"([\w-]+) = \{", code):
                fields = self.maps[opened[1]] = {}
            elif fields is not None and (member := re.fullmatch(r"(\? )?(-?\d+) => (.*?),?", code)):
                fields[int(member[2])] = (name, member[3], bool(member[1]))
            elif array := re.fullmatch(r"([\w-]+) = \[(.*)\]", code):
                self.arrays[array[1]] = [part.strip() for part in array[2].split(",")]
            elif simple := re.fullmatch(r"([\w-]+) = ([^\[{#]*|uint / #6\.2\(bstr\))", code):
                self.types[simple[1]] = simple[2]

    def from_json(self, kind, value):
        """The value to encode for what a vector states."""
        if kind in self.maps:
            fields = self.maps[kind]
            unknown = set(value) - {name for name, _, _ in fields.values()}
            if unknown:
                raise Mismatch(f"{kind} has no field {unknown}")
            known = {key: self.from_json(inner, value[name]) for key, (name, inner, _) in fields.items() if name in value}
            return self.conform(kind, known)
        if kind.startswith("[* "):
            return [self.from_json(kind[3:-1], one) for one in value]
        if self.base(kind).startswith("bstr"):
            value = unhex(value)
        elif kind == "amount":
            value = int(value)
        return self.conform(kind, value)

    def base(self, kind):
        while kind in self.types:
            kind = self.types[kind]
        return kind

    def conform(self, kind, value):
        """Raises unless a decoded value is one of this rule."""
        wrong = Mismatch(f"{show(value)} is no {kind}")
        if kind in self.maps:
            fields = self.maps[kind]
            needed = {key for key, (_, _, optional) in fields.items() if not optional}
            if not isinstance(value, dict) or not needed <= set(value) <= set(fields):
                raise wrong
            for key, inner in value.items():
                self.conform(fields[key][1], inner)
        elif kind in self.arrays:
            parts = self.arrays[kind]
            least = sum(not part.startswith("? ") for part in parts)
            if not isinstance(value, list) or not least <= len(value) <= len(parts):
                raise wrong
            for part, inner in zip(parts, value):
                self.conform(part.removeprefix("? "), inner)
        elif kind.startswith("[* "):
            for inner in value:
                self.conform(kind[3:-1], inner)
        elif not self.is_simple(self.base(kind), value):
            raise wrong
        return value

    @staticmethod
    def is_simple(kind, value):
        is_uint = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if sized := re.fullmatch(r"(uint|bstr) \.size (\d+)", kind):
            if sized[1] == "uint":
                return is_uint and value < 256 ** int(sized[2])
            return isinstance(value, bytes) and len(value) == int(sized[2])
        if kind == "uint / #6.2(bstr)":
            return is_uint and value < 2**128
        if span := re.fullmatch(r"(\d+)\.\.(\d+)", kind):
            return is_uint and int(span[1]) <= value <= int(span[2])
        if re.fullmatch(r"-?\d+( / \d+)*", kind):
            return isinstance(value, int) and value in map(int, kind.split(" / "))
        types = {"tstr": str, "bool": bool, "bstr": bytes, "bstr .cbor statement": bytes}
        return isinstance(value, types[kind])

    def named(self, kind, value):
        """A decoded map with names for keys, inner maps too."""
        if kind in self.maps:
            fields = self.maps[kind]
            return {fields[key][0]: self.named(fields[key][1], inner) for key, inner in value.items()}
        if kind.startswith("[* "):
            return [self.named(kind[3:-1], inner) for inner in value]
        return value


CDDL = Cddl((HERE.parent / "sdpp.cddl").read_text(encoding="utf-8"))


def cbor(value):
    return cbor2.dumps(value, canonical=True)


def uncbor(data):
    """Decodes the one deterministic encoding of a value."""
    value = cbor2.loads(data)
    if cbor(value) != data:
        raise Mismatch(f"not deterministic: {show(data)}")
    return value


def decode(kind, data):
    return CDDL.named(kind, CDDL.conform(kind, uncbor(data)))


# ---- statements ----


class Statement:
    """A COSE_Sign1 of this profile, verified."""

    def __init__(self, data):
        outer = uncbor(data)
        if not isinstance(outer, cbor2.CBORTag) or outer.tag != 18 or len(outer.value) != 4:
            raise Mismatch("not a COSE_Sign1")
        protected, unprotected, self.payload, self.signature = outer.value
        header = CDDL.conform("protected-header", uncbor(protected))
        if unprotected != {}:
            raise Mismatch("not this profile")
        self.data, self.content_type, self.issuer, self.subject = data, header[3], header[15][1], header[15][2]
        self.sig_structure = cbor(["Signature1", protected, b"", self.payload])
        self.id = sha256(self.sig_structure)
        if not ed_verify(key_of(self.issuer), self.sig_structure, self.signature):
            raise Mismatch("the signature does not verify")
        kind = re.fullmatch(r"application/sdpp-([a-z-]+)\+cbor", self.content_type)
        self.kind = kind[1]
        self.fields = decode(self.kind, self.payload)
        about = self.fields.get("order_id")
        subject = self.fields.get("seller") or self.fields.get("key")
        wanted = f"order:{about.hex()}" if about else did_of(subject)
        if self.subject != wanted:
            raise Mismatch(f"the subject is {self.subject}, not {wanted}")
        if self.kind in ("rotation", "revocation") and self.issuer != self.subject:
            raise Mismatch("a key ends itself, nobody else")
        if self.kind == "rotation":
            key, successor, at = (self.fields[name] for name in ("key", "successor", "at"))
            to_consent = b"SDPP/2 succession" + key + successor + be(at, 8)
            if key == successor or not ed_verify(successor, to_consent, self.fields["consent"]):
                raise Mismatch("the successor did not consent")


# ---- HKDF, HPKE (RFC 9180, mode base) ----


def hkdf_extract(salt, key):
    return hmac.digest(salt or bytes(32), key, "sha256")


def hkdf_expand(prk, info, length):
    out, block = b"", b""
    while len(out) < length:
        block = hmac.digest(prk, block + info + bytes([len(out) // 32 + 1]), "sha256")
        out += block
    return out[:length]


class Hpke:
    """HKDF-SHA256 and AES-256-GCM over one of the two KEMs."""

    def __init__(self, suite):
        self.suite = suite
        self.kem_id = {1: 0x0020, 2: 0x647A}[suite]
        self.kem_suite = b"KEM" + be(self.kem_id, 2)
        self.full_suite = b"HPKE" + be(self.kem_id, 2) + be(1, 2) + be(2, 2)

    @staticmethod
    def extract(suite_id, salt, label, key):
        return hkdf_extract(salt, b"HPKE-v1" + suite_id + label + key)

    @staticmethod
    def expand(suite_id, prk, label, info, length):
        return hkdf_expand(prk, be(length, 2) + b"HPKE-v1" + suite_id + label + info, length)

    @functools.cache
    def key_pair(self, seed):
        """DeriveKeyPair: the private key's parts and the public key."""
        if self.suite == 1:
            prk = self.extract(self.kem_suite, b"", b"dkp_prk", seed)
            secret = X25519PrivateKey.from_private_bytes(self.expand(self.kem_suite, prk, b"sk", b"", 32))
            return (None, secret), secret.public_key().public_bytes_raw()
        label = b"DeriveKeyPair"
        data = seed + b"HPKE-v1" + self.kem_suite + be(len(label), 2) + label + be(32, 2)
        return xwing_key_pair(hashlib.shake_256(data).digest(32))

    def decap(self, seed, enc):
        (pq, secret), public = self.key_pair(seed)
        if self.suite == 2:
            return xwing_decap(pq, secret, public, enc)
        dh = secret.exchange(X25519PublicKey.from_public_bytes(enc))
        prk = self.extract(self.kem_suite, b"", b"eae_prk", dh)
        return self.expand(self.kem_suite, prk, b"shared_secret", enc + public, 32)

    def open(self, seed, enc, info, aad, ct, label):
        """Plaintext and export."""
        suite = self.full_suite
        shared = self.decap(seed, enc)
        context = b"\0" + self.extract(suite, b"", b"psk_id_hash", b"") + self.extract(suite, b"", b"info_hash", info)
        secret = self.extract(suite, shared, b"secret", b"")
        key = self.expand(suite, secret, b"key", context, 32)
        nonce = self.expand(suite, secret, b"base_nonce", context, 12)
        exporter = self.expand(suite, secret, b"exp", context, 32)
        plain = AESGCM(key).decrypt(nonce, ct, aad)
        return plain, self.expand(suite, exporter, b"sec", label, 32)

    def open_by_library(self, seed, enc, info, ct):
        (pq, secret), _ = self.key_pair(seed)
        if self.suite == 1:
            kem, key = hpke.KEM.X25519, secret
        else:
            kem, key = hpke.KEM.MLKEM768_X25519, hpke.MLKEM768X25519PrivateKey(pq, secret)
        return hpke.Suite(kem, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM).decrypt(enc + ct, key, info)

    def clear_half(self, sender_seed):
        """The part of an encapsulation that follows from the sender's seed without ML-KEM."""
        if self.suite == 1:
            return self.key_pair(draws(sender_seed, 1)[0])[1]
        ephemeral = X25519PrivateKey.from_private_bytes(draws(sender_seed, 2)[1])
        return ephemeral.public_key().public_bytes_raw()


def xwing_key_pair(seed):
    data = hashlib.shake_256(seed).digest(96)
    pq = MLKEM768PrivateKey.from_seed_bytes(data[:64])
    secret = X25519PrivateKey.from_private_bytes(data[64:])
    return (pq, secret), pq.public_key().public_bytes_raw() + secret.public_key().public_bytes_raw()


def xwing_decap(pq, secret, public, enc):
    ct_pq, ct_x = enc[:1088], enc[1088:]
    shared_x = secret.exchange(X25519PublicKey.from_public_bytes(ct_x))
    return hashlib.sha3_256(pq.decapsulate(ct_pq) + shared_x + ct_x + public[1184:] + rb"\.//^" + b"\\").digest()


HPKE = {suite: Hpke(suite) for suite in (1, 2)}


def draws(seed, count):
    """What a seed gives: ChaCha20 with a counter of 64 bits, 32 bytes a time."""
    stream = Cipher(algorithms.ChaCha20(seed, bytes(16)), mode=None).encryptor().update(bytes(32 * count))
    return [stream[at:at + 32] for at in range(0, len(stream), 32)]


def drawn_by_machine(seed, count):
    """The generator of the reference machines: each draw leaves another seed behind."""
    drawn = []
    for _ in range(count):
        seed, out = draws(seed, 2)
        drawn.append(out)
    return drawn


# ---- sealed frames ----


class Traffic:
    """The keys of one direction."""

    def __init__(self, th3, export, label):
        prk = hkdf_extract(th3, export)
        self.secrets = [hkdf_expand(prk, label, 32)]

    def epoch(self, number):
        while len(self.secrets) <= number:
            self.secrets.append(hkdf_expand(self.secrets[-1], b"next", 32))
        secret = self.secrets[number]
        return secret, hkdf_expand(secret, b"key", 32), hkdf_expand(secret, b"iv", 12)

    def open(self, frame):
        """Counter, message bytes, control bytes."""
        kind, counter, body = split_frame(frame)
        if kind != "sealed":
            raise Mismatch("not a sealed frame")
        _, key, iv = self.epoch(counter >> 20)
        nonce = (int.from_bytes(iv, "big") ^ counter).to_bytes(12, "big")
        plain = AESGCM(key).decrypt(nonce, body, frame[:13])
        rest, control_len = plain[:-4], int.from_bytes(plain[-4:], "big")
        at = len(rest) - control_len
        return counter, rest[:at], rest[at:]


def refuse_header(header):
    """The code of an error for the beginning of a frame, or None."""
    if header[4] not in range(1, 9):
        return 100
    return 101 if int.from_bytes(header[:4], "big") > BODY_MAX[FRAMES[header[4] - 1]] else None


def split_frame(frame):
    """Type, counter and body of one whole frame."""
    if refuse_header(frame):
        raise Mismatch("not an acceptable header")
    kind, counter, body = FRAMES[frame[4] - 1], int.from_bytes(frame[5:13], "big"), frame[13:]
    if len(body) != int.from_bytes(frame[:4], "big") or (kind != "sealed" and counter):
        raise Mismatch("not one whole frame")
    return kind, counter, body


def read_controls(data):
    """Control items as lists; an envelope is the one whose code is a kind of statement."""
    stream, items, again = io.BytesIO(data), [], b""
    decoder = cbor2.CBORDecoder(stream)
    while len(again) < len(data):
        item = decoder.decode()
        again += cbor(item)
        if again != data[:len(again)] or len(items) == CONTROL_ITEMS_MAX or not isinstance(item, list) or not item:
            raise Mismatch("not control items")
        rule = {32: "cut", 33: "exit", 34: "error", 35: "recorded"}.get(item[0], "envelope")
        items.append(CDDL.conform(rule, item))
    return items


def refused(call, *arguments):
    try:
        call(*arguments)
    except (Mismatch, cbor2.CBORDecodeError, ValueError):
        return True
    return False


# ---- messages and spans ----


def read_messages(data, signed):
    """Whole messages: (time, payload, signature)."""
    messages = []
    while data:
        time, length = int.from_bytes(data[:8], "big", signed=True), int.from_bytes(data[8:12], "big")
        end = 12 + length + (64 if signed else 0)
        if len(data) < end:
            raise Mismatch("a message is not whole")
        messages.append((time, data[12:12 + length], data[12 + length:end]))
        data = data[end:]
    return messages


def span_salt(order_salt, n):
    return labelled("SDPP/2 salt", order_salt, be(n, 8))


def span_digest(order_id, n, first, salt, data, count):
    head = b"SDPP/2 span" + order_id + be(n, 8) + be(first, 8) + salt
    return blake3.blake3(head + data + be(count, 8)).digest()


# ---- the groups ----


def group_keys(v, check):
    for case in v["keys"]:
        public = ed_public(unhex(case["seed"]))
        check.equal(unhex(case["public"]), public, "public key")
        check.equal(case["did"], did_of(public), "did:key")
        check.equal(case["multibase"], case["did"].removeprefix("did:key:"), "short form")
        check.equal(key_of(case["did"]), public, "key of a did:key")
    for case in v["refused"]:
        check.true(refused(key_of, case["did"]), f"refused: {case['why']}")
        # One character more or less would be refused as well: the sum keeps the text as it is.
    check.equal(text_sum(case["did"] for case in v["refused"]), REFUSED_KEYS, "the refused texts")


def text_sum(texts):
    return sha256("\n".join(texts).encode()).hex()[:16]


def group_ed25519(v, check):
    for case in v:
        public, message, signature = (unhex(case[name]) for name in ("public", "message", "signature"))
        accept = ed_verify_by_hand(public, message, signature)
        check.equal(accept, case["accept"], f"by hand: {case['name']}")
        check.equal(ed_verify(public, message, signature), accept, f"by the library: {case['name']}")
    refusals = (case[name] for case in v for name in ("public", "message", "signature"))
    check.equal(text_sum(refusals), EDGE_CASES, "the cases themselves")


def due_of(unit, amount, per, units):
    product = units * amount
    divisor = per * (1000 if unit == "second" else 1)
    return None if product >= 2**128 else -(-product // divisor)


def group_prices(v, check):
    for case in v:
        price = case["unit"], int(case["amount"]), int(case["per"])
        for row in case["due"]:
            due = due_of(*price, int(row["units"]))
            check.equal(row["due"], None if due is None else str(due), f"due of {row['units']} at {price}")
        for row in case["affordable"]:
            budget, units = int(row["budget"]), int(row["units"])
            due = due_of(*price, units)
            check.true(due is not None and due <= budget, f"{units} are affordable for {budget} at {price}")
            after = due_of(*price, units + 1)
            check.true(units == 2**64 - 1 or after is None or after > budget, f"and not one more than {units}")
    # Several prices and budgets have one answer: the sum keeps the questions as they are.
    questions = [(c["unit"], c["amount"], c["per"]) for c in v]
    questions += [row["units"] for c in v for row in c["due"]] + [row["budget"] for c in v for row in c["affordable"]]
    check.equal(text_sum(map(str, questions)), PRICES, "the questions themselves")


def group_statements(v, check):
    for case in v:
        kind, what = case["kind"], f"{case['kind']} with {case['name']}"
        payload = cbor(CDDL.from_json(kind, case["fields"]))
        check.equal(unhex(case["payload"]), payload, f"payload of {what}")
        check.equal(case["code"], KINDS.index(kind) + 1, f"code of {what}")
        check.equal(case["content_type"], f"application/sdpp-{kind}+cbor", f"content type of {what}")
        seed = unhex(case["seed"])
        check.equal(case["issuer"], did_of(ed_public(seed)), f"issuer of {what}")
        header = {1: -8, 3: case["content_type"], 15: {1: case["issuer"], 2: case["subject"]}}
        to_sign = cbor(["Signature1", cbor(header), b"", payload])
        check.equal(unhex(case["sig_structure"]), to_sign, f"Sig_structure of {what}")
        check.equal(unhex(case["id"]), sha256(to_sign), f"id of {what}")
        signature = ed_key(seed).sign(to_sign)
        whole = cbor(cbor2.CBORTag(18, [cbor(header), {}, payload, signature]))
        check.equal(unhex(case["statement"]), whole, f"bytes of {what}")
        read = Statement(whole)
        check.equal((read.kind, read.id), (kind, unhex(case["id"])), f"{what}, read again")
        changed = whole[:-1] + bytes([whole[-1] ^ 1])
        check.true(refused(Statement, changed), f"{what} with another signature is refused")
    check.equal({case["kind"] for case in v}, set(KINDS), "kinds of statements")


def group_sealing(v, check):
    for case in v:
        suite = HPKE[case["suite"]]
        parts = ("key_seed", "public", "sender_seed", "info", "aad", "plain", "enc", "ct", "label", "export")
        seed, public, sender, info, aad, plain, enc, ct, label, export = (unhex(case[name]) for name in parts)
        check.equal(public, suite.key_pair(seed)[1], "public key")
        check.equal(enc[-32:], suite.clear_half(sender), "the X25519 half of the encapsulation")
        check.equal(suite.open(seed, enc, info, aad, ct, label), (plain, export), "plaintext and export")
    check.equal({case["suite"] for case in v}, {1, 2}, "suites")


def check_epoch(check, traffic, epoch, what):
    names = ("secret", "key", "iv")
    wanted = dict(zip(names, traffic.epoch(epoch["epoch"])))
    for name in names:
        check.equal(unhex(epoch[name]), wanted[name], f"{name} of {what}, epoch {epoch['epoch']}")


def group_schedule(v, check):
    hello, menu, order, session, export = (unhex(v[n]) for n in ("hello", "menu_reply", "order", "session", "export"))
    th1 = labelled("SDPP/2 th1", hello, menu)
    th2 = labelled("SDPP/2 th2", th1, order)
    th3 = labelled("SDPP/2 th3", th2, session)
    for name, wanted in (("th1", th1), ("th2", th2), ("th3", th3)):
        check.equal(unhex(v[name]), wanted, name)
    check.equal(unhex(v["order_info"]), b"SDPP/2 order" + th1, "info of the order")
    check.equal(unhex(v["session_info"]), b"SDPP/2 session" + th2, "info of the session")
    for name in ("s2b", "b2s"):
        traffic = Traffic(th3, export, name.encode())
        for number, epoch in enumerate(v[name]["epochs"]):
            check.equal(epoch["epoch"], number, "number of the epoch")
            check_epoch(check, traffic, epoch, name)
        for case in v[name]["frames"]:
            opened = traffic.open(unhex(case["frame"]))
            wanted = int(case["counter"]), unhex(case["messages"]), unhex(case["control"])
            check.equal(opened, wanted, f"frame {case['counter']} of {name}")


def group_spans(v, check):
    for case in v["spans"]:
        name, signed = case["name"], {"window": False, "message": True}[case["signing"]]
        order_id, order_salt = unhex(case["order_id"]), unhex(case["order_salt"])
        n, first, seller = int(case["n"]), int(case["first"]), ed_key(unhex(case["seller_seed"]))
        check.equal(ed_public(unhex(case["seller_seed"])), ed_public(bytes([1]) * 32), "the seller of these vectors")
        data = b""
        for seq, message in enumerate(case["messages"], first):
            time, payload = int(message["time_us"]), unhex(message["payload"])
            data += be(time, 8) + lp(payload)
            if signed:
                to_sign = b"SDPP/2 message" + order_id + be(seq, 8) + be(time, 8) + sha256(payload)
                check.equal(unhex(message["signature"]), seller.sign(to_sign), f"signature of message {seq}: {name}")
                data += unhex(message["signature"])
            else:
                check.equal(message["signature"], None, f"no signature: {name}")
        check.equal(unhex(case["canonical"]), data, f"canonical bytes: {name}")
        check.equal(len(read_messages(data, signed)), len(case["messages"]), f"messages read again: {name}")
        salt = span_salt(order_salt, n)
        check.equal(unhex(case["salt"]), salt, f"salt: {name}")
        digest = span_digest(order_id, n, first, salt, data, len(case["messages"]))
        check.equal(unhex(case["digest"]), digest, f"digest: {name}")
    for case in v["prefixes"]:
        check.equal(unhex(case["prefix_digest"]), labelled("SDPP/2 prefix", unhex(case["digests"])), "prefix digest")


def group_frames(v, check):
    check.equal([case["type"] for case in v["types"]], FRAMES, "types of frames")
    for code, case in enumerate(v["types"], 1):
        name, most = case["type"], BODY_MAX[case["type"]]
        check.equal((case["code"], int(case["body_max"])), (code, most), f"code and longest body of {name}")
        for field, length in (("longest", most), ("too_long", most + 1)):
            header = be(length, 4) + bytes([code]) + bytes(8)
            check.equal(unhex(case[field]), header, f"{field} {name}")
            check.equal(refuse_header(header), None if length == most else 101, f"answer to the {field} {name}")
    for case in v["clear"]:
        kind = case["type"]
        rule = {"hello": "hello", "ask": "ask", "error": "error-body"}[kind]
        body = cbor(CDDL.from_json(rule, case["fields"]))
        frame = be(len(body), 4) + bytes([FRAMES.index(kind) + 1]) + bytes(8) + body
        check.equal(unhex(case["frame"]), frame, f"clear frame {kind}")
        check.equal(split_frame(frame), (kind, 0, body), f"clear frame {kind}, read again")
    for case in v["refused_headers"]:
        check.equal(refuse_header(unhex(case["header"])), case["code"], f"header {case['header']}")
    check.equal(text_sum(case["header"] for case in v["refused_headers"]), REFUSED_HEADERS, "the refused headers")
    for case in v["control"]:
        item = [unhex(part) if isinstance(part, str) else part for part in case["item"] if part is not None]
        check.equal(unhex(case["bytes"]), cbor(item), f"control item {item[0]}")
        check.equal(read_controls(cbor(item)), [item], f"control item {item[0]}, read again")
        check.equal(len(case["item"]), 3 if item[0] < 32 else len(item), f"parts of control item {item[0]}")
    for case in v["refused_control"]:
        check.true(refused(read_controls, unhex(case["bytes"])), f"refused: {case['why']}")
    check.equal(text_sum(case["bytes"] for case in v["refused_control"]), REFUSED_CONTROL, "the refused items")


class Sale:
    """The books of one sale, kept by both sides' words."""

    def __init__(self, v, check):
        self.v, self.check = v, check
        self.seller, self.buyer, self.payer = (ed_public(unhex(v[f"{who}_seed"])) for who in ("seller", "buyer", "payer"))
        self.suite = HPKE[v["suite"]]
        self.frames = [(frame["from"], unhex(frame["frame"]), frame) for frame in v["frames"]]
        self.known, self.spans, self.invoices, self.payments = {}, [], [], []
        self.received, self.sold = b"", 0
        self.settlements, self.records = {}, []

    def run(self):
        self.handshake()
        self.keys()
        counters = {"seller": 0, "buyer": 0}
        for sender, frame, case in self.frames[4:]:
            counter, messages, control = self.directions[sender].open(frame)
            stated = case["type"], int(case["counter"]), unhex(case["messages"]), unhex(case["control"])
            self.check.equal(stated, ("sealed", counter, messages, control), f"frame {counter} of the {sender}")
            self.check.equal(counter, counters[sender], f"counter of the {sender}")
            counters[sender] += 1
            self.take(sender, messages, read_controls(control))
        self.end()

    def statement(self, data, kind, issuer):
        statement = Statement(data)
        self.check.equal((statement.kind, statement.issuer), (kind, did_of(issuer)), f"kind and issuer of a {kind}")
        self.known[statement.id] = statement
        return statement

    def clear(self, at, sender, kind):
        who, frame, case = self.frames[at]
        found, counter, body = split_frame(frame)
        stated = who, case["type"], int(case["counter"])
        self.check.equal(stated, (sender, found, counter), f"frame {at} of the handshake")
        self.check.equal(found, kind, f"frame {at} of the handshake")
        return body

    def handshake(self):
        v, equal = self.v, self.check.equal
        self.drawn("buyer", ("nonce_b", "kem_seed", "order_sender_seed"))
        self.drawn("seller", ("nonce_s", "order_salt", "session_sender_seed"))
        equal(v["suite_name"], {1: "X25519", 2: "X-Wing"}[v["suite"]], "name of the suite")
        hello = self.clear(0, "buyer", "hello")
        wanted = {"versions": [2], "suites": [v["suite"]], "nonce": unhex(v["nonce_b"])}
        equal(decode("hello", hello), wanted, "hello")
        menu_reply = self.clear(1, "seller", "menu")
        reply = decode("menu-reply", menu_reply)
        equal((reply["version"], reply["nonce"]), (2, unhex(v["nonce_s"])), "menu'")
        self.menu = self.statement(reply["menu"], "menu", self.seller)
        self.check_menu()
        th1 = labelled("SDPP/2 th1", hello, menu_reply)
        order_body = self.clear(2, "buyer", "order")
        self.check_order(th1, order_body)
        th2 = labelled("SDPP/2 th2", th1, order_body)
        session_body = self.clear(3, "seller", "session")
        self.check_session(th2, session_body)
        self.th3 = labelled("SDPP/2 th3", th2, session_body)
        for name, wanted in (("th1", th1), ("th2", th2), ("th3", self.th3)):
            equal(unhex(v[name]), wanted, name)

    def drawn(self, who, names):
        for name, wanted in zip(names, drawn_by_machine(unhex(self.v[f"{who}_entropy"]), 3)):
            self.check.equal(unhex(self.v[name]), wanted, f"{name}, drawn by the {who}")

    def check_menu(self):
        menu, equal = self.menu.fields, self.check.equal
        equal(menu["seller"], self.seller, "seller of the menu")
        equal(menu["until"], int(self.v["now_ms"]) + 3_600_000, "end of the menu")
        for seal in menu["seal"]:
            wanted = HPKE[seal["suite"]].key_pair(unhex(self.v["seal_seed"]))[1]
            equal(seal["public"], wanted, f"sealing key of suite {seal['suite']}")

    def open(self, seed, enc, info, ct):
        plain, export = self.suite.open(seed, enc, info, b"", ct, b"SDPP/2 traffic")
        self.check.equal(self.suite.open_by_library(seed, enc, info, ct), plain, "opened by the library as well")
        return plain, export

    def check_order(self, th1, body):
        v, equal = self.v, self.check.equal
        sealed = decode("sealed-order", body)
        equal(sealed["suite"], v["suite"], "suite of the order'")
        equal(sealed["enc"][-32:], self.suite.clear_half(unhex(v["order_sender_seed"])), "encapsulation of the order'")
        plain, _ = self.open(unhex(v["seal_seed"]), sealed["enc"], b"SDPP/2 order" + th1, sealed["ct"])
        plain = decode("order-plain", plain)
        self.order = order = self.statement(plain["order"], "order", self.buyer)
        self.attach = attach = self.statement(plain["attach"], "attach", self.buyer)
        equal(set(plain), {"order", "attach", "verification"}, "what a new order brings")
        equal(plain["verification"], sha256(order.id), "record of the order")
        equal(unhex(v["order_id"]), order.id, "id of the order")
        equal(order.fields["menu_id"], self.menu.id, "menu of the order")
        equal(order.fields["seller"], self.seller, "seller of the order")
        equal(order.fields["sign_pk"], self.payer, "key that pays")
        equal(order.fields["nonce"], unhex(v["order_nonce"]), "nonce of the order")
        equal(order.fields["until"], int(v["now_ms"]) + 60_000, "end of the order")
        wanted = {
            "order_id": order.id, "index": 1, "suite": v["suite"], "th1": th1, "have": {"next": 0, "base": 0},
            "kem_pk": self.suite.key_pair(unhex(v["kem_seed"]))[1],
        }
        equal(attach.fields, wanted, "attach")

    def check_session(self, th2, body):
        v, equal = self.v, self.check.equal
        sealed = decode("sealed-session", body)
        clear = self.suite.clear_half(unhex(v["session_sender_seed"]))
        equal(sealed["enc"][-32:], clear, "encapsulation of the session")
        plain, export = self.open(unhex(v["kem_seed"]), sealed["enc"], b"SDPP/2 session" + th2, sealed["ct"])
        equal(unhex(v["export"]), export, "export")
        plain = decode("session-plain", plain)
        equal(plain["order_salt"], unhex(v["order_salt"]), "the order's salt")
        acceptance = self.statement(plain["acceptance"], "acceptance", self.seller).fields
        order = self.order.fields
        wanted = {
            "order_id": self.order.id, "attach_id": self.attach.id, "index": 1, "th2": th2,
            "enc_hash": sha256(sealed["enc"]), "start": 0, "ramp": True,
            "exposure": min(900, order["exposure_max"]), "windows": min(2, order["windows"]),
        }
        equal(acceptance, wanted, "acceptance")
        self.windows = acceptance["windows"]

    def keys(self):
        v = self.v
        self.directions = {}
        for name, sender in (("s2b", "seller"), ("b2s", "buyer")):
            traffic = self.directions[sender] = Traffic(self.th3, unhex(v["export"]), name.encode())
            self.check.equal(v[name]["epoch"], 0, "first epoch")
            check_epoch(self.check, traffic, v[name], name)
        products = self.menu.fields["products"]
        self.product = next(one for one in products if one["id"] == self.order.fields["product"])

    def take(self, sender, messages, items):
        if sender == "buyer":
            self.check.equal(messages, b"", "buyers send no messages")
        self.received += messages
        takes = {32: self.cut, 35: self.recorded}
        for item in items:
            take = takes.get(item[0], functools.partial(self.envelope, sender))
            take(item)

    def cut(self, item):
        n = len(self.spans)
        self.check.equal(item[1], n, "number of a cut")
        messages = read_messages(self.received, False)
        first, salt = self.sold, span_salt(unhex(self.v["order_salt"]), n)
        digest = span_digest(self.order.id, n, first, salt, self.received, len(messages))
        self.spans.append((first, messages, digest))
        for seq, (time, payload, _) in enumerate(messages, first):
            wanted = self.v["messages"][seq]
            self.check.equal((time, payload), (int(wanted["time_us"]), unhex(wanted["payload"])), f"message {seq}")
        self.received, self.sold = b"", first + len(messages)

    def recorded(self, item):
        # A record may be named before its statement arrives: looked at in the end.
        self.records.append(item[1])
        self.check.equal(item[2], sha256(item[1]), "id of a record, in these vectors")

    def envelope(self, sender, item):
        kind = KINDS[item[0] - 1]
        statement = self.statement(item[1], kind, self.seller if sender == "seller" else self.payer)
        self.check.equal(statement.fields["order_id"], self.order.id, f"order of a {kind}")
        {"invoice": self.invoice, "ack": self.ack, "payment": self.payment, "settlement": self.settle}[kind](statement)

    def invoice(self, statement):
        n = len(self.invoices)
        first, messages, digest = self.spans[n]
        units = first + len(messages)
        credited = self.payments[-1] if self.payments else None
        wanted = {
            "order_id": self.order.id, "n": n, "prev": self.invoices[-1].id if n else self.order.id,
            "first": first, "count": len(messages), "bytes": sum(len(payload) for _, payload, _ in messages),
            "digest": digest, "units_total": units, "paid": credited.fields["total"] if credited else 0,
            "due": due_of("message", self.product["amount"], self.product["per"], units),
            "windows": statement.fields["windows"], "last": units == self.order.fields["quantity"] and not messages,
        }
        if credited:
            wanted["paid_by"] = credited.id
        elif n:
            raise Mismatch("an invoice after an unpaid one, on the ramp")
        self.late(wanted, statement)
        self.check.equal(statement.fields, wanted, f"invoice {n}")
        windows = statement.fields["windows"]
        self.check.true(windows <= self.windows and len(messages) <= windows * self.product["k"], "windows of an invoice")
        self.invoices.append(statement)

    def late(self, wanted, statement):
        """An invoice may be signed before the newest payment was credited: then it names the one before."""
        named = statement.fields.get("paid_by")
        for payment in self.payments:
            if payment.id == named:
                wanted["paid"], wanted["paid_by"] = payment.fields["total"], payment.id

    def ack(self, statement):
        known = {invoice.id for invoice in self.invoices}
        self.check.true(statement.fields["invoice_id"] in known, "invoice of an ack")

    def payment(self, statement):
        fields = statement.fields
        invoice = next(one for one in self.invoices if one.id == fields["invoice_id"])
        wanted = {
            "order_id": self.order.id, "prev": self.payments[-1].id if self.payments else self.order.id,
            "invoice_id": invoice.id, "total": invoice.fields["due"],
        }
        self.check.equal(fields, wanted, f"payment of invoice {invoice.fields['n']}")
        self.payments.append(statement)

    def settle(self, statement):
        last, payment = self.invoices[-1], self.payments[-1]
        wanted = {
            "order_id": self.order.id, "invoice_id": last.id, "payment_id": payment.id,
            "due": last.fields["due"], "paid": payment.fields["total"],
        }
        self.check.equal(statement.fields, wanted, "settlement")
        self.settlements[statement.issuer] = statement

    def end(self):
        equal, v = self.check.equal, self.v
        equal((self.sold, self.sold), (len(v["messages"]), self.order.fields["quantity"]), "messages sold")
        equal((self.product["k"], len(self.settlements)), (2, 2), "K, and settlements of both sides")
        equal(len(self.invoices), len(self.spans), "every span was invoiced")
        equal(self.invoices[-1].fields["last"], True, "the last invoice")
        self.check.true(set(self.records) <= set(self.known), "records are of statements that were seen")
        equal(self.payments[-1].fields["invoice_id"], self.invoices[-1].id, "the last invoice was paid")
        equal((int(v["due"]), int(v["paid"])), (self.invoices[-1].fields["due"], self.payments[-1].fields["total"]), "sums")


def group_session(v, check):
    Sale(v, check).run()


# Sums of inputs that only have to be refused, or whose answer is shared: they keep the questions as they are.
REFUSED_KEYS = "706e1c47743965e2"
EDGE_CASES = "3d28a3e7b3d84d70"
PRICES = "74c57075b6cf9722"
REFUSED_HEADERS = "04fc31120c074596"
REFUSED_CONTROL = "7ad418300cb99fa2"

GROUPS = {
    "keys": group_keys,
    "ed25519": group_ed25519,
    "prices": group_prices,
    "statements": group_statements,
    "sealing": group_sealing,
    "schedule": group_schedule,
    "spans": group_spans,
    "frames": group_frames,
    "session-1": group_session,
    "session-2": group_session,
}


def replay(name, vectors):
    """Number of checks, and the mismatch if there is one."""
    checks = Checks()
    try:
        GROUPS[name](vectors, checks)
    except Exception as error:  # any error is a vector that could not be replayed
        return checks.passed, f"{type(error).__name__}: {error}"
    return checks.passed, None


def load(name):
    return json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))["vectors"]


def replay_all():
    passed = failed = 0
    for name in GROUPS:
        count, mismatch = replay(name, load(name))
        passed += count
        failed += mismatch is not None
        print(f"{name}: {count} checks" + (f", then {mismatch}" if mismatch else ""))
    print(f"{passed} passed, {failed} failed")
    return failed == 0


def leaves(value, path=()):
    """Paths of all values that are not prose."""
    if isinstance(value, (dict, list)):
        members = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in members:
            if name not in PROSE:
                yield from leaves(inner, path + (name,))
    else:
        yield path, value


def changed(value):
    """The value with one digit, letter or bit changed."""
    if isinstance(value, bool):
        return not value
    if value is None:
        return "00"
    if isinstance(value, int):
        return value + 1
    if not value:
        return "00"
    at = len(value) // 2
    other = "1" if value[at] != "1" else "2"
    return value[:at] + other + value[at + 1:]


def prove():
    """Changes every value of every file once; each change must be noticed."""
    tried = unnoticed = 0
    for name in GROUPS:
        vectors = load(name)
        for path, value in list(leaves(vectors)):
            copied = copy.deepcopy(vectors)
            at = copied
            for step in path[:-1]:
                at = at[step]
            at[path[-1]] = changed(value)
            tried += 1
            if replay(name, copied)[1] is None:
                unnoticed += 1
                print(f"{name}: nobody noticed a change at {'.'.join(map(str, path))}")
    print(f"{tried} values changed, {unnoticed} unnoticed")
    return unnoticed == 0


if __name__ == "__main__":
    sys.exit(0 if (prove() if "--prove" in sys.argv[1:] else replay_all()) else 1)
