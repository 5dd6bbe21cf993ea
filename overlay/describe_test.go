package overlay

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
)

// A memoryLayer is the uncompressed bytes of a layer.
type memoryLayer []byte

func (l memoryLayer) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	if off > int64(len(l)) {
		return 0, io.EOF
	}
	n := copy(p, l[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (memoryLayer) Cached(int64, int) bool { return true }

// viewOf gives the view of one layer. A file gets bytes that tell it apart.
func viewOf(t testing.TB, l layer) *View {
	t.Helper()
	var data memoryLayer
	l = slices.Clone(l)
	for i := range l {
		e := &l[i]
		if e.Type != toc.Regular {
			continue
		}
		stored := e.Size
		if e.Sparse != nil {
			stored = 0
			for _, x := range e.Sparse {
				stored += x.Len
			}
		}
		e.Off = int64(len(data))
		for n := range stored {
			data = append(data, e.Path[int(n)%len(e.Path)]^byte(n>>8))
		}
	}
	tree, err := merge(t, l)
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewView(tree, []LayerReader{data})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// allKinds is a layer of what a file can be.
func allKinds() layer {
	at := func(sec int64, nsec uint32) toc.Time { return toc.Time{Sec: sec, Nsec: nsec} }
	return layer{
		{Path: "", Type: toc.Dir, Mode: 0o755, Mtime: at(1700000000, 0)},
		{Path: "bin", Type: toc.Symlink, Link: "usr/bin", Mtime: at(1, 999999999)},
		{Path: "dev", Type: toc.Dir, Mode: 0o755},
		{Path: "dev/null", Type: toc.Char, Mode: 0o666, Major: 1, Minor: 3, Mtime: at(5, 0)},
		{Path: "dev/big", Type: toc.Block, Mode: 0o660, Major: 259, Minor: 0xabcde, GID: 6},
		{Path: "dev/initctl", Type: toc.Fifo, Mode: 0o600, Mtime: at(7, 7)},
		{Path: "tmp", Type: toc.Dir, Mode: 0o1777, Mtime: at(8, 0)},
		{Path: "usr", Type: toc.Dir, Mode: 0o755, UID: 3, GID: 4, Xattrs: []toc.Xattr{{Name: "user.on.dir", Value: []byte("d")}}},
		{Path: "usr/bin", Type: toc.Dir, Mode: 0o2755, Mtime: at(9, 1)},
		{Path: "usr/bin/su", Type: toc.Regular, Mode: 0o4755, Size: 3000, Mtime: at(1700000000, 123456789)},
		{Path: "usr/bin/again", Type: toc.Hardlink, Link: "usr/bin/su"},
		{Path: "zz", Type: toc.Hardlink, Link: "usr/bin/su"},
		{Path: "usr/bin/ping", Type: toc.Regular, Mode: 0o755, Size: 1, UID: 5000000, GID: 4294967294, Xattrs: []toc.Xattr{
			{Name: "security.capability", Value: []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")},
			{Name: "user.empty", Value: []byte{}},
			{Name: "user.lines=\n", Value: []byte("a\nb\x00c\xff")},
			{Name: "user.mime_type", Value: []byte("text/plain")},
		}},
		{Path: "usr/empty", Type: toc.Regular, Mode: 0o400},
		{Path: "usr/exact", Type: toc.Regular, Mode: 0o444, Size: 512},
		{Path: "usr/long", Type: toc.Regular, Mode: 0o640, Size: 2<<20 + 5, Mtime: at(-1, 750000000)},
		{Path: "usr/old", Type: toc.Regular, Mode: 0, Size: 10, Mtime: at(-1000000000, 0)},
		{Path: "usr/far", Type: toc.Regular, Mode: 0o600, Size: 10, Mtime: at(15000000000, 5)},
		{Path: "usr/sparse", Type: toc.Regular, Mode: 0o600, Size: 1 << 20, UID: 5, Mtime: at(-1, 500000000), Sparse: []toc.Extent{{Off: 8192, Len: 4096}, {Off: 65536, Len: 8192}},
			Xattrs: []toc.Xattr{{Name: "user.on.sparse", Value: []byte("s")}}},
		{Path: "usr/sparse end", Type: toc.Regular, Mode: 0o600, Size: 20480, Sparse: []toc.Extent{{Off: 12288, Len: 8192}}},
		{Path: "usr/sparse first", Type: toc.Regular, Mode: 0o600, Size: 1 << 33, Sparse: []toc.Extent{{Off: 0, Len: 4096}}},
		{Path: "usr/hole", Type: toc.Regular, Mode: 0o600, Size: 123456, Sparse: []toc.Extent{}},
		{Path: "usr/" + strings.Repeat("n", 255), Type: toc.Regular, Mode: 0o644, Size: 4},
		{Path: strings.Repeat("deep/", 60) + "file", Type: toc.Regular, Mode: 0o644, Size: 4},
		{Path: "usr/to long", Type: toc.Symlink, Link: strings.Repeat("../", 90) + "x"},
		{Path: "usr/to link", Type: toc.Hardlink, Link: "usr/to long"},
		{Path: "usr/bad\xff utf", Type: toc.Regular, Mode: 0o644, Size: 5},
		{Path: "usr/ümlaut", Type: toc.Symlink, Link: "zwölf\xfe"},
		{Path: "usr/new\nline", Type: toc.Dir, Mode: 0o755},
		{Path: "usr/escape", Type: toc.Symlink, Link: "/etc"},
	}
}

// A description tells all of a tree that a program can see, a line a name, so
// that two trees can be compared.
type description struct {
	lines []string
	first map[uint64]string
}

func (d *description) add(path string, mode uint32, uid, gid, nlink uint32, mtime toc.Time, inode uint64, rest string, xattrs []toc.Xattr) {
	line := fmt.Sprintf("%q %o %d:%d %d links %d.%09d %s", path, mode, uid, gid, nlink, mtime.Sec, mtime.Nsec, rest)
	if first, ok := d.first[inode]; ok {
		line = fmt.Sprintf("%q = %q", path, first)
	} else if d.first[inode] = path; true {
		for _, x := range xattrs {
			line += fmt.Sprintf(" %q=%q", x.Name, x.Value)
		}
	}
	d.lines = append(d.lines, line)
}

// describe tells of a view below a node.
func describe(t testing.TB, v *View, start NodeID) []string {
	t.Helper()
	d := description{first: map[uint64]string{}}
	err := v.Walk("", start, func(at *Visit) error {
		a := at.Attr
		rest := ""
		switch a.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			rest = fmt.Sprintf("%d bytes", a.Size)
			if a.Size < 1<<30 {
				h := sha256.New()
				if n, err := v.WriteContents(context.Background(), h, a.ID); err != nil || n != a.Size {
					t.Fatalf("%s: %d of %d bytes, %v", at.Path, n, a.Size, err)
				}
				rest += fmt.Sprintf(" %x", h.Sum(nil)[:8])
			}
			rest += dataOf(func(off int64) int64 {
				end, err := v.SeekData(a.ID, off)
				if err != nil {
					return -1
				}
				return end
			}, func(off int64) int64 { end, _ := v.SeekHole(a.ID, off); return end })
		case unix.S_IFLNK:
			target, err := v.Readlink(a.ID)
			if err != nil {
				return err
			}
			rest = fmt.Sprintf("-> %q", target)
		case unix.S_IFCHR, unix.S_IFBLK:
			major, minor := a.Device()
			rest = fmt.Sprintf("%d,%d", major, minor)
		}
		xs, err := v.Tree.Xattrs(a.ID)
		d.add(at.Path, a.Mode, a.UID, a.GID, a.Nlink, a.Mtime, uint64(a.ID), rest, xs)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return d.lines
}

// dataOf tells where a file has data.
func dataOf(data, hole func(off int64) int64) (s string) {
	for off := data(0); off >= 0; off = data(off) {
		end := hole(off)
		s += fmt.Sprintf(" [%d,%d)", off, end)
		off = end
	}
	return s
}

// describeDir tells the same of a directory on disk.
func describeDir(t testing.TB, root string) []string {
	t.Helper()
	d := description{first: map[uint64]string{}}
	var walk func(path string)
	walk = func(path string) {
		p := filepath.Join(root, path)
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			t.Fatal(err)
		}
		rest := ""
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			rest = fmt.Sprintf("%d bytes", st.Size)
			f, err := os.Open(p)
			if err != nil {
				t.Fatal(err)
			}
			if st.Size < 1<<30 {
				h := sha256.New()
				if _, err := io.Copy(h, f); err != nil {
					t.Fatal(err)
				}
				rest += fmt.Sprintf(" %x", h.Sum(nil)[:8])
			}
			seek := func(whence int) func(off int64) int64 {
				return func(off int64) int64 {
					n, err := f.Seek(off, whence)
					if err != nil {
						return -1
					}
					return n
				}
			}
			rest += dataOf(seek(unix.SEEK_DATA), seek(unix.SEEK_HOLE))
			f.Close()
		case unix.S_IFLNK:
			target, err := os.Readlink(p)
			if err != nil {
				t.Fatal(err)
			}
			rest = fmt.Sprintf("-> %q", target)
		case unix.S_IFCHR, unix.S_IFBLK:
			rest = fmt.Sprintf("%d,%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		d.add(path, st.Mode, st.Uid, st.Gid, uint32(st.Nlink), toc.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)}, st.Ino, rest, xattrsOf(t, p))
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return
		}
		names, err := os.ReadDir(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			walk(strings.TrimPrefix(path+"/"+n.Name(), "/"))
		}
	}
	walk("")
	return d.lines
}

func xattrsOf(t testing.TB, path string) (xs []toc.Xattr) {
	t.Helper()
	buf := make([]byte, 1<<16)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if name == "" || strings.HasPrefix(name, "security.selinux") {
			continue
		}
		value := make([]byte, 1<<16)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			t.Fatal(err)
		}
		xs = append(xs, toc.Xattr{Name: name, Value: value[:n]})
	}
	slices.SortFunc(xs, func(a, b toc.Xattr) int { return strings.Compare(a.Name, b.Name) })
	return xs
}

// needRoot skips a test that makes devices and gives files away.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("MICA_TEST_STRICT") != "" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
}
