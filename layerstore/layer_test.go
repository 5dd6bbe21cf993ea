package layerstore

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/zstd"

	"mica/layerstore/blob"
	"mica/layerstore/toc"
)

// memory is a Source of bytes that a test may change.
type memory struct {
	b  []byte
	id string
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(m.b).ReadAt(p, off) }
func (m *memory) Size() int64                             { return int64(len(m.b)) }
func (m *memory) ID() string                              { return m.id }

func sha(b []byte) string {
	s := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(s[:])
}

func source(b []byte) *memory { return &memory{b: b, id: sha(b)} }

// someTar is a layer with small files, one of text that packs well, and one of
// noise that does not.
func someTar(t testing.TB, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	rnd := rand.NewChaCha8([32]byte{1})
	noise := make([]byte, size/2)
	rnd.Read(noise)
	var text bytes.Buffer
	for i := 0; text.Len() < size/2; i++ {
		fmt.Fprintf(&text, "line %d of a text that says line %d\n", i, i*i)
	}
	for name, data := range map[string][]byte{"noise": noise, "text": text.Bytes(), "small": []byte("x"), "empty": nil} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		w.Write(data)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// zst packs b in frames of at most frame bytes.
func zst(t testing.TB, b []byte, frame int) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for len(b) > 0 {
		n := min(frame, len(b))
		out = enc.EncodeAll(b[:n], out)
		out = append(out, 0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c') // a skippable frame
		b = b[n:]
	}
	return out
}

type packing struct {
	name string
	pack func(t testing.TB, b []byte) []byte
}

var packings = []packing{
	{"plain", func(t testing.TB, b []byte) []byte { return b }},
	{"gzip", func(t testing.TB, b []byte) []byte { return gz(b) }},
	{"gzip of three members", func(t testing.TB, b []byte) []byte {
		n := len(b) / 3
		return bytes.Join([][]byte{gz(b[:n]), gz(nil), gz(b[n : 2*n]), gz(b[2*n:]), gz(nil)}, nil)
	}},
	{"gzip with zeros behind", func(t testing.TB, b []byte) []byte { return append(gz(b), make([]byte, 1000)...) }},
	{"zstd in one frame", func(t testing.TB, b []byte) []byte { return zst(t, b, len(b)) }},
	{"zstd in small frames", func(t testing.TB, b []byte) []byte { return zst(t, b, 100_000) }},
	{"zstd in frames of two sizes", func(t testing.TB, b []byte) []byte {
		n := len(b) / 10
		return bytes.Join([][]byte{zst(t, b[:n], 50_000), zst(t, b[n:9*n], len(b)), zst(t, b[9*n:], 50_000)}, nil)
	}},
}

func TestRandomReads(t *testing.T) {
	want := someTar(t, 4<<20)
	for _, p := range packings {
		t.Run(p.name, func(t *testing.T) {
			src := source(p.pack(t, want))
			store := Open(t.TempDir())
			spec := Spec{Blob: src, Digest: src.id, DiffID: sha(want)}
			if err := store.EnsureIndex(t.Context(), spec); err != nil {
				t.Fatal(err)
			}
			layer := store.Layer(spec, blob.NewCache(4<<20))
			defer layer.Close()
			ix, err := layer.Index(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if info := ix.Info(); info.LayerSize != int64(len(want)) || info.Entries != 4 || info.DiffID != sha(want) {
				t.Errorf("Info = %+v, want %d bytes, 4 entries, diffID %s", info, len(want), sha(want))
			}
			rnd := rand.New(rand.NewPCG(1, 2))
			var wg sync.WaitGroup
			for range 60 {
				off, n := rnd.Int64N(int64(len(want))), rnd.IntN(200_000)+1
				wg.Go(func() {
					buf := make([]byte, n)
					k, err := layer.ReadAt(t.Context(), buf, off)
					wantN := min(n, len(want)-int(off))
					if k != wantN || (err != nil) != (k < n) || err != nil && err != io.EOF {
						t.Errorf("ReadAt(%d, %d) = %d, %v; want %d", n, off, k, err, wantN)
					}
					if !bytes.Equal(buf[:k], want[off:off+int64(k)]) {
						t.Errorf("ReadAt(%d, %d): other bytes", n, off)
					}
				})
			}
			wg.Wait()
		})
	}
}

// A blob that changes after it was indexed gives the right bytes or an error.
func TestDamagedAfterIndex(t *testing.T) {
	want := someTar(t, 300_000)
	for _, p := range packings {
		t.Run(p.name, func(t *testing.T) {
			src := source(p.pack(t, want))
			good := bytes.Clone(src.b)
			store := Open(t.TempDir())
			spec := Spec{Blob: src}
			if err := store.EnsureIndex(t.Context(), spec); err != nil {
				t.Fatal(err)
			}
			step := max(1, len(good)/60)
			for i := 0; i < len(good); i += step {
				src.b = bytes.Clone(good)
				src.b[i] ^= 0x10
				layer := store.Layer(spec, blob.NewCache(4<<20))
				buf := make([]byte, len(want))
				n, err := layer.ReadAt(t.Context(), buf, 0)
				if !bytes.Equal(buf[:n], want[:n]) {
					t.Fatalf("byte %d flipped: other bytes among the first %d", i, n)
				}
				data := (*blob.DataError)(nil)
				if n < len(want) && !errors.As(err, &data) {
					t.Fatalf("byte %d flipped: %d bytes and %v, want a *blob.DataError", i, n, err)
				}
				layer.Close()
			}
		})
	}
}

// A blob that is damaged before it is indexed never gets an index.
func TestDamagedBeforeIndex(t *testing.T) {
	want := someTar(t, 100_000)
	for _, p := range packings {
		t.Run(p.name, func(t *testing.T) {
			good := p.pack(t, want)
			store := Open(t.TempDir())
			try := func(what string, b []byte) {
				err := store.EnsureIndex(t.Context(), Spec{Blob: &memory{b, what}, Digest: sha(good), DiffID: sha(want)})
				if err == nil {
					t.Errorf("%s: no error", what)
				}
				if _, err := os.Stat(store.IndexPath(what)); err == nil {
					t.Errorf("%s: an index was kept", what)
				}
			}
			for i := 0; i < len(good); i += max(1, len(good)/20) {
				b := bytes.Clone(good)
				b[i] ^= 0x04
				try(fmt.Sprintf("byte %d flipped", i), b)
				try(fmt.Sprintf("cut to %d", i), good[:i])
			}
		})
	}
}

func TestDigestErrors(t *testing.T) {
	want := someTar(t, 1000)
	src := source(gz(want))
	other := sha(nil)
	for _, tt := range []struct{ spec, what string }{{"digest", "digest"}, {"diffID", "diffID"}} {
		spec := Spec{Blob: src, Digest: src.id, DiffID: sha(want)}
		if tt.spec == "digest" {
			spec.Digest = other
		} else {
			spec.DiffID = other
		}
		err := Open(t.TempDir()).EnsureIndex(t.Context(), spec)
		if de := (*DigestError)(nil); !errors.As(err, &de) || de.What != tt.what || de.Want != other {
			t.Errorf("wrong %s: %v, want a *DigestError of it", tt.spec, err)
		}
	}
	spec := Spec{Blob: src, Digest: "sha512:" + fmt.Sprintf("%0128x", 1)}
	if de := (*DigestError)(nil); !errors.As(Open(t.TempDir()).EnsureIndex(t.Context(), spec), &de) || len(de.Got) != len(spec.Digest) {
		t.Errorf("wrong sha512: got %v, want a *DigestError with a sha512", de)
	}
}

// Of many that want an index at once, one makes it.
func TestIndexedOnce(t *testing.T) {
	want := someTar(t, 2<<20)
	src := source(gz(want))
	root := t.TempDir()
	var read atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			spec := Spec{Blob: &placed{*src, "here"}, Digest: src.id, Progress: func(n int64) { read.Add(n) }}
			if err := Open(root).EnsureIndex(t.Context(), spec); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if read.Load() != src.Size() {
		t.Errorf("%d bytes of the blob were read, want %d: once", read.Load(), src.Size())
	}
}

// What is interrupted leaves nothing half done, and no temporary file.
func TestCancel(t *testing.T) {
	src := source(gz(someTar(t, 8<<20)))
	root := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	err := Open(root).EnsureIndex(ctx, Spec{Blob: src, Progress: func(int64) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("EnsureIndex = %v, want context.Canceled", err)
	}
	filepath.WalkDir(filepath.Join(root, "index"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("%s was left", path)
		}
		return nil
	})
}

// A cache file that is damaged or gone is made again, also under a reader
// that has not opened it yet.
func TestCacheFilesRemade(t *testing.T) {
	want := someTar(t, 6<<20)
	src := source(gz(want))
	store := Open(t.TempDir())
	spec := Spec{Blob: src}
	for _, damage := range []func(path string) error{
		os.Remove,
		func(path string) error { return os.Truncate(path, 100) },
		func(path string) error { return os.WriteFile(path, nil, 0o644) },
	} {
		if err := store.EnsureIndex(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		if err := damage(store.IndexPath(src.id)); err != nil {
			t.Fatal(err)
		}
		layer := store.Layer(spec, blob.NewCache(4<<20))
		buf := make([]byte, 1000)
		if n, err := layer.ReadAt(t.Context(), buf, 5<<20); n != len(buf) || !bytes.Equal(buf, want[5<<20:5<<20+1000]) {
			t.Errorf("ReadAt = %d, %v", n, err)
		}
		layer.Close()
	}
}

func TestUnknownCompression(t *testing.T) {
	err := Open(t.TempDir()).EnsureIndex(t.Context(), Spec{Blob: source([]byte("BZh91AY&SY..."))})
	if ce := (*CodecError)(nil); !errors.As(err, &ce) || ce.Compression != blob.Bzip2 {
		t.Errorf("EnsureIndex = %v, want a *CodecError of bzip2", err)
	}
}

// The index of a layer is small: what SEMANTICS of the store promise.
func TestIndexSize(t *testing.T) {
	want := someTar(t, 8<<20)
	src := source(gz(want))
	store := Open(t.TempDir())
	if err := store.EnsureIndex(t.Context(), Spec{Blob: src}); err != nil {
		t.Fatal(err)
	}
	ix, err := toc.OpenIndex(store.IndexPath(src.id))
	if err != nil {
		t.Fatal(err)
	}
	defer ix.Close()
	if limit := src.Size()/100 + 4096; ix.Size() > limit {
		t.Errorf("index of %d bytes for a blob of %d, want at most %d", ix.Size(), src.Size(), limit)
	}
}

// What an index keeps of a zstd stream that repeats itself is bounded.
func TestIndexBound(t *testing.T) {
	noise := make([]byte, 3<<20)
	r := rand.New(rand.NewPCG(5, 6))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: "f", Mode: 0o644, Size: int64(25 * len(noise))})
	w.Write(bytes.Repeat(noise, 25))
	w.Close()
	enc, err := zstd.NewWriter(nil, zstd.WithWindowSize(4<<20))
	if err != nil {
		t.Fatal(err)
	}
	src := source(enc.EncodeAll(b.Bytes(), nil))
	defer func(n int64) { maxZstdState = n }(maxZstdState)
	for _, bound := range []int64{0, maxZstdState} {
		maxZstdState = bound
		err := Open(t.TempDir()).EnsureIndex(t.Context(), Spec{Blob: src})
		if refused := errors.Is(err, errEntangled); refused != (bound == 0) || err != nil && !refused {
			t.Errorf("at most the blob's %d bytes and %d more: %v", src.Size(), bound, err)
		}
	}
}

// An archive that is compressed as a whole is decoded once: the layers in it
// have their indexes then, and read right.
func TestExpand(t *testing.T) {
	layers := [][]byte{someTar(t, 3<<20), someTar(t, 100_000)}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	var offs []int
	for i, data := range append(layers, []byte(`{"a": "manifest"}`), bytes.Repeat([]byte("no tar "), 512), gz(layers[0])) {
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprint(i), Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		offs = append(offs, archive.Len())
		w.Write(data)
	}
	w.Close()
	for _, p := range packings[1:] {
		t.Run(p.name, func(t *testing.T) {
			store := Open(t.TempDir())
			src, err := store.Expand(t.Context(), source(p.pack(t, archive.Bytes())), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer src.(io.Closer).Close()
			if src.Size() != int64(archive.Len()) {
				t.Errorf("Size = %d, want %d", src.Size(), archive.Len())
			}
			for i, want := range layers {
				member := &part{io.NewSectionReader(src, int64(offs[i]), int64(len(want))), sha(want)}
				spec := Spec{Blob: member, Digest: sha(want), DiffID: sha(want), Progress: func(int64) { t.Error("indexed again") }}
				if err := store.EnsureIndex(t.Context(), spec); err != nil {
					t.Errorf("layer %d: %v", i, err)
				}
				layer := store.Layer(spec, blob.NewCache(1<<20))
				got := make([]byte, len(want))
				if n, err := layer.ReadAt(t.Context(), got, 0); n != len(want) || !bytes.Equal(got, want) {
					t.Errorf("layer %d: ReadAt = %d, %v", i, n, err)
				}
				layer.Close()
			}
		})
	}
}

// part is a member of an archive.
type part struct {
	*io.SectionReader
	id string
}

func (p *part) ID() string { return p.id }

// placed is a Source that says where it is.
type placed struct {
	memory
	place string
}

func (p *placed) Place() string { return p.place }

// Bytes that are claimed to have a digest, of which there is an index, are
// hashed before they are read, once for each place.
func TestForgedBlob(t *testing.T) {
	want := someTar(t, 300_000)
	store := Open(t.TempDir())
	good := &placed{*source(want), "here"}
	if err := store.EnsureIndex(t.Context(), Spec{Blob: good, Digest: good.id}); err != nil {
		t.Fatal(err)
	}
	evil := &placed{memory{bytes.Clone(want), good.id}, "there"}
	evil.b[600] ^= 1
	read := func(src blob.Source) (hashed int64, err error) {
		layer := store.Layer(Spec{Blob: src, Digest: good.id, Progress: func(n int64) { hashed += n }}, blob.NewCache(1<<20))
		defer layer.Close()
		_, err = layer.ReadAt(t.Context(), make([]byte, 10), 200_000)
		return hashed, err
	}
	if _, err := read(evil); err == nil {
		t.Error("bytes of a forged blob were handed out")
	}
	copied := &placed{memory{want, good.id}, "elsewhere"}
	for i, wantHashed := range []int64{copied.Size(), 0} {
		if hashed, err := read(copied); err != nil || hashed != wantHashed {
			t.Errorf("read %d of a copy: %d bytes hashed, %v; want %d", i+1, hashed, err, wantHashed)
		}
	}
	if hashed, err := read(good); err != nil || hashed != 0 {
		t.Errorf("read of the blob that was indexed: %d bytes hashed, %v; want 0", hashed, err)
	}
}
