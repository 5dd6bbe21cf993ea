package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// filesEnv says how many files TestFewDescriptors opens; 3,000 if it is not set.
const filesEnv = "MICA_TEST_FILES"

const (
	fewDescriptors = 1024
	heldFiles      = 1500
	lowerFiles     = 1000
)

// TestFewDescriptors opens, writes and closes many files, and holds more of them
// open than the processes of mica may have descriptors, half of them deleted.
func TestFewDescriptors(t *testing.T) {
	needRoot(t)
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	need(t, lim.Max >= heldFiles+1000, "a limit of 2,500 descriptors for itself")
	var lower []entry
	for i := range lowerFiles {
		lower = append(lower, file(manyName(i), manyText("lower", i)))
	}
	for _, f := range flavours() {
		t.Run(string(f), func(t *testing.T) {
			h := newHost(t)
			h.descriptors = fewDescriptors
			u, err := unionIn(h, h.dir, f, lower)
			if err != nil {
				t.Fatal(err)
			}
			testManyFiles(t, u, max(lowerFiles, envInt(t, filesEnv, 3000)))
		})
	}
}

func manyName(i int) string              { return fmt.Sprintf("%d/%d", i%50, i) }
func manyText(what string, i int) string { return fmt.Sprint(what, " ", i) }

func testManyFiles(t *testing.T, u *union, count int) {
	held := holdFiles(t, u)
	// By two, for there to be no order in which they come.
	const writers = 2
	errs := make([]error, writers)
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for i := w; i < count && errs[w] == nil; i += writers {
				errs[w] = writeText(filepath.Join(u.dir, manyName(i)), manyText("upper", i))
			}
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	checkHeld(t, held)
	for range 2 {
		checkMany(t, u, count)
		if err := u.remount(); err != nil {
			t.Fatal(err)
		}
	}
}

// writeText writes to a file that there may be, without making it empty first.
func writeText(path, text string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(text), 0)
	return errors.Join(err, f.Close())
}

// holdFiles opens files, and deletes every other one.
func holdFiles(t *testing.T, u *union) (held []*os.File) {
	t.Helper()
	for i := range heldFiles {
		path := filepath.Join(u.dir, "0", fmt.Sprint("held", i))
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, f)
		if _, err = f.WriteString(manyText("held", i)); err == nil && i%2 == 0 {
			err = os.Remove(path)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return held
}

// checkHeld reads each file, some past the page cache, changes and closes it.
func checkHeld(t *testing.T, held []*os.File) {
	t.Helper()
	for i, f := range held {
		want := manyText("held", i)
		var err error
		if i%31 == 0 { // as the disk takes its time
			err = errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
		}
		b := make([]byte, 100)
		n, _ := f.ReadAt(b, 0)
		if err != nil || string(b[:n]) != want {
			t.Fatalf("held file %d has %q, %v; want %q", i, b[:n], err, want)
		}
		if _, err := f.WriteAt([]byte("!"), int64(n)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkMany looks for all that there should be, and nothing else.
func checkMany(t *testing.T, u *union, count int) {
	t.Helper()
	var want []string
	for i := range count {
		want = append(want, filepath.Join(u.dir, manyName(i)))
	}
	for i := 1; i < heldFiles; i += 2 {
		want = append(want, filepath.Join(u.dir, "0", fmt.Sprint("held", i)))
	}
	got, err := filepath.Glob(filepath.Join(u.dir, "*/*"))
	slices.Sort(got)
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%d files, %v; want %d", len(got), err, len(want))
	}
	for i := 0; i < count; i += 7 {
		if got, want := readFile(t, filepath.Join(u.dir, manyName(i))), manyText("upper", i); got != want {
			t.Fatalf("%s has %q, want %q", manyName(i), got, want)
		}
	}
	last := filepath.Join(u.dir, "0", fmt.Sprint("held", heldFiles-1))
	if got, want := readFile(t, last), manyText("held", heldFiles-1)+"!"; got != want {
		t.Fatalf("%s has %q, want %q", last, got, want)
	}
}
