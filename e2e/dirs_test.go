package e2e

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDirHistories mounts random layers as directories, with each mark that
// overlayfs knows, by mica and by the kernel's overlayfs: the trees must be the
// same. Those that are tried lie side by side, as in TestHistories.
func TestDirHistories(t *testing.T) {
	needFUSE(t)
	needRoot(t)
	count := envInt(t, historiesEnv, 200)
	seed := envInt(t, historySeedEnv, 1)
	const levels = 5
	h := newHost(t)
	var dirs []string // bottom first
	for l := range levels {
		dir := filepath.Join(h.dir, fmt.Sprint("l", l))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	for i := range count {
		r := rand.New(rand.NewPCG(uint64(seed), uint64(i)))
		name := historyDir(i)
		for l, entries := range newHistory(r) {
			if err := putHistory(r, dirs[l], name, entries); err != nil {
				t.Fatalf("seed %d, history %d: %v", seed, i, err)
			}
		}
	}
	slices.Reverse(dirs)
	lowerdir := "lowerdir=" + strings.Join(dirs, ":")
	want := filepath.Join(h.dir, "kernel")
	got := filepath.Join(h.dir, "mica")
	if err := errors.Join(os.Mkdir(want, 0o755), os.Mkdir(got, 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("overlay", want, "overlay", unix.MS_RDONLY, lowerdir+",redirect_dir=follow,metacopy=on"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(want, 0)
	h.mica("mount", "-o", lowerdir, got)
	defer h.umount(got)
	differ := 0
	for i := range count {
		name := historyDir(i)
		err := compareAsFarAsRead(t, filepath.Join(want, name), filepath.Join(got, name))
		if err == nil {
			continue
		}
		if differ++; differ <= 3 {
			t.Errorf("seed %d, history %d:\n%s%v", seed, i, layersOf(t, dirs, name), err)
		}
	}
	if differ > 0 {
		t.Errorf("%d of %d histories differ", differ, count)
	}
}

// TestMixedLayers has an image between directories, by mica in one mount, and by
// the kernel's overlayfs over a mount of the image.
func TestMixedLayers(t *testing.T) {
	needFUSE(t)
	needRoot(t)
	h := newHost(t)
	top, low := filepath.Join(h.dir, "top"), filepath.Join(h.dir, "low")
	for dir, entries := range map[string][]entry{
		top: {
			file("etc/motd", "changed\n"), deleted("bin/wall"), dir("merged"), deleted("merged/stays"), dir("data"), opaque("data"),
			file("only/above", "1"), symlink("names", "etc"),
		},
		low: {file("etc/below", "2"), dir("merged"), file("merged/below", "3"), dir("data"), file("data/hidden", "4"), file("only/below", "5")},
	} {
		if err := errors.Join(os.Mkdir(dir, 0o755), putLayer(dir, entries, true)); err != nil {
			t.Fatal(err)
		}
	}
	layout := filepath.Join(h.dir, "oci")
	if _, err := nasty().writeOCI(layout, gzipped); err != nil {
		t.Fatal(err)
	}
	want, got, img := filepath.Join(h.dir, "kernel"), filepath.Join(h.dir, "mica"), h.mount(layout)
	defer h.umount(img)
	if err := errors.Join(os.Mkdir(want, 0o755), os.Mkdir(got, 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("overlay", want, "overlay", unix.MS_RDONLY, "lowerdir="+strings.Join([]string{top, img, low}, ":")); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(want, 0)
	h.mica("mount", "-o", fmt.Sprintf(`lowerdir=%s:oci\:%s:%s`, top, layout, low), got)
	defer h.umount(got)
	sameTree(t, mustReadTree(t, want), mustReadTree(t, got))
}

// compareAsFarAsRead compares trees in which some names are errors.
func compareAsFarAsRead(t *testing.T, want, got string) error {
	t.Helper()
	const failed = "error: "
	read := func(root string) tree {
		tr, err := readTreeOr(root, func(err error) (node, error) {
			if errnoOf(err) == 0 {
				return node{}, err
			}
			return node{Target: failed + unix.ErrnoName(errnoOf(err))}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return tr
	}
	w, g := read(want), read(got)
	// Contents that are nowhere: overlayfs does not find the file, or does not list
	// it, here it cannot be read. A whiteout that is a file, in a directory that is
	// in one layer only: overlayfs lists it, and does not find it.
	bad := func(tr tree, p string) bool {
		n, ok := tr[p]
		return !ok || strings.HasPrefix(n.Target, failed)
	}
	for _, p := range slices.Concat(slices.Collect(maps.Keys(w)), slices.Collect(maps.Keys(g))) {
		if bad(w, p) && bad(g, p) {
			delete(w, p)
			delete(g, p)
		}
	}
	return compare(w, g)
}

// errnoOf gives the number of a failed system call; 0 is none.
func errnoOf(err error) unix.Errno {
	var num unix.Errno
	errors.As(err, &num)
	return num
}

// putHistory puts the entries of a layer below a directory of it, as many as can
// be: a hard link to a lower layer cannot, nor what is below a whiteout. Then it adds marks that no tar has.
func putHistory(r *rand.Rand, layer, name string, entries []entry) error {
	root := filepath.Join(layer, name)
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	for _, e := range entries {
		switch err := e.put(root, true); errnoOf(err) {
		case 0, unix.ENOENT, unix.EEXIST, unix.ENOTDIR:
		default:
			return fmt.Errorf("%s: %w", e.h.Name, err)
		}
	}
	return filepath.WalkDir(root, func(p string, d iofs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		switch {
		case d.IsDir() && r.IntN(4) == 0:
			return redirect(r, p, name)
		case d.Type().IsRegular() && r.IntN(8) == 0 && alone(p):
			return errors.Join(unix.Setxattr(p, "trusted.overlay.metacopy", nil, 0), redirect(r, p, name))
		case d.Type()&iofs.ModeCharDevice != 0 && r.IntN(2) == 0:
			return whiteoutFile(p)
		}
		return nil
	})
}

// alone reports whether a file has one name. Of one with several overlayfs may
// find other contents by each, as it takes them for several files.
func alone(p string) bool {
	var st unix.Stat_t
	return unix.Lstat(p, &st) == nil && st.Nlink == 1
}

// redirect sends a directory or a file, sometimes, somewhere else.
func redirect(r *rand.Rand, p, name string) error {
	to := string(rune('a' + r.IntN(4)))
	switch r.IntN(3) {
	case 0:
		return nil
	case 1:
		to = path.Join("/", name, randomPath(r))
	}
	return unix.Setxattr(p, "trusted.overlay.redirect", []byte(to), 0)
}

// whiteoutFile makes a whiteout one of the form that is a file.
func whiteoutFile(p string) error {
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil || st.Rdev != 0 {
		return err
	}
	dir := filepath.Dir(p)
	if opaque, err := xattrs(dir); err != nil || strings.Contains(opaque, "overlay.opaque") {
		return err
	}
	if err := errors.Join(os.Remove(p), os.WriteFile(p, nil, 0o600)); err != nil {
		return err
	}
	return errors.Join(unix.Setxattr(p, "trusted.overlay.whiteout", nil, 0), unix.Setxattr(dir, "trusted.overlay.opaque", []byte("x"), 0))
}

// layersOf lists a directory of each layer, topmost first, with the attributes.
func layersOf(t *testing.T, dirs []string, name string) string {
	t.Helper()
	var b strings.Builder
	for _, dir := range dirs {
		fmt.Fprintf(&b, "%s:\n", filepath.Base(dir))
		root := filepath.Join(dir, name)
		tr, err := readTree(root)
		if err != nil && !errors.Is(err, iofs.ErrNotExist) {
			t.Fatal(err)
		}
		for p, n := range tr {
			fmt.Fprintf(&b, "\t%-8s %#o %d %q %s\n", p, n.Mode, n.Size, n.Target, strings.ReplaceAll(n.Xattrs, "\n", " "))
		}
	}
	return b.String()
}
