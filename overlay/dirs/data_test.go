package dirs

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/ondisk"
)

// TestXattrs shows the attributes of programs and none of the marks.
func TestXattrs(t *testing.T) {
	prefix := marks().Prefix
	u := union(t, made(t, layer("d/f = 2 \n @ d/f user.mine v \n @ d/f overlay.origin o \n @ d/f overlay.overlay.opaque y \n @ d overlay.impure y \n @ d overlay.opaque y \n @ d user.of d"), "d/g = 1"))
	for path, want := range map[string][]string{
		"/d/f": {prefix + "overlay.opaque", "user.mine"},
		"/d":   {"user.of"},
	} {
		got, err := u.Xattrs(node(t, u, path).ID)
		slices.Sort(got)
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Xattrs(%s) = %q, %v; want %q", path, got, err, want)
		}
	}
	f := node(t, u, "/d/f").ID
	if v, err := u.Xattr(f, prefix+"overlay.opaque"); err != nil || string(v) != "y" {
		t.Errorf("a program's own %soverlay.opaque = %q, %v", prefix, v, err)
	}
	if v, err := u.Xattr(f, prefix+"overlay.origin"); !errors.Is(err, overlay.ErrNoXattr) {
		t.Errorf("a mark is shown: %q, %v", v, err)
	}
}

// TestMetacopy has contents in another layer than metadata.
func TestMetacopy(t *testing.T) {
	needRoot(t)
	layers := made(t,
		"f = \n @ f overlay.metacopy y \n moved = \n @ moved overlay.metacopy y \n @ moved overlay.redirect /d/old \n lost = \n @ lost overlay.metacopy y",
		"f = \n @ f overlay.metacopy y",
		"f = lowest \n d/old = old", layer("other/"))
	size := int64(len("lowest"))
	for _, name := range []string{"f", "moved", "lost"} {
		if err := os.Truncate(filepath.Join("/proc/self/fd", strconv.Itoa(int(layers[0].Dir.Fd())), name), size); err != nil {
			t.Fatal(err)
		}
	}
	u := union(t, layers)
	if got, err := contents(u, node(t, u, "/f").ID); err != nil || got != "lowest" {
		t.Errorf("contents = %q, %v; want those of the lowest layer", got, err)
	}
	if got, err := contents(u, node(t, u, "/moved").ID); err != nil || got != "old" {
		t.Errorf("contents = %q, %v; want those where the redirect leads", got, err)
	}
	if got, err := contents(u, node(t, u, "/lost").ID); !errors.Is(err, errNoContents) {
		t.Errorf("contents = %q, %v; want an error", got, err)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(int(layers[2].Dir.Fd()), "f", &st, 0); err != nil {
		t.Fatal(err)
	}
	if a, err := u.Attr(node(t, u, "/f").ID); err != nil || a.Blocks != st.Blocks {
		t.Errorf("Attr has %d blocks, %v; want the %d of the contents", a.Blocks, err, st.Blocks)
	}
}

// TestMetacopyByUser is one that anybody could have made, who then could read
// what is not his.
func TestMetacopyByUser(t *testing.T) {
	top, low := t.TempDir(), t.TempDir()
	for dir, line := range map[string]string{top: "f =", low: "f = secret"} {
		if err := put(dir, line); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Setxattr(filepath.Join(top, "f"), "user.overlay.metacopy", nil, 0); err != nil {
		t.Fatal(err)
	}
	layers := []Layer{opened(t, top), opened(t, low)}
	for i := range layers {
		layers[i].Marks = ondisk.User
	}
	u := union(t, layers)
	if got, err := contents(u, node(t, u, "/f").ID); !errors.Is(err, unix.EPERM) {
		t.Errorf("contents = %q, %v; want EPERM", got, err)
	}
}

// TestReadAt reads at and past the end of a sparse file.
func TestReadAt(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const hole = 1 << 20
	if _, err := f.WriteAt([]byte("data"), hole); err != nil {
		t.Fatal(err)
	}
	u := union(t, []Layer{opened(t, dir)})
	id := node(t, u, "/f").ID
	for _, tt := range []struct {
		off  int64
		n    int
		want string
		err  error
	}{
		{0, 3, "\x00\x00\x00", nil}, {hole, 4, "data", nil}, {hole + 2, 9, "ta", io.EOF}, {hole + 4, 1, "", io.EOF}, {1 << 40, 1, "", io.EOF}, {-1, 1, "", unix.EINVAL},
	} {
		p := bytes.Repeat([]byte{'#'}, tt.n)
		n, err := u.ReadAt(t.Context(), id, p, tt.off)
		if string(p[:n]) != tt.want || err != tt.err {
			t.Errorf("ReadAt(%d, %d bytes) = %q, %v; want %q, %v", tt.off, tt.n, p[:n], err, tt.want, tt.err)
		}
	}
	if off, err := u.SeekData(id, 5); err != nil || off != hole {
		t.Errorf("SeekData(5) = %d, %v; want %d", off, err, hole)
	}
	if off, err := u.SeekHole(id, hole+1); err != nil || off != hole+4 {
		t.Errorf("SeekHole = %d, %v; want the end, %d", off, err, hole+4)
	}
	if _, err := u.SeekData(id, hole+4); err != overlay.ErrPastEnd {
		t.Errorf("SeekData at the end: %v, want ErrPastEnd", err)
	}
	if !u.Cached(id, hole, 4) {
		t.Errorf("what was read a moment ago is not cached")
	}
	if _, err := u.ReadAt(t.Context(), overlay.Root, make([]byte, 1), 0); err != unix.EISDIR {
		t.Errorf("ReadAt of a directory: %v, want EISDIR", err)
	}
	if _, err := u.Lookup(id, "x"); err != overlay.ErrNotDir {
		t.Errorf("Lookup in a file: %v, want ErrNotDir", err)
	}
}
