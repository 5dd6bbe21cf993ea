package overlay

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"mica/layerstore"
	"mica/layerstore/blob"
	"mica/layerstore/toc"
)

// A damagedSource is a blob of which some bytes are inverted.
type damagedSource struct {
	blob.Source
	at []int64
}

func (d *damagedSource) ReadAt(p []byte, off int64) (int, error) {
	n, err := d.Source.ReadAt(p, off)
	for _, at := range d.at {
		if at >= off && at < off+int64(n) {
			p[at-off] ^= 0xff
		}
	}
	return n, err
}

// packedLayer makes a layer of files of so many bytes that do not compress.
func packedLayer(t testing.TB, codec string, files int, size int) Layer {
	t.Helper()
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	r := rand.NewChaCha8([32]byte{})
	for i := range files {
		data := make([]byte, size)
		r.Read(data)
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("dir/%02d", i), Mode: 0o644, Size: int64(size)}); err != nil {
			t.Fatal(err)
		}
		w.Write(data)
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: "link", Linkname: "dir/03"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	switch codec {
	case "gzip":
		z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		z.Write(plain.Bytes())
		z.Close()
	case "zstd":
		z, _ := zstd.NewWriter(&b)
		z.Write(plain.Bytes())
		z.Close()
	default:
		b = plain
	}
	id := digest.FromBytes(b.Bytes()).String()
	src := &bytesSource{bytes.NewReader(b.Bytes()), id}
	return Layer{Spec: layerstore.Spec{Blob: src, Digest: id, DiffID: digest.FromBytes(plain.Bytes()).String()}}
}

func verify(t *testing.T, store *layerstore.Store, layers []Layer, o VerifyOptions) *Verdict {
	t.Helper()
	v, err := Verify(t.Context(), store, layers, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func lostPaths(v *Verdict) (paths []string) {
	for _, f := range v.Lost {
		paths = append(paths, f.Path)
	}
	return paths
}

// Wherever a blob is damaged, the files that Verify names are those that
// cannot be read.
func TestVerifyNamesWhatCannotBeRead(t *testing.T) {
	for _, codec := range []string{"plain", "gzip", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			store := layerstore.Open(t.TempDir())
			layers := []Layer{tarLayer(t, "", "other"), packedLayer(t, codec, 24, 100_000)}
			if v := verify(t, store, layers, VerifyOptions{}); !v.Sound() || v.Layers[1].Index != Made || v.Tree != Made {
				t.Fatalf("the first time: %+v", v)
			}
			v := verify(t, store, layers, VerifyOptions{})
			if !v.Sound() || v.Layers[1].Index != Found || v.Tree != Found || v.Lost != nil {
				t.Fatalf("the second time: %+v", v)
			}
			good := layers[1].Blob
			r := rand.New(rand.NewPCG(1, 1))
			some := false
			for range 7 {
				at := []int64{r.Int64N(good.Size()), r.Int64N(good.Size())}
				layers[1].Blob = &damagedSource{good, at}
				v := verify(t, store, layers, VerifyOptions{})
				if v.Sound() || v.Layers[1].Sound() || !v.Layers[0].Sound() {
					t.Errorf("damage at %d: %+v", at, v)
				}
				if got := new(layerstore.DigestError); !errors.As(v.Layers[1].Err, &got) || got.What != "digest" {
					t.Errorf("damage at %d: %v, want that the digest is wrong", at, v.Layers[1].Err)
				}
				want := unreadable(t, store, layers)
				if d := cmp.Diff(want, lostPaths(v)); d != "" {
					t.Errorf("damage at %d: files that cannot be read, and those that are named:\n%s", at, d)
				}
				some = some || len(want) > 0
				quick := verify(t, store, layers, VerifyOptions{Quick: true})
				if quick.Sound() || quick.Layers[1].Damage != nil {
					t.Errorf("damage at %d, quick: %+v", at, quick)
				}
			}
			if !some {
				t.Error("no damage has cost a file")
			}
		})
	}
}

// unreadable gives the paths of the files that cannot be read.
func unreadable(t *testing.T, store *layerstore.Store, layers []Layer) (paths []string) {
	t.Helper()
	img, err := OpenImage(t.Context(), store, layers, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	err = img.Walk("", Root, func(v *Visit) error {
		if v.Attr.Mode&unix.S_IFMT == unix.S_IFREG {
			if _, err := img.WriteContents(t.Context(), io.Discard, v.Attr.ID); err != nil {
				paths = append(paths, v.Path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// Without an index the first thing that is wrong is told, and nothing is made
// of a wrong layer.
func TestVerifyWithoutIndex(t *testing.T) {
	store := layerstore.Open(t.TempDir())
	l := packedLayer(t, "gzip", 10, 100_000)
	l.Blob = &damagedSource{l.Blob, []int64{2}} // the compression method
	v := verify(t, store, []Layer{l}, VerifyOptions{})
	if v.Sound() || v.Layers[0].Index != Absent || v.Tree != Absent {
		t.Errorf("Verify = %+v", v)
	}
	text := fmt.Sprint(v.Layers[0].Err)
	if !strings.Contains(text, "digest is sha256:") || !strings.Contains(text, "gzip") {
		t.Errorf("Verify tells %q; want the digest and what is wrong with the gzip", text)
	}
	// In a tar that is not packed, only the digest tells.
	plain := packedLayer(t, "plain", 2, 1000)
	plain.Blob = &damagedSource{plain.Blob, []int64{700}}
	v = verify(t, store, []Layer{plain}, VerifyOptions{})
	if v.Sound() || !errors.As(v.Layers[0].Err, new(*layerstore.DigestError)) {
		t.Errorf("Verify = %+v", v)
	}
	for _, l := range []Layer{l, plain} {
		if _, err := os.Stat(store.IndexPath(l.Key())); err == nil {
			t.Error("an index was made of a damaged layer")
		}
	}
}

// Files of the store that are damaged are made again.
func TestVerifyMendsTheStore(t *testing.T) {
	store := layerstore.Open(t.TempDir())
	layers := []Layer{packedLayer(t, "gzip", 20, 100_000)}
	verify(t, store, layers, VerifyOptions{})
	index, tree := store.IndexPath(layers[0].Key()), store.TreePath(chainKey(layers, false))
	damage := func(path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 0xff
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, quick := range []bool{false, true} {
		damage(index)
		damage(tree)
		v := verify(t, store, layers, VerifyOptions{Quick: quick})
		if !v.Sound() || v.Layers[0].Index != Remade || v.Tree != Remade {
			t.Errorf("both damaged, quick %v: %+v", quick, v)
		}
		if v := verify(t, store, layers, VerifyOptions{Quick: quick}); v.Layers[0].Index != Found || v.Tree != Found {
			t.Errorf("after that, quick %v: %+v", quick, v)
		}
	}
}

// An index can be whole and wrong all the same. The digest of the blob tells
// that it is not the blob.
func TestVerifyBlamesTheIndex(t *testing.T) {
	store := layerstore.Open(t.TempDir())
	l := tarLayer(t, "", "a", "b")
	err := store.Make(t.Context(), store.IndexPath(l.Key()), func() error {
		ix, err := store.OpenIndex(l.Spec)
		if err == nil {
			err = ix.Close()
		}
		return err
	}, func(f *os.File) error {
		w, err := toc.NewWriter(f)
		if err != nil {
			return err
		}
		if err := w.Add(&toc.Entry{Path: "a", Type: toc.Regular, Off: 512, Size: 1}); err != nil {
			return err
		}
		w.AddSum(12345)
		return w.Finish(toc.Info{Codec: toc.Plain, BlobSize: l.Blob.Size(), LayerSize: l.Blob.Size(), Digest: l.Digest, DiffID: l.DiffID})
	})
	if err != nil {
		t.Fatal(err)
	}
	v := verify(t, store, []Layer{l}, VerifyOptions{})
	if !v.Sound() || v.Layers[0].Index != Remade {
		t.Errorf("Verify = %+v", v)
	}
	if got := unreadable(t, store, []Layer{l}); got != nil {
		t.Errorf("after that %q cannot be read", got)
	}
}

// The same layer twice is read once, and is damaged twice.
func TestVerifyTheSameLayerTwice(t *testing.T) {
	store := layerstore.Open(t.TempDir())
	l := packedLayer(t, "gzip", 10, 100_000)
	layers := []Layer{l, tarLayer(t, "", ".wh.dir"), l}
	read := int64(0)
	seen := []int{}
	o := VerifyOptions{Layer: func(i int, size int64) func(int64) {
		seen = append(seen, i)
		return func(n int64) { read += n }
	}, Quick: true}
	verify(t, store, layers, VerifyOptions{})
	if v := verify(t, store, layers, o); !v.Sound() {
		t.Errorf("Verify = %+v", v)
	}
	if want := l.Blob.Size() + layers[1].Blob.Size(); read != want || !slices.Equal(seen, []int{0, 1}) {
		t.Errorf("read %d bytes of layers %d, want %d of 0 and 1", read, seen, want)
	}
	bad := l
	bad.Blob = &damagedSource{l.Blob, []int64{l.Blob.Size() / 2}}
	layers[0], layers[2] = bad, bad
	v := verify(t, store, layers, VerifyOptions{})
	if len(v.Layers[2].Damage) == 0 || len(v.Lost) == 0 || v.Lost[0].Layer != 2 {
		t.Errorf("Verify = %+v, want that what the third layer shows is lost", v)
	}
}

func TestVerifyIsInterrupted(t *testing.T) {
	store := layerstore.Open(t.TempDir())
	layers := []Layer{packedLayer(t, "gzip", 20, 100_000)}
	verify(t, store, layers, VerifyOptions{})
	for _, quick := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Verify(ctx, store, layers, VerifyOptions{Quick: quick, Layer: func(int, int64) func(int64) {
			cancel()
			return nil
		}})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("quick %v: Verify gives %v, want that it was cancelled", quick, err)
		}
	}
}
