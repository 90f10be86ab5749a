#!/usr/bin/env python3
"""Reads a whole published log as any C2SP reader would, and compares everything with everything.

    fsck.py BASE VKEY [WITNESS_VKEY...]

BASE is a URL with its final slash, or a folder. Checks the checkpoint's signatures, every entry bundle, every hash tile
of every level and the root. The first difference ends it with a line that names it.
"""

import gzip
import sys
import urllib.error
import urllib.request
from pathlib import Path

# Nothing is left behind in the repository.
sys.dont_write_bytecode = True

from c2sp import LOG, WITNESS, Checks, Key, Refused, checkpoint, leaf_hash, need, node_hash, open_note, tree_hash

WIDTH = 256
FILE_BYTES_MAX = WIDTH * (2 + 65_535)
PATIENCE_S = 30


def from_folder(folder):
    def fetch(path):
        try:
            return (Path(folder) / path).read_bytes()
        except FileNotFoundError:
            return None

    return fetch


def from_url(base):
    def fetch(path):
        request = urllib.request.Request(f"{base.rstrip('/')}/{path}", headers={"Accept-Encoding": "gzip, identity"})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                data = answer.read(FILE_BYTES_MAX + 1)
                need(len(data) <= FILE_BYTES_MAX, f"{path} is too large")
                return gzip.decompress(data) if answer.headers.get("Content-Encoding") == "gzip" else data
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise Refused(f"{path}: status {error.code}") from error
        except (OSError, EOFError) as error:
            raise Refused(f"{path}: {error}") from error

    return fetch


def tile_path(level, index, width):
    """`tile/<L>/<N>[.p/<W>]`; the level of entries is `entries`."""
    groups = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03}")
    partial = f".p/{width}" if width < WIDTH else ""
    return f"tile/{level}/{'/'.join(groups)}{partial}"


def read_tile(fetch, level, index, width):
    """A tile's path and bytes; a partial one may have been replaced by the full one, of which the caller takes a part."""
    path = tile_path(level, index, width)
    data = fetch(path)
    if data is None and width < WIDTH:
        path = tile_path(level, index, WIDTH)
        data = fetch(path)
        need(data is not None, f"{tile_path(level, index, width)} is missing, and so is {path}")
    need(data is not None, f"{path} is missing")
    return path, data


def entries_of(data, width, path):
    """The first `width` entries; nothing may follow them in a partial bundle."""
    entries, at = [], 0
    while at < len(data) and len(entries) < WIDTH:
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        need(at + 2 <= len(data) and end <= len(data), f"{path} ends within entry {len(entries)}")
        entries.append(data[at + 2 : end])
        at = end
    need(at == len(data), f"{path} has bytes behind its entries")
    full = path == path.split(".p/")[0]
    need(len(entries) == (WIDTH if full else width), f"{path} has {len(entries)} entries")
    return entries[:width]


def hashes_of(data, width, path):
    full = path == path.split(".p/")[0]
    need(len(data) == 32 * (WIDTH if full else width), f"{path} has {len(data)} bytes")
    return [data[at : at + 32] for at in range(0, 32 * width, 32)]


def level_of(fetch, level, wanted, checks):
    """Compares all tiles of a level with the hashes they should have; gives the roots of the full ones."""
    roots = []
    for first in range(0, len(wanted), WIDTH):
        expected = wanted[first : first + WIDTH]
        path, data = read_tile(fetch, level, first // WIDTH, len(expected))
        for place, (got, hash_) in enumerate(zip(hashes_of(data, len(expected), path), expected)):
            checks.equal(got, hash_, f"{path}, hash {place}")
        if len(expected) == WIDTH:
            roots.append(tree_hash(expected))
    return roots


def root_of(levels):
    """The root from the part of every level that is in no full tile above, lowest level first."""
    root = None
    for hashes in levels:
        rest = hashes[len(hashes) // WIDTH * WIDTH :]
        # From right to left: the smallest complete subtrees first.
        while rest:
            width = len(rest) & -len(rest)
            subtree, rest = tree_hash(rest[-width:]), rest[:-width]
            root = subtree if root is None else node_hash(subtree, root)
    return root


def fsck(fetch, log, witnesses, checks):
    """Checks a whole log; gives size and root."""
    note = fetch("checkpoint")
    need(note is not None, "checkpoint is missing")
    size, root = checkpoint(open_note(note, [log, *witnesses]), log.name)
    checks.passed += 1 + len(witnesses)
    leaves = []
    for first in range(0, size, WIDTH):
        width = min(WIDTH, size - first)
        path, data = read_tile(fetch, "entries", first // WIDTH, width)
        leaves += [leaf_hash(entry) for entry in entries_of(data, width, path)]
        checks.passed += 1
    levels = []
    while leaves:
        levels.append(leaves)
        leaves = level_of(fetch, len(levels) - 1, leaves, checks)
    if size:
        checks.equal(root_of(levels), root, f"root of {size} entries")
    return size, root


def main(arguments):
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    base, log, *witnesses = arguments
    checks = Checks()
    try:
        fetch = from_url(base) if base.startswith(("http://", "https://")) else from_folder(base)
        size, root = fsck(fetch, Key(log, LOG), [Key(witness, WITNESS) for witness in witnesses], checks)
    except Refused as error:
        print(f"fsck: {error}", file=sys.stderr)
        return 1
    print(f"{size} entries, root {root.hex()}")
    print(f"{checks.passed} checks passed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
