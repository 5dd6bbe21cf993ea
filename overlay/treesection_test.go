package overlay

import (
	"bytes"
	"math/rand"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSectionSum holds the sum that is put together against that of all bytes.
func TestSectionSum(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for _, n := range []int{0, 1, sumBlock - 1, sumBlock, sumBlock + 1, 7*sumBlock + 3, 100 * sumBlock} {
		b := make([]byte, n)
		r.Read(b)
		s, sum := newSection(b)
		if want := checksum(b); sum != want {
			t.Errorf("%d bytes: sum %x, want %x", n, sum, want)
		}
		if got, wrong := s.read(0, uint64(n)); wrong != "" || !bytes.Equal(got, b) {
			t.Errorf("%d bytes: read is %q", n, wrong)
		}
		if _, wrong := s.read(uint64(n), 1); wrong != outOfRange {
			t.Errorf("%d bytes: read past the end is %q", n, wrong)
		}
		for range 20 {
			if n == 0 {
				break
			}
			at, bit := r.Intn(n), byte(1)<<r.Intn(8)
			b[at] ^= bit
			if _, wrong := s.read(uint64(at), 1); wrong != damaged {
				t.Errorf("%d bytes: a flipped bit at %d is %q", n, at, wrong)
			}
			b[at] ^= bit
		}
	}
}

// TestSectionCut has the file under a section cut short.
func TestSectionCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, make([]byte, 64<<10), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, 64<<10, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	s, _ := newSection(b)
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	if _, wrong := s.read(0, 4096); wrong != "" {
		t.Errorf("what is left is %q", wrong)
	}
	if _, wrong := s.read(32<<10, 8); wrong != damaged {
		t.Errorf("what is gone is %q", wrong)
	}
}
