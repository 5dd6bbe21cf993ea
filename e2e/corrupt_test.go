package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/go-digest"

	"mica/layerstore"
	"mica/layerstore/blob"
	"mica/overlay"
)

// What is damaged gives the right bytes or an error that says where: whichever
// byte it is, wherever it is cut. Blobs are damaged in memory here, as this is
// done thousands of times; that every byte of an index and of a tree is checked
// is held beside their code (TestIndexDamaged, TestTreeDamaged).

// A memoryBlob is a blob in memory that goes by the digest of sound ones.
type memoryBlob struct {
	b    []byte
	id   string
	size int64
}

func (m *memoryBlob) ID() string  { return m.id }
func (m *memoryBlob) Size() int64 { return m.size }
func (m *memoryBlob) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m.b).ReadAt(p, off)
}

// A soundLayer is a layer that will be damaged.
type soundLayer struct {
	want layer
	blob []byte
	id   string
}

// corruptLayers are small layers, compressed in all ways, and one that has
// several spans.
func corruptLayers() map[string]soundLayer {
	r := rand.New(rand.NewPCG(11, 12))
	noise := make([]byte, 1500)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	small := layerOf(dir("d"), file("d/noise", string(noise)), symlink("d/l", "noise"), file("d/text", strings.Repeat("all work and no play ", 40)))
	large := layerOf(file("zeros", strings.Repeat("\x00", 2<<20)), file("noise", string(noise)), file("text", strings.Repeat("no play ", 200_000)))
	all := map[string]soundLayer{}
	for _, c := range []codec{plain, gzipped, zstdFast} {
		all[string(c)] = sound(small, c.pack(small))
	}
	// Cut or damaged between two of them, a tar may seem to end there.
	all["gzip, many members"] = sound(small, inMembers(512, func(b []byte) []byte { return gzipMember(0, "", deflate(b, 9), b) })(nil, small))
	all["gzip, several spans"] = sound(large, gzipped.pack(large))
	return all
}

func sound(l layer, b []byte) soundLayer {
	return soundLayer{l, b, digest.FromBytes(b).String()}
}

func (l soundLayer) spec(b []byte) layerstore.Spec {
	return layerstore.Spec{Blob: &memoryBlob{b, l.id, int64(len(b))}, Digest: l.id, DiffID: digest.FromBytes(l.want).String()}
}

// places gives some most of the offsets into the blob, of long layers fewer,
// the first ones and the last ones among them.
func (l soundLayer) places(most int) (all []int) {
	if len(l.want) > 1<<20 {
		most /= 20
	}
	step := max(1, len(l.blob)/most)
	for i := range l.blob {
		if i < most/10 || i >= len(l.blob)-most/10 || i%step == 0 {
			all = append(all, i)
		}
	}
	return all
}

// TestDamagedBlobIsIndexed: no index is made of a blob that is damaged or cut.
func TestDamagedBlobIsIndexed(t *testing.T) {
	for about, l := range corruptLayers() {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			store := layerstore.Open(t.TempDir())
			refused := func(b []byte, what string, at int) {
				err := store.EnsureIndex(t.Context(), l.spec(b))
				if err == nil {
					t.Fatalf("%s at %d: indexed", what, at)
				}
				if wrong := (*layerstore.DigestError)(nil); !errors.As(err, &wrong) || wrong.Want != l.id {
					t.Errorf("%s at %d: %v, want a *DigestError of the blob", what, at, err)
				}
			}
			for _, i := range l.places(300) {
				b := bytes.Clone(l.blob)
				b[i] ^= 1 << (i % 8)
				refused(b, "flipped", i)
			}
			for _, i := range l.places(150) {
				refused(l.blob[:i], "cut", i)
			}
			if err := store.EnsureIndex(t.Context(), l.spec(l.blob)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDamagedBlobOfNoDigest: of a tar that nobody has promised anything of, the
// compressed stream's own checksums tell. What is indexed all the same is right.
func TestDamagedBlobOfNoDigest(t *testing.T) {
	for about, l := range corruptLayers() {
		if about == string(plain) {
			continue // nothing could tell
		}
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			store := layerstore.Open(t.TempDir())
			try := func(b []byte, what string, at int) {
				spec := layerstore.Spec{Blob: &memoryBlob{b, fmt.Sprint(what, at), int64(len(b))}}
				if store.EnsureIndex(t.Context(), spec) != nil {
					return
				}
				ix, err := store.OpenIndex(spec)
				if err != nil {
					t.Fatal(err)
				}
				defer ix.Close()
				if info := ix.Info(); info.DiffID != digest.FromBytes(l.want).String() {
					t.Errorf("%s at %d: indexed as %d bytes with diffID %s", what, at, info.LayerSize, info.DiffID)
				}
			}
			for _, i := range l.places(200) {
				b := bytes.Clone(l.blob)
				b[i] ^= 1 << (i % 8)
				try(b, "flipped", i)
			}
			for i := range l.blob {
				if bytes.HasPrefix(l.blob[i:], []byte("\x1f\x8b\x08")) { // a member begins
					b := bytes.Clone(l.blob)
					b[i] ^= 1
					try(b, "flipped", i)
				}
			}
			for _, i := range l.places(100) {
				if i > 0 { // nothing is an empty tar
					try(l.blob[:i], "cut", i)
				}
			}
		})
	}
}

// TestDamagedBlobIsRead: of a blob that was sound when it was indexed, each
// read gives the right bytes, and where they end an error that names the blob
// and the place.
func TestDamagedBlobIsRead(t *testing.T) {
	for about, l := range corruptLayers() {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			store := layerstore.Open(t.TempDir())
			if err := store.EnsureIndex(t.Context(), l.spec(l.blob)); err != nil {
				t.Fatal(err)
			}
			failed := 0
			read := func(src *memoryBlob, what string, at int) {
				spec := l.spec(nil)
				spec.Blob = src
				r := store.Layer(spec, blob.NewCache(1<<20))
				defer r.Close()
				// From the end to the front: each read begins a span anew.
				for _, off := range []int{len(l.want) * 3 / 4, len(l.want) / 3, 0} {
					p := make([]byte, len(l.want)-off)
					n, err := r.ReadAt(t.Context(), p, int64(off))
					if !bytes.Equal(p[:n], l.want[off:off+n]) {
						t.Fatalf("%s at %d: read(%d) gave %d bytes, wrong ones among them", what, at, off, n)
					}
					if n == len(p) {
						continue
					}
					failed++
					var data *blob.DataError
					// The place may lie before what was asked for: in the same span.
					if !errors.As(err, &data) || data.Blob != l.id || data.Offset < 0 || data.Offset > int64(len(l.want)) {
						t.Errorf("%s at %d: read(%d): %d bytes, %v; want a *DataError of %s", what, at, off, n, err, l.id)
					}
				}
			}
			for _, i := range l.places(2000) {
				b := bytes.Clone(l.blob)
				b[i] ^= 1 << (i % 8)
				read(&memoryBlob{b, l.id, int64(len(b))}, "flipped", i)
			}
			for _, i := range l.places(500) {
				// Cut while it is open: it was longer when that was looked at.
				read(&memoryBlob{l.blob[:i], l.id, int64(len(l.blob))}, "cut", i)
			}
			if failed == 0 {
				t.Error("no read failed")
			}
		})
	}
}

// TestDamagedStore damages the index and the tree of an image at any place:
// opened again, the image is what it was, and so are the files.
func TestDamagedStore(t *testing.T) {
	l := corruptLayers()[string(gzipped)]
	root := t.TempDir()
	store := layerstore.Open(root)
	layers := []overlay.Layer{{Spec: l.spec(l.blob), History: "RUN make"}}
	all := func() string {
		img, err := overlay.OpenImage(t.Context(), store, layers, overlay.Options{})
		if err != nil {
			return err.Error()
		}
		defer img.Close()
		return exported(t.Context(), img)
	}
	want := all()
	if len(want) < len(l.want)-4096 {
		t.Fatalf("exported: %q", want)
	}
	for _, kind := range []string{"index", "tree"} {
		paths, err := filepath.Glob(filepath.Join(root, kind, "sha256", "*"))
		if err != nil || len(paths) != 1 {
			t.Fatalf("%s: %v, %v", kind, paths, err)
		}
		good, err := os.ReadFile(paths[0])
		if err != nil {
			t.Fatal(err)
		}
		for n := range 60 {
			i := n * len(good) / 60
			b := bytes.Clone(good)
			b[i] ^= 1 << (n % 8)
			if n%3 == 0 {
				b = b[:i]
			}
			if err := os.WriteFile(paths[0], b, 0o644); err != nil {
				t.Fatal(err)
			}
			if got := all(); got != want {
				t.Fatalf("%s damaged at %d: %.200q", kind, i, got)
			}
			if kind == "tree" { // is read at each opening; an index only for the tree, and for contents
				if made, err := os.ReadFile(paths[0]); err != nil || !bytes.Equal(made, good) {
					t.Errorf("%s damaged at %d: not made again (%v)", kind, i, err)
				}
			}
		}
	}
}

// exported is an image as one tar, or why it is none.
func exported(ctx context.Context, img *overlay.Image) string {
	var out bytes.Buffer
	if err := img.WriteTar(ctx, &out, "", overlay.Root); err != nil {
		return err.Error()
	}
	return out.String()
}

// TestDamageIsNamed: a read through a mount that meets damage is EIO, and the
// log names the file, the layer and the place; so do commands that print it.
func TestDamageIsNamed(t *testing.T) {
	needFUSE(t)
	const files = 20
	r := rand.New(rand.NewPCG(13, 14))
	var entries []entry
	contents := make([][]byte, files)
	for i := range contents {
		contents[i] = make([]byte, 70_000)
		for j := range contents[i] {
			contents[i][j] = byte(r.Uint32())
		}
		entries = append(entries, file(fmt.Sprintf("f%d", i), string(contents[i])))
	}
	im := image{layerOf(dir("d")), layerOf(entries...)}
	for _, c := range []codec{plain, gzipped, zstdFast} {
		t.Run(string(c), func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			layout := filepath.Join(h.dir, "oci")
			m, err := im.writeOCI(layout, c)
			if err != nil {
				t.Fatal(err)
			}
			mnt := filepath.Join(h.dir, "mnt")
			if err := os.Mkdir(mnt, 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := h.command("mount", "--foreground", layout, mnt)
			log := &bytes.Buffer{}
			cmd.Stderr = log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			until(t, "it is mounted", func() bool {
				mounts, err := mountsBelow(h.dir)
				return err == nil && len(mounts) > 0 || ended(cmd.Process.Pid)
			})
			b := filepath.Join(layout, blobPath(m.Layers[1].Digest))
			if err := flipByte(b, m.Layers[1].Size/2); err != nil {
				t.Fatal(err)
			}
			var failed []string
			for i := range contents {
				name := fmt.Sprintf("f%d", i)
				got, err := os.ReadFile(filepath.Join(mnt, name))
				switch {
				case errors.Is(err, unix.EIO):
					failed = append(failed, name)
				case err != nil:
					t.Errorf("%s: %v, want its bytes or EIO", name, err)
				case !bytes.Equal(got, contents[i]):
					t.Errorf("%s: wrong bytes", name)
				}
			}
			if len(failed) == 0 {
				t.Fatal("no read failed")
			}
			out, err := output(h.command("cat", layout, "/f0"))
			if err == nil && out != string(contents[0]) {
				t.Error("cat: wrong bytes")
			}
			if err != nil && (!strings.Contains(err.Error(), "layer 2") || !strings.Contains(err.Error(), m.Layers[1].Digest.String())) {
				t.Errorf("cat: %v, want layer 2 and its digest in it", err)
			}
			h.mica("umount", mnt)
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			// Of one damaged place it names the first file that was read.
			for _, word := range []string{"path=/" + failed[0] + " ", "layer 2: ", m.Layers[1].Digest.String(), "offset "} {
				if !strings.Contains(log.String(), word) {
					t.Errorf("the log does not say %q:\n%s", word, log)
				}
			}
		})
	}
}
