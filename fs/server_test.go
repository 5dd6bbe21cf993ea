package fs

import (
	"bytes"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
	"mica/overlay"
)

// capability is a file capability as the kernel wants it, cap_net_raw=ep.
const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

const sparseSize = 64 * holePage

func smallView() *memView {
	v := newMemView()
	v.add("etc", unix.S_IFDIR|0o755, nil)
	v.file("etc/motd", "hello\n")
	v.add("etc/empty", unix.S_IFREG|0o600, func(n *memNode) { n.UID, n.GID = 1234, 5678 })
	v.add("etc/old", unix.S_IFREG|0o4755, func(n *memNode) { n.SetTimes(toc.Time{Sec: -86401, Nsec: 5}) })
	v.add("etc/link", unix.S_IFLNK|0o777, func(n *memNode) { n.target, n.Size = "motd", 4 })
	for _, length := range []int{4095, 4096} {
		v.add(fmt.Sprint("link-", length), unix.S_IFLNK|0o777, func(n *memNode) {
			n.target, n.Size = strings.Repeat("t", length), int64(length)
		})
	}
	v.add("null", unix.S_IFCHR|0o666, func(n *memNode) { n.Rdev = 1<<8 | 3 })
	v.add("far", unix.S_IFBLK|0o660, func(n *memNode) { n.Rdev = 0x12300<<12 | 259<<8 | 0x45 })
	v.add("pipe", unix.S_IFIFO|0o644, nil)
	hard := v.file("one", "two names")
	hard.Nlink = 2
	v.link("two", hard.ID)
	v.file("na\xffme", "a name that is not UTF-8")
	v.file(strings.Repeat("n", 255), "the longest name")
	v.add("sparse", unix.S_IFREG|0o644, func(n *memNode) {
		n.data, n.Size, n.Blocks = make([]byte, sparseSize), sparseSize, 2*holePage/512
		n.data[10*holePage], n.data[40*holePage] = 1, 2
	})
	v.add("attrs", unix.S_IFREG|0o644, func(n *memNode) {
		n.xattrs = map[string]string{"user.a": "one", "user.empty": "", "user.long": strings.Repeat("x", 5000), "security.capability": capability}
	})
	v.file("slow", strings.Repeat("s", slowSize))
	v.file("corrupt", "never seen")
	v.file("panic-read", "never seen")
	v.file("cached", strings.Repeat("c", 3*maxRead+17))
	v.add("panic-list", unix.S_IFDIR|0o755, nil)
	v.add("row", unix.S_IFDIR|0o755, nil)
	for i, size := range rowSizes {
		v.file(fmt.Sprintf("row/%02d", i), strings.Repeat(fmt.Sprintf("%02d ", i), size)[:size]).ready = true
	}
	v.file("row/"+heldName, "held until the gate opens").held = true
	v.lazy = v.addNode(unix.S_IFDIR|0o755, func(n *memNode) { n.parent = overlay.Root })
	for i := range 3000 { // more than fit into a small reply
		name := fmt.Sprintf("%0200d", i)
		v.nodes[v.lazy-1].children[name] = v.addNode(unix.S_IFREG|0o644, nil)
	}
	return v
}

// rowSizes are the sizes of the files of the directory "row" of the small view,
// which are read one after the other. One more file follows.
var rowSizes = []int{100, 4096, 4097, 1, 8192, 12288, pushMost, pushMost + 1, 5000, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 4095}

// heldName is the file after those, which waits when it is first read.
var heldName = fmt.Sprintf("%02d", len(rowSizes))

// unreadable says of the names in the small view which not to read.
func unreadable(name string) bool {
	return slices.Contains([]string{"slow", "corrupt", "panic-read", heldName}, name)
}

// TestTree compares all that lstat, readlink and read tell of each file with
// the view that the server has.
func TestTree(t *testing.T) {
	for _, tt := range []struct {
		about string
		spec  serverSpec
	}{
		{"own loop", serverSpec{AllowOther: true}},
		{"go-fuse's server", serverSpec{AllowOther: true, OwnServer: true}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			s := startServer(t, tt.spec)
			v := smallView()
			compareTree(t, s.dir, v, overlay.Root)
		})
	}
}

func compareTree(t *testing.T, path string, v *memView, id overlay.NodeID) {
	t.Helper()
	n := v.nodes[id-1]
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Error(err)
		return
	}
	if got := attrOf(&st); got != n.Attr {
		t.Errorf("lstat %s: %+v\nwant %+v", path, got, n.Attr)
	}
	switch n.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		if got, err := os.Readlink(path); len(n.target) >= unix.PathMax {
			if !errors.Is(err, unix.ENAMETOOLONG) {
				t.Errorf("readlink %s: %v, want ENAMETOOLONG", path, err)
			}
		} else if err != nil || got != n.target {
			t.Errorf("readlink %s = %q, %v; want %q", path, got, err, n.target)
		}
	case unix.S_IFREG:
		if name := filepath.Base(path); unreadable(name) {
			return
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, n.data) {
			t.Errorf("read %s: %d bytes, %v; want %d", path, len(got), err, len(n.data))
		}
	case unix.S_IFDIR:
		entries, err := os.ReadDir(path)
		if err != nil {
			t.Error(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		var want []string
		for name, child := range n.children {
			want = append(want, name)
			compareTree(t, path+"/"+name, v, child)
		}
		slices.Sort(want)
		if d := cmp.Diff(want, names); d != "" {
			t.Errorf("readdir %s (-want +got):\n%s", path, d)
		}
	}
}

func timeOf(ts unix.Timespec) toc.Time { return toc.Time{Sec: ts.Sec, Nsec: uint32(ts.Nsec)} }

func attrOf(st *unix.Stat_t) overlay.Attr {
	a := overlay.Attr{
		ID: overlay.NodeID(st.Ino), Mode: st.Mode, Nlink: uint32(st.Nlink), UID: st.Uid, GID: st.Gid,
		Size: st.Size, Blocks: st.Blocks,
		Atime: timeOf(st.Atim), Mtime: timeOf(st.Mtim), Ctime: timeOf(st.Ctim),
	}
	major, minor := unix.Major(st.Rdev), unix.Minor(st.Rdev)
	a.Rdev = minor&0xff | major<<8 | minor&^0xff<<12
	return a
}

// TestSecondPass holds the promise that the kernel asks for nothing twice.
func TestSecondPass(t *testing.T) {
	s := startServer(t, serverSpec{AllowOther: true})
	pass := func() {
		t.Helper()
		err := filepath.WalkDir(s.dir, func(path string, d iofs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if _, err := d.Info(); err != nil {
				return err
			}
			if _, err := os.Stat(path + ".absent"); !errors.Is(err, iofs.ErrNotExist) && !errors.Is(err, syscall.ENAMETOOLONG) {
				return err
			}
			switch name := d.Name(); {
			case d.Type() == iofs.ModeSymlink && name != "link-4096":
				_, err = os.Readlink(path)
			case d.Type().IsRegular() && !unreadable(name):
				_, err = os.ReadFile(path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	count := func() map[string]uint64 {
		m := map[string]uint64{}
		s.ask("requests", &m)
		return m
	}
	pass()
	first := count()
	pass()
	if d := cmp.Diff(first, count()); d != "" {
		t.Errorf("requests of a second pass (-first +both):\n%s", d)
	}
}

func TestErrors(t *testing.T) {
	s := startServer(t, serverSpec{AllowOther: true})
	_, lookup := os.Lstat(s.path("panic"))
	_, read := os.ReadFile(s.path("panic-read"))
	_, corrupt := os.ReadFile(s.path("corrupt"))
	_, absent := os.Lstat(s.path("etc", "absent"))
	_, gofuse := os.Lstat(s.path(".go-fuse-epoll-hack"))
	_, xattr := unix.Getxattr(s.path("attrs"), "user.none", nil)
	for _, tt := range []struct {
		about string
		got   error
		want  error
	}{
		{"a handler panics", lookup, unix.EIO},
		{"a worker panics", read, unix.EIO},
		{"bytes that do not match, with ENOENT as the cause", corrupt, unix.EIO},
		{"no such name", absent, unix.ENOENT},
		{"a name of go-fuse's own", gofuse, unix.ENOENT},
		{"no such attribute", xattr, unix.ENODATA},
		{"create", os.WriteFile(s.path("new"), nil, 0o644), unix.EROFS},
		{"remove", os.Remove(s.path("one")), unix.EROFS},
		{"chmod", os.Chmod(s.path("one"), 0), unix.EROFS},
	} {
		if !errors.Is(tt.got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.about, tt.got, tt.want)
		}
	}
	// The mount lives on, and the log says where it panicked.
	if b, err := os.ReadFile(s.path("etc", "motd")); string(b) != "hello\n" {
		t.Errorf("after the panics: %q, %v", b, err)
	}
	for _, want := range []string{"a name that must not be looked up", "a file that must not be read", "memView", "sha256:00"} {
		s.untilLogged(want)
	}
}

func TestXattr(t *testing.T) {
	s := startServer(t, serverSpec{AllowOther: true})
	path := s.path("attrs")
	for name, want := range map[string]string{"user.a": "one", "user.empty": "", "user.long": strings.Repeat("x", 5000)} {
		size, err := unix.Getxattr(path, name, nil)
		if err != nil || size != len(want) {
			t.Errorf("getxattr(%s) with no buffer = %d, %v; want %d", name, size, err, len(want))
		}
		buf := make([]byte, 6000)
		if n, err := unix.Getxattr(path, name, buf); err != nil || string(buf[:max(n, 0)]) != want {
			t.Errorf("getxattr(%s) = %q, %v", name, buf[:max(n, 0)], err)
		}
	}
	if _, err := unix.Getxattr(path, "user.long", make([]byte, 10)); err != unix.ERANGE {
		t.Errorf("getxattr with a short buffer: %v, want ERANGE", err)
	}
	buf := make([]byte, 100)
	n, err := unix.Listxattr(path, buf)
	if want := "security.capability\x00user.a\x00user.empty\x00user.long\x00"; err != nil || string(buf[:max(n, 0)]) != want {
		t.Errorf("listxattr = %q, %v; want %q", buf[:max(n, 0)], err, want)
	}
	for _, tt := range []struct {
		file, name string
		want       error
	}{
		{"one", "user.a", unix.ENODATA},
		{"one", "security.capability", unix.ENODATA},
		{"attrs", "security.selinux", unix.ENOTSUP}, // no file has one
		{"attrs", aclAccess, unix.ENOTSUP},
	} {
		if _, err := unix.Getxattr(s.path(tt.file), tt.name, nil); err != tt.want {
			t.Errorf("getxattr(%s, %s): %v, want %v", tt.file, tt.name, err, tt.want)
		}
	}
	if n, err := unix.Listxattr(s.path("one"), buf); n != 0 || err != nil {
		t.Errorf("listxattr of a file without = %d, %v", n, err)
	}
}

func TestSeek(t *testing.T) {
	s := startServer(t, serverSpec{AllowOther: true})
	f, err := os.Open(s.path("sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, tt := range []struct {
		off    int64
		whence int
		want   int64
		err    error
	}{
		{0, unix.SEEK_DATA, 10 * holePage, nil},
		{0, unix.SEEK_HOLE, 0, nil},
		{10*holePage + 7, unix.SEEK_DATA, 10*holePage + 7, nil},
		{10*holePage + 7, unix.SEEK_HOLE, 11 * holePage, nil},
		{11 * holePage, unix.SEEK_DATA, 40 * holePage, nil},
		{41 * holePage, unix.SEEK_DATA, 0, unix.ENXIO},
		{sparseSize - 1, unix.SEEK_HOLE, sparseSize - 1, nil},
		{sparseSize, unix.SEEK_HOLE, 0, unix.ENXIO},
		{sparseSize, unix.SEEK_DATA, 0, unix.ENXIO},
		{sparseSize + 1, unix.SEEK_DATA, 0, unix.ENXIO},
	} {
		got, err := f.Seek(tt.off, tt.whence)
		if !errors.Is(err, tt.err) || err == nil && got != tt.want {
			t.Errorf("lseek(%d, %d) = %d, %v; want %d, %v", tt.off, tt.whence, got, err, tt.want, tt.err)
		}
	}
}
