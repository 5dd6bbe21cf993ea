package diff

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
	"mica/overlay"
)

// A testLayer is entries, and the bytes that they lie in. Reading fails where
// bytes is empty.
type testLayer struct {
	holds   string
	entries []toc.Entry
	bytes   string
}

func (l testLayer) Markers() iter.Seq2[*toc.Entry, error] { return l.only(true) }
func (l testLayer) Entries() iter.Seq2[*toc.Entry, error] { return l.only(false) }

func (l testLayer) only(markers bool) iter.Seq2[*toc.Entry, error] {
	return func(yield func(*toc.Entry, error) bool) {
		for i := range l.entries {
			if e := l.entries[i]; e.Marker() == markers && !yield(&e, nil) {
				return
			}
		}
	}
}

var errRead = errors.New("was read")

func (l testLayer) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	if l.bytes == "" {
		return 0, errRead
	}
	return strings.NewReader(l.bytes).ReadAt(p, off)
}

func (l testLayer) Cached(int64, int) bool { return true }

func imageOf(t *testing.T, layers ...testLayer) Side {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "tree"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var sources []overlay.LayerSource
	var readers []overlay.LayerReader
	var holds []string
	for _, l := range layers {
		sources, readers = append(sources, l), append(readers, l)
		holds = append(holds, l.holds)
	}
	if err := overlay.Merge(t.Context(), f, "key", sources, make([]overlay.LayerInfo, len(layers))); err != nil {
		t.Fatal(err)
	}
	tree, err := overlay.OpenTree(f.Name(), "key")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	v, err := overlay.NewView(tree, readers)
	if err != nil {
		t.Fatal(err)
	}
	return Image(v, holds)
}

func file(path string, off, size int64) toc.Entry {
	return toc.Entry{Path: path, Type: toc.Regular, Mode: 0o644, Off: off, Size: size}
}

// lines gives changes as "M path what".
func lines(changes []Change) []string {
	all := []string{}
	for _, c := range changes {
		s := fmt.Sprintf("%c %s", c.Letter(), c.Path)
		if c.What != 0 {
			s += " " + strings.Join(c.What.Words(), ",")
		}
		all = append(all, s)
	}
	return all
}

func compare(t *testing.T, a, b Side, path string, ignore Aspects) []string {
	t.Helper()
	changes, err := Compare(context.Background(), a, b, path, ignore)
	if err != nil {
		t.Fatal(err)
	}
	return lines(changes)
}

func TestCompare(t *testing.T) {
	type e = toc.Entry
	for _, tt := range []struct {
		about string
		a, b  []toc.Entry
		want  []string
	}{
		{"nothing", nil, nil, []string{}},
		{"the same", []e{file("a", 0, 3)}, []e{file("a", 3, 3)}, []string{}},
		{"added with what is in it", nil, []e{file("d/x", 0, 1), file("d/y/z", 0, 1)}, []string{"A d", "A d/x", "A d/y", "A d/y/z"}},
		{"deleted", []e{file("d/x", 0, 1)}, nil, []string{"D d", "D d/x"}},
		{"other bytes", []e{file("a", 0, 3)}, []e{file("a", 6, 3)}, []string{"M a content"}},
		{"another size", []e{file("a", 0, 3)}, []e{file("a", 0, 2)}, []string{"M a content"}},
		{"the last byte of two", []e{file("a", 0, 2)}, []e{file("a", 8, 2)}, []string{"M a content"}},
		{"mode", []e{{Path: "a", Type: toc.Dir, Mode: 0o755}}, []e{{Path: "a", Type: toc.Dir, Mode: 0o1755}}, []string{"M a mode"}},
		{"owner and time", []e{{Path: "a", Type: toc.Fifo}}, []e{{Path: "a", Type: toc.Fifo, GID: 3, Mtime: toc.Time{Nsec: 1}}}, []string{"M a owner,mtime"}},
		{"attributes", []e{{Path: "a", Type: toc.Fifo, Xattrs: []toc.Xattr{{Name: "user.x", Value: []byte("1")}}}},
			[]e{{Path: "a", Type: toc.Fifo, Xattrs: []toc.Xattr{{Name: "user.x", Value: []byte("2")}}}}, []string{"M a xattr"}},
		{"target", []e{{Path: "a", Type: toc.Symlink, Link: "x"}}, []e{{Path: "a", Type: toc.Symlink, Link: "y"}}, []string{"M a target"}},
		{"device", []e{{Path: "a", Type: toc.Char, Major: 1, Minor: 3}}, []e{{Path: "a", Type: toc.Char, Major: 1, Minor: 5}}, []string{"M a device"}},
		{"kinds of device", []e{{Path: "a", Type: toc.Char, Major: 1}}, []e{{Path: "a", Type: toc.Block, Major: 1}}, []string{"M a type"}},
		{"a file that becomes a directory", []e{file("a", 0, 3)}, []e{file("a/b", 0, 3)}, []string{"M a type", "A a/b"}},
		{"a directory that becomes a symlink", []e{{Path: "a", Type: toc.Dir}, file("a/b", 0, 3)}, []e{{Path: "a", Type: toc.Symlink, Link: "b"}}, []string{"M a type", "D a/b"}},
		{"names in the order of their bytes, a directory before its own",
			[]e{file("a", 0, 1), file("a.b", 0, 1), file("c", 0, 1)}, []e{file("a/x", 0, 1), file("b", 0, 1), file("B", 0, 1)},
			[]string{"A B", "M a type", "A a/x", "D a.b", "A b", "D c"}},
		{"holes are zeros", []e{{Path: "a", Type: toc.Regular, Mode: 0o644, Off: 10, Size: 3}},
			[]e{{Path: "a", Type: toc.Regular, Mode: 0o644, Off: 1, Size: 3, Sparse: []toc.Extent{}}}, []string{}},
	} {
		const bytes = "abcabcxyzb\x00\x00\x00"
		a := imageOf(t, testLayer{"sha256:a", tt.a, bytes})
		b := imageOf(t, testLayer{"sha256:b", tt.b, bytes})
		if d := cmp.Diff(tt.want, compare(t, a, b, "", 0)); d != "" {
			t.Errorf("%s: Compare (-want +got):\n%s", tt.about, d)
		}
		if got := compare(t, a, a, "", 0); len(got) > 0 {
			t.Errorf("%s: compared with itself: %q", tt.about, got)
		}
	}
}

// Contents that lie at one place of one layer are not read, whatever its number
// in either image; nor are those of different sizes.
func TestCompareReadsOnlyWhatItMust(t *testing.T) {
	shared := testLayer{"sha256:s", []toc.Entry{
		file("a", 512, 10), file("b", 2048, 10), file("gone", 4096, 10),
		{Path: "sparse", Type: toc.Regular, Mode: 0o644, Off: 8192, Size: 100, Sparse: []toc.Extent{{Off: 50, Len: 5}}},
	}, ""}
	a := imageOf(t, shared, testLayer{"sha256:1", []toc.Entry{file("new", 0, 5)}, ""})
	b := imageOf(t, testLayer{"sha256:0", []toc.Entry{file("b", 0, 9)}, ""}, shared,
		testLayer{"sha256:2", []toc.Entry{{Path: "gone", Type: toc.Whiteout}, file("new", 0, 6)}, ""})
	want := []string{"D gone", "M new content"}
	if d := cmp.Diff(want, compare(t, a, b, "", Mtime)); d != "" {
		t.Errorf("Compare (-want +got):\n%s", d)
	}
	c := imageOf(t, testLayer{"sha256:3", []toc.Entry{file("new", 0, 5)}, ""})
	if _, err := Compare(context.Background(), a, c, "new", 0); !errors.Is(err, errRead) {
		t.Errorf("Compare of files in two layers: %v, want that they are read", err)
	}
	if got := compare(t, a, c, "new", Content); len(got) > 0 {
		t.Errorf("Compare without contents = %q", got)
	}
}

// Holes are not read: two files of more of them than could ever be read are
// soon compared.
func TestCompareHoles(t *testing.T) {
	sparse := func(path string, layerOff, at int64) toc.Entry {
		return toc.Entry{Path: path, Type: toc.Regular, Mode: 0o644, Size: 1 << 60, Off: layerOff, Sparse: []toc.Extent{{Off: at, Len: 3}}}
	}
	a := imageOf(t, testLayer{"sha256:a", []toc.Entry{sparse("same", 0, 1<<50), sparse("moved", 0, 1<<50), sparse("other", 0, 1<<50)}, "abcabcxyz"})
	b := imageOf(t, testLayer{"sha256:b", []toc.Entry{sparse("same", 3, 1<<50), sparse("moved", 3, 1<<40), sparse("other", 6, 1<<50)}, "abcabcxyz"})
	if d := cmp.Diff([]string{"M moved content", "M other content"}, compare(t, a, b, "", 0)); d != "" {
		t.Errorf("Compare (-want +got):\n%s", d)
	}
	for _, size := range []int64{0, 1 << 30} {
		dir, other := t.TempDir(), t.TempDir()
		for _, at := range []string{dir, other} {
			f, err := os.Create(filepath.Join(at, "f"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte(at), size); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f.Truncate(size+1<<30), f.Close()); err != nil {
				t.Fatal(err)
			}
		}
		if d := cmp.Diff([]string{"M f content"}, compare(t, Directory(dir), Directory(other), "", Mtime)); d != "" {
			t.Errorf("Compare (-want +got):\n%s", d)
		}
	}
}

// All names of a file differ if it does.
func TestCompareHardLinks(t *testing.T) {
	link := toc.Entry{Path: "a/link", Type: toc.Hardlink, Link: "file"}
	a := imageOf(t, testLayer{"sha256:a", []toc.Entry{file("file", 0, 3), link}, "abc"})
	b := imageOf(t, testLayer{"sha256:b", []toc.Entry{file("file", 0, 3), link}, "xyz"})
	if d := cmp.Diff([]string{"M a/link content", "M file content"}, compare(t, a, b, "", 0)); d != "" {
		t.Errorf("Compare (-want +got):\n%s", d)
	}
}

func TestComparePath(t *testing.T) {
	a := imageOf(t, testLayer{"sha256:a", []toc.Entry{file("d/x", 0, 1), file("e", 0, 1)}, "ab"})
	b := imageOf(t, testLayer{"sha256:b", []toc.Entry{file("d/x", 1, 1), file("e", 1, 1)}, "ab"})
	for path, want := range map[string][]string{
		"":     {"M d/x content", "M e content"},
		"/":    {"M d/x content", "M e content"},
		"/d/":  {"M d/x content"},
		"d/x":  {"M d/x content"},
		"/e":   {"M e content"},
		"gone": nil,
	} {
		changes, err := Compare(context.Background(), a, b, path, 0)
		if want == nil {
			if !errors.Is(err, iofs.ErrNotExist) {
				t.Errorf("Compare of %q: %v, want ErrNotExist", path, err)
			}
			continue
		}
		if d := cmp.Diff(want, lines(changes)); d != "" || err != nil {
			t.Errorf("Compare of %q: %v (-want +got):\n%s", path, err, d)
		}
	}
}

// A tree on disk has all that an image has.
func TestCompareDirectory(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{"d/x": "a", "same": "ab", "more": "ab"} {
		at := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(data), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		os.Chmod(dir, 0o755), unix.Chmod(filepath.Join(dir, "d"), 0o2755),
		os.Chmod(filepath.Join(dir, "d/x"), 0o644), os.Chmod(filepath.Join(dir, "same"), 0o644),
		os.Symlink("same", filepath.Join(dir, "link")), unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	b := imageOf(t, testLayer{"sha256:b", []toc.Entry{
		file("d/x", 1, 1), file("same", 0, 2),
		{Path: "link", Type: toc.Symlink, Link: "same"}, {Path: "fifo", Type: toc.Fifo, Mode: 0o644},
	}, "ab"})
	got := compare(t, Directory(dir), b, "", Owner|Mtime|Xattr)
	if d := cmp.Diff([]string{"M d mode", "M d/x content", "M fifo mode", "D more"}, got); d != "" {
		t.Errorf("Compare (-want +got):\n%s", d)
	}
	if got := compare(t, Directory(dir), Directory(dir), "", 0); len(got) > 0 {
		t.Errorf("a directory and itself: %q", got)
	}
	if err := os.Symlink("/", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	if _, err := Compare(context.Background(), Directory(dir), b, "out/etc", 0); err == nil || errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("Compare below a symlink out of the directory: %v, want that it is refused", err)
	}
}

func TestParseAspect(t *testing.T) {
	for bit := Aspects(1); bit <= Mtime; bit <<= 1 {
		words := bit.Words()
		if len(words) != 1 {
			t.Fatalf("Words of %b = %q", bit, words)
		}
		if got, err := ParseAspect(words[0]); got != bit || err != nil {
			t.Errorf("ParseAspect(%q) = %b, %v; want %b", words[0], got, err, bit)
		}
	}
	if _, err := ParseAspect("color"); err == nil {
		t.Error("ParseAspect takes a word that it does not know")
	}
}
