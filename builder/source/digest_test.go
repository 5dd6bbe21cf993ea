package source

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
)

func digestOf(t *testing.T, dir string, sums *Sums) Sum {
	t.Helper()
	tree := open(t, dir)
	items, err := Select(context.Background(), tree, Request{Sources: []string{"."}, Dest: "x", DestDir: true})
	if err != nil {
		t.Fatal(err)
	}
	sum, err := Digest(context.Background(), tree, items, Rewrite{Owner: &Owner{}}, sums)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// TestDigest: it changes with all that a layer would hold, and with nothing else.
func TestDigest(t *testing.T) {
	for _, tt := range []struct {
		about  string
		change func(dir string) error
		same   bool
	}{
		{"times", func(d string) error { return os.Chtimes(d+"/f", time.Now(), time.Unix(1, 0)) }, true},
		{"written anew with the same bytes", func(d string) error { os.Remove(d + "/d/x"); return os.WriteFile(d+"/d/x", []byte("d/x"), 0o644) }, true},
		{"owner, which COPY replaces", func(d string) error { return os.Chown(d+"/f", os.Getuid(), os.Getgid()) }, true},
		{"contents of the same length", func(d string) error { return os.WriteFile(d+"/f", []byte("g"), 0o644) }, false},
		{"mode", func(d string) error { return os.Chmod(d+"/f", 0o755) }, false},
		{"mode of a directory", func(d string) error { return os.Chmod(d+"/d", 0o700) }, false},
		{"name", func(d string) error { return os.Rename(d+"/f", d+"/g") }, false},
		{"a file more", func(d string) error { return os.WriteFile(d+"/d/more", nil, 0o644) }, false},
		{"a directory more", func(d string) error { return os.Mkdir(d+"/d/more", 0o755) }, false},
		{"a symlink's target", func(d string) error { os.Remove(d + "/l"); return os.Symlink("d", d+"/l") }, false},
		{"a hard link becomes a file", func(d string) error { os.Remove(d + "/h"); return os.WriteFile(d+"/h", []byte("f"), 0o644) }, false},
		{"a file becomes a directory", func(d string) error { os.Remove(d + "/h"); return os.Mkdir(d+"/h", 0o644) }, false},
	} {
		dir := t.TempDir()
		treeAt(t, dir, "f", "d/x", "l -> f", "h = f")
		sums := &Sums{}
		before := digestOf(t, dir, sums)
		if err := tt.change(dir); err != nil {
			t.Fatal(err)
		}
		for name, s := range map[string]*Sums{"no sums": nil, "the same sums": sums} {
			if same := digestOf(t, dir, s) == before; same != tt.same {
				t.Errorf("%s, %s: the same digest: %v, want %v", tt.about, name, same, tt.same)
			}
		}
	}
}

// TestSums: a file whose stamp is known is not read, and what the file of sums
// says is believed only as long as it is whole.
func TestSums(t *testing.T) {
	dir, at := t.TempDir(), filepath.Join(t.TempDir(), "sums")
	treeAt(t, dir, "f")
	sums, err := LoadSums(at)
	if err != nil {
		t.Fatal(err)
	}
	f, err := open(t, dir).Lstat("f")
	if err != nil {
		t.Fatal(err)
	}
	sums.put(f.Stamp, Sum{1})
	if _, ok := sums.get(f.Stamp); ok {
		t.Error("a stamp of this very moment is believed")
	}
	old := *f.Stamp
	old.Ctime, old.Mtime = 1, 1
	sums.put(&old, Sum{2})
	if err := sums.Save(at); err != nil {
		t.Fatal(err)
	}
	again, err := LoadSums(at)
	if sum, ok := again.get(&old); err != nil || !ok || sum != (Sum{2}) {
		t.Errorf("read again: %v, %v, %v", sum, ok, err)
	}
	b, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if err := os.WriteFile(at, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if s, err := LoadSums(at); err != nil || len(s.known) != 0 {
			t.Fatalf("byte %d is another: %d sums, %v", i, len(s.known), err)
		}
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	treeAt(t, dir, "d/f", "d/h = d/f", "d/l -> f", "d/pipe")
	os.Remove(dir + "/d/pipe")
	if err := unix.Mkfifo(dir+"/d/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1000, 0)
	for _, name := range []string{"d/f", "d"} {
		if err := os.Chtimes(filepath.Join(dir, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	mode, err := ParseMode("u=rwx,go=")
	if err != nil {
		t.Fatal(err)
	}
	tree := open(t, dir)
	items, err := Select(context.Background(), tree, Request{Sources: []string{"d"}, Dest: "x"})
	if err != nil {
		t.Fatal(err)
	}
	var got string
	o := Rewrite{Owner: &Owner{7, 8}, Mode: mode, NotAfter: &toc.Time{Sec: 2000}}
	err = Write(context.Background(), tree, items, o, func(e *toc.Entry, contents func(io.Writer, int64, int64) error) error {
		var b bytes.Buffer
		if contents != nil {
			if err := contents(&b, 0, e.Size); err != nil {
				return err
			}
		}
		got += fmt.Sprintf("%s %d %o %d:%d %d %q %q\n", e.Path, e.Type, e.Mode, e.UID, e.GID, e.Mtime.Sec, e.Link, b.String())
		return nil
	})
	want := fmt.Sprintf(`x %d 700 7:8 1000 "" ""
x/f %d 700 7:8 1000 "" "d/f"
x/h %d 700 7:8 1000 "x/f" ""
x/l %d 777 7:8 2000 "f" ""
x/pipe %d 700 7:8 2000 "" ""
`, toc.Dir, toc.Regular, toc.Hardlink, toc.Symlink, toc.Fifo)
	if err != nil || got != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
}

// TestParseMode holds it against chmod(1).
func TestParseMode(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{"755", "0644", "4711", "u+x", "a-w", "go=", "u=rwx,g=rx,o=", "+x", "=r", "u+s", "g+s,o+t", "a+X", "go-rwx", "u=g", "o=u-w", "ug+rw", "u-s", "a=rX", "+t"} {
		for _, start := range []uint32{0o644, 0o4750, 0o600, 0o1777} {
			for _, isDir := range []bool{false, true} {
				at := filepath.Join(dir, "f")
				os.Remove(at)
				e := toc.Entry{Type: toc.Regular, Mode: uint16(start)}
				err := os.WriteFile(at, nil, 0o600)
				if isDir {
					os.Remove(at)
					e.Type, err = toc.Dir, os.Mkdir(at, 0o600)
				}
				if err == nil {
					err = unix.Chmod(at, start)
				}
				if err != nil {
					t.Fatal(err)
				}
				// umask 0, as without "ugoa" chmod goes by it. A number leaves set-id
				// bits of directories as they are.
				if out, err := exec.Command("sh", "-c", "umask 0; chmod -- "+text+" "+at).CombinedOutput(); err != nil {
					t.Fatalf("chmod %s: %s", text, out)
				}
				var st unix.Stat_t
				if err := unix.Stat(at, &st); err != nil {
					t.Fatal(err)
				}
				mode, err := ParseMode(text)
				if err != nil {
					t.Errorf("%s: %v", text, err)
					continue
				}
				want := uint16(st.Mode & 0o7777)
				if got := mode(e); got != want && !(isDir && got&0o1777 == want&0o1777) {
					t.Errorf("%s of %o, a directory: %v: %o, chmod has %o", text, start, isDir, got, want)
				}
			}
		}
	}
	for _, text := range []string{"", "999", "77777", "u", "x+r", "u+q", "u+r,", "-1"} {
		if _, err := ParseMode(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
