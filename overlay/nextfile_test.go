package overlay

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mica/layerstore"
)

// TestNextFile walks a directory by name and, from its first file on, by number:
// both find the same files, in each part of the tree that a mount shows.
func TestNextFile(t *testing.T) {
	layers := []Layer{
		tarLayer(t, "", "d/", "d/2", "d/4/", "d/4/x", "d/6", "d/8/", "d/9"),
		tarLayer(t, "", "d/1", "d/6", "d/.wh.9", "e"),
	}
	img, err := OpenImage(t.Context(), layerstore.Open(t.TempDir()), layers, Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := NewHidden(img, []HiddenFile{{Name: "one", Data: []byte("1")}, {Name: "two", Data: []byte("2")}})
	defer func() {
		if err := errors.Join(h.Close(), img.Close()); err != nil {
			t.Error(err)
		}
	}()
	for _, path := range [][]string{{"d"}, {HiddenName, "layers", "1", "d"}, {HiddenName, "at", "2", "d"}} {
		dir := Root
		for _, name := range path {
			a, err := h.Lookup(dir, name)
			if err != nil {
				t.Fatal(err)
			}
			dir = a.ID
		}
		var byName, byNumber []Attr
		h.ReadDir(dir, 0, func(_ string, a Attr, _ uint64) bool {
			if a.Mode&unix.S_IFMT == unix.S_IFREG {
				byName = append(byName, a)
			}
			return true
		})
		for next := byName[0].ID; len(byNumber) < len(byName); {
			a, err := h.Attr(next)
			if err != nil {
				t.Fatal(err)
			}
			byNumber = append(byNumber, a)
			var size int64
			next, size = h.NextFile(next)
			if b, err := h.Attr(next); next != 0 && (err != nil || b.Size != size) {
				t.Errorf("%v: NextFile = %d of %d bytes; Attr = %+v, %v", path, next, size, b, err)
			}
		}
		if d := cmp.Diff(byName, byNumber); d != "" {
			t.Errorf("%v: by name and by number (-/+):\n%s", path, d)
		}
	}
	one, err := h.Lookup(hiddenDir, "one")
	if next, _ := h.NextFile(one.ID); next != 0 || err != nil {
		t.Errorf("NextFile of a hidden file = %d, %v", next, err)
	}
}
