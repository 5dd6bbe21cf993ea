package layerstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"mica/layerstore/blob"
)

// packed packs b into a file in a store of its own.
func packed(t testing.TB, how Packing, b []byte) (*Store, *Packed, *memory) {
	t.Helper()
	store := Open(t.TempDir())
	f, err := os.Create(filepath.Join(t.TempDir(), "blob"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := store.Pack(t.Context(), f, how, func(w io.Writer) error {
		for rest := b; len(rest) > 0; { // in pieces that fit nothing
			n := min(len(rest), 12_345)
			if _, err := w.Write(rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	stored, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return store, p, source(stored)
}

// TestPack: the index made while a layer is written serves it as one would that
// was made by reading it, and says the same of it.
func TestPack(t *testing.T) {
	want := someTar(t, 7<<20)
	for _, how := range []Packing{{blob.None, 0}, {blob.Gzip, 0}, {blob.Gzip, 9}, {blob.Zstd, 0}, {blob.Zstd, 9}} {
		t.Run(fmt.Sprint(how), func(t *testing.T) {
			store, p, src := packed(t, how, want)
			if p.Digest != src.id || p.DiffID != sha(want) || p.Blob != src.Size() || p.Layer != int64(len(want)) {
				t.Errorf("Pack = %+v, want %s of %d bytes, %s of %d", p, src.id, src.Size(), sha(want), len(want))
			}
			spec := Spec{Blob: src, Digest: src.id, DiffID: sha(want)}
			if err := store.Keep(t.Context(), spec, p); err != nil {
				t.Fatal(err)
			}
			ix, err := store.OpenIndex(spec)
			if err != nil {
				t.Fatal(err)
			}
			defer ix.Close()
			other := Open(t.TempDir())
			if err := other.EnsureIndex(t.Context(), spec); err != nil {
				t.Fatal(err)
			}
			by, err := other.OpenIndex(spec)
			if err != nil {
				t.Fatal(err)
			}
			defer by.Close()
			if got, want := fmt.Sprint(ix.Info()), fmt.Sprint(by.Info()); got != want {
				t.Errorf("Info = %s, that of a pass is %s", got, want)
			}
			layer := store.Layer(spec, blob.NewCache(4<<20))
			defer layer.Close()
			rnd := rand.New(rand.NewPCG(1, 2))
			for range 100 {
				off, buf := rnd.Int64N(int64(len(want))), make([]byte, rnd.IntN(3_000_000))
				k, err := layer.ReadAt(t.Context(), buf, off)
				if k != min(len(buf), len(want)-int(off)) || err != nil && err != io.EOF || !bytes.Equal(buf[:k], want[off:off+int64(k)]) {
					t.Fatalf("ReadAt(%d, %d) = %d, %v, or other bytes", len(buf), off, k, err)
				}
			}
			layer.Close()
		})
	}
}

// TestPackAlike: the blob does not depend on the number of processors.
func TestPackAlike(t *testing.T) {
	tar := someTar(t, 9<<20)
	for _, c := range []blob.Compression{blob.Gzip, blob.Zstd} {
		digests := map[string]bool{}
		for _, n := range []int{1, 2, 5} {
			before := runtime.GOMAXPROCS(n)
			_, p, _ := packed(t, Packing{Codec: c}, tar)
			runtime.GOMAXPROCS(before)
			digests[p.Digest] = true
		}
		if len(digests) != 1 {
			t.Errorf("%v: %d digests, want one", c, len(digests))
		}
	}
}

// TestPackFails: what the writer fails with, and a full disk, are told, and nothing
// waits for ever.
func TestPackFails(t *testing.T) {
	store := Open(t.TempDir())
	broken := errors.New("broken")
	tar := someTar(t, 3<<20)
	for _, how := range []Packing{{Codec: blob.None}, {Codec: blob.Gzip}, {Codec: blob.Zstd}} {
		_, err := store.Pack(t.Context(), nil, how, func(w io.Writer) error {
			_, err := w.Write(tar[:2<<20])
			return errors.Join(broken, err)
		})
		if !errors.Is(err, broken) && !errors.Is(err, os.ErrInvalid) {
			t.Errorf("%v: %v, want %v", how, err, broken)
		}
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer full.Close()
		if _, err := store.Pack(t.Context(), full, how, func(w io.Writer) error { _, err := w.Write(tar); return err }); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%v: %v, want ENOSPC", how, err)
		}
	}
	for _, how := range []Packing{{blob.Gzip, 10}, {blob.Zstd, -1}, {blob.None, 1}, {blob.XZ, 0}} {
		if _, err := store.Pack(t.Context(), nil, how, nil); err == nil {
			t.Errorf("%v: no error", how)
		}
	}
}
