package e2e

import (
	"archive/tar"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// A history is what the layers of an image do, one after the other, in one
// directory of it.
type history [][]entry

// historiesEnv says how many histories to try, historySeedEnv with which seed.
const (
	historiesEnv   = "MICA_TEST_HISTORIES"
	historySeedEnv = "MICA_TEST_SEED"
)

// historySeed is that of the first of TestHistories' runs; go test -count=N
// makes N runs in one process, each of other histories.
var historySeed atomic.Int64

// TestHistories mounts random histories and compares with what umoci unpacks.
// They lie side by side in one image; one that differs is tried alone and made
// as small as it can be.
func TestHistories(t *testing.T) {
	needFUSE(t)
	count := envInt(t, historiesEnv, 100)
	seed := envInt(t, historySeedEnv, 1) + int(historySeed.Add(1)) - 1
	histories := make([]history, count)
	for i := range histories {
		histories[i] = newHistory(rand.New(rand.NewPCG(uint64(seed), uint64(i))))
	}
	wantAll, gotAll := applied(t, histories)
	want, got := wantAll.byDir(), gotAll.byDir()
	differ := 0
	for i := range histories {
		name := historyDir(i)
		if compare(want[name], got[name]) == nil {
			continue
		}
		if differ++; differ > 3 {
			continue // three are enough to look at
		}
		small := shrink(t, histories[i])
		want, got := applied(t, []history{small})
		t.Errorf("seed %d, history %d:\n%v%v", seed, i, small, compare(want, got))
	}
	if differ > 0 {
		t.Errorf("%d of %d histories differ", differ, count)
	}
}

func envInt(t *testing.T, name string, otherwise int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func historyDir(i int) string { return fmt.Sprintf("h%05d", i) }

// byDir cuts a tree into those below each directory of its root.
func (tr tree) byDir() map[string]tree {
	parts := map[string]tree{}
	for p, n := range tr {
		dir, _, _ := strings.Cut(p, "/")
		if parts[dir] == nil {
			parts[dir] = tree{}
		}
		parts[dir][p] = n
	}
	return parts
}

// applied gives the tree of an image of these histories by umoci, and by mica.
func applied(t *testing.T, histories []history) (want, got tree) {
	t.Helper()
	layers := 0
	for _, h := range histories {
		layers = max(layers, len(h))
	}
	var im image
	for n := range layers {
		var entries []entry
		for i, h := range histories {
			if n == 0 {
				entries = append(entries, dir(historyDir(i)))
			}
			if n < len(h) {
				for _, e := range h[n] {
					entries = append(entries, e.in(historyDir(i)))
				}
			}
		}
		im = append(im, layerOf(entries...))
	}
	h := newHost(t)
	layout := filepath.Join(h.dir, "oci")
	if _, err := im.writeOCI(layout, gzipped); err != nil {
		t.Fatal(err)
	}
	want = unpack(t, layout, "latest")
	mnt := h.mount(layout)
	got = mustReadTree(t, mnt)
	h.umount(mnt)
	return want, got
}

// in gives the same entry in a directory.
func (e entry) in(dir string) entry {
	h := *e.h
	h.Name = dir + "/" + h.Name
	if h.Typeflag == tar.TypeLink {
		h.Linkname = dir + "/" + h.Linkname
	}
	e.h = &h
	return e
}

// shrink takes entries away as long as the trees still differ.
func shrink(t *testing.T, h history) history {
	t.Helper()
	for again := true; again; {
		again = false
		for l := range h {
			for i := 0; i < len(h[l]); i++ {
				less := slices.Clone(h)
				less[l] = slices.Delete(slices.Clone(h[l]), i, i+1)
				if !less.valid() {
					continue
				}
				if want, got := applied(t, []history{less}); compare(want, got) != nil {
					h, again = less, true
					i--
				}
			}
		}
	}
	return h
}

func (h history) String() string {
	var b strings.Builder
	for i, l := range h {
		fmt.Fprintf(&b, "layer %d:\n", i+1)
		for _, e := range l {
			fmt.Fprintf(&b, "\t%c %q %q mode %#o\n", e.h.Typeflag, e.h.Name, e.h.Linkname, e.h.Mode)
		}
	}
	return b.String()
}

// newHistory gives one to five layers that an extracting tool and an overlay
// see alike. The names are few, so that most entries meet others.
func newHistory(r *rand.Rand) history {
	h := make(history, 1+r.IntN(5))
	s := newState()
	for l := range h {
		s.nextLayer()
		for range r.IntN(12) {
			if e, ok := randomEntry(r, s); ok && s.apply(e) {
				h[l] = append(h[l], e)
			}
		}
	}
	return h
}

// valid replays a history.
func (h history) valid() bool {
	s := newState()
	for _, l := range h {
		s.nextLayer()
		for _, e := range l {
			if !s.apply(e) {
				return false
			}
		}
	}
	return true
}

func randomEntry(r *rand.Rand, s *state) (entry, bool) {
	name := randomPath(r)
	var e entry
	switch r.IntN(16) {
	case 0, 1, 2, 3, 4:
		e = file(name, strconv.Itoa(r.IntN(1000)))
	case 5, 6, 7:
		e = dir(name)
	case 8:
		e = symlink(name, randomPath(r))
	case 9:
		e = fifo(name)
	case 10:
		if e = char(name, int64(1+r.IntN(9)), int64(r.IntN(9))); r.IntN(2) == 0 {
			e = block(name, int64(1+r.IntN(9)), int64(r.IntN(300)))
		}
	case 11, 12:
		targets := s.linkable()
		if len(targets) == 0 {
			return entry{}, false
		}
		return hardlink(name, targets[r.IntN(len(targets))]), true
	case 13, 14:
		return deleted(name), true
	default:
		return opaque(name), true
	}
	mode := int64(0o700 | r.IntN(0o10000))
	switch e.h.Typeflag {
	case tar.TypeSymlink:
		mode = 0o777
	case tar.TypeDir:
		mode &^= 0o2000 // would be handed down to the parents that umoci makes
	}
	e = e.mode(mode)
	e = e.own(r.IntN(3), r.IntN(3)).at(1_000_000_000+r.Int64N(1000), r.Int64N(1_000_000_000))
	if r.IntN(8) == 0 && (e.h.Typeflag == tar.TypeReg || e.h.Typeflag == tar.TypeDir) {
		e = e.xattr("user.x", strconv.Itoa(r.IntN(10)))
	}
	return e, true
}

func randomPath(r *rand.Rand) string {
	p := ""
	for range 1 + r.IntN(3) {
		name := string(rune('a' + r.IntN(4)))
		if r.IntN(16) == 0 {
			name = oddNames[r.IntN(len(oddNames))]
		}
		p = path.Join(p, name)
	}
	return p
}

// oddNames are such as few programs make.
var oddNames = []string{"new\nline", "\xff\xfe", "ä", " ", "-rf", "*", `\`, "...", ".wha", strings.Repeat("n", 251), strings.Repeat("p/", 60) + "p"}

// A state is what an extracting tool has on disk: as much of it as is needed to
// tell which entries it and an overlay see alike.
type state struct {
	types map[string]byte // by path
	mine  map[string]bool // the paths that this layer has made, true if it names them and not only what is in them
}

func newState() *state { return &state{types: map[string]byte{}} }

func (s *state) nextLayer() { s.mine = map[string]bool{} }

// linkable are the paths that a hard link may name.
func (s *state) linkable() []string {
	var paths []string
	for p, typ := range s.types {
		if typ != tar.TypeDir {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return paths
}

// apply does what an entry says, or reports that the two would not agree on it.
func (s *state) apply(e entry) bool {
	name := strings.TrimSuffix(e.h.Name, "/")
	parent, base := path.Split(name)
	for p := path.Clean(parent); p != "."; p = path.Dir(p) {
		// A parent that is no directory: followed if it is a symlink, an
		// error of umoci else; here it is replaced (SEMANTICS 2.7, 2.8).
		if typ, ok := s.types[p]; ok && typ != tar.TypeDir {
			return false
		}
	}
	if hidden, ok := strings.CutPrefix(base, ".wh."); ok {
		if hidden == ".wh..opq" {
			return s.applyOpaque(path.Clean(parent))
		}
		return s.applyWhiteout(path.Join(parent, hidden))
	}
	if e.h.Typeflag == tar.TypeLink {
		typ, ok := s.types[e.h.Linkname]
		if !ok || typ == tar.TypeDir || e.h.Linkname == name || strings.HasPrefix(e.h.Linkname, name+"/") {
			return false
		}
		s.make(name, typ)
		return true
	}
	s.make(name, e.h.Typeflag)
	return true
}

func (s *state) make(name string, typ byte) {
	if typ != tar.TypeDir || s.types[name] != tar.TypeDir {
		s.remove(name, func(string) bool { return true })
	}
	s.types[name], s.mine[name] = typ, true
	for p := path.Dir(name); p != "."; p = path.Dir(p) {
		s.types[p] = tar.TypeDir
		if _, mine := s.mine[p]; !mine {
			s.mine[p] = false
		}
	}
}

func (s *state) applyWhiteout(name string) bool {
	if _, mine := s.mine[name]; mine {
		return false // in one layer with what it names: has its own test
	}
	s.remove(name, func(string) bool { return true })
	return true
}

func (s *state) applyOpaque(dir string) bool {
	if s.types[dir] != tar.TypeDir {
		return false // umoci makes no directory of an opaque mark alone
	}
	for p, named := range s.mine {
		// A directory that the layer does not name has the lower one's
		// metadata in umoci if the mark comes after it, and not if before.
		// To an overlay the mark hides the lower one in any case.
		if strings.HasPrefix(p, dir+"/") && !named {
			return false
		}
	}
	s.remove(dir, func(p string) bool { _, mine := s.mine[p]; return p != dir && !mine })
	return true
}

// remove takes away a path and what is below it, as far as which says so.
func (s *state) remove(name string, which func(path string) bool) {
	for p := range s.types {
		if (p == name || strings.HasPrefix(p, name+"/")) && which(p) {
			delete(s.types, p)
			delete(s.mine, p)
		}
	}
}
