package source

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"mica/layerstore/toc"
)

// A Sum is the sha256 of something.
type Sum [sha256.Size]byte

// A Sums remembers the digests of files by their stamps, so that a file is not
// read twice. Its zero value is empty and ready.
type Sums struct {
	mu    sync.Mutex
	known map[Stamp]Sum
	fresh bool // something has been added
}

func (s *Sums) get(st *Stamp) (Sum, bool) {
	if s == nil || st == nil {
		return Sum{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sum, ok := s.known[*st]
	return sum, ok
}

// settled is how old a change has to be for its stamp to tell it from the next:
// file systems have clocks with grains of up to a second.
const settled = 2 * time.Second

func (s *Sums) put(st *Stamp, sum Sum) {
	if s == nil || st == nil || time.Since(time.Unix(0, max(st.Ctime, st.Mtime))) < settled {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = make(map[Stamp]Sum)
	}
	s.known[*st], s.fresh = sum, true
}

// Digest gives what tells items from others: all but times. o is what is
// written in place of what the files have.
func Digest(ctx context.Context, t Tree, items []Item, o Rewrite, sums *Sums) (Sum, error) {
	contents := make([]Sum, len(items))
	if err := eachRegular(ctx, items, func(i int) error {
		var err error
		contents[i], err = sumOf(ctx, t, items[i].File, sums)
		return err
	}); err != nil {
		return Sum{}, err
	}
	h := sha256.New()
	first := firstOf(items)
	for i, it := range items {
		e, err := o.entry(t, it)
		if err != nil {
			return Sum{}, err
		}
		describe(h, e, it.Implied)
		if at := first[it.ID]; it.Links > 1 && !it.IsDir() && at != i {
			writeString(h, items[at].Path)
		} else {
			h.Write(contents[i][:])
		}
	}
	return Sum(h.Sum(nil)), nil
}

// eachRegular calls do for each item with contents, several at once.
func eachRegular(ctx context.Context, items []Item, do func(i int) error) error {
	g, each := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	seen := map[ID]bool{}
	for i, it := range items {
		if it.Entry.Type != toc.Regular || it.Links > 1 && seen[it.ID] {
			continue
		}
		if it.Links > 1 {
			seen[it.ID] = true
		}
		if each.Err() != nil {
			break
		}
		g.Go(func() error { return do(i) })
	}
	return errors.Join(g.Wait(), ctx.Err())
}

// firstOf gives for each file with several names the item that has it first.
func firstOf(items []Item) map[ID]int {
	first := map[ID]int{}
	for i, it := range items {
		if _, ok := first[it.ID]; !ok && it.Links > 1 && !it.IsDir() {
			first[it.ID] = i
		}
	}
	return first
}

// bufLen is how much of a file is read at once.
const bufLen = 128 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, bufLen); return &b }}

// sumOf gives the digest of a file's contents.
func sumOf(ctx context.Context, t Tree, f *File, sums *Sums) (Sum, error) {
	if sum, ok := sums.get(f.Stamp); ok {
		return sum, nil
	}
	c, err := t.Open(ctx, f)
	if err != nil {
		return Sum{}, err
	}
	defer c.Close()
	h := sha256.New()
	if err := copyContents(h, f, c, 0, f.Entry.Size); err != nil {
		return Sum{}, err
	}
	sum := Sum(h.Sum(nil))
	sums.put(f.Stamp, sum)
	return sum, nil
}

// copyContents writes n bytes of a file from off on to w. A file that has become
// shorter than it was is an error, one that has become longer is cut.
func copyContents(w io.Writer, f *File, c Contents, off, n int64) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for end := off + n; off < end; {
		part := (*buf)[:min(bufLen, end-off)]
		k, err := c.ReadAt(part, off)
		if k < len(part) {
			if err == nil || err == io.EOF {
				err = errors.New("it was cut short while it was read")
			}
			return fmt.Errorf("%s: %w", f.Entry.Path, err)
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
		off += int64(k)
	}
	return nil
}

// describe writes what an entry says, so that no two are written alike.
func describe(h hash.Hash, e *toc.Entry, implied bool) {
	writeString(h, e.Path)
	flag := byte(0)
	if implied {
		flag = 1
	}
	h.Write([]byte{byte(e.Type), flag})
	for _, n := range []uint64{uint64(e.Mode), uint64(e.UID), uint64(e.GID), uint64(e.Size), uint64(e.Major), uint64(e.Minor), uint64(len(e.Xattrs))} {
		writeNumber(h, n)
	}
	writeString(h, e.Link)
	for _, x := range e.Xattrs {
		writeString(h, x.Name)
		writeString(h, string(x.Value))
	}
}

func writeNumber(h hash.Hash, n uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	h.Write(b[:])
}

func writeString(h hash.Hash, s string) {
	writeNumber(h, uint64(len(s)))
	io.WriteString(h, s)
}

// DigestDirs gives what tells the directories above items from others, but for
// times.
func DigestDirs(dirs []toc.Entry) Sum {
	h := sha256.New()
	for i := range dirs {
		describe(h, &dirs[i], false)
	}
	return Sum(h.Sum(nil))
}
