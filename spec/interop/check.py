#!/usr/bin/env python3
"""Checks what travels from a ledger, without any code of this project.

    SDPP_INTEROP_OUT=target/interop cargo test -p sdpp-ledger --test travel what_travels_is_written_for_other_readers
    python3 -m venv target/interop-venv
    target/interop-venv/bin/pip install -r spec/interop/requirements.txt
    target/interop-venv/bin/python spec/interop/check.py target/interop

In the folder: `log.vkey`, `witness.vkey`; in `travel/` for every entry its bytes (`.cose`), its issuer's public key in
hex (`.issuer`), its COSE receipt (`.receipt`) and its `.tlog-proof`; in `site/` the published log.

`scitt_cose` (RFC 9942, RFC 9943) checks entries and receipts, own code the proofs and the site. Then everything is
changed byte by byte, and every change must be noticed.
"""

import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from scitt_cose import parse_signed_statement, verify_receipt

# Nothing is left behind in the repository.
sys.dont_write_bytecode = True

from c2sp import LOG, WITNESS, Checks, Key, Refused, need, verify_tlog_proof
from fsck import from_folder, fsck

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
FLIPS = (0x01, 0x20, 0x80)
HDR_KID = 4


def pem(public):
    return Ed25519PublicKey.from_public_bytes(public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def did(public):
    """`did:key` of an Ed25519 key."""
    number, text = int.from_bytes(b"\xed\x01" + public, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = BASE58[digit] + text
    return f"did:key:z{text}"


def changes(data):
    """Every byte with some bits turned, every shorter version, a longer one."""
    for at in range(len(data)):
        for flip in FLIPS:
            yield f"byte {at} ^ {flip:#x}", data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
        yield f"cut at {at}", data[:at]
    yield "a byte more", data + b"\x00"


class Traveller:
    """One entry with what shows that it is in the log."""

    def __init__(self, cose):
        self.name = cose.stem
        self.entry = cose.read_bytes()
        self.issuer = bytes.fromhex(cose.with_suffix(".issuer").read_text().strip())
        self.receipt = cose.with_suffix(".receipt").read_bytes()
        self.proof = cose.with_suffix(".tlog-proof").read_bytes()

    def statement(self, entry, public):
        return parse_signed_statement(entry, public_key_pem=pem(public))

    def check_entry(self, log, checks):
        parsed = self.statement(self.entry, self.issuer)
        checks.true(parsed["signature_verified"] is True, f"{self.name}: the entry's signature")
        checks.equal(parsed["issuer"], did(self.issuer), f"{self.name}: the entry's issuer")
        checks.equal(parsed["subject"], log.name, f"{self.name}: the entry's subject")
        foreign = self.statement(self.entry, other_key(self.issuer))
        checks.true(foreign["signature_verified"] is False, f"{self.name}: the entry passes with another key")
        for what, entry in changes(self.entry):
            verified = self.statement(entry, self.issuer)["signature_verified"]
            checks.true(verified is False, f"{self.name}: entry with {what} was NOT refused")

    def check_receipt(self, log, others, checks):
        def verify(receipt=self.receipt, entry=self.entry, public=log.public):
            return verify_receipt(receipt, leaf_entry_hex=entry.hex(), log_public_key_pem=pem(public))

        good = verify()
        checks.true(good.ok, f"{self.name}: receipt: {good.errors}")
        checks.equal(good.issuer, did(log.public), f"{self.name}: the receipt's issuer")
        checks.equal(good.subject, log.name, f"{self.name}: the receipt's subject")
        checks.equal(good.protected_header_ext, {HDR_KID: log.public}, f"{self.name}: the receipt's key id")
        for other in others:
            checks.true(not verify(entry=other.entry).ok, f"{self.name}: receipt passes for {other.name}")
            checks.true(not verify(receipt=other.receipt).ok, f"{self.name}: receipt of {other.name} passes")
        checks.true(not verify(public=other_key(log.public)).ok, f"{self.name}: receipt passes with another key")
        for what, receipt in changes(self.receipt):
            result = verify(receipt=receipt)
            # Size and index are not signed (RFC 9942): only the root is, and that must be the same.
            moved = (result.tree_size, result.leaf_index) != (good.tree_size, good.leaf_index)
            same_root = result.root == good.root and moved
            checks.true(not result.ok or same_root, f"{self.name}: receipt with {what} was NOT refused")
        return good

    def check_proof(self, log, witnesses, others, checks):
        index, size, root = verify_tlog_proof(self.proof, self.entry, log, witnesses)
        checks.passed += 1
        for other in others:
            refused = lambda: verify_tlog_proof(self.proof, other.entry, log, witnesses)
            checks.refused(refused, f"{self.name}: proof for {other.name}")
        for what, proof in changes(self.proof):
            refused = lambda: verify_tlog_proof(proof, self.entry, log, witnesses)
            checks.refused(refused, f"{self.name}: proof with {what}")
        return index, size, root


def other_key(public):
    """A valid public key that is not this one: of the secret that has the same bytes."""
    return Ed25519PrivateKey.from_private_bytes(public).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def check_site(site, log, witnesses, checks):
    """The published log, and every file of it with one bit turned."""
    fetch, seen = from_folder(site), []

    def listening(path):
        seen.append(path)
        return fetch(path)

    size, root = fsck(listening, log, witnesses, checks)
    files = sorted(path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file())
    checks.equal(sorted(seen), files, "files of the site")
    for target in files:
        good = fetch(target)
        for place in (0, len(good) // 2, -1):
            changed = bytearray(good)
            changed[place] ^= 1

            def spoiled(path, target=target, changed=bytes(changed)):
                return changed if path == target else fetch(path)

            checks.refused(lambda: fsck(spoiled, log, witnesses, Checks()), f"{target} with a turned bit")
        lost = lambda path, target=target: None if path == target else fetch(path)
        checks.refused(lambda: fsck(lost, log, witnesses, Checks()), f"a log without {target}")
    return size, root


def check(folder, checks):
    log = Key((folder / "log.vkey").read_text().strip(), LOG)
    witnesses = [Key((folder / "witness.vkey").read_text().strip(), WITNESS)]
    size, root = check_site(folder / "site", log, witnesses, checks)
    travellers = [Traveller(path) for path in sorted((folder / "travel").glob("*.cose"))]
    need(len(travellers) > 1, "nothing travels")
    for traveller in travellers:
        others = [other for other in travellers if other is not traveller]
        traveller.check_entry(log, checks)
        receipt = traveller.check_receipt(log, others, checks)
        index, proof_size, proof_root = traveller.check_proof(log, witnesses, others, checks)
        checks.equal((proof_size, proof_root), (size, root), f"{traveller.name}: the proof's tree")
        got = (receipt.leaf_index, receipt.tree_size, receipt.root)
        checks.equal(got, (index, size, root.hex()), f"{traveller.name}: the receipt's tree")


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    checks = Checks()
    try:
        check(Path(arguments[0]), checks)
    except Refused as error:
        print(f"check: {error}", file=sys.stderr)
        return 1
    print(f"{checks.passed} checks passed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
