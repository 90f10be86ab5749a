// Reads a served ledger with Go's own transparency log library (golang.org/x/mod/sumdb), which shares
// no code with ours: the checkpoint's signature, every tile, every entry, proofs between sizes.
//
//	GOPATH=/usr/share/gocode GO111MODULE=off go run spec/interop/go/main.go URL VKEY
//
// (Debian: golang-go, golang-golang-x-mod-dev.)
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func fail(format string, args ...interface{}) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

func must(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

var base string

func get(path string) []byte {
	answer, err := http.Get(base + "/" + path)
	must(err, path)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	must(err, path)
	if answer.StatusCode != 200 {
		fail("%s: %s", path, answer.Status)
	}
	return body
}

// c2sp is a tile's path: Go's has the height behind "tile/", C2SP's has not.
func c2sp(tile tlog.Tile) string {
	return "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
}

type reader struct{ saved int }

func (r *reader) Height() int { return 8 }

func (r *reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range tiles {
		data = append(data, get(c2sp(tile)))
	}
	return data, nil
}

func (r *reader) SaveTiles(tiles []tlog.Tile, data [][]byte) { r.saved += len(tiles) }

func main() {
	if len(os.Args) != 3 {
		fail("usage: main URL VKEY")
	}
	base = strings.TrimSuffix(os.Args[1], "/")
	verifier, err := note.NewVerifier(os.Args[2])
	must(err, "verifier key")
	opened, err := note.Open(get("checkpoint"), note.VerifierList(verifier))
	must(err, "checkpoint")
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err, "size")
	root, err := base64.StdEncoding.DecodeString(lines[2])
	must(err, "root")
	if lines[0] != verifier.Name() {
		fail("origin %q is not the key's name %q", lines[0], verifier.Name())
	}
	tree := tlog.Tree{N: size}
	copy(tree.Hash[:], root)
	tiles := &reader{}
	hashes := tlog.TileHashReader(tree, tiles)
	checks := 0
	for first := int64(0); first < size; first += 256 {
		tile := tlog.Tile{H: 8, L: 0, N: first / 256, W: 256}
		if size-first < 256 {
			tile.W = int(size - first)
		}
		path := "tile/entries/" + strings.TrimPrefix(tile.Path(), "tile/8/0/")
		bundle := get(path)
		var indexes []int64
		var entries [][]byte
		for len(bundle) > 0 {
			length := int(binary.BigEndian.Uint16(bundle))
			entries = append(entries, bundle[2:2+length])
			indexes = append(indexes, tlog.StoredHashIndex(0, first+int64(len(indexes))))
			bundle = bundle[2+length:]
		}
		if len(entries) != tile.W {
			fail("%s has %d entries, not %d", path, len(entries), tile.W)
		}
		leaves, err := hashes.ReadHashes(indexes)
		must(err, path)
		for i, entry := range entries {
			if tlog.RecordHash(entry) != leaves[i] {
				fail("entry %d is not the leaf", first+int64(i))
			}
			checks++
		}
	}
	for n := int64(1); n <= size; n += 1 + size/97 {
		proof, err := tlog.ProveRecord(size, n-1, hashes)
		must(err, "prove record")
		leaf, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, n-1)})
		must(err, "leaf")
		must(tlog.CheckRecord(proof, size, tree.Hash, n-1, leaf[0]), "check record")
		old, err := tlog.TreeHash(n, hashes)
		must(err, "tree hash")
		growth, err := tlog.ProveTree(size, n, hashes)
		must(err, "prove tree")
		must(tlog.CheckTree(growth, size, tree.Hash, n, old), "check tree")
		checks += 2
	}
	fmt.Printf("%d checks passed, %d entries, %d tiles\n", checks, size, tiles.saved)
}
