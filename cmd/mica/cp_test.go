package main

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplitImagePath(t *testing.T) {
	for _, tt := range []struct{ arg, ref, path string }{
		{"debian.tar:/etc", "debian.tar", "/etc"},
		{"debian.tar:/", "debian.tar", "/"},
		{"oci:/srv/oci:3.21:/etc/passwd", "oci:/srv/oci:3.21", "/etc/passwd"},
		{"oci:/srv/oci:/etc/passwd", "oci:/srv/oci", "/etc/passwd"},
		{"docker-archive:/a.tar:web:2:/x", "docker-archive:/a.tar:web:2", "/x"},
		{"oci:dir@sha256:abc:/x", "oci:dir@sha256:abc", "/x"},
		{"a.tar:/x:/y", "a.tar:/x", "/y"},
		{"oci:/srv/oci", "", ""},
		{"dir:/x", "", ""},
		{"a.tar", "", ""},
		{"a.tar:etc", "", ""},
		{":/etc", "", ""},
	} {
		ref, path, err := splitImagePath(tt.arg)
		if ref != tt.ref || path != tt.path || (err == nil) != (tt.ref != "") {
			t.Errorf("splitImagePath(%q) = %q, %q, %v; want %q, %q", tt.arg, ref, path, err, tt.ref, tt.path)
		}
	}
}

// TestCpNames: where a copy goes, by the rules of docker cp.
func TestCpNames(t *testing.T) {
	image := filesImage(t)
	for _, tt := range []struct {
		about, from, to string
		want            string // what is new in a directory that has dir/ and file
		stderr          string
		status          int
	}{
		{about: "a file into a directory", from: "/usr/bin/su", to: "dir", want: "dir/su"},
		{about: "a file, slash after the directory", from: "/usr/bin/su", to: "dir/", want: "dir/su"},
		{about: "a file under another name", from: "/usr/bin/su", to: "dir/me", want: "dir/me"},
		{about: "a file here", from: "/usr/bin/su", to: ".", want: "su"},
		{about: "a file over a file", from: "/usr/bin/su", to: "file"},
		{about: "a file to a directory that is not there", from: "/usr/bin/su", to: "new/", stderr: "mica: cp: new/: no such file or directory\n", status: 3},
		{about: "a file below a directory that is not there", from: "/usr/bin/su", to: "new/x", stderr: "mica: cp: new: no such file or directory\n", status: 3},
		{about: "a directory into a directory", from: "/usr/bin", to: "dir", want: "dir/bin dir/bin/big dir/bin/su"},
		{about: "a directory, slash after it", from: "/usr/bin/", to: "dir", want: "dir/bin dir/bin/big dir/bin/su"},
		{about: "a directory under another name", from: "/usr/bin", to: "new", want: "new new/big new/su"},
		{about: "a directory, slash after the new name", from: "/usr/bin", to: "new/", want: "new new/big new/su"},
		{about: "what is in a directory", from: "/usr/bin/.", to: "dir", want: "dir/big dir/su"},
		{about: "what is in a directory, to a new one", from: "/usr/bin/.", to: "new", want: "new new/big new/su"},
		{about: "a directory over a file", from: "/usr/bin", to: "file", stderr: "mica: cp: file: not a directory\n", status: 1},
		{about: "a link as it is", from: "/bin", to: "dir", want: "dir/bin"},
		{about: "a link through", from: "/bin/", to: "dir", want: "dir/bin dir/bin/big dir/bin/su"},
		{about: "all of it", from: "/usr/../usr/.", to: "new", want: "new new/bin new/bin/big new/bin/su"},
		{about: "what is not there", from: "/none", to: "dir", stderr: "mica: cp IMAGE: /none: no such file or directory\n", status: 3},
	} {
		dir := t.TempDir()
		t.Chdir(dir)
		if err := errors.Join(os.Mkdir("dir", 0o700), os.WriteFile("file", []byte("old"), 0o600)); err != nil {
			t.Fatal(err)
		}
		got := mica(t, "cp", image+":"+tt.from, tt.to)
		got.stderr = strings.ReplaceAll(got.stderr, image, "IMAGE")
		var there []string
		err := filepath.WalkDir(".", func(p string, _ os.DirEntry, err error) error {
			if p != "." && p != "dir" && p != "file" {
				there = append(there, p)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if s := strings.Join(there, " "); s != tt.want || got.stderr != tt.stderr || got.status != tt.status {
			t.Errorf("%s: cp %s %s: %s, status %d, %q; want %s, %d, %q", tt.about, tt.from, tt.to, s, got.status, got.stderr, tt.want, tt.status, tt.stderr)
		}
	}
}

func TestCpFollow(t *testing.T) {
	image := filesImage(t)
	t.Chdir(t.TempDir())
	if got := mica(t, "cp", "-qL", image+":/bin", "."); got.status != 0 {
		t.Fatal(got.stderr)
	}
	if b, err := os.ReadFile("bin/su"); string(b) != "su me" {
		t.Errorf("bin/su = %q, %v", b, err)
	}
}

// TestCpToStdout: "-" gives the tar that docker cp gives.
func TestCpToStdout(t *testing.T) {
	image := filesImage(t)
	for _, tt := range []struct {
		from string
		want []string
	}{
		{"/usr/bin", []string{"bin/", "bin/big", "bin/su"}},
		{"/usr/bin/.", []string{"./", "big", "su"}},
		{"/usr/bin/su", []string{"su"}},
		{"/bin", []string{"bin"}},
	} {
		out := mica(t, "cp", image+":"+tt.from, "-")
		var got []string
		for r := tar.NewReader(strings.NewReader(out.stdout)); ; {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, h.Name)
		}
		if !slices.Equal(got, tt.want) || out.status != 0 {
			t.Errorf("cp %s -: status %d, %q, want %q", tt.from, out.status, got, tt.want)
		}
	}
}

func TestExportToFile(t *testing.T) {
	image := filesImage(t)
	t.Chdir(t.TempDir())
	out := mica(t, "export", image)
	if got := mica(t, "export", "-o", "x.tar", image); got != (result{}) {
		t.Errorf("export -o: %+v", got)
	}
	b, err := os.ReadFile("x.tar")
	if err != nil || string(b) != out.stdout || len(b) == 0 {
		t.Errorf("x.tar: %d bytes, %v; on stdout are %d", len(b), err, len(out.stdout))
	}
	// Over what is there; and what fails leaves nothing, and the old one alone.
	if got := mica(t, "export", "-o", "x.tar", image); got.status != 0 {
		t.Error(got.stderr)
	}
	if got := mica(t, "export", "-o", "none/x.tar", image); got.status != 3 || !strings.HasSuffix(got.stderr, "none/x.tar.partial: no such file or directory\n") {
		t.Errorf("no such directory: status %d, %q", got.status, got.stderr)
	}
	full := errors.New("full")
	if err := writeFile("x.tar", func(w io.Writer) error { w.Write([]byte("half")); return full }); !errors.Is(err, full) {
		t.Errorf("writeFile: %v, want %v", err, full)
	}
	entries, err := os.ReadDir(".")
	if err != nil || len(entries) != 1 {
		t.Errorf("left there: %v, %v", entries, err)
	}
	if now, err := os.ReadFile("x.tar"); string(now) != string(b) {
		t.Errorf("x.tar changed, %v", err)
	}
	if err := writeFile("/dev/null", func(w io.Writer) error { _, err := w.Write([]byte("x")); return err }); err != nil {
		t.Errorf("/dev/null: %v", err)
	}
}

// TestOnTerminal: no tar to a terminal, nothing that it would obey.
func TestOnTerminal(t *testing.T) {
	image := filesImage(t)
	mica(t, "index", image)
	for _, args := range [][]string{{"export", image}, {"cp", image + ":/etc", "-"}} {
		out, stderr, status := onTerminal(t, args...)
		if want := "mica: " + args[0] + ": a tar is not for a terminal\nhint: -o FILE, or a pipe\n"; out != "" || stderr != want || status != 2 {
			t.Errorf("%s: %q, %q, status %d", args[0], out, stderr, status)
		}
	}
	for _, args := range [][]string{{"ls", image}, {"ls", "-l", image}, {"find", image, "-maxdepth", "1"}, {"stat", image, "/new\nline\x1b[31m"}, {"tree", image}} {
		out, _, _ := onTerminal(t, args...)
		if !strings.Contains(out, `new\nline\x1b[31m`) || strings.Contains(out, "\x1b") {
			t.Errorf("%s: %q", args[0], out)
		}
	}
	out, _, _ := onTerminal(t, "ls", image)
	want := "bad\\xff  bin  broken  dev  etc  new\\nline\\x1b[31m  tmp  usr  zwölf\n"
	if d := cmp.Diff(want, out); d != "" {
		t.Errorf("ls (-want +got):\n%s", d)
	}
}
