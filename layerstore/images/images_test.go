package images

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mica/layerstore"
)

func newStore(t *testing.T) *Store {
	t.Helper()
	return Open(layerstore.Open(t.TempDir()))
}

// layer gives a tar of one file of n bytes.
func layer(t *testing.T, seed byte, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("file%d", seed), Mode: 0o644, Size: int64(n)}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(bytes.Repeat([]byte{seed}, n)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func descOf(b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(b), Size: int64(len(b))}
}

func openerOf(b []byte) Opener {
	return func(_ context.Context, off int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b[off:])), nil
	}
}

// addImage puts an image of one layer into a store, under a name.
func addImage(ctx context.Context, s *Store, name string, layer []byte) (ocispec.Descriptor, error) {
	lease, err := s.Lease(ctx)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer lease.Release()
	ld := descOf(layer)
	config := []byte(fmt.Sprintf(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[%q]}}`, ld.Digest))
	cd := descOf(config)
	md, raw, err := makeManifest(cd, []ocispec.Descriptor{ld})
	if err != nil {
		return md, err
	}
	md.Size = int64(len(raw))
	err = lease.Hold(ctx, ld.Digest, cd.Digest, md.Digest)
	for _, add := range []func() error{
		func() error {
			return s.Add(ctx, Arrival{Desc: ld, DiffID: ld.Digest.String(), Layer: true, Open: openerOf(layer)})
		},
		func() error { return s.AddBytes(ctx, cd, config) },
		func() error { return s.AddBytes(ctx, md, raw) },
		func() error { return s.Tag(ctx, name, md) },
	} {
		if err == nil {
			err = add()
		}
	}
	return md, err
}

// wantWhole fails if something that a name leads to is not there.
func wantWhole(t *testing.T, s *Store) {
	t.Helper()
	rows, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		seen := map[digest.Digest]bool{}
		if err := s.reach(r.Desc.Digest, seen); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
		for d := range seen {
			if _, err := os.Stat(s.BlobPath(d)); err != nil {
				t.Errorf("%s leads to what is not there: %v", r.Name, err)
			}
		}
	}
}

func TestTagMoves(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	a, err := addImage(ctx, s, "example.org/a:1", layer(t, 1, 3000))
	if err != nil {
		t.Fatal(err)
	}
	b, err := addImage(ctx, s, "example.org/a:1", layer(t, 2, 3000))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 || rows[0].Name != "" || rows[0].Desc.Digest != a.Digest || rows[1].Name != "example.org/a:1" || rows[1].Desc.Digest != b.Digest {
		t.Fatalf("List = %+v; want %s without a name, %s with it", rows, a.Digest, b.Digest)
	}
	if c, err := s.Collect(ctx, Collection{}); err != nil || len(c.Blobs) != 0 {
		t.Errorf("Collect = %+v, %v; what has lost its name was to stay", c, err)
	}
	if err := s.Drop(ctx, func(n Named) bool { return n.Name == "" }); err != nil {
		t.Fatal(err)
	}
	if c, err := s.Collect(ctx, Collection{}); err != nil || len(c.Blobs) != 3 {
		t.Errorf("Collect = %+v, %v; want the three blobs of %s", c, err, a.Digest)
	}
	wantWhole(t, s)
}

func TestWrongBytesNeverEnter(t *testing.T) {
	good := layer(t, 1, 300000)
	for _, tt := range []struct {
		about string
		bytes []byte
	}{
		{"a bit flipped", func() []byte { b := bytes.Clone(good); b[200000] ^= 1; return b }()},
		{"cut", good[:len(good)/2]},
		{"something else", bytes.Repeat([]byte("x"), len(good))},
	} {
		s, ctx := newStore(t), t.Context()
		lease, err := s.Lease(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, asLayer := range []bool{true, false} {
			a := Arrival{Desc: descOf(good), Layer: asLayer, Open: func(_ context.Context, off int64) (io.ReadCloser, error) {
				return io.NopCloser(bytes.NewReader(tt.bytes[min(off, int64(len(tt.bytes))):])), nil
			}}
			if err := s.Add(ctx, a); err == nil || s.Has(a.Desc) {
				t.Errorf("%s: Add = %v, blob in the store: %v; want an error and none", tt.about, err, s.Has(a.Desc))
			}
			a.Open = openerOf(good)
			if err := s.Add(ctx, a); err != nil || !s.Has(a.Desc) {
				t.Errorf("%s: afterwards, with the right bytes: Add = %v", tt.about, err)
			}
			if err := os.Remove(s.BlobPath(a.Desc.Digest)); err != nil {
				t.Fatal(err)
			}
		}
		if err := lease.Release(); err != nil {
			t.Error(err)
		}
	}
}

func TestGoesOnWhereItWasCut(t *testing.T) {
	b := layer(t, 3, 2<<20)
	s, ctx := newStore(t), t.Context()
	a := Arrival{Desc: descOf(b), Layer: true}
	cut := errors.New("cut")
	a.Open = func(_ context.Context, off int64) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(b[off:1<<20]), errReader{cut})), nil
	}
	if err := s.init(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(ctx, a); !errors.Is(err, cut) {
		t.Fatalf("Add = %v, want %v", err, cut)
	}
	var from atomic.Int64
	a.Open = func(ctx context.Context, off int64) (io.ReadCloser, error) {
		from.Store(off)
		return openerOf(b)(ctx, off)
	}
	if err := s.Add(ctx, a); err != nil || from.Load() != 1<<20 {
		t.Errorf("Add = %v, asked from offset %d on; want %d", err, from.Load(), 1<<20)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// TestRace: many add, tag, untag and collect the same few images at once.
// Whatever the order, nothing that is named is missing.
func TestRace(t *testing.T) {
	root := t.TempDir()
	layers := [][]byte{layer(t, 1, 5000), layer(t, 2, 5000), layer(t, 3, 5000)}
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	var all sync.WaitGroup
	for who := range 8 {
		all.Go(func() {
			// A store of its own, as another process has it.
			s, ctx := Open(layerstore.Open(root)), t.Context()
			for i := range rounds {
				n := (who + i) % len(layers)
				name := fmt.Sprintf("example.org/race:%d", n)
				var err error
				switch {
				case who%4 == 3:
					err = s.Drop(ctx, func(r Named) bool { return r.Name == name || r.Name == "" })
					if err == nil {
						_, err = s.Collect(ctx, Collection{})
					}
				default:
					_, err = addImage(ctx, s, name, layers[n])
				}
				if err != nil {
					t.Errorf("worker %d, round %d: %v", who, i, err)
				}
			}
		})
	}
	all.Wait()
	s := Open(layerstore.Open(root))
	wantWhole(t, s)
	if err := s.Drop(t.Context(), func(Named) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collect(t.Context(), Collection{}); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(s.path("images", "blobs", "sha256"))
	if err != nil || len(left) > 0 {
		t.Errorf("blobs left with no name: %v, %v", left, err)
	}
}

func TestLeaseKeepsAndEndsWithItsOwner(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	b := layer(t, 1, 1000)
	lease, err := s.Lease(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := lease.Hold(ctx, digest.FromBytes(b)); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(ctx, Arrival{Desc: descOf(b), Layer: true, Open: openerOf(b)}); err != nil {
		t.Fatal(err)
	}
	if c, err := s.Collect(ctx, Collection{}); err != nil || len(c.Blobs) != 0 {
		t.Fatalf("Collect = %+v, %v; the blob is leased", c, err)
	}
	lease.file.Close() // as the kernel does for the dead
	if c, err := s.Collect(ctx, Collection{}); err != nil || len(c.Blobs) != 1 {
		t.Fatalf("Collect = %+v, %v; the lease's owner is gone", c, err)
	}
	if left, err := os.ReadDir(s.path("leases")); err != nil || len(left) > 0 {
		t.Errorf("leases of the dead: %v, %v", left, err)
	}
	if ix := s.layers.IndexPath(digest.FromBytes(b).String()); !errors.Is(statError(ix), os.ErrNotExist) {
		t.Errorf("the index of a blob that is gone is still there")
	}
}

func statError(path string) error { _, err := os.Stat(path); return err }
