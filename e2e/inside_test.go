package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"
)

// The commands that look into an image without a mount are held against the
// tools that they are named for, on a mount of the same image.

func nastyLayout(t *testing.T) (h *host, layout string) {
	t.Helper()
	h = newHost(t)
	layout = filepath.Join(h.dir, "oci")
	if _, err := nasty().writeOCI(layout, gzipped); err != nil {
		t.Fatal(err)
	}
	return h, layout
}

// TestExport unpacks what export writes: the same tree as umoci's, and the
// same bytes each time.
func TestExport(t *testing.T) {
	h, layout := nastyLayout(t)
	want := unpack(t, layout, "latest")
	first, second := filepath.Join(h.dir, "1.tar"), filepath.Join(h.dir, "2.tar")
	h.mica("export", layout, "-o", first)
	h.mica("export", layout, "-o", second)
	run(t, h.dir, "cmp", first, second)
	root := filepath.Join(h.dir, "root")
	run(t, h.dir, "sh", "-ec", `mkdir root && tar -C root --numeric-owner --xattrs --xattrs-include='*' -xpf 1.tar`)
	sameTree(t, want, mustReadTree(t, root))
}

// TestCopyOut copies a whole image out of itself.
func TestCopyOut(t *testing.T) {
	h, layout := nastyLayout(t)
	want := unpack(t, layout, "latest")
	h.mica("cp", "-a", layout+":/.", filepath.Join(h.dir, "root"))
	sameTree(t, want, mustReadTree(t, filepath.Join(h.dir, "root")))
	run(t, h.dir, "mkdir", "piped")
	cmd := exec.Command("tar", "-C", filepath.Join(h.dir, "piped"), "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf", "-")
	cp := h.command("cp", "-a", layout+":/etc", "-")
	var err error
	if cmd.Stdin, err = cp.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cp.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := output(cmd); err != nil {
		t.Error(err)
	}
	if err := cp.Wait(); err != nil {
		t.Error(err)
	}
	for p, n := range mustReadTree(t, filepath.Join(h.dir, "piped")) {
		// Links from elsewhere to the same file were not copied.
		w := want[p]
		w.Nlink, w.Group = n.Nlink, n.Group
		if p != "." && w != n {
			t.Errorf("%s: %+v, want %+v", p, n, w)
		}
	}
}

// TestFind asks mica find and find(1) the same.
func TestFind(t *testing.T) {
	h, layout := nastyLayout(t)
	mnt := h.mount(layout)
	for _, expression := range []string{
		"",
		"-name *a*",
		"-mindepth 1 -name .*",
		"-iname *A*",
		"-name [a-c]*",
		"-name names/*",
		"-path */sub/*",
		"-type f",
		"-type d,l",
		"-type b -o -type c -o -type p",
		"-perm /6000",
		"-perm -4000",
		"-perm 755",
		"-perm -u+x,g+x -type f",
		"-size +1M",
		"-size -2k -type f",
		"-size 3c",
		"-empty",
		"-links +1 -not -type d",
		"-uid 33",
		"-uid +1000",
		"-maxdepth 1",
		"-mindepth 2 -maxdepth 3 -type d",
		"-name sub -prune -o -type f -print",
		"( -name a -o -name b ) -type f",
		"! -user 0",
		"-newer etc/motd -type f",
		"-print0 -maxdepth 1",
	} {
		t.Run(expression, func(t *testing.T) {
			args := strings.Fields(expression)
			ask := slices.Clone(args)
			if i := slices.Index(args, "-newer"); i >= 0 {
				ask[i+1] = "/" + args[i+1]
				args[i+1] = filepath.Join(mnt, args[i+1])
			}
			got, err := output(h.command(append([]string{"find", layout, "/"}, ask...)...))
			if err != nil {
				t.Fatal(err)
			}
			// The image's root is find's mountpoint, whose path goes before each line.
			real := exec.Command("find", append([]string{"."}, args...)...)
			real.Dir = mnt
			want, err := output(real)
			if err != nil {
				t.Fatal(err)
			}
			end := "\n"
			if strings.Contains(expression, "print0") {
				end = "\x00"
			}
			w, g := sorted(want, end), sorted(got, end)
			for i, p := range w {
				if rest, ok := strings.CutPrefix(p, "."); ok { // not the second half of a name with a newline
					w[i] = "/" + strings.TrimPrefix(rest, "/")
				}
			}
			if d := cmp.Diff(w, g); d != "" {
				t.Errorf("(-find +mica)\n%s", d)
			}
		})
	}
}

// sorted gives the lines of a text that end in end, in order.
func sorted(text, end string) []string {
	lines := strings.SplitAfter(text, end)
	for i, l := range lines {
		lines[i] = strings.TrimSuffix(l, end)
	}
	lines = lines[:len(lines)-1]
	slices.Sort(lines)
	return lines
}

// TestList holds ls against ls(1).
func TestList(t *testing.T) {
	h, layout := nastyLayout(t)
	mnt := h.mount(layout)
	for _, args := range [][]string{{"-a"}, {"-R"}, {"-1", "etc"}, {"-ln", "bin"}, {"-lnd", "tmp"}, {"-ln", "dev"}, {"-ln", "times"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			ask := append([]string{"ls"}, args[0], layout)
			dir := "."
			if len(args) > 1 {
				dir = args[1]
				ask = append(ask, "/"+dir)
			}
			got := h.mica(ask...)
			real := exec.Command("ls", args[0], dir)
			real.Dir = mnt
			real.Env = append(os.Environ(), "LC_ALL=C", "QUOTING_STYLE=literal", "TZ=UTC")
			want, err := output(real)
			if err != nil {
				t.Fatal(err)
			}
			// Of the two only mica has the image's root for "/".
			want = strings.ReplaceAll("\n"+want, "\n./", "\n/")
			want = strings.Replace(want, "\n.:", "\n/:", 1)[1:]
			if args[0] == "-lnd" {
				want = strings.Replace(want, " "+dir, " /"+dir, 1)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("(-ls +mica)\n%s", d)
			}
		})
	}
}

// TestStat holds what stat says as JSON against lstat(2) on a mount.
func TestStat(t *testing.T) {
	h, layout := nastyLayout(t)
	mnt := h.mount(layout)
	paths := []string{"/", "/etc/motd", "/bin/su", "/link", "/dev/null", "/dev/sda", "/dev/pipe", "/tmp", "/owners/big", "/times/nano", "/times/negative", "/sparse/holes"}
	var stats []struct {
		Path         string
		Type         string
		Mode         string
		UID, GID     uint32
		Size         int64
		Mtime        time.Time
		Inode        uint64
		Nlink        uint64
		Major, Minor uint32
		Target       string
		Layer        int
	}
	if err := json.Unmarshal([]byte(h.mica(append([]string{"stat", "--format", "json", layout}, paths...)...)), &stats); err != nil {
		t.Fatal(err)
	}
	if len(stats) != len(paths) {
		t.Fatalf("%d objects, want %d", len(stats), len(paths))
	}
	for i, s := range stats {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(mnt, paths[i]), &st); err != nil {
			t.Fatal(err)
		}
		mtime := time.Unix(st.Mtim.Unix())
		if s.Path != paths[i] || s.UID != st.Uid || s.GID != st.Gid || s.Inode != st.Ino || !s.Mtime.Equal(mtime) || s.Nlink != st.Nlink && s.Type != "directory" ||
			(s.Type == "file" || s.Type == "symlink") && s.Size != st.Size || s.Major != unix.Major(st.Rdev) || s.Minor != unix.Minor(st.Rdev) {
			t.Errorf("%s: %+v; lstat says %+v", paths[i], s, st)
		}
	}
}

// TestCat: the bytes are those of the mount, links are followed inside the image.
func TestCat(t *testing.T) {
	h, layout := nastyLayout(t)
	mnt := h.mount(layout)
	for _, p := range []string{"etc/motd", "link", "data/noise", "data/text", "sparse/holes", "etc/empty", "names/\xff\xfe not utf-8"} {
		want, err := os.ReadFile(filepath.Join(mnt, p))
		if err != nil {
			t.Fatal(err)
		}
		if got := h.mica("cat", layout, "/"+p); got != string(want) {
			t.Errorf("%s: %d bytes, want %d", p, len(got), len(want))
		}
	}
}
