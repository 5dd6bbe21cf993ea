package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// powerCutsEnv says at how many moments TestPowerCut has the power fail, for
// each flavour.
const powerCutsEnv = "MICA_TEST_POWERCUTS"

const (
	cutActors = 3
	cutNames  = 9 // of files in an actor's directory
	cutPages  = 6 // at most, in a file
	cutRounds = 40
	cutPage   = 4096
)

// TestPowerCut has the power of the disk fail that the upper is on, at some
// moments while files are written: what had been fsynced is there afterwards, of
// what came later all of a page, of a rename and of a copy-up, or nothing. (A
// plain directory and the kernel's overlayfs show that the test asks for no more
// than there is.)
func TestPowerCut(t *testing.T) {
	count, seed := envInt(t, powerCutsEnv, 8), envInt(t, historySeedEnv, 1)
	for _, f := range flavours() {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(23, uint64(seed)))
			disk := newRecorder(t, 48<<20)
			c := &powerCut{disk: disk}
			h := newHost(t)
			at := filepath.Join(h.dir, "v")
			must(os.Mkdir(at, 0o755))
			run(t, h.dir, "mount", "-o", "loop", disk.file, at)
			u, err := unionIn(h, at, f, cutLayers()...)
			if err != nil {
				t.Fatal(err)
			}
			if err := syncfs(at); err != nil {
				t.Fatal(err)
			}
			began := disk.position()
			c.work(t, u, random)
			if err := errors.Join(u.umount(), unmountFree(at)); err != nil {
				t.Fatal(err)
			}
			cuts, err := disk.cuts(began)
			if err != nil {
				t.Fatal(err)
			}
			for range count {
				cut := cuts[random.IntN(len(cuts))]
				if err := c.check(t, u, cut, random); err != nil {
					t.Errorf("seed %d, after %d of %d bytes of writes: %v", seed, cut, cuts[len(cuts)-1], err)
				}
			}
			t.Logf("%d writes and flushes, %d cuts", len(cuts), count)
		})
	}
}

// A version is what one operation makes of a file. All pages of a file say which
// version wrote them.
type version struct {
	how     string
	pages   int // how many it has; 0 if it is gone
	content int // the version that its pages are of
	mode    uint32
	inPlace bool // written over the pages of the former one
	acked   int64
}

// A cutFile is all that a name was.
type cutFile struct {
	path     string // below the union
	versions []version
}

type powerCut struct {
	disk  *recorder
	mu    sync.Mutex
	files []*cutFile
}

// cutLayers have every other file in the lower.
func cutLayers() [][]entry {
	var l []entry
	for i := range cutActors {
		l = append(l, dir(cutDir(i)))
		for n := 0; n < cutNames; n += 2 {
			path := cutPath(i, n)
			l = append(l, file(path, cutText(path, 0, cutPages)).mode(0o600))
		}
	}
	return one(l...)
}

func cutDir(actor int) string        { return fmt.Sprint("actor", actor) }
func cutPath(actor, name int) string { return fmt.Sprintf("%s/file%d", cutDir(actor), name) }

// cutText is the contents of a version.
func cutText(path string, v, pages int) string {
	var b strings.Builder
	for i := range pages {
		stamp := fmt.Sprintf("%s version %d page %d\n", path, v, i)
		b.WriteString(strings.Repeat(stamp, cutPage/len(stamp)+1)[:cutPage])
	}
	return b.String()
}

// work has several actors change files of their own, each of which knows what is
// on disk when fsync has said so.
func (c *powerCut) work(t *testing.T, u *union, random *rand.Rand) {
	var wait sync.WaitGroup
	for i := range cutActors {
		files := make([]*cutFile, cutNames)
		for n := range files {
			f := &cutFile{path: cutPath(i, n)}
			first := version{how: "nothing"}
			if n%2 == 0 {
				first = version{how: "lower", pages: cutPages, mode: 0o600}
			}
			f.versions = []version{first}
			files[n] = f
		}
		c.files = append(c.files, files...)
		r := rand.New(rand.NewPCG(random.Uint64(), 0))
		wait.Go(func() {
			for range cutRounds {
				if err := c.step(u, files[r.IntN(len(files))], r); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
}

// step makes a new version, and every other time has it reach the disk.
func (c *powerCut) step(u *union, f *cutFile, r *rand.Rand) error {
	path := filepath.Join(u.dir, f.path)
	before := f.versions[len(f.versions)-1]
	now := before
	now.acked, now.inPlace = 0, false
	number := len(f.versions)
	replace := func() { now.pages, now.content, now.mode = 1+r.IntN(cutPages), number, 0o644 }
	var do func() error
	switch kind := r.IntN(5); {
	case kind == 0 || before.pages == 0:
		now.how = "replace"
		replace()
		do = func() error { return cutReplace(path, cutText(f.path, number, now.pages)) }
	case kind == 1:
		now.how = "chmod"
		now.mode = 0o600 | uint32(number)%8
		do = func() error { return os.Chmod(path, os.FileMode(now.mode)) }
	case kind == 2:
		now = version{how: "unlink", content: number}
		do = func() error { return os.Remove(path) }
	default:
		now.how, now.content, now.inPlace = "write", number, true
		do = func() error { return cutWrite(path, cutText(f.path, number, now.pages)) }
	}
	c.mu.Lock()
	f.versions = append(f.versions, now)
	c.mu.Unlock()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %s: %w", now.how, f.path, err)
	}
	if r.IntN(2) == 0 {
		return nil // nobody asks for it to be on disk
	}
	if now.pages > 0 {
		if err := fsync(path); err != nil {
			return err
		}
	}
	if err := fsync(filepath.Dir(path)); err != nil {
		return err
	}
	f.versions[number].acked = c.disk.position()
	return nil
}

func syncfs(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}

func fsync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func cutWrite(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(text), 0)
	return errors.Join(err, f.Close())
}

// cutReplace is how editors and package managers write a file.
func cutReplace(path, text string) error {
	tmp := path + ".new"
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
