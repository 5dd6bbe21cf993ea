package e2e

import (
	"errors"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// damaged is a small image whose every byte matters: a few files, of which one
// compresses well, one not at all.
func damaged() image {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 300_000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	return image{
		layerOf(dir("etc"), file("etc/motd", "hello"), file("noise", string(noise)), file("text", strings.Repeat("all work and no play ", 50_000))),
		layerOf(file("etc/motd", "changed"), deleted("etc/never"), file("more", string(noise[:5000]))),
	}
}

// blobs gives the paths of the layers' blobs in a layout, bottom first.
func writeDamaged(t *testing.T, dir string, c codec) (blobs []string) {
	t.Helper()
	m, err := damaged().writeOCI(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range m.Layers {
		blobs = append(blobs, filepath.Join(dir, blobPath(l.Digest)))
	}
	return blobs
}

// contents reads all regular files below root: what is read must be right, or
// the read must fail with EIO. It gives how many failed.
func contents(t *testing.T, want tree, root string) (failed int) {
	t.Helper()
	for p, n := range want {
		if n.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		switch sum, err := sumFile(filepath.Join(root, p), n.Size); {
		case errors.Is(err, unix.EIO):
			failed++
		case err != nil:
			t.Errorf("%s: %v, want its bytes or EIO", p, err)
		case sum != n.Sum:
			t.Errorf("%s: wrong bytes", p)
		}
	}
	return failed
}

// TestFlippedBlob inverts single bytes of blobs. An image that is new must be
// refused, with a word on which layer it is; one that was indexed before must
// give the right bytes or EIO.
func TestFlippedBlob(t *testing.T) {
	for _, c := range []codec{gzipped, zstdFast, plain} {
		t.Run(string(c), func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			layout := filepath.Join(h.dir, "oci")
			blobs := writeDamaged(t, layout, c)
			sound := h.mount(layout)
			want := mustReadTree(t, sound)
			h.umount(sound)
			r := rand.New(rand.NewPCG(3, 4))
			eios := 0
			for range 25 {
				blob := blobs[r.IntN(len(blobs))]
				st, err := os.Stat(blob)
				if err != nil {
					t.Fatal(err)
				}
				off := r.Int64N(st.Size())
				if err := flipByte(blob, off); err != nil {
					t.Fatal(err)
				}
				// A store that has never seen the image.
				fresh := &host{t: t, dir: filepath.Join(h.dir, "fresh")}
				if err := os.RemoveAll(fresh.dir); err != nil {
					t.Fatal(err)
				}
				if err := os.Mkdir(fresh.dir, 0o755); err != nil {
					t.Fatal(err)
				}
				digest := filepath.Base(blob)
				if dir, err := fresh.tryMount(layout); err == nil {
					t.Errorf("byte %d of blob %s is flipped, and a new image is mounted", off, digest)
					fresh.umount(dir)
				} else if !strings.Contains(err.Error(), "layer ") && !strings.Contains(err.Error(), digest) {
					t.Errorf("which layer is damaged? %v", err)
				}
				if dir, err := h.tryMount(layout); err == nil {
					eios += contents(t, want, dir)
					h.umount(dir)
				}
				if err := flipByte(blob, off); err != nil {
					t.Fatal(err)
				}
			}
			if eios == 0 {
				t.Error("no read failed")
			}
		})
	}
}

// TestFlippedWhileMounted: a blob is damaged under a mount.
func TestFlippedWhileMounted(t *testing.T) {
	h := newHost(t)
	layout := filepath.Join(h.dir, "oci")
	blobs := writeDamaged(t, layout, plain)
	want := mustReadTree(t, h.mount(layout))
	dir := h.mount(layout)
	if _, err := os.ReadFile(filepath.Join(dir, "etc/motd")); err != nil {
		t.Fatal(err)
	}
	if err := flipByte(blobs[0], 100_000); err != nil { // in the noise
		t.Fatal(err)
	}
	if contents(t, want, dir) == 0 {
		t.Error("no read failed")
	}
	// The damage is gone, and so must the error be.
	if err := flipByte(blobs[0], 100_000); err != nil {
		t.Fatal(err)
	}
	until(t, "all is read again", func() bool { return contents(t, want, dir) == 0 })
}

// TestDamagedCache flips, cuts and deletes the files of the store: all is made
// again and the mount is right.
func TestDamagedCache(t *testing.T) {
	for _, c := range []codec{gzipped, zstdFast, plain} {
		t.Run(string(c), func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			layout := filepath.Join(h.dir, "oci")
			writeDamaged(t, layout, c)
			dir := h.mount(layout)
			want := mustReadTree(t, dir)
			h.umount(dir)
			files := cacheFiles(t, h)
			if len(files) < 3 {
				t.Fatalf("in the store: %v, want two indexes and a tree", files)
			}
			r := rand.New(rand.NewPCG(5, 6))
			for i := range 24 {
				path := files[i%len(files)]
				st, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				off := r.Int64N(st.Size())
				what := "flipped"
				switch i / len(files) % 3 {
				case 0:
					err = flipByte(path, off)
				case 1:
					what = "cut"
					err = os.Truncate(path, off)
				case 2:
					what = "removed"
					err = os.Remove(path)
				}
				if err != nil {
					t.Fatal(err)
				}
				dir, err := h.tryMount(layout)
				if err != nil {
					t.Errorf("%s %s at %d: %v", path, what, off, err)
					continue
				}
				if err := compare(want, mustReadTree(t, dir)); err != nil {
					t.Errorf("%s %s at %d: %v", path, what, off, err)
				}
				h.umount(dir)
			}
		})
	}
}

// cacheFiles are the files of the store that are made from images.
func cacheFiles(t *testing.T, h *host) []string {
	t.Helper()
	var files []string
	for _, kind := range []string{"index", "tree", "content"} {
		err := filepath.WalkDir(filepath.Join(h.dir, "store", kind), func(p string, d iofs.DirEntry, err error) error {
			if errors.Is(err, iofs.ErrNotExist) {
				return nil // not every image has all kinds
			}
			if err == nil && d.Type().IsRegular() {
				files = append(files, p)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// TestKilledMount kills all that serves a mount: umount works, and so does a
// mount at the same place, with or without umount.
func TestKilledMount(t *testing.T) {
	h := newHost(t)
	layout := filepath.Join(h.dir, "oci")
	writeDamaged(t, layout, gzipped)
	dir := h.mount(layout)
	want := mustReadTree(t, dir)
	kill := func() {
		if err := h.processes(dir).kill(); err != nil {
			t.Fatal(err)
		}
		// Threads of a killed process may have the device open still when the
		// process has ended: what is asked until they are gone is aborted.
		until(t, "nobody has the device open", func() bool {
			var st unix.Statfs_t
			return unix.Statfs(dir, &st) == unix.ENOTCONN
		})
		if _, err := os.ReadFile(filepath.Join(dir, "etc/passwd")); !errors.Is(err, unix.ENOTCONN) {
			t.Errorf("read after the kill: %v, want ENOTCONN", err)
		}
	}
	kill()
	h.mica("umount", dir)
	h.mica("mount", layout, dir)
	sameTree(t, want, mustReadTree(t, dir))
	kill()
	h.mica("mount", layout, dir)
	sameTree(t, want, mustReadTree(t, dir))
	h.umount(dir)
}
