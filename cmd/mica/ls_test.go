package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLsAsLs compares with ls(1) over the same files on disk.
func TestLsAsLs(t *testing.T) {
	image := filesImage(t)
	dir := onDisk(t, image)
	for _, line := range []string{
		".", "", "-a .", "-R .", "-Ra .", "-d .", "-d etc usr", "-1 etc", "etc usr/bin", "usr/bin etc dev", "etc/motd usr/bin etc/group", "bin", "bin/", "-d bin", "broken bin",
		"-ln .", "-n", "-lna etc", "-lnR .", "-lnRa etc", "-lnh usr/bin", "-ld -n .", "-ldn usr/bin etc/motd dev/null", "-ln dev", "-ln dev/sda usr/bin/big", "-ln bin", "-ln bin/", "-lnR etc usr",
		"etc/.hidden", "-ln etc/.hidden/..", "none", "none etc", "etc/motd/", "-R none etc", "-l -n broken",
	} {
		got := mica(t, append([]string{"ls", image}, strings.Fields(line)...)...)
		want := tool(t, dir, append([]string{"ls"}, strings.Fields(line)...)...)
		if d := cmp.Diff(sameTotals(want), sameTotals(got.stdout)); d != "" {
			t.Errorf("ls %s (-ls(1) +ours):\n%s", line, d)
		}
		if failed := strings.Contains(line, "none") || strings.Contains(line, "motd/"); failed != (got.status != 0) {
			t.Errorf("ls %s: status %d, %s", line, got.status, got.stderr)
		}
	}
}

// sameTotals takes out the blocks, which a disk allocates as it likes.
func sameTotals(s string) string {
	return regexp.MustCompile(`(?m)^total .*`).ReplaceAllString(s, "total")
}

// TestLsOwners: names are those of the image, where they are names.
func TestLsOwners(t *testing.T) {
	image := filesImage(t)
	got := mica(t, "ls", "-l", image, "/usr/bin", "/zwölf", "/dev/sda").stdout
	var owners []string
	for line := range strings.Lines(got) {
		if f := strings.Fields(line); len(f) > 7 {
			owners = append(owners, f[len(f)-1]+" "+f[2]+" "+f[3])
		}
	}
	want := []string{"/dev/sda root disk", "/zwölf 5 root", "big su root", "su root root"}
	if d := cmp.Diff(want, owners); d != "" {
		t.Errorf("owners (-want +got):\n%s\n%s", d, got)
	}
	// 123456 bytes are 242 blocks of 512, 5 are one.
	if !strings.Contains(got, "total 122\n") {
		t.Errorf("no total of 122 KiB in\n%s", got)
	}
}

// TestLsDamaged: where /etc/passwd cannot be read, numbers do, and it is told.
func TestLsDamaged(t *testing.T) {
	image := demoLayout(t)
	if r := mica(t, "index", image); r.status != 0 {
		t.Fatal(r.stderr)
	}
	blobs, err := filepath.Glob(filepath.Join(image, "blobs", "sha256", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var largest string // layer: that with /etc/passwd
	var b []byte
	for _, name := range blobs {
		c, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.HasPrefix(c, []byte{0x1f, 0x8b}) && len(c) > len(b) {
			largest, b = name, c
		}
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(largest, b, 0o644); err != nil {
		t.Fatal(err)
	}
	got := mica(t, "ls", "-l", image, "/bin")
	if strings.Contains(got.stdout, "root") || !strings.HasPrefix(got.stderr, "mica: ls "+image+": /etc/passwd: ") || got.status != 1 {
		t.Errorf("status %d, %s\n%s", got.status, got.stderr, got.stdout)
	}
	if got := mica(t, "ls", "-ln", image, "/bin"); got.status != 0 {
		t.Errorf("-n: status %d, %s", got.status, got.stderr)
	}
}

func TestLsJSON(t *testing.T) {
	image := filesImage(t)
	var got []map[string]any
	out := mica(t, "ls", "-Ra", "--format", "json", image, "/").stdout
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	byPath := map[string]map[string]any{}
	for _, f := range got {
		byPath[f["path"].(string)] = f
	}
	want := map[string]any{
		"path": "/dev/sda", "type": "block-device", "mode": "0660", "uid": 0., "gid": 6., "user": "root", "group": "disk",
		"size": 0., "mtime": "2001-02-03T04:05:06.000007Z", "inode": byPath["/dev/sda"]["inode"], "nlink": 1., "major": 8., "minor": 16., "layer": 1.,
	}
	if d := cmp.Diff(want, byPath["/dev/sda"]); d != "" {
		t.Errorf("/dev/sda (-want +got):\n%s", d)
	}
	for path, want := range map[string]string{"/bin": `"target":"usr/bin"`, "/bad�": `"rawPath":"L2JhZP8="`, "/usr/bin/..": `"type":"directory"`, "/new\nline\x1b[31m": `"layer":1`} {
		b, err := json.Marshal(byPath[path])
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%q = %s, want %s", path, b, want)
		}
	}
	if out := mica(t, "ls", "--format", "json", image, "/tmp").stdout; out != "[]\n" {
		t.Errorf("an empty directory: %q", out)
	}
}

// TestLsErrors: what fails is told of, the status is 3 if nothing else was
// wrong than that it is not there.
func TestLsErrors(t *testing.T) {
	image := filesImage(t)
	for _, tt := range []struct {
		args   string
		stderr string
		status int
	}{
		{"/none /etc/none", "mica: ls IMAGE: /none: no such file or directory\nmica: ls IMAGE: /etc/none: no such file or directory\n", 3},
		{"/none /etc/motd/x", "mica: ls IMAGE: /none: no such file or directory\nmica: ls IMAGE: /etc/motd/x: not a directory\n", 1},
		{"/etc/motd/ /dev", "mica: ls IMAGE: /etc/motd/: not a directory\n", 1},
		{"--format yaml", "mica: ls: invalid argument \"yaml\" for \"--format\" flag: must be text or json\nhint: mica ls --help\n", 2},
	} {
		got := mica(t, append([]string{"ls", image}, strings.Fields(tt.args)...)...)
		if stderr := strings.ReplaceAll(got.stderr, image, "IMAGE"); stderr != tt.stderr || got.status != tt.status {
			t.Errorf("ls %s: status %d, want %d\n%s", tt.args, got.status, tt.status, cmp.Diff(tt.stderr, stderr))
		}
	}
}

// TestColumns compares with ls -C over names of many lengths.
func TestColumns(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := range 40 {
		dir := t.TempDir()
		for range n {
			if err := os.WriteFile(filepath.Join(dir, strings.Repeat("näme-"[:1+rnd.IntN(2)*2], 1+rnd.IntN(20))+fmt.Sprint(rnd.IntN(1000))), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		for _, width := range []int{20, 40, 79, 80, 81, 200} {
			var b bytes.Buffer
			w := bufio.NewWriter(&b)
			if err := putColumns(w, width, names); err != nil {
				t.Fatal(err)
			}
			w.Flush()
			want := tool(t, dir, "ls", "-C", "-T0", fmt.Sprintf("-w%d", width))
			if d := cmp.Diff(want, b.String()); d != "" {
				t.Fatalf("width %d (-ls(1) +ours):\n%s", width, d)
			}
		}
	}
}

// TestHumanSize compares with ls -lh.
func TestHumanSize(t *testing.T) {
	dir := t.TempDir()
	sizes := []int64{0, 1, 9, 10, 999, 1000, 1023, 1024, 1025, 1126, 1127, 9 << 10, 9*1024 + 922, 10137, 10138, 10239, 10240, 10241, 100 << 10,
		1023 << 10, 1023<<10 + 1, 1<<20 - 1, 1 << 20, 1<<20 + 1, 1<<30 - 1, 1 << 30, 5<<30 + 12345, 1<<40 - 1, 1 << 40, 3<<40 + 1}
	want := map[int64]string{}
	for _, n := range sizes {
		p := filepath.Join(dir, "f")
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(p, n); err != nil {
			t.Fatal(err)
		}
		want[n] = strings.Fields(tool(t, dir, "ls", "-lh", "f"))[4]
	}
	want[1<<63-1] = "8.0E"
	for n, want := range want {
		if got := humanSize(n); got != want {
			t.Errorf("humanSize(%d) = %s, ls says %s", n, got, want)
		}
	}
}
