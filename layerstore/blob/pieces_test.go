package blob_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"mica/layerstore"
	"mica/layerstore/blob"
)

type memory struct {
	*bytes.Reader
	id string
}

func (m memory) ID() string { return m.id }

// frame is a layer of one zstd frame and what is in it.
func frame(t testing.TB, size int) (layerstore.Spec, []byte) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: int64(size)}); err != nil {
		t.Fatal(err)
	}
	// Words of a vocabulary: what refers far back, and packs as text does.
	r := rand.New(rand.NewPCG(1, 2))
	words := make([][]byte, 1<<14)
	for i := range words {
		words[i] = fmt.Appendf(nil, "%x ", r.Uint64N(1<<(8+i%40)))
	}
	for left := size; left > 0; {
		word := words[r.IntN(len(words))]
		n, err := w.Write(word[:min(left, len(word))])
		if err != nil {
			t.Fatal(err)
		}
		left -= n
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	packed := enc.EncodeAll(b.Bytes(), nil)
	src := memory{bytes.NewReader(packed), fmt.Sprintf("sha256:%x", sha256.Sum256(packed))}
	return layerstore.Spec{Blob: src, Digest: src.id}, b.Bytes()
}

// Readers of pieces read what readers of whole spans do: at random, forwards and
// backwards, at once, with room in the cache and without.
func TestPieces(t *testing.T) {
	spec, want := frame(t, 20<<20)
	store := layerstore.Open(t.TempDir())
	if err := store.EnsureIndex(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	defer blob.WholeSpans(false)
	for _, whole := range []bool{false, true} {
		blob.WholeSpans(whole)
		for _, size := range []int64{1 << 20, 6 << 20, 64 << 20} {
			t.Run(fmt.Sprintf("whole=%v,cache=%d", whole, size), func(t *testing.T) {
				cache := blob.NewCache(size)
				layer := store.Layer(spec, cache)
				var readers sync.WaitGroup
				for id := range 6 {
					readers.Go(func() {
						r := rand.New(rand.NewPCG(3, uint64(id)))
						off := r.Int64N(int64(len(want)))
						for range 8 {
							n := 1 + r.Int64N(300_000)
							switch id % 3 {
							case 0:
								off = r.Int64N(int64(len(want)))
							case 1:
								off = min(off+n, int64(len(want))-1)
							case 2:
								off = max(off-n, 0)
							}
							got := make([]byte, n)
							k, err := layer.ReadAt(t.Context(), got, off)
							rest := want[off:min(off+n, int64(len(want)))]
							if err != nil && err != io.EOF || !bytes.Equal(got[:k], rest) {
								t.Errorf("ReadAt(%d, %d) = %d, %v, or other bytes", n, off, k, err)
							}
						}
					})
				}
				readers.Wait()
				layer.Close()
				if used := cache.Used(); used != 0 {
					t.Errorf("%d bytes in the cache of a closed reader", used)
				}
			})
		}
	}
}

// Decoders that nobody goes on with are let go, without a read that would look.
func TestIdleDecoders(t *testing.T) {
	spec, want := frame(t, 20<<20)
	store := layerstore.Open(t.TempDir())
	if err := store.EnsureIndex(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	cache := blob.NewCache(32 << 20)
	layer := store.Layer(spec, cache)
	defer layer.Close()
	for off := range int64(3) { // in sequence: its decoder is kept
		got := make([]byte, 1<<20)
		if _, err := layer.ReadAt(t.Context(), got, off<<20); err != nil || !bytes.Equal(got, want[off<<20:(off+1)<<20]) {
			t.Fatalf("ReadAt(%d): %v, or other bytes", off<<20, err)
		}
	}
	if n := cache.Decoders(); n == 0 {
		t.Error("no decoder is kept for who reads in sequence")
	}
	for start := time.Now(); cache.Decoders() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > 10*blob.Idle {
			t.Fatalf("%d decoders are kept %v after the last read", cache.Decoders(), time.Since(start))
		}
	}
}

// BenchmarkReaders reads one zstd layer from front to back, cold, by readers of
// a part each.
func BenchmarkReaders(b *testing.B) {
	spec, want := frame(b, 320<<20)
	store := layerstore.Open(b.TempDir())
	if err := store.EnsureIndex(b.Context(), spec); err != nil {
		b.Fatal(err)
	}
	defer blob.WholeSpans(false)
	for _, whole := range []bool{true, false} {
		for _, n := range []int{1, 8} {
			b.Run(fmt.Sprintf("whole=%v/readers=%d", whole, n), func(b *testing.B) {
				blob.WholeSpans(whole)
				b.SetBytes(int64(len(want)))
				for range b.N {
					layer := store.Layer(spec, blob.NewCache(48<<20))
					var readers sync.WaitGroup
					for i := range n {
						readers.Go(func() { readThrough(b, layer, len(want)/n*i, len(want)/n*(i+1)) })
					}
					readers.Wait()
					layer.Close()
				}
			})
		}
	}
}

func readThrough(b *testing.B, layer *layerstore.Layer, from, to int) {
	buf := make([]byte, 128<<10)
	for off := from; off < to; off += len(buf) {
		if _, err := layer.ReadAt(context.Background(), buf[:min(len(buf), to-off)], int64(off)); err != nil {
			b.Error(err)
			return
		}
	}
}
