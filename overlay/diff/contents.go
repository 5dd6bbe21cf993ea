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
// of a layer is decoded twice, and once however many names they have.
func (c *comparison) readContents() error {
	slices.SortStableFunc(c.unread, func(i, j int) int {
		a, b := &c.changes[i], &c.changes[j]
		return cmp.Or(comparePlaces(a.From, b.From), comparePlaces(a.To, b.To))
	})
	type pair struct{ from, to any }
	first := map[pair]int{}
	var order []int
	for _, n := range c.unread {
		files := pair{c.changes[n].From.Ref, c.changes[n].To.Ref}
		if _, ok := first[files]; !ok {
			first[files] = n
			order = append(order, n)
		}
	}
	g, ctx := errgroup.WithContext(c.ctx)
	var next atomic.Int64
	for range min(runtime.GOMAXPROCS(0), len(order)) {
		g.Go(func() error {
			x, y := make([]byte, ReadLen), make([]byte, ReadLen)
			for i := next.Add(1) - 1; i < int64(len(order)); i = next.Add(1) - 1 {
				change := &c.changes[order[i]]
				same, err := SameContents(ctx, c.a, c.b, change, x, y)
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
	if err := g.Wait(); err != nil {
		return err
	}
	for _, n := range c.unread {
		same := first[pair{c.changes[n].From.Ref, c.changes[n].To.Ref}]
		c.changes[n].What |= c.changes[same].What & Content
	}
	return nil
}

// ReadLen is how much of a file is read at once. Most files that differ do so
// near their beginning.
const ReadLen = 128 << 10

func comparePlaces(f, t *File) int {
	return cmp.Or(cmp.Compare(f.place.layer, t.place.layer), cmp.Compare(f.place.layerOff, t.place.layerOff))
}

// SameContents compares two regular files of one size, through two buffers of
// [ReadLen] bytes. What is a hole on both sides is not read: it may be longer
// than anybody can wait for.
func SameContents(ctx context.Context, a, b Opener, c *Change, x, y []byte) (bool, error) {
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
	for off, size := int64(0), c.From.Size; ; {
		next, err := from.NextData(off)
		if err != nil {
			return false, err
		}
		other, err := to.NextData(off)
		if err != nil {
			return false, err
		}
		if off = min(next, other); off >= size {
			return true, nil
		}
		n := min(ReadLen, size-off)
		k, err := from.ReadAt(x[:n], off)
		if err != nil && err != io.EOF {
			return false, err
		}
		l, err := to.ReadAt(y[:n], off)
		if err != nil && err != io.EOF {
			return false, err
		}
		// Less than asked for is of a file that has shrunk since.
		if !bytes.Equal(x[:k], y[:l]) || int64(k) < n {
			return false, nil
		}
		off += n
	}
}
