package layerstore

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"mica/layerstore/blob"
)

// Readers of a layer wait for spans of the archive that it lies in: any number
// of them must not stand in each other's way.
func TestNestedReads(t *testing.T) {
	want := someTar(t, 6<<20)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: "layer.tar", Size: int64(len(want))}); err != nil {
		t.Fatal(err)
	}
	off := int64(archive.Len())
	w.Write(want)
	w.Close()
	store := Open(t.TempDir())
	src, err := store.Expand(t.Context(), source(gz(archive.Bytes())), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer src.(io.Closer).Close()
	spec := Spec{Blob: &part{io.NewSectionReader(src, off, int64(len(want))), sha(want)}, DiffID: sha(want)}
	layer := store.Layer(spec, blob.NewCache(1<<20))
	defer layer.Close()
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 0))
			buf := make([]byte, 4096)
			for range 10 {
				at := rnd.Int64N(int64(len(want) - len(buf)))
				if n, err := layer.ReadAt(t.Context(), buf, at); n != len(buf) || !bytes.Equal(buf, want[at:at+4096]) {
					t.Errorf("ReadAt(%d) = %d, %v", at, n, err)
				}
			}
		})
	}
	wg.Wait()
}

// A sparse member of a compressed archive has no index made: its holes could
// be without end.
func TestExpandSparseMember(t *testing.T) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	// GNU sparse 1.0 by hand: a map of no data, then nothing.
	body := make([]byte, 512)
	copy(body, "0\n")
	h := &tar.Header{Name: "GNUSparseFile.0/layer.tar", Size: int64(len(body)), Format: tar.FormatPAX, PAXRecords: map[string]string{
		"ABC.sparse.major": "1", "ABC.sparse.minor": "0", "ABC.sparse.name": "layer.tar", "ABC.sparse.realsize": fmt.Sprint(int64(1) << 60),
	}}
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	w.Write(body)
	w.Close()
	// archive/tar does not write such keys. These are as long.
	raw := bytes.ReplaceAll(archive.Bytes(), []byte("ABC.sparse."), []byte("GNU.sparse."))
	src, err := Open(t.TempDir()).Expand(t.Context(), source(gz(raw)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := src.(io.Closer).Close(); err != nil {
		t.Error(err)
	}
}
