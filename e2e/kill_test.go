package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// killsEnv says how often TestKills kills; 100 times if it is not set.
const killsEnv = "MICA_TEST_KILLS"

// mostPause is how long a kill may hold up who uses the mount: the median, as
// the machine may have others to serve.
const mostPause = 300 * time.Millisecond

// TestKills kills the server again and again, mostly while it serves and now
// and then while it starts, under programs that ask what the kernel's caches do
// not know. No call may fail, or find another byte than the image has.
func TestKills(t *testing.T) {
	testKills(t, envInt(t, killsEnv, 100), func(h *host, entries []entry) (dir string) {
		layout := filepath.Join(h.dir, "oci")
		if _, err := (image{layerOf(entries...)}).writeOCI(layout, gzipped); err != nil {
			t.Fatal(err)
		}
		return h.mount(layout)
	})
}

// TestKillsOverDirectories is TestKills where each server has to find out anew
// what the kernel's numbers mean.
func TestKillsOverDirectories(t *testing.T) {
	testKills(t, envInt(t, killsEnv, 30), func(h *host, entries []entry) (dir string) {
		var layers []string
		for i := range 2 { // every other entry in each
			layer := filepath.Join(h.dir, fmt.Sprint("l", i))
			if err := os.Mkdir(layer, 0o755); err != nil {
				t.Fatal(err)
			}
			for j := i; j < len(entries); j += 2 {
				if err := entries[j].put(layer, true); err != nil {
					t.Fatal(err)
				}
			}
			layers = append(layers, layer)
		}
		dir = filepath.Join(h.dir, "m")
		h.mica("mount", "--mkdir", "-o", "lowerdir="+strings.Join(layers, ":"), dir)
		return dir
	})
}

func testKills(t *testing.T, kills int, mount func(*host, []entry) (dir string)) {
	needFUSE(t)
	h := newHost(t)
	k := &killing{large: noise(6<<20 + 4321), program: []byte(readFile(t, filepath.Join(binDir(), "mica")))}
	k.dir = mount(h, k.entries())
	k.holder = h.processes(k.dir).Holder

	users := []*mountUser{
		{about: "random reads", use: k.read}, {about: "random reads", use: k.read},
		{about: "mapped memory", use: k.mapped},
		{about: "a walk", use: k.walk},
		{about: "a program", use: k.run},
	}
	var wait sync.WaitGroup
	for i, u := range users {
		wait.Go(func() { u.repeat(t, &k.over, uint64(i)) })
	}
	before, err := os.Open(filepath.Join(k.dir, "small/3/13"))
	if err != nil {
		t.Fatal(err)
	}
	pauses := k.killAll(t, kills)
	k.over.Store(true)
	h.waitReaders(k.dir, &wait)

	b := make([]byte, 100)
	if n, err := before.Read(b); string(b[:n]) != small(13) || err != nil {
		t.Errorf("a file opened before the first kill reads %q, %v", b[:n], err)
	}
	before.Close()
	for _, u := range users {
		t.Logf("%s: %d times", u.about, u.done.Load())
		if u.done.Load() == 0 {
			t.Errorf("%s: not once under %d kills", u.about, kills)
		}
	}
	slices.Sort(pauses)
	t.Logf("%d kills, then pauses: %v (median), %v (1 in 50 is longer), %v (longest)",
		len(pauses), pauses[len(pauses)/2], pauses[len(pauses)*49/50], pauses[len(pauses)-1])
	if p := pauses[len(pauses)/2]; p > mostPause {
		t.Errorf("a pause of %v, want at most %v", p, mostPause)
	}
	h.umount(k.dir)
}

// noise is n bytes, every other quarter MiB random, so that spans differ in how
// they compress.
func noise(n int) []byte {
	r := rand.New(rand.NewPCG(13, 14))
	b := make([]byte, n)
	for i := range b {
		if b[i] = byte(i >> 12); i>>18&1 == 0 {
			b[i] = byte(r.Uint32())
		}
	}
	return b
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// small is what is in small/N%10/N.
func small(n int) string { return fmt.Sprint("small file ", n) }

const smalls = 200

// A killing is a mount whose server is killed again and again.
type killing struct {
	dir            string
	holder         int
	large, program []byte // what is in these files
	over           atomic.Bool
}

func (k *killing) entries() []entry {
	entries := []entry{file("program", string(k.program)).mode(0o755), file("large", string(k.large))}
	for i := range smalls {
		entries = append(entries, file(fmt.Sprintf("small/%d/%d", i%10, i), small(i)).xattr("user.number", strconv.Itoa(i)))
	}
	return entries
}

// killAll kills, and gives how long the mount did not answer after each.
func (k *killing) killAll(t *testing.T, kills int) (pauses []time.Duration) {
	t.Helper()
	r := rand.New(rand.NewPCG(15, 16))
	for i := range kills {
		time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
		start := time.Now()
		k.kill(t)
		if i%10 == 9 {
			// Once more, while the next one starts.
			time.Sleep(time.Duration(r.IntN(8)) * time.Millisecond)
			k.kill(t)
		}
		var st unix.Statfs_t // which no cache answers
		if err := unix.Statfs(k.dir, &st); err != nil {
			t.Fatalf("statfs after kill %d: %v", i, err)
		}
		pauses = append(pauses, time.Since(start))
	}
	return pauses
}

// kill kills the server that there is, or that there will be.
func (k *killing) kill(t *testing.T) {
	t.Helper()
	until(t, "there is a server to kill", func() bool {
		for _, pid := range children(k.holder) {
			if unix.Kill(pid, unix.SIGKILL) == nil && !ended(pid) {
				return true
			}
		}
		return false
	})
}

// children gives the processes that one has started, with those that it has yet
// to wait for.
func children(pid int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		for word := range strings.FieldsSeq(string(b)) {
			if child, err := strconv.Atoi(word); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// A mountUser does something with the mount until it is over or fails.
type mountUser struct {
	about string
	use   func(*rand.Rand) error
	done  atomic.Int64
}

func (u *mountUser) repeat(t *testing.T, over *atomic.Bool, seed uint64) {
	r := rand.New(rand.NewPCG(17, seed))
	for !over.Load() {
		if err := u.use(r); err != nil {
			t.Errorf("%s: %v", u.about, err)
			return
		}
		u.done.Add(1)
	}
}

// read reads past the page cache.
func (k *killing) read(r *rand.Rand) error {
	f, err := os.OpenFile(filepath.Join(k.dir, "large"), os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	const page = 4096
	off := r.IntN(len(k.large)) &^ (page - 1)
	b := make([]byte, min(page<<r.IntN(6), len(k.large)-off))
	n, err := f.ReadAt(b, int64(off))
	if want := k.large[off : off+len(b)]; err != nil || !bytes.Equal(b[:n], want) {
		return fmt.Errorf("%d bytes at %d: %v, and are they the image's: %v", n, off, err, bytes.Equal(b[:n], want[:n]))
	}
	return nil
}

// mapped touches pages that it has had the kernel forget.
func (k *killing) mapped(r *rand.Rand) error {
	f, err := os.Open(filepath.Join(k.dir, "large"))
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, len(k.large), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer unix.Munmap(m)
	if err := errors.Join(unix.Madvise(m, unix.MADV_DONTNEED), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)); err != nil {
		return err
	}
	off := r.IntN(len(m))
	end := min(off+100, len(m))
	if !bytes.Equal(m[off:end], k.large[off:end]) {
		return fmt.Errorf("wrong bytes at %d", off)
	}
	return nil
}

// walk lists all, and asks for what is not kept: names that there are not, and
// attributes.
func (k *killing) walk(r *rand.Rand) error {
	seen := 0
	err := filepath.WalkDir(filepath.Join(k.dir, "small"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		seen++
		if _, err := os.Lstat(fmt.Sprintf("%s-%x", path, r.Uint64())); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("a name that is not there: %v", err)
		}
		b := make([]byte, 100)
		n, err := unix.Getxattr(path, "user.number", b)
		if want := filepath.Base(path); err != nil || string(b[:n]) != want {
			return fmt.Errorf("attribute of %s: %q, %v", path, b[:max(n, 0)], err)
		}
		return nil
	})
	if err == nil && seen != smalls {
		err = fmt.Errorf("%d files, want %d", seen, smalls)
	}
	return err
}

// run runs a program of the image, of which the kernel has no page at first.
func (k *killing) run(*rand.Rand) error {
	path := filepath.Join(k.dir, "program")
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return err
	}
	out, err := exec.Command(path, "version").CombinedOutput()
	if err != nil || !bytes.HasPrefix(out, []byte("mica ")) {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
