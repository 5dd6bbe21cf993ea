package overlay

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
)

// paths that Stat and Lstat are asked for in each tree.
var resolvePaths = []string{
	"", "/", "//", ".", "..", "/..", "../..", "a", "/a", "a/", "a/.", "a/..", "a/../..", "a//f", "./a/./f",
	"a/f", "a/f/", "a/f/.", "a/f/..", "a/f/x", "none", "none/", "none/..", "a/none", "a/none/..",
	"abs", "abs/", "abs/f", "abs/..", "rel", "rel/f", "up", "up/", "up/a/f", "deep", "deep/f", "deep/..",
	"file", "file/", "file/..", "dangling", "dangling/", "dangling/x", "loop", "loop/", "loop/x", "self", "self/x",
	"slashed", "slashed/f", "slashfile", "dots", "dots/f", "chain0", "chain39", "chain40", "chain39/f", "chain40/f",
	"a/b/out", "a/b/out/a/f", "a/b/parent", "a/b/parent/f",
}

func resolveTree() layer {
	l := layer{
		dir("a", 0o755), file("a/f", 1), dir("a/b", 0o755),
		symlink("abs", "/a"), symlink("rel", "a"), symlink("up", ".."), symlink("deep", "a/b/../../abs/b"),
		symlink("file", "a/f"), symlink("dangling", "nowhere/at/all"),
		symlink("loop", "loop2"), symlink("loop2", "loop"), symlink("self", "self"),
		symlink("slashed", "a/"), symlink("slashfile", "a/f/"), symlink("dots", "./.././a/."),
		symlink("a/b/out", "../../../../.."), symlink("a/b/parent", ".."),
		symlink("chain0", "a"),
	}
	for i := range 40 {
		l = append(l, symlink(fmt.Sprintf("chain%d", i+1), fmt.Sprintf("chain%d", i)))
	}
	return l
}

// TestStatAsTheKernel compares with openat2(2), RESOLVE_IN_ROOT, over the same
// tree in a directory.
func TestStatAsTheKernel(t *testing.T) {
	compareWithKernel(t, resolveTree(), resolvePaths)
}

// TestStatRandom does so for trees and paths made at random.
func TestStatRandom(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		element := func() string { return []string{"a", "b", "c", "d", "..", ".", ""}[rnd.IntN(7)] }
		path := func() string {
			var p []string
			for range rnd.IntN(5) + 1 {
				p = append(p, element())
			}
			return strings.Join(p, "/")
		}
		dirs := []string{""}
		seen := map[string]bool{}
		var l layer
		for range 30 {
			name := dirs[rnd.IntN(len(dirs))] + []string{"a", "b", "c", "d"}[rnd.IntN(4)]
			if seen[name] {
				continue
			}
			seen[name] = true
			switch rnd.IntN(4) {
			case 0:
				l = append(l, file(name, 1))
			case 1, 2:
				target := path()
				if target == "" {
					target = "/"
				}
				l = append(l, symlink(name, target))
			case 3:
				l = append(l, dir(name, 0o755))
				dirs = append(dirs, name+"/")
			}
		}
		var paths []string
		for range 200 {
			paths = append(paths, path())
		}
		if compareWithKernel(t, l, paths); t.Failed() {
			t.Fatalf("seed %d, tree %v", seed, l)
		}
	}
}

func compareWithKernel(t *testing.T, l layer, paths []string) {
	t.Helper()
	tree, err := merge(t, l)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	names := map[uint64]NodeID{inodeOf(t, root): Root}
	for _, e := range l {
		p := filepath.Join(root, e.Path)
		switch e.Type {
		case toc.Dir:
			err = os.Mkdir(p, 0o755)
		case toc.Regular:
			err = os.WriteFile(p, nil, 0o644)
		case toc.Symlink:
			err = os.Symlink(e.Link, p)
		}
		if err != nil {
			t.Fatal(err)
		}
		a, err := tree.Lstat(e.Path)
		if err != nil {
			t.Fatalf("Lstat(%q): %v", e.Path, err)
		}
		names[inodeOf(t, p)] = a.ID
	}
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, path := range paths {
		for _, way := range []struct {
			name  string
			flags uint64
			call  func(string) (Attr, error)
		}{{"Stat", 0, tree.Stat}, {"Lstat", unix.O_NOFOLLOW, tree.Lstat}} {
			got, err := way.call(path)
			want, wantErr := kernelStat(t, fd, path, way.flags, names)
			if got.ID != want || !sameErrno(err, wantErr) {
				t.Errorf("%s(%q) = node %d, %v; the kernel says %d, %v", way.name, path, got.ID, err, want, wantErr)
			}
		}
	}
}

func kernelStat(t *testing.T, root int, path string, flags uint64, names map[uint64]NodeID) (NodeID, error) {
	t.Helper()
	if path == "" {
		return Root, nil // where we mean to differ: the kernel has no empty paths
	}
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | flags, Resolve: unix.RESOLVE_IN_ROOT}
	fd, err := unix.Openat2(root, path, how)
	for errors.Is(err, unix.EAGAIN) {
		// Something, somewhere, was renamed or mounted while ".." was looked at.
		fd, err = unix.Openat2(root, path, how)
	}
	if errors.Is(err, unix.ENOSYS) {
		t.Skip("openat2 needs Linux 5.6")
	}
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return names[st.Ino], nil
}

func sameErrno(got, want error) bool {
	if errors.Is(want, unix.ENOTDIR) {
		return errors.Is(got, ErrNotDir)
	}
	return errors.Is(got, want)
}

func inodeOf(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// TestStatEmptyTarget: a tar can hold a symlink to nothing, a disk cannot.
func TestStatEmptyTarget(t *testing.T) {
	tree, err := merge(t, layer{symlink("nil", "")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Stat("nil"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Stat of a symlink to %q: %v, want ENOENT", "", err)
	}
	if _, err := tree.Lstat("nil"); err != nil {
		t.Errorf("Lstat: %v", err)
	}
}
