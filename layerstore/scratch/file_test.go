package scratch

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestFile(t *testing.T) {
	dir := t.TempDir()
	f, err := File(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("x"), 4096); err != nil {
		t.Error(err)
	}
	if filepath.Dir(f.Name()) != dir {
		t.Errorf("named %s", f.Name())
	}
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
		t.Errorf("seen: %v, %v", left, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestSomewhere has places that are none, and one that is full.
func TestSomewhere(t *testing.T) {
	good, full := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", good)
	noRoom := errors.New("no room")
	for _, dir := range []string{"", good, full, filepath.Join(good, "none"), "/proc"} {
		f, err := Somewhere(dir, func(f *os.File) error {
			if filepath.Dir(f.Name()) == full {
				return noRoom
			}
			return nil
		})
		if err != nil {
			t.Fatalf("%q: %v", dir, err)
		}
		if filepath.Dir(f.Name()) != good {
			t.Errorf("%q: made in %s", dir, f.Name())
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := Somewhere(full, func(*os.File) error { return noRoom }); !errors.Is(err, noRoom) {
		t.Errorf("without any room: %v", err)
	}
}
