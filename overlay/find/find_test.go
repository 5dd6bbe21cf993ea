package find

import (
	"errors"
	iofs "io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
	"mica/overlay"
)

// entries are a tree with something for each test to find.
func entries(now time.Time) layer {
	ago := func(d time.Duration) toc.Time {
		t := now.Add(-d)
		return toc.Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())}
	}
	const day = 24 * time.Hour
	l := layer{
		{Path: "", Type: toc.Dir, Mode: 0o755, Mtime: ago(5 * day)},
		{Path: "bin", Type: toc.Symlink, Link: "usr/bin", Mtime: ago(day)},
		{Path: "empty", Type: toc.Dir, Mode: 0o700, Mtime: ago(time.Hour)},
		{Path: "tmp", Type: toc.Dir, Mode: 0o1777, Mtime: ago(-day)},
		{Path: "usr", Type: toc.Dir, Mode: 0o755, Mtime: ago(day - time.Minute)},
		{Path: "usr/bin", Type: toc.Dir, Mode: 0o2755, Mtime: ago(day + time.Minute)},
		{Path: "usr/bin/su", Type: toc.Regular, Mode: 0o4755, Size: 1024, Mtime: ago(2 * day)},
		{Path: "usr/bin/wall", Type: toc.Regular, Mode: 0o2755, Size: 1025, Mtime: ago(2*day - time.Minute)},
		{Path: "usr/bin/again", Type: toc.Hardlink, Link: "usr/bin/su"},
		{Path: "usr/bin/[", Type: toc.Regular, Mode: 0o755, Size: 511, Mtime: ago(30 * day)},
		{Path: "usr/share", Type: toc.Dir, Mode: 0o755, Mtime: ago(day)},
		{Path: "usr/share/A.TXT", Type: toc.Regular, Mode: 0o644, Size: 512, Mtime: ago(3 * day)},
		{Path: "usr/share/a.txt", Type: toc.Regular, Mode: 0o600, Size: 513, Mtime: ago(4 * day)},
		{Path: "usr/share/b.txt", Type: toc.Regular, Mode: 0o444, Size: 0, Mtime: ago(0)},
		{Path: "usr/share/big", Type: toc.Regular, Mode: 0o640, Size: 1<<20 + 1, Mtime: ago(-2 * day)},
		{Path: "usr/share/.hidden", Type: toc.Regular, Mode: 0, Size: 1 << 20, Mtime: ago(400 * day)},
		{Path: "usr/share/zwölf", Type: toc.Regular, Mode: 0o644, Size: 12},
		{Path: "usr/share/bad\xff", Type: toc.Regular, Mode: 0o644, Size: 13},
		{Path: "usr/share/new\nline", Type: toc.Regular, Mode: 0o644, Size: 14},
		{Path: "usr/share/back\\slash", Type: toc.Regular, Mode: 0o644, Size: 15},
		{Path: "usr/share/pipe", Type: toc.Fifo, Mode: 0o622, Mtime: ago(day)},
	}
	return l
}

// A layer is a source of Merge made by hand, without marks.
type layer []toc.Entry

func (l layer) Markers() iter.Seq2[*toc.Entry, error] {
	return func(func(*toc.Entry, error) bool) {}
}

func (l layer) Entries() iter.Seq2[*toc.Entry, error] {
	return func(yield func(*toc.Entry, error) bool) {
		for i := range l {
			if !yield(&l[i], nil) {
				return
			}
		}
	}
}

func (l layer) tree(t *testing.T) *overlay.Tree {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "tree"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := overlay.Merge(t.Context(), f, "", []overlay.LayerSource{l}, make([]overlay.LayerInfo, 1)); err != nil {
		t.Fatal(err)
	}
	tree, err := overlay.OpenTree(f.Name(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree
}

// onDisk makes the same tree as files.
func (l layer) onDisk(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, e := range l {
		p := filepath.Join(root, e.Path)
		var err error
		switch e.Type {
		case toc.Dir:
			err = os.MkdirAll(p, 0o755)
		case toc.Regular:
			if err = os.WriteFile(p, nil, 0o600); err == nil {
				err = os.Truncate(p, e.Size)
			}
		case toc.Symlink:
			err = os.Symlink(e.Link, p)
		case toc.Hardlink:
			err = os.Link(filepath.Join(root, e.Link), p)
		case toc.Fifo:
			err = unix.Mkfifo(p, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// What is in a directory changes its times and may need its old mode.
	for _, e := range slices.Backward(l) {
		p := filepath.Join(root, e.Path)
		if e.Type != toc.Symlink && e.Type != toc.Hardlink {
			if err := unix.Chmod(p, uint32(e.Mode)); err != nil {
				t.Fatal(err)
			}
		}
		if e.Type == toc.Hardlink {
			continue
		}
		ts := []unix.Timespec{{Sec: e.Mtime.Sec, Nsec: int64(e.Mtime.Nsec)}, {Sec: e.Mtime.Sec, Nsec: int64(e.Mtime.Nsec)}}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, p, ts, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// expressions are run by find(1) and by us over the same tree.
var expressions = []string{
	"", ".", "usr", "usr/", "bin", "bin/", "usr tmp", "./usr/../usr/share",
	"-name *.txt", "-iname *.txt", "-name [ab].txt", "-name [!a].txt", "-name [^a].txt", "-name a*", "-name .", ". -name .", "usr/ -name usr",
	"-name *", "-name ?", "-name ??", "-name .*", "-name [[]", `-name \[`, "-name [", "-name [[:upper:]].*", "-name [[:nope:]]*", "-name *[[:digit:]a-f]",
	"-name zw?lf", "-iname ZWÖLF", "-name bad?", "-name bad??", `-name back\\slash`, `-name back\slash`, `-name back*\`,
	"-name *s*s*h*", "-name *a*a*a*a*b", "-name [z-a]*", "-name [a-]*", "-name []a]*", "-name [b-", "-name",
	"-path ./usr/*", "-path usr", "usr -path usr", "-path *share*txt", "-path ./*/*/*", "-ipath *SHARE*",
	"-type f", "-type d", "-type l", "-type p", "-type f,l", "-type b,c,s", "-type x", "-type", "-type f,", "-type fd",
	"-size 0", "-size 1", "-size 2", "-size 3", "-size -2", "-size +2", "-size 1k", "-size 2k", "-size -1M", "-size 1M", "-size 2M", "-size +1M",
	"-size 513c", "-size +512c", "-size -512c", "-size 256w", "-size 1b", "-size 1G", "-size -1G", "-size k", "-size 1x", "-size", "-size +-1", "-size --1",
	"-perm 755", "-perm 0755", "-perm -755", "-perm /6000", "-perm -4000", "-perm /222", "-perm 0", "-perm /0", "-perm -0", "-perm 4755",
	"-perm u=rw,g=r,o=r", "-perm -u+s", "-perm /u+s,g+s", "-perm a=r", "-perm -+w", "-perm +t", "-perm -o+t", "-perm /u=x", "-perm -ug+rw", "-perm u=rwx-x,go=",
	"-perm 8", "-perm 77777", "-perm u", "-perm u+z", "-perm ,", "-perm -", "-perm",
	"-links 1", "-links 2", "-links +1", "-links -2", "-links +3", "-links x",
	"-empty", "-empty -type d", "! -empty", "-not -empty -type f",
	"-mtime 0", "-mtime 1", "-mtime 2", "-mtime +1", "-mtime -1", "-mtime -2", "-mtime +30", "-mtime +29", "-mtime x", "-mtime",
	"-newer usr/bin/su", "-newer bin", "-newer usr/share/b.txt",
	"-uid 0", "-uid +0", "-gid 0", "-user 0", "-group 0", "-user no.such.user", "-group no.such.group",
	"-type f -o -type l", "-type f -name a* -o -type d", "-type f ( -name a* -o -name b* )", "! ( -type f -o -type d )", "! ! -type f",
	"-type d -a -name s*", "-type d -and -name s*", "-type d -or -name s*", "-print", "-type f -print -print", "-type d -print -o -name a*",
	"-name share -prune -o -type f -print", "-name share -prune -o -type f", "-prune", "-name share -prune",
	"-maxdepth 0", "-maxdepth 1", "-mindepth 2", "-mindepth 1 -maxdepth 1", "-mindepth 3 -name share -prune", "-maxdepth x", "-maxdepth -1",
	"(", "( )", "( -type f", "-type f )", "!", "-o", "-type f -o", "-o -type f", "-a -type f", "-type f -a", "-type f -a -o -type d", "-type f usr", "-nonsense", "-type f ! ",
	"none", "none usr", "usr/bin/su/x",
}

// TestAsFind compares with find(1): what is found, and whether it is an
// expression at all.
func TestAsFind(t *testing.T) {
	tool, err := exec.LookPath("find")
	if err != nil {
		t.Skip("needs find(1)")
	}
	// find(1) takes its own clock, and is a second off for -mtime -N: no time
	// is as close to the edge of a day.
	now := time.Now().Add(-10 * time.Second)
	l := entries(now)
	root, tree := l.onDisk(t), l.tree(t)
	for _, line := range expressions {
		args := strings.Fields(line)
		if len(args) == 0 || beginsExpr(args[0]) {
			args = append([]string{"."}, args...)
		}
		cmd := exec.Command(tool, args...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, wantErr := cmd.Output()
		want := lines(string(out))
		got, err := run(tree, args)
		if (err != nil) != (wantErr != nil) {
			t.Errorf("find %s: error %v; find(1) says %v, %s", line, err, wantErr, stderr.String())
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("find %s (-find(1) +ours):\n%s", line, d)
		}
	}
}

func lines(s string) []string {
	if s == "" {
		return nil
	}
	list := strings.SplitAfter(s, "\n")
	slices.Sort(list)
	return list
}

// run gives what a query prints, and the first error, as find(1) goes on with
// the next path.
func run(tree *overlay.Tree, args []string) ([]string, error) {
	q, err := Parse(args, Env{Tree: tree, Now: time.Now()})
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	var failed error
	for _, path := range q.Paths {
		err := q.Run(path, func(_ Action, v *overlay.Visit) error {
			out.WriteString(v.Path + "\n")
			return nil
		})
		if failed == nil {
			failed = err
		}
	}
	return lines(out.String()), failed
}

func TestActions(t *testing.T) {
	tree := entries(time.Now()).tree(t)
	q, err := Parse([]string{"/usr/bin", "-name", "s*", "-print0", "-ls", "-o", "-type", "d", "-print"}, Env{Tree: tree})
	if err != nil {
		t.Fatal(err)
	}
	type done struct {
		What Action
		Path string
	}
	var got []done
	if err := q.Run("/usr/bin", func(a Action, v *overlay.Visit) error {
		got = append(got, done{a, v.Path})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]done{{Print, "/usr/bin"}, {Print0, "/usr/bin/su"}, {List, "/usr/bin/su"}}, got); d != "" {
		t.Errorf("actions (-want +got):\n%s", d)
	}
	full := errors.New("disk full")
	n := 0
	err = q.Run("/usr", func(Action, *overlay.Visit) error { n++; return full })
	if err != full || n != 1 {
		t.Errorf("an action that fails: %d calls, %v; want 1, %v", n, err, full)
	}
}

// TestNames: names of users and groups are those of the image.
func TestNames(t *testing.T) {
	tree := layer{{Path: "a", Type: toc.Regular, UID: 7, GID: 8}, {Path: "b", Type: toc.Regular, UID: 9, GID: 7}}.tree(t)
	env := Env{
		Tree:  tree,
		User:  func(name string) (uint32, bool) { return 7, name == "lp" },
		Group: func(name string) (uint32, bool) { return 7, name == "9" }, // a name wins over a number
	}
	for _, tt := range []struct{ args, want string }{
		{"-user lp", "/a"}, {"-user 7", "/a"}, {"-user 9", "/b"}, {"-group 9", "/b"}, {"-group 8", "/a"},
	} {
		q, err := Parse(strings.Fields(tt.args), env)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		if err := q.Run("/", func(_ Action, v *overlay.Visit) error { got = append(got, v.Path); return nil }); err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || got[0] != tt.want {
			t.Errorf("find %s = %q, want %q", tt.args, got, tt.want)
		}
	}
}

func TestErrors(t *testing.T) {
	tree := layer{}.tree(t)
	for _, tt := range []struct{ args, want string }{
		{"-nmae x", `unknown predicate "-nmae"`},
		{"-type f /usr", `paths come before the expression: "/usr"`},
		{"-perm rw", "-perm rw: must be octal, or as u+s,g=w"},
		{"-user bin", "-user bin: the image has no such name"},
		{"-size 1x", "-size 1x: must be N, +N or -N, then c for bytes, k, M or G"},
		{"( -print", `"(" without its ")"`},
		{"-print )", `")" without its "("`},
		{"-newer /none", "-newer /none: no such file or directory"},
		{strings.Repeat("( ", 5000), "nested too deeply"},
	} {
		_, err := Parse(strings.Fields(tt.args), Env{Tree: tree})
		if err == nil || err.Error() != tt.want {
			t.Errorf("find %.40s: %v, want %s", tt.args, err, tt.want)
		}
		if isSyntax := errors.As(err, new(*SyntaxError)); isSyntax == errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("find %.40s: error %T", tt.args, err)
		}
	}
}

// TestMatch: where find(1) says otherwise, in the C.UTF-8 locale at least.
func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		about, pattern, name string
		want                 bool
	}{
		{"one character is one question mark, not also two", "zw??lf", "zwölf", false},
		{"what is not UTF-8 is characters of one byte", "a??", "a\xff\xfe", true},
		{"a lone backslash at the end matches nothing", `a\`, `a\`, false},
	} {
		if got := match(tt.pattern, tt.name, false); got != tt.want {
			t.Errorf("%s: match(%q, %q) = %v", tt.about, tt.pattern, tt.name, got)
		}
	}
}

// TestMatchIsQuick: a pattern of many stars takes no more than the product of
// both lengths.
func TestMatchIsQuick(t *testing.T) {
	if match(strings.Repeat("*a", 100)+"*b", strings.Repeat("a", 10000), false) {
		t.Error("matched")
	}
}
