package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestReads reads pieces of a large file at random places, several readers at
// once, by read(2), with O_DIRECT and by mmap(2).
func TestReads(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	data := make([]byte, 20<<20+12345)
	for i := range data {
		// Noise and runs in turn, so that spans differ in how they compress.
		if data[i] = byte(i >> 12); i>>18&1 == 0 {
			data[i] = byte(r.Uint32())
		}
	}
	im := image{layerOf(file("first", "first"), file("large", string(data)), file("last", "last"))}
	for about, ref := range forms(t, im) {
		t.Run(about, func(t *testing.T) {
			h := newHost(t)
			dir := h.mount(ref)
			path := filepath.Join(dir, "large")
			var readers sync.WaitGroup
			for id := range 24 { // more than the server has workers
				flags := 0
				if id%3 == 0 {
					flags = unix.O_DIRECT
				}
				readers.Go(func() { readPieces(t, path, data, flags, uint64(id)) })
			}
			h.waitReaders(dir, &readers)
			mapFile(t, filepath.Join(h.mount(ref), "large"), data)
		})
	}
}

// waitReaders waits for readers of a mount. Readers that wait for ever are let
// go by the end of all that serves it.
func (h *host) waitReaders(dir string, readers *sync.WaitGroup) {
	h.t.Helper()
	done := make(chan bool)
	go func() {
		readers.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		if err := h.processes(dir).kill(); err != nil {
			h.t.Fatal(err)
		}
		<-done
		h.t.Fatal("readers hang")
	}
}

// readPieces reads a file that holds data, at places of its own choice.
func readPieces(t *testing.T, path string, data []byte, flags int, seed uint64) {
	f, err := os.OpenFile(path, os.O_RDONLY|flags, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	r := rand.New(rand.NewPCG(11, seed))
	for range 30 {
		off, n := r.Int64N(int64(len(data))), 1+r.IntN(300_000)
		if flags&unix.O_DIRECT != 0 {
			off, n = off&^4095, (n+4095)&^4095
		}
		got := make([]byte, n)
		n, err := f.ReadAt(got, off)
		want := data[off:min(off+int64(len(got)), int64(len(data)))]
		if n != len(want) || !slices.Equal(got[:n], want) {
			t.Errorf("%d bytes at %d: %d bytes (%v), want %d, or others than those", len(got), off, n, err, len(want))
			return
		}
	}
}

func mapFile(t *testing.T, path string, data []byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, len(data), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m)
	for off := len(m) - 4096; off >= 0; off -= 1 << 20 { // backwards, where no readahead helps
		if !slices.Equal(m[off:off+4096], data[off:off+4096]) {
			t.Errorf("mapped bytes at %d differ", off)
		}
	}
	if !slices.Equal(m, data) {
		t.Error("mapped bytes differ")
	}
}

// A dirent is one entry as getdents64(2) gives it.
type dirent struct {
	ino  uint64
	next int64 // where to go on after it, for lseek(2)
	typ  byte
	name string
}

// getdents reads one buffer of a directory.
func getdents(t *testing.T, fd, size int) []dirent {
	t.Helper()
	b := make([]byte, size)
	n, err := unix.Getdents(fd, b)
	if err != nil {
		t.Fatal(err)
	}
	return parseDirents(b[:n])
}

func parseDirents(b []byte) (entries []dirent) {
	for len(b) > 0 {
		length := binary.NativeEndian.Uint16(b[16:])
		name, _, _ := strings.Cut(string(b[19:length]), "\x00")
		entries = append(entries, dirent{
			ino: binary.NativeEndian.Uint64(b), next: int64(binary.NativeEndian.Uint64(b[8:])), typ: b[18], name: name,
		})
		b = b[length:]
	}
	return entries
}

// TestReaddir reads a directory of 5,000 names by small buffers: each name
// comes once, with the number that stat gives, and lseek goes on anywhere.
func TestReaddir(t *testing.T) {
	h := newHost(t)
	want := []string{".", ".."}
	var entries []entry
	for i := range 5000 {
		name := fmt.Sprintf("%05d%s", i, strings.Repeat("x", i%200))
		want = append(want, name)
		entries = append(entries, file("dir/"+name, strconv.Itoa(i)))
	}
	layout := filepath.Join(h.dir, "oci")
	if _, err := (image{layerOf(entries...), layerOf(file("dir/.wh.none", ""))}).writeOCI(layout, gzipped); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(h.mount(layout), "dir")
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var all []dirent
	for {
		some := getdents(t, fd, 1024)
		if len(some) == 0 {
			break
		}
		all = append(all, some...)
	}
	var names []string
	for _, d := range all {
		names = append(names, d.name)
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, d.name), &st); err != nil {
			t.Fatal(err)
		}
		if d.ino != st.Ino && d.name != ".." { // which lies outside of the directory
			t.Errorf("%s: readdir says inode %d, stat %d", d.name, d.ino, st.Ino)
		}
	}
	slices.Sort(names)
	if !slices.Equal(names, want) {
		t.Errorf("%d names, want %d, each once", len(names), len(want))
	}
	for _, i := range []int{0, 1, 2, 3, 999, 4999, 5000} {
		if _, err := unix.Seek(fd, all[i].next, unix.SEEK_SET); err != nil {
			t.Fatal(err)
		}
		if got := getdents(t, fd, 4096); len(got) == 0 || got[0] != all[i+1] {
			t.Errorf("after lseek behind %q: %v, want %q first", all[i].name, got, all[i+1].name)
		}
	}
	if _, err := unix.Seek(fd, all[len(all)-1].next, unix.SEEK_SET); err != nil {
		t.Fatal(err)
	}
	if got := getdents(t, fd, 4096); len(got) != 0 {
		t.Errorf("after the last: %v", got)
	}
}

// TestCopies: what the usual tools copy out of a mount is the same tree.
func TestCopies(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	layout := filepath.Join(h.dir, "oci")
	if _, err := nasty().writeOCI(layout, gzipped); err != nil {
		t.Fatal(err)
	}
	mnt := h.mount(layout)
	for about, script := range map[string]string{
		"cp":  `cp -a "$0" copy`,
		"tar": `mkdir copy && tar -C "$0" --format=posix --xattrs --xattrs-include='*' --sparse -cf - . | tar -C copy --xattrs --xattrs-include='*' -xpf -`,
	} {
		t.Run(about, func(t *testing.T) {
			dir := newDir(t)
			run(t, dir, "sh", "-ec", script, mnt)
			want, got := mustReadTree(t, mnt), mustReadTree(t, filepath.Join(dir, "copy"))
			for p, n := range want {
				if about == "tar" && n.Rdev != 0 {
					// GNU tar takes names of one device for devices of their own.
					n.Nlink, n.Group = got[p].Nlink, got[p].Group
					want[p] = n
				}
			}
			sameTree(t, want, got)
		})
	}
}

// TestUnderOverlay: a mount is a good lower layer for the kernel's overlayfs,
// and what is written above does not reach it.
func TestUnderOverlay(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	layout := filepath.Join(h.dir, "oci")
	if _, err := nasty().writeOCI(layout, gzipped); err != nil {
		t.Fatal(err)
	}
	mnt := h.mount(layout)
	want := mustReadTree(t, mnt)
	// The upper has to lie on a filesystem that overlayfs takes.
	base := newDir(t)
	for _, d := range []string{"upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(base, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	merged := filepath.Join(base, "merged")
	err := unix.Mount("overlay", merged, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", mnt, base, base))
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENODEV) {
		t.Logf("no overlayfs here over %s: %v", base, err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	got := mustReadTree(t, merged)
	want["."] = got["."] // the upper's root
	sameTree(t, want, got)
	run(t, merged, "sh", "-ec", `rm -r merged emptied; echo more >>etc/motd; mv times moved || cp -a times moved; chmod 600 bin/su; touch new`)
	if b, err := os.ReadFile(filepath.Join(merged, "etc/motd")); string(b) != "hello\nmore\n" || err != nil {
		t.Errorf("etc/motd above: %q, %v", b, err)
	}
	want["."] = mustReadTree(t, mnt)["."]
	sameTree(t, want, mustReadTree(t, mnt))
}

// TestHoles: what a layer has as holes is told as such, and takes no blocks.
func TestHoles(t *testing.T) {
	h, layout := nastyLayout(t)
	path := filepath.Join(h.mount(layout), "sparse/holes")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if st.Size != 64<<20 || st.Blocks*512 > 1<<20 {
		t.Errorf("%d bytes in %d blocks of 512, want 64 MiB in a few", st.Size, st.Blocks)
	}
	type piece struct{ from, to int64 }
	var pieces []piece
	for end := int64(0); ; {
		start, err := unix.Seek(int(f.Fd()), end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if end, err = unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE); err != nil {
			t.Fatal(err)
		}
		pieces = append(pieces, piece{start, end})
	}
	// Rounded to what a filesystem allocates, as others tell it.
	for i, want := range []piece{{1 << 20, 1<<20 + 10}, {32 << 20, 32<<20 + 8000}} {
		if i >= len(pieces) || pieces[i].from > want.from || pieces[i].to < want.to || pieces[i].to-pieces[i].from > 64<<10 {
			t.Fatalf("data at %v, want about %v there", pieces, want)
		}
	}
	if len(pieces) != 2 {
		t.Errorf("data at %v, want two pieces", pieces)
	}
	for _, off := range []int64{64 << 20, 64<<20 + 1} {
		for _, whence := range []int{unix.SEEK_DATA, unix.SEEK_HOLE} {
			if at, err := unix.Seek(int(f.Fd()), off, whence); !errors.Is(err, unix.ENXIO) {
				t.Errorf("lseek(%d, %d) = %d, %v, want ENXIO", off, whence, at, err)
			}
		}
	}
}
