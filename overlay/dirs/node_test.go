package dirs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"mica/overlay"
)

// all are three layers with what makes numbers hard: hard links, merged and
// redirected directories, names that are hidden.
var all = []layer{
	"a/x = 3 \n moved/n = 3 \n @ moved overlay.redirect /b/dir \n ! b/dir \n l1 = link \n d/l2 => l1",
	"a/y = 2 \n b/dir/m = 2 \n b/dir/deep/f = 2 \n a/s -> x \n k/l = 2 \n k/m => k/l \n k/n => k/l",
	"a/z = 1 \n b/dir/deep/g = 1 \n b/other = 1 \n ! k/n",
}

// numbers gives the nodes of all paths of a union.
func numbersOf(t *testing.T, u *Union) map[string]overlay.Attr {
	t.Helper()
	nodes := map[string]overlay.Attr{"/": node(t, u, "")}
	var in func(dir overlay.NodeID, path string)
	in = func(dir overlay.NodeID, path string) {
		err := u.ReadDir(dir, 0, func(name string, a overlay.Attr, _ uint64) bool {
			nodes[path+name] = a
			if a.Mode&unix.S_IFMT == unix.S_IFDIR {
				in(a.ID, path+name+"/")
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	in(overlay.Root, "/")
	return nodes
}

// TestNumbers holds what docs/ARCHITECTURE.md says of node numbers.
func TestNumbers(t *testing.T) {
	layers := made(t, all...)
	nodes := numbersOf(t, union(t, layers))
	for path, a := range nodes {
		if a.ID != overlay.Root && (a.ID&overlay.UpperNodes != 0 || a.ID>>systemShift != 1) {
			t.Errorf("%s has number %#x, want one of file system 1", path, a.ID)
		}
	}
	seen := map[overlay.NodeID]string{}
	for path, a := range nodes {
		if other := seen[a.ID]; other != "" && nodes[other].Nlink < 2 {
			t.Errorf("%s and %s have one number", path, other)
		}
		seen[a.ID] = path
	}
	for _, same := range [][2]string{{"/l1", "/d/l2"}, {"/k/l", "/k/m"}} {
		if nodes[same[0]].ID != nodes[same[1]].ID {
			t.Errorf("%s and %s are one file of two numbers", same[0], same[1])
		}
	}
	for path, in := range map[string]string{"/moved": "moved", "/a": "a", "/d": "d"} {
		var st unix.Stat_t
		if err := unix.Fstatat(int(layers[0].Dir.Fd()), in, &st, 0); err != nil {
			t.Fatal(err)
		}
		if got := nodes[path].ID; got != overlay.NodeID(1<<systemShift|st.Ino) {
			t.Errorf("%s has number %#x, its topmost directory %#x", path, got, st.Ino)
		}
	}
	if again := numbersOf(t, union(t, append([]Layer{made(t, "new = 4")[0]}, layers...))); again["/moved"].ID != nodes["/moved"].ID {
		t.Errorf("a layer on top has changed numbers")
	}
}

// TestOddNumbers has inodes whose number cannot be part of a node's.
func TestOddNumbers(t *testing.T) {
	n := numbers{systems: map[uint64]uint64{7: 1, 8: 2}, odd: map[overlay.NodeID]oddInode{}}
	seen := map[overlay.NodeID]string{}
	for about, in := range map[string][2]uint64{
		"a usual one": {7, 5}, "the same of another file system": {8, 5}, "the last that fits": {7, inodeLimit - 1},
		"the first that does not": {7, inodeLimit}, "one like those of uppers": {7, uint64(overlay.UpperNodes) | 5},
		"the largest": {8, 1<<64 - 1}, "of no layer's file system": {9, 5}, "of another such": {10, 5},
	} {
		id := n.of(in[0], in[1])
		if again := n.of(in[0], in[1]); again != id {
			t.Errorf("%s: %#x, then %#x", about, id, again)
		}
		if other, ok := seen[id]; ok || id&overlay.UpperNodes != 0 {
			t.Errorf("%s: %#x, as %q", about, id, other)
		}
		seen[id] = about
	}
}

// TestCollision has two inodes with one hash.
func TestCollision(t *testing.T) {
	n := numbers{odd: map[overlay.NodeID]oddInode{}}
	first := n.of(1, 1)
	n.odd[first] = oddInode{dev: 2, ino: 2}
	if id := n.of(1, 1); id == first {
		t.Errorf("two inodes have the number %#x", id)
	}
}

// TestNumbersAlone asks another server, which was told nothing but a number.
func TestNumbersAlone(t *testing.T) {
	layers := made(t, all...)
	first := union(t, layers)
	for path, a := range numbersOf(t, first) {
		u := union(t, layers)
		if got, err := u.Attr(a.ID); err != nil || got != a {
			t.Errorf("%s: Attr = %+v, %v; want %+v", path, got, err, a)
		}
		want, err := first.Links(a.ID)
		if err != nil {
			t.Fatal(err)
		}
		got, err := union(t, layers).Links(a.ID)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: Links = %v, %v; want %v", path, got, err, want)
		}
		switch a.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			var names, wantNames []string
			list := func(to *[]string) func(string, overlay.Attr, uint64) bool {
				return func(name string, a overlay.Attr, next uint64) bool {
					*to = append(*to, fmt.Sprint(name, a.ID, next))
					return true
				}
			}
			if err := errors.Join(first.ReadDir(a.ID, 0, list(&wantNames)), union(t, layers).ReadDir(a.ID, 0, list(&names))); err != nil || !slices.Equal(names, wantNames) {
				t.Errorf("%s: ReadDir = %v, %v; want %v", path, names, err, wantNames)
			}
		case unix.S_IFREG:
			w, _ := contents(first, a.ID)
			if got, err := contents(union(t, layers), a.ID); err != nil || got != w {
				t.Errorf("%s: contents = %q, %v; want %q", path, got, err, w)
			}
		}
	}
	for _, id := range []overlay.NodeID{0, 2, 1<<systemShift | 1, 2 << systemShift, overlay.UpperNodes | 5, oddNode | 7} {
		if a, err := first.Attr(id); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("Attr(%#x) = %+v, %v; want none", id, a, err)
		}
	}
}

// TestLinks counts the names that are seen.
func TestLinks(t *testing.T) {
	u := union(t, made(t, all...))
	for path, want := range map[string][]string{
		"/":             nil,
		"/moved/deep":   {"/moved/deep"},
		"/moved/deep/g": {"/moved/deep/g"},
		"/d/l2":         {"/d/l2", "/l1"},
		"/k/l":          {"/k/l", "/k/m", "/k/n"},
	} {
		links, err := u.Links(node(t, u, path).ID)
		var got []string
		for _, l := range links {
			dir, pathErr := u.Path(l.Dir)
			if pathErr != nil {
				t.Fatal(pathErr)
			}
			got = append(got, filepath.Join(dir, l.Name))
		}
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Links(%s) = %q, %v; want %q", path, got, err, want)
		}
	}
}

// TestSeenTwice has one directory under two names, which no tool makes. Each has
// to be a directory of its own, or the kernel would move one to the other.
func TestSeenTwice(t *testing.T) {
	u := union(t, made(t, "p/ \n q/ \n @ p overlay.redirect /old \n @ q overlay.redirect /old", "old/d/e/f = 1"))
	shown(t, u)
	seen := map[overlay.NodeID]string{}
	for path, a := range numbersOf(t, u) {
		if other, ok := seen[a.ID]; ok && a.Mode&unix.S_IFMT == unix.S_IFDIR {
			t.Errorf("%s and %s have one number", path, other)
		}
		seen[a.ID] = path
	}
}

// TestForgotten goes over more files than are kept in mind.
func TestForgotten(t *testing.T) {
	u := union(t, made(t, all...))
	nodes := numbersOf(t, u)
	u.mu.Lock()
	u.known = recent{now: map[overlay.NodeID]spot{}}
	u.mu.Unlock()
	for path, want := range nodes {
		if got, err := u.Attr(want.ID); err != nil || got != want {
			t.Errorf("%s: Attr = %+v, %v; want %+v", path, got, err, want)
		}
	}
}

// TestDescriptors reads many files in many directories at once with few
// descriptors.
func TestDescriptors(t *testing.T) {
	const dirs, files = 60, 10
	root := t.TempDir()
	for d := range dirs {
		for f := range files {
			if err := put(root, fmt.Sprintf("d%d/e/f%d = %d", d, f, d*files+f)); err != nil {
				t.Fatal(err)
			}
		}
	}
	u := union(t, []Layer{opened(t, root)})
	u.folders.Most, u.files.Most = 4, 4
	before := openNow(t)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range dirs * files {
				n := (i*7 + w*31) % (dirs * files)
				a, err := walk(u, fmt.Sprintf("d%d/e/f%d", n/files, n%files))
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := contents(u, a.ID); err != nil || got != strconv.Itoa(n) {
					t.Errorf("file %d has %q, %v", n, got, err)
				}
			}
		})
	}
	wg.Wait()
	if more := openNow(t) - before; more > 8 {
		t.Errorf("%d descriptors are kept, want 8", more)
	}
}

func openNow(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}
