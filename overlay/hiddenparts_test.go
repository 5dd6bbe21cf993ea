package overlay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"mica/layerstore"
)

func hiddenAt(t *testing.T, root string, layers []Layer) *Hidden {
	t.Helper()
	img, err := OpenImage(t.Context(), layerstore.Open(root), layers, Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := NewHidden(img, nil)
	t.Cleanup(func() {
		if err := errors.Join(h.Close(), img.Close()); err != nil {
			t.Error(err)
		}
	})
	return h
}

// filesBelow lists a store.
func filesBelow(t *testing.T, root string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		names = append(names, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestParts looks at many parts from many sides at once: few of them stay, and
// nothing in the store.
func TestParts(t *testing.T) {
	var layers []Layer
	for n := range 2 * keptParts {
		layers = append(layers, tarLayer(t, "", fmt.Sprint(n), "same"))
	}
	root := t.TempDir()
	h := hiddenAt(t, root, layers)
	h.parts.room = 1
	before := filesBelow(t, root)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			for n := range layers {
				n = (n + i) % len(layers)
				dir := partKey{alone: true, n: n + 1}.base() | Root
				a, err := h.Lookup(dir, fmt.Sprint(n))
				if err != nil {
					t.Error(err)
					return
				}
				b := make([]byte, a.Size)
				if got, err := h.ReadAt(t.Context(), a.ID, b, 0); got != len(b) || string(b) != fmt.Sprint(n) {
					t.Errorf("part %d: %q, %v", n+1, b[:got], err)
				}
			}
		})
	}
	wg.Wait()
	// Those in use stay, and so one more for each of the others.
	if made := len(h.parts.m); made < keptParts || made > keptParts+2 {
		t.Errorf("%d parts stay", made)
	}
	if after := filesBelow(t, root); !slices.Equal(before, after) {
		t.Errorf("the store has %q, had %q", after, before)
	}
}

// TestPartGivenUp: who waits for a part may stop, others get it; nobody's is not
// made.
func TestPartGivenUp(t *testing.T) {
	p := newHiddenParts()
	defer p.close()
	key := partKey{n: 1}
	began, gate := make(chan struct{}), make(chan struct{})
	var ended error
	merge := func(ctx context.Context) (*View, error) {
		close(began)
		select {
		case <-gate:
		case <-ctx.Done():
			ended = ctx.Err()
		}
		return nil, errors.New("no view")
	}
	first, cancelFirst := context.WithCancel(t.Context())
	second, cancelSecond := context.WithCancel(t.Context())
	errs := make(chan error)
	go func() { errs <- p.join(first, key, merge) }()
	<-began
	go func() { errs <- p.join(second, key, merge) }()
	for waiting := 0; waiting < 2; time.Sleep(time.Millisecond) {
		p.mu.Lock()
		waiting = p.m[key].waiting
		p.mu.Unlock()
	}
	cancelFirst()
	if err := <-errs; err != context.Canceled {
		t.Errorf("who gave up: %v", err)
	}
	p.mu.Lock()
	still := p.m[key] != nil
	p.mu.Unlock()
	if !still {
		t.Error("the other's part is given up, too")
	}
	cancelSecond()
	if err := <-errs; err != context.Canceled {
		t.Errorf("who gave up last: %v", err)
	}
	p.wg.Wait()
	if ended != context.Canceled {
		t.Errorf("the merge ended with %v", ended)
	}
	// Whoever comes then has it tried again, and is told what went wrong.
	began = make(chan struct{})
	close(gate)
	if err := p.join(t.Context(), key, merge); err == nil || err.Error() != "no view" {
		t.Errorf("then: %v", err)
	}
}
