package overlay

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
)

func openDirectory(t *testing.T, path string) *os.File {
	t.Helper()
	d, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// TestExtractAll: as root, with Archive, the copy is the tree.
func TestExtractAll(t *testing.T) {
	needRoot(t)
	v := viewOf(t, allKinds())
	want := describe(t, v, Root)
	root := t.TempDir()
	if err := v.Extract(context.Background(), Root, openDirectory(t, root), "copy", ExtractOptions{Archive: true}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, describeDir(t, filepath.Join(root, "copy"))); d != "" {
		t.Errorf("copy (-image +disk):\n%s", d)
	}
	// Once more over itself, and into another that is there: still the same.
	if err := v.Extract(context.Background(), Root, openDirectory(t, root), "copy", ExtractOptions{Archive: true}); err != nil {
		t.Fatal(err)
	}
	into := t.TempDir()
	if err := v.ExtractInto(context.Background(), Root, openDirectory(t, into), ExtractOptions{Archive: true}); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Join(root, "copy"), into} {
		if d := cmp.Diff(want, describeDir(t, dir)); d != "" {
			t.Errorf("copy in %s (-image +disk):\n%s", dir, d)
		}
	}
}

// TestExtractPlain: without Archive files are the caller's, and none runs with
// the rights of another.
func TestExtractPlain(t *testing.T) {
	v := viewOf(t, layer{
		{Path: "d", Type: toc.Dir, Mode: 0o3775, UID: 5, Mtime: toc.Time{Sec: 10, Nsec: 5}},
		{Path: "d/su", Type: toc.Regular, Mode: 0o6711, Size: 5, UID: 5, GID: 6, Mtime: toc.Time{Sec: 11, Nsec: 6}, Xattrs: []toc.Xattr{{Name: "user.a", Value: []byte("b")}}},
		{Path: "d/su2", Type: toc.Hardlink, Link: "d/su"},
		{Path: "d/ro", Type: toc.Dir, Mode: 0o555},
		{Path: "d/ro/f", Type: toc.Regular, Mode: 0, Size: 1},
		{Path: "d/l", Type: toc.Symlink, Link: "nowhere", UID: 7, Mtime: toc.Time{Sec: 12}},
	})
	a, err := v.Stat("d")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := v.Extract(context.Background(), a.ID, openDirectory(t, root), "e", ExtractOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(root, "e/ro"), 0o755) })
	for _, tt := range []struct {
		path  string
		mode  uint32
		mtime toc.Time
		links uint64
	}{
		{"e", unix.S_IFDIR | 0o1775, toc.Time{Sec: 10, Nsec: 5}, 3},
		{"e/su", unix.S_IFREG | 0o711, toc.Time{Sec: 11, Nsec: 6}, 2},
		{"e/su2", unix.S_IFREG | 0o711, toc.Time{Sec: 11, Nsec: 6}, 2},
		{"e/ro", unix.S_IFDIR | 0o555, toc.Time{}, 2},
		{"e/ro/f", unix.S_IFREG, toc.Time{}, 1},
		{"e/l", unix.S_IFLNK | 0o777, toc.Time{Sec: 12}, 1},
	} {
		p := filepath.Join(root, tt.path)
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			t.Fatal(err)
		}
		mtime := toc.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)}
		if st.Mode != tt.mode || mtime != tt.mtime || uint64(st.Nlink) != tt.links || int(st.Uid) != os.Geteuid() || int(st.Gid) != os.Getegid() {
			t.Errorf("%s: mode %o, %d:%d, %d links, %v; want %o, the caller, %d, %v", tt.path, st.Mode, st.Uid, st.Gid, st.Nlink, mtime, tt.mode, tt.links, tt.mtime)
		}
		if xs := xattrsOf(t, p); len(xs) > 0 {
			t.Errorf("%s: attributes %v, want none", tt.path, xs)
		}
	}
}

// TestExtractStaysInside: neither what an image holds nor what lies at the
// destination leads a copy elsewhere.
func TestExtractStaysInside(t *testing.T) {
	v := viewOf(t, layer{
		dir("d", 0o755), file("d/f", 3), dir("d/sub", 0o755), file("d/sub/g", 3), file("d/h", 3), link("d/h2", "d/h"),
	})
	a, err := v.Stat("d")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		about, at string // a symlink to the outside lies there before
		failed    []string
	}{
		{about: "a link for a file is replaced", at: "f"},
		{about: "a link for a directory is refused", at: "sub", failed: []string{"sub"}},
		{about: "a link for a hard link is replaced", at: "h2"},
		{about: "a link for its first name is replaced", at: "h"},
	} {
		for _, target := range []string{"file", "dir", "nothing"} {
			root, outside := t.TempDir(), t.TempDir()
			if err := os.WriteFile(filepath.Join(outside, "file"), []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Join(outside, "dir"), 0o700); err != nil {
				t.Fatal(err)
			}
			before := describeDir(t, outside)
			if err := os.Symlink(filepath.Join(outside, target), filepath.Join(root, tt.at)); err != nil {
				t.Fatal(err)
			}
			var failed []string
			err := v.ExtractInto(context.Background(), a.ID, openDirectory(t, root), ExtractOptions{Failed: func(path string, err error) error {
				failed = append(failed, path)
				return nil
			}})
			if d := cmp.Diff(tt.failed, failed); d != "" || err != nil {
				t.Errorf("%s, to %s: error %v, failures (-want +got):\n%s", tt.about, target, err, d)
			}
			if d := cmp.Diff(before, describeDir(t, outside)); d != "" {
				t.Errorf("%s, to %s: outside (-before +after):\n%s", tt.about, target, d)
			}
			if b, err := os.ReadFile(filepath.Join(root, "h2")); err != nil || string(b) != "d/h" {
				t.Errorf("%s: h2 = %q, %v", tt.about, b, err)
			}
		}
	}
}

// TestExtractForgedNames: only a forged tree file has names that are none.
func TestExtractForgedNames(t *testing.T) {
	for _, name := range []string{"", ".", "..", "../x", "a/b", "a\x00b"} {
		if checkName(name) == nil {
			t.Errorf("checkName(%q) = nil", name)
		}
	}
}

// TestExtractOver: what is there is replaced by what is of its kind, a
// directory never by a file.
func TestExtractOver(t *testing.T) {
	v := viewOf(t, layer{dir("d", 0o750), file("d/f", 3), dir("d/sub", 0o700), file("d/sub/g", 3), file("d/x", 3)})
	a, err := v.Stat("d")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, d := range []string{"d", "d/f", "d/sub", "d/keep"} {
		if err := os.Mkdir(filepath.Join(root, d), 0o711); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"d/x", "d/sub/g", "d/sub/other"} {
		if err := os.WriteFile(filepath.Join(root, f), []byte("long before"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	failed := map[string]error{}
	o := ExtractOptions{Failed: func(path string, err error) error { failed[path] = err; return nil }}
	if err := v.Extract(context.Background(), a.ID, openDirectory(t, root), "d", o); err != nil {
		t.Fatal(err)
	}
	if len(failed) != 1 || !errors.Is(failed["f"], unix.EISDIR) {
		t.Errorf("failures %v, want f: EISDIR", failed)
	}
	for path, want := range map[string]string{"d/x": "d/x", "d/sub/g": "d/s", "d/sub/other": "long before"} {
		if got, err := os.ReadFile(filepath.Join(root, path)); string(got) != want {
			t.Errorf("%s = %q, %v; want %q", path, got, err, want)
		}
	}
	for _, path := range []string{"d", "d/sub", "d/keep"} {
		if st, err := os.Stat(filepath.Join(root, path)); err != nil || st.Mode().Perm() != 0o711 {
			t.Errorf("%s: %v, %v; a directory that was there keeps its mode", path, st.Mode(), err)
		}
	}
}

// TestExtractFailures: one file that cannot be read leaves nothing behind and
// does not keep the others; a full disk ends it all; so does an interrupt.
func TestExtractFailures(t *testing.T) {
	l := layer{file("a", 3), file("b", 3), file("c", 3)}
	v := viewOf(t, l)
	broken := errors.New("broken")
	v.layers[0] = failingLayer{v.layers[0].(memoryLayer), 3, broken}
	names := func(dir string) (names []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	var failed []string
	root := t.TempDir()
	err := v.ExtractInto(context.Background(), Root, openDirectory(t, root), ExtractOptions{Failed: func(path string, err error) error {
		failed = append(failed, path)
		if !errors.Is(err, broken) {
			t.Errorf("%s: %v, want %v", path, err, broken)
		}
		return nil
	}})
	if got := names(root); err != nil || !slices.Equal(failed, []string{"b"}) || !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("%v; failed %q, there is %q; want b to fail, a and c to be there", err, failed, got)
	}
	root = t.TempDir()
	if err := v.ExtractInto(context.Background(), Root, openDirectory(t, root), ExtractOptions{}); !errors.Is(err, broken) || !slices.Equal(names(root), []string{"a"}) {
		t.Errorf("without Failed: %v, there is %q; want %v, a alone", err, names(root), broken)
	}
	v.layers[0] = failingLayer{v.layers[0].(failingLayer).memoryLayer, 0, unix.ENOSPC}
	never := func(path string, err error) error { t.Errorf("Failed(%q, %v)", path, err); return nil }
	if err := v.ExtractInto(context.Background(), Root, openDirectory(t, t.TempDir()), ExtractOptions{Failed: never}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("disk full: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := v.ExtractInto(ctx, Root, openDirectory(t, t.TempDir()), ExtractOptions{Failed: never}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// A failingLayer cannot be read at one offset.
type failingLayer struct {
	memoryLayer
	at  int64
	err error
}

func (l failingLayer) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off == l.at {
		return 0, l.err
	}
	return l.memoryLayer.ReadAt(ctx, p, off)
}

// TestExtractOne: single files, and trees deeper than a path can be long.
func TestExtractOne(t *testing.T) {
	deep := strings.Repeat("d/", 2100)
	v := viewOf(t, layer{file("f", 3), symlink("l", "f"), file(deep+"f", 3), link(deep+"f2", deep+"f")})
	root := t.TempDir()
	for _, path := range []string{"f", "l", "d"} {
		a, err := v.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Extract(context.Background(), a.ID, openDirectory(t, root), "my "+path, ExtractOptions{}); err != nil {
			t.Errorf("Extract %s: %v", path, err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(root, "my f")); string(b) != "fff" {
		t.Errorf("f = %q, %v", b, err)
	}
	if target, err := os.Readlink(filepath.Join(root, "my l")); target != "f" {
		t.Errorf("l -> %q, %v", target, err)
	}
	if a, err := v.Stat("f"); err != nil {
		t.Error(err)
	} else if err := v.ExtractInto(context.Background(), a.ID, openDirectory(t, root), ExtractOptions{}); err != ErrNotDir {
		t.Errorf("ExtractInto of a file: %v, want ErrNotDir", err)
	}
}
