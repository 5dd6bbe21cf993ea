package diff

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// readContents decides on the files that only their contents can tell apart.
// They are read in the order in which they lie in the layers, so that no part
// of a layer is decoded twice.
func (c *comparison) readContents() error {
	order := slices.Clone(c.unread)
	slices.SortStableFunc(order, func(i, j int) int {
		a, b := &c.changes[i], &c.changes[j]
		return cmp.Or(comparePlaces(a.From, b.From), comparePlaces(a.To, b.To))
	})
	g, ctx := errgroup.WithContext(c.ctx)
	var next atomic.Int64
	for range min(runtime.GOMAXPROCS(0), len(order)) {
		g.Go(func() error {
			x, y := make([]byte, readLen), make([]byte, readLen)
			for i := next.Add(1) - 1; i < int64(len(order)); i = next.Add(1) - 1 {
				change := &c.changes[order[i]]
				same, err := sameContents(ctx, c.a, c.b, change, x, y)
				if err != nil {
					return fmt.Errorf("/%s: %w", change.Path, err)
				}
				if !same {
					change.What |= Content
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// readLen is how much of a file is read at once. Most files that differ do so
// near their beginning.
const readLen = 128 << 10

func comparePlaces(f, t *File) int {
	return cmp.Or(cmp.Compare(f.place.layer, t.place.layer), cmp.Compare(f.place.layerOff, t.place.layerOff))
}

// sameContents compares two files of one size, through two buffers.
func sameContents(ctx context.Context, a, b Side, c *Change, x, y []byte) (bool, error) {
	from, err := a.Open(ctx, c.From)
	if err != nil {
		return false, err
	}
	defer from.Close()
	to, err := b.Open(ctx, c.To)
	if err != nil {
		return false, err
	}
	defer to.Close()
	for {
		n, err := io.ReadFull(from, x)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return false, err
		}
		m, otherErr := io.ReadFull(to, y)
		if otherErr != nil && otherErr != io.EOF && otherErr != io.ErrUnexpectedEOF {
			return false, otherErr
		}
		if !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		// Both have ended if one has: they gave the same.
		if err != nil {
			return true, nil
		}
	}
}
