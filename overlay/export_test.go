package overlay

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mica/layerstore"
	"mica/layerstore/toc"
)

func tarOf(t testing.TB, v *View, name string, id NodeID) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := v.WriteTar(context.Background(), &b, name, id); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A tarFile is a layer in a file, as package layerstore reads it.
type tarFile struct {
	*os.File
	size int64
}

func (f tarFile) Size() int64 { return f.size }
func (f tarFile) ID() string  { return f.Name() }

// imageOf indexes a tar as an image of one layer.
func imageOf(t testing.TB, b []byte) *View {
	t.Helper()
	path := filepath.Join(t.TempDir(), "layer.tar")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	store := layerstore.Open(t.TempDir())
	img, err := OpenImage(context.Background(), store, []Layer{{Spec: layerstore.Spec{Blob: tarFile{f, int64(len(b))}}}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(img.Close(), f.Close()); err != nil {
			t.Error(err)
		}
	})
	return img.View
}

// TestExportRoundTrip: the tar as an image is the image; and so is its tar.
func TestExportRoundTrip(t *testing.T) {
	v := viewOf(t, allKinds())
	b := tarOf(t, v, "", Root)
	again := imageOf(t, b)
	if d := cmp.Diff(describe(t, v, Root), describe(t, again, Root)); d != "" {
		t.Errorf("image of the tar (-image +again):\n%s", d)
	}
	if !bytes.Equal(b, tarOf(t, again, "", Root)) {
		t.Error("the tar of the tar is another")
	}
}

// TestExportUnpacked: GNU tar makes of it what the image is.
func TestExportUnpacked(t *testing.T) {
	needRoot(t)
	v := viewOf(t, allKinds())
	root := t.TempDir()
	cmd := exec.Command("tar", "-x", "-C", root, "--numeric-owner", "--same-owner", "-p", "--xattrs", "--xattrs-include=*", "--sparse")
	cmd.Stdin = bytes.NewReader(tarOf(t, v, "", Root))
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	want := describe(t, v, Root)
	for i, line := range want {
		// GNU tar knows nothing of libarchive's records.
		want[i] = strings.Replace(line, fmt.Sprintf(" %q=%q", "user.lines=\n", "a\nb\x00c\xff"), "", 1)
	}
	got := describeDir(t, root)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("unpacked (-image +disk):\n%s", d)
	}
}

// TestExportReadByGo: archive/tar, and with it docker and umoci, read what the
// image is.
func TestExportReadByGo(t *testing.T) {
	v := viewOf(t, allKinds())
	r := tar.NewReader(bytes.NewReader(tarOf(t, v, "", Root)))
	d := description{first: map[uint64]string{}}
	inodes := map[string]uint64{}
	nlink := map[uint64]uint32{}
	var want []string
	err := v.Walk("", Root, func(at *Visit) error {
		a := at.Attr
		inodes[at.Path], nlink[uint64(a.ID)] = uint64(a.ID), a.Nlink
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range describe(t, v, Root) {
		// Where the holes are is not told by archive/tar.
		before, _, ok := strings.Cut(line, " [")
		if ok {
			_, xattrs, _ := strings.Cut(line, ") \"")
			if xattrs != "" {
				before += ` "` + xattrs
			}
		}
		want = append(want, strings.Replace(before, fmt.Sprintf(" %q=%q", "user.lines=\n", "a\nb\x00c\xff"), "", 1))
	}
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		path := strings.TrimSuffix(strings.TrimPrefix(h.Name, "./"), "/")
		inode := inodes[path]
		if h.Typeflag == tar.TypeLink {
			d.lines = append(d.lines, fmt.Sprintf("%q = %q", path, h.Linkname))
			continue
		}
		kind, rest := uint32(0), ""
		switch h.Typeflag {
		case tar.TypeReg:
			kind, rest = unix.S_IFREG, fmt.Sprintf("%d bytes", h.Size)
			if h.Size < 1<<30 {
				sum := sha256.New()
				if _, err := io.Copy(sum, r); err != nil {
					t.Fatal(err)
				}
				rest += fmt.Sprintf(" %x", sum.Sum(nil)[:8])
			}
		case tar.TypeDir:
			kind = unix.S_IFDIR
		case tar.TypeSymlink:
			kind, rest = unix.S_IFLNK, fmt.Sprintf("-> %q", h.Linkname)
		case tar.TypeChar:
			kind, rest = unix.S_IFCHR, fmt.Sprintf("%d,%d", h.Devmajor, h.Devminor)
		case tar.TypeBlock:
			kind, rest = unix.S_IFBLK, fmt.Sprintf("%d,%d", h.Devmajor, h.Devminor)
		case tar.TypeFifo:
			kind = unix.S_IFIFO
		}
		var xs []toc.Xattr
		for key, value := range h.PAXRecords {
			if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
				xs = append(xs, toc.Xattr{Name: name, Value: []byte(value)})
			}
		}
		slices.SortFunc(xs, func(a, b toc.Xattr) int { return strings.Compare(a.Name, b.Name) })
		mtime := toc.Time{Sec: h.ModTime.Unix(), Nsec: uint32(h.ModTime.Nanosecond())}
		d.add(path, kind|uint32(h.Mode), uint32(h.Uid), uint32(h.Gid), nlink[inode], mtime, inode, rest, xs)
	}
	if diff := cmp.Diff(want, d.lines); diff != "" {
		t.Errorf("members (-image +tar):\n%s", diff)
	}
}

// TestExportOddHoles: extents that neither begin nor end at a block of a tar,
// read by each reader that there is.
func TestExportOddHoles(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	l := layer{}
	for i := range 60 {
		e := toc.Entry{Path: fmt.Sprintf("f%02d", i), Type: toc.Regular, Mode: 0o644, Sparse: []toc.Extent{}}
		for range rnd.IntN(60) {
			e.Size += rnd.Int64N(1000)
			n := 1 + rnd.Int64N(700)
			if last := len(e.Sparse) - 1; last >= 0 && e.Sparse[last].Off+e.Sparse[last].Len == e.Size {
				e.Sparse[last].Len += n
			} else {
				e.Sparse = append(e.Sparse, toc.Extent{Off: e.Size, Len: n})
			}
			e.Size += n
		}
		e.Size += int64(i%2) * rnd.Int64N(2000)
		l = append(l, e)
	}
	v := viewOf(t, l)
	b := tarOf(t, v, "", Root)
	root := t.TempDir()
	cmd := exec.Command("tar", "-x", "-C", root)
	cmd.Stdin = bytes.NewReader(b)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	byGo := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			byGo[h.Name], err = io.ReadAll(r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	again := imageOf(t, b)
	for _, e := range l {
		want := contentsOf(t, v, e.Path)
		byTar, err := os.ReadFile(filepath.Join(root, e.Path))
		if err != nil {
			t.Fatal(err)
		}
		for reader, got := range map[string][]byte{"GNU tar": byTar, "archive/tar": byGo[e.Path], "mica": contentsOf(t, again, e.Path)} {
			if !bytes.Equal(got, want) {
				t.Errorf("%s: %s reads %d bytes, want %d, or others; extents %.200v", e.Path, reader, len(got), len(want), e.Sparse)
			}
		}
	}
}

func contentsOf(t *testing.T, v *View, path string) []byte {
	t.Helper()
	a, err := v.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := v.WriteContents(context.Background(), &b, a.ID); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestExportSubtree: what cp writes to standard output.
func TestExportSubtree(t *testing.T) {
	v := viewOf(t, layer{dir("a", 0o755), dir("a/b", 0o755), file("a/b/f", 1), link("a/g", "a/b/f"), file("a/h", 0), link("z", "a/h")})
	for _, tt := range []struct{ path, name, want string }{
		{"a", "a", "a/ a/b/ a/b/f a/g=a/b/f a/h"},
		{"a", "", "./ b/ b/f g=b/f h"},
		{"a/b", "other", "other/ other/f"},
		{"a/h", "h", "h"},
		{"", "", "./ a/ a/b/ a/b/f a/g=a/b/f a/h z=a/h"},
	} {
		a, err := v.Stat(tt.path)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for r := tar.NewReader(bytes.NewReader(tarOf(t, v, tt.name, a.ID))); ; {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if h.Linkname != "" {
				h.Name += "=" + h.Linkname
			}
			got = append(got, h.Name)
		}
		if got := strings.Join(got, " "); got != tt.want {
			t.Errorf("%s as %q: %s, want %s", tt.path, tt.name, got, tt.want)
		}
	}
}

// TestExportFailures: neither a full disk nor a damaged layer ends in a tar
// that looks whole.
func TestExportFailures(t *testing.T) {
	v := viewOf(t, allKinds())
	size := len(tarOf(t, v, "", Root))
	for _, room := range []int{0, 511, 512, 10000, size / 2, size - 1} {
		w := &fullWriter{room: room}
		if err := v.WriteTar(context.Background(), w, "", Root); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("room for %d of %d bytes: %v, want ENOSPC", room, size, err)
		}
	}
	broken := errors.New("broken")
	whole := v.layers[0].(memoryLayer)
	for _, path := range []string{"usr/bin/su", "usr/sparse"} {
		a, err := v.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		d, err := v.fileData(a.ID)
		if err != nil {
			t.Fatal(err)
		}
		at := d.off
		if d.sparse {
			x, err := d.extent(0)
			if err != nil {
				t.Fatal(err)
			}
			at = x.layerOff
		}
		v.layers[0] = failingLayer{whole, at, broken}
		if err := v.WriteTar(context.Background(), io.Discard, "", Root); !errors.Is(err, broken) {
			t.Errorf("%s cannot be read: %v, want %v", path, err, broken)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := v.WriteTar(ctx, io.Discard, "", Root); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// A fullWriter is a disk with little room.
type fullWriter struct{ room int }

func (w *fullWriter) Write(p []byte) (int, error) {
	n := min(len(p), w.room)
	w.room -= n
	if n < len(p) {
		return n, unix.ENOSPC
	}
	return n, nil
}
