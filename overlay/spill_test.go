package overlay

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestSpill grows tables from the heap into files, and back where the files
// cannot be made longer any more.
func TestSpill(t *testing.T) {
	p := newSpill(t.TempDir())
	var a []uint32
	var want []uint32
	for i := range uint32(3 * spillFrom / 4) {
		a, want = pushed(p, a, i), append(want, i)
	}
	if len(p.maps) != 1 || !slices.Equal(a, want) {
		t.Errorf("%d files; as it was: %v", len(p.maps), slices.Equal(a, want))
	}
	if b := zeroed[uint64](p, spillFrom); len(p.maps) != 2 || slices.Max(b) != 0 {
		t.Errorf("%d files; or there are others than zeros", len(p.maps))
	} else {
		freed(p, b)
	}
	for _, m := range p.maps {
		m.f.Close()
	}
	a = grown(p, a, cap(a))
	if len(p.maps) != 0 || !slices.Equal(a, want) {
		t.Errorf("on the heap again: %d files; as it was: %v", len(p.maps), slices.Equal(a, want))
	}
	_ = p.close()

	none := newSpill(filepath.Join(t.TempDir(), "none"))
	if b := zeroed[uint64](none, spillFrom); len(b) != spillFrom || len(none.maps) != 0 {
		t.Errorf("without a directory: %d elements, %d files", len(b), len(none.maps))
	}
}

// TestSpilledMerge makes the same tree with tables in files as on the heap.
func TestSpilledMerge(t *testing.T) {
	var below, above layer
	for i := range 40_000 {
		name := func(s string) string { return fmt.Sprintf("%s%d/%d", s, i%26, i) }
		below = append(below, file(name("d"), int64(i)), symlink(name("s"), fmt.Sprint("target", i)), link(name("l"), name("d")))
		if above = append(above, file(name("n"), 1)); i%3 == 0 {
			above = append(above, whiteout(name("d")))
		}
	}
	var trees [2][]byte
	for i, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		m := newMerger(dir)
		for n, l := range []layer{below, above} {
			if err := m.apply(n, l); err != nil {
				t.Fatal(err)
			}
		}
		f, err := os.Create(filepath.Join(t.TempDir(), "tree"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := m.write(t.Context(), f, "key", make([]LayerInfo, 2)); err != nil {
			t.Fatal(err)
		}
		if len(m.spill.maps) > 0 != (i == 0) {
			t.Errorf("%d tables in files", len(m.spill.maps))
		}
		if err := m.close(); err != nil {
			t.Error(err)
		}
		if trees[i], err = os.ReadFile(f.Name()); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(trees[0], trees[1]) {
		t.Error("another tree by files than by the heap")
	}
}
