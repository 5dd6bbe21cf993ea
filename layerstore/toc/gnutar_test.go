package toc

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// GNU tar is the oracle here: the layer that it makes of a directory must read
// as that directory, in every format that it writes.
func TestScanGNUTar(t *testing.T) {
	needTool(t, "tar")
	root := t.TempDir()
	makeTree(t, root)
	for _, tt := range []struct {
		args string
		not  string // which of makeTree's files the format cannot have
	}{
		{args: "--format=v7", not: "long numbers special"},
		{args: "--format=oldgnu"},
		{args: "--format=gnu"},
		{args: "--format=gnu --sparse"},
		{args: "--format=gnu --incremental"}, // atime and ctime in each header
		{args: "--format=ustar", not: "long numbers"},
		{args: "--format=posix"},
		{args: "--format=posix --sparse --sparse-version=0.0"},
		{args: "--format=posix --sparse --sparse-version=0.1"},
		{args: "--format=posix --sparse --sparse-version=1.0"},
		{args: "--format=posix --pax-option=delete=mtime,mtime=1234567890"}, // a global header
	} {
		t.Run(tt.args, func(t *testing.T) {
			args := append(strings.Fields(tt.args), "--sort=name", "--numeric-owner", "-C", root)
			left := func(base string) bool {
				return slices.ContainsFunc(strings.Fields(tt.not), func(p string) bool { return strings.HasPrefix(base, p) })
			}
			for _, prefix := range strings.Fields(tt.not) {
				args = append(args, "--exclude="+prefix+"*")
			}
			layer, err := exec.Command("tar", append(args, "-cf", "-", ".")...).Output()
			if err != nil {
				t.Fatalf("tar %v: %v", args, err)
			}
			got, sum, err := scanAll(layer)
			if err != nil || !sum.Marked {
				t.Fatalf("Scan: %v, %+v", err, sum)
			}
			incremental := strings.Contains(tt.args, "incremental") // directories are of type D then
			if sum.Noted > 0 && !incremental {
				t.Errorf("notes: %v", sum.Notes)
			}
			checkTree(t, root, layer, got, func(e *Entry) {
				if !strings.Contains(tt.args, "posix") {
					e.Mtime.Nsec = 0
				}
				if strings.Contains(tt.args, "mtime=1234567890") {
					e.Mtime = Time{Sec: 1234567890}
				}
			})
			i := slices.IndexFunc(got, func(e Entry) bool { return e.Path == "sparse6" })
			if n := len(got[i].Sparse); strings.Contains(tt.args, "--sparse") != (n == 60) {
				t.Errorf("sparse6 has %d extents, want 60 where tar was told --sparse", n)
			}
			want := 0
			filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
				if !left(d.Name()) && !(incremental && d.IsDir()) {
					want++
				}
				return err
			})
			if len(got) != want {
				t.Errorf("%d entries, want %d", len(got), want)
			}
		})
	}
}

// makeTree makes one of each kind of file, in names of every length.
func makeTree(t *testing.T, root string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(root, name) }
	must(os.MkdirAll(at("dir/sub"), 0o755))
	must(os.WriteFile(at("dir/empty"), nil, 0o600))
	must(os.WriteFile(at("dir/file"), []byte("contents"), 0o644))
	must(os.WriteFile(at("dir/block"), bytes.Repeat([]byte("b"), 512), 0o4755))
	must(os.WriteFile(at("dir/large"), bytes.Repeat([]byte("large"), 5000), 0o644))
	must(os.WriteFile(at("dir/odd\nname\xff"), []byte("x"), 0o644))
	must(os.Link(at("dir/large"), at("dir/link")))
	must(os.Symlink("../no/such", at("dir/symlink")))
	must(syscall.Mkfifo(at("special-fifo"), 0o644))
	must(os.Chmod(at("dir/sub"), 0o1777))
	for _, n := range []int{91, 92, 93, 149, 150, 200} { // 100 and 155 are the sizes of fields
		must(os.WriteFile(at("dir/"+"long"+strings.Repeat("n", n)), []byte("long"), 0o644))
	}
	must(os.Symlink(strings.Repeat("target/", 40), at("long-symlink")))
	for i, extents := range []int{0, 1, 3, 4, 5, 30, 60} {
		sparse(t, at(fmt.Sprintf("sparse%d", i)), extents, i%2 == 0)
	}
	must(os.WriteFile(at("numbers1"), []byte("x"), 0o644))
	must(os.WriteFile(at("numbers2"), []byte("x"), 0o644))
	if os.Geteuid() == 0 {
		must(syscall.Mknod(at("special-block"), syscall.S_IFBLK|0o600, 7<<8|200))
		must(os.Lchown(at("numbers1"), 3000000, 65534))
		must(os.Lchown(at("numbers2"), 1, 4294967294))
	}
	must(os.Chtimes(at("numbers1"), time.Time{}, time.Unix(-1, 5e8)))
	must(os.Chtimes(at("numbers2"), time.Time{}, time.Unix(1<<33, 123456789)))
}

// sparse makes a file of n extents, with a hole at the end or without.
func sparse(t *testing.T, path string, n int, hole bool) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := int64(0)
	for i := range n {
		off := int64(i+1) * 64 << 10
		if _, err := f.WriteAt(bytes.Repeat([]byte{'a' + byte(i)}, 4096), off); err != nil {
			t.Fatal(err)
		}
		size = off + 4096
	}
	if hole {
		size += 100_001
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
}

// checkTree holds entries against what the system says of the files. adjust
// takes from the latter what the format cannot say.
func checkTree(t *testing.T, root string, layer []byte, entries []Entry, adjust func(*Entry)) {
	t.Helper()
	types := map[uint32]Type{
		syscall.S_IFREG: Regular, syscall.S_IFDIR: Dir, syscall.S_IFLNK: Symlink,
		syscall.S_IFBLK: Block, syscall.S_IFCHR: Char, syscall.S_IFIFO: Fifo,
	}
	first := map[uint64]string{} // name under which an inode came first
	for _, got := range entries {
		path := filepath.Join(root, got.Path)
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			t.Errorf("%q: %v", got.Path, err)
			continue
		}
		want := Entry{
			Path: got.Path, Type: types[st.Mode&syscall.S_IFMT], Mode: uint16(st.Mode & 0o7777), UID: st.Uid, GID: st.Gid,
			Mtime: Time{st.Mtim.Sec, uint32(st.Mtim.Nsec)}, Off: got.Off, Sparse: got.Sparse,
		}
		if name, ok := first[st.Ino]; ok {
			want.Type, want.Link = Hardlink, name
		} else if want.Type != Dir {
			first[st.Ino] = got.Path
		}
		switch want.Type {
		case Symlink:
			want.Link, _ = os.Readlink(path)
		case Regular:
			want.Size = st.Size
			data, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(contents(layer, got), data) {
				t.Errorf("%q: other contents, %v", got.Path, err)
			}
		case Block, Char:
			want.Major, want.Minor = uint32(st.Rdev>>8&0xfff), uint32(st.Rdev&0xff)
		}
		adjust(&want)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q (-lstat +Scan):\n%s", got.Path, d)
		}
	}
}

// Attributes and lists as GNU tar writes them, against what the system says.
func TestScanGNUTarXattrs(t *testing.T) {
	needTool(t, "tar")
	needTool(t, "setfacl")
	root := t.TempDir()
	file, dir := filepath.Join(root, "file"), filepath.Join(root, "dir")
	if err := os.WriteFile(file, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setxattr(file, "user.binary", []byte("\x00=\n\xff"), 0); err != nil {
		t.Skipf("no attributes here: %v", err)
	}
	if err := syscall.Setxattr(file, "user.empty", nil, 0); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("setfacl", "-m", "u:12345:rwx,g:54321:r-x,d:u:12345:r", dir).CombinedOutput(); err != nil {
		t.Skipf("setfacl: %v: %s", err, out)
	}
	layer, err := exec.Command("tar", "--xattrs", "--acls", "--numeric-owner", "--sort=name", "-C", root, "-cf", "-", "dir", "file").Output()
	if err != nil {
		t.Fatal(err)
	}
	got, sum, err := scanAll(layer)
	if err != nil || len(got) != 2 || sum.Noted > 0 {
		t.Fatalf("%v, %+v, %v", got, sum, err)
	}
	for i, names := range [][]string{{"system.posix_acl_access", "system.posix_acl_default"}, {"user.binary", "user.empty"}} {
		var want []Xattr
		for _, name := range names {
			buf := make([]byte, 1000)
			n, err := syscall.Getxattr(filepath.Join(root, got[i].Path), name, buf)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, Xattr{name, buf[:n]})
		}
		// The system may add some of its own (security.selinux).
		kept := slices.DeleteFunc(got[i].Xattrs, func(x Xattr) bool { return strings.HasPrefix(x.Name, "security.") })
		if d := cmp.Diff(want, kept); d != "" {
			t.Errorf("%q (-getxattr +Scan):\n%s", got[i].Path, d)
		}
	}
}
