package overlay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"mica/layerstore"
	"mica/layerstore/blob"
	"mica/layerstore/toc"
)

// A LayerVerdict is what [Verify] has found of one layer.
type LayerVerdict struct {
	Index CacheState
	// Err says what is wrong with the blob as a whole: its digest, its diffID,
	// or, where there is no index by which to read the rest, what the first
	// thing was.
	Err error
	// Damage are the parts of the uncompressed layer that cannot be had, rising.
	Damage []DamagedRange
	start  int64 // where offsets into the layer begin, see toc.Info.Start
}

// Sound says whether all of the layer can be read and is what was promised.
func (v *LayerVerdict) Sound() bool {
	return v.Err == nil && len(v.Damage) == 0 && v.Index != Absent
}

// loses says whether a part of the layer cannot be read in full. Without an
// index nothing can.
func (v *LayerVerdict) loses(off, end int64) bool {
	off, end = off-v.start, end-v.start
	return v.Index == Absent || slices.ContainsFunc(v.Damage, func(r DamagedRange) bool { return r.Off < end && off < r.End })
}

// A DamagedRange is a part of a layer: a chunk; of a layer without chunks, from
// the first byte that is wrong to the end of its span, as nothing of a span is
// handed out behind that.
type DamagedRange struct {
	Off, End int64 // in the uncompressed layer, or the contents of its chunks
	Err      error
}

// A layerCheck is the work on one layer.
type layerCheck struct {
	store *layerstore.Store
	spec  layerstore.Spec
	quick bool
	more  func(n int64) // bytes of the blob were read

	verdict LayerVerdict
}

// run fills in the verdict. Errors are not the layer's.
func (c *layerCheck) run(ctx context.Context) error {
	made, err := c.ensureIndex(ctx)
	if err != nil || c.verdict.Index == Absent {
		return err
	}
	if made {
		return nil // of which the pass over the blob was part
	}
	if err := c.readAll(ctx); err != nil {
		return err
	}
	if c.verdict.Err == nil && len(c.verdict.Damage) > 0 {
		return c.blameIndex(ctx)
	}
	if c.verdict.Err == nil && !c.quick {
		return c.proveTable(ctx)
	}
	return nil
}

// ensureIndex sees to it that the layer has an index, and says whether all of
// the blob was proven with that.
func (c *layerCheck) ensureIndex(ctx context.Context) (proven bool, err error) {
	ix, err := c.store.OpenIndex(c.spec)
	switch {
	case err == nil:
		c.verdict.Index = Found
		return false, ix.Close()
	case errors.Is(err, iofs.ErrNotExist):
		c.verdict.Index = Made
	default:
		c.verdict.Index = Remade
	}
	hasTable := c.spec.Key() != c.spec.Blob.ID()
	spec := c.spec
	if !hasTable {
		spec.Progress = c.more
	}
	err = c.store.EnsureIndex(ctx, spec)
	if err == nil {
		return !hasTable, nil
	}
	c.verdict.Index = Absent
	if err := c.blame(ctx, err); err != nil {
		return false, err
	}
	return false, c.locate(ctx)
}

// locate adds to a verdict that the digest is wrong what is the first thing in
// the blob that no layer would have, if there is one: no index tells more.
func (c *layerCheck) locate(ctx context.Context) error {
	var wrong *layerstore.DigestError
	if !errors.As(c.verdict.Err, &wrong) || wrong.What != "digest" {
		return nil
	}
	spec := c.spec
	spec.Digest, spec.Progress = "", nil
	err := c.store.EnsureIndex(ctx, spec)
	if err == nil {
		// Of the layer as it should be, in a blob that is packed in another way.
		return os.Remove(c.store.IndexPath(spec.Key()))
	}
	if !errors.As(err, &wrong) && ctx.Err() == nil {
		c.verdict.Err = fmt.Errorf("%w; %w", c.verdict.Err, err)
	}
	return ctx.Err()
}

// blame puts an error that is the blob's fault into the verdict, and gives back
// any other.
func (c *layerCheck) blame(ctx context.Context, err error) error {
	var notOurs *layerstore.NotOursError
	var path *iofs.PathError
	if ctx.Err() != nil || errors.As(err, &notOurs) || errors.As(err, &path) && path.Op != "read" {
		return err
	}
	c.verdict.Err = err
	return nil
}

// blameIndex makes the index of a layer again whose blob is right and cannot
// be decoded by it.
func (c *layerCheck) blameIndex(ctx context.Context) error {
	if err := os.Remove(c.store.IndexPath(c.spec.Key())); err != nil {
		return err
	}
	c.verdict = LayerVerdict{Index: Remade}
	if err := c.store.EnsureIndex(ctx, c.spec); err != nil {
		c.verdict.Index = Absent
		return c.blame(ctx, err)
	}
	c.more = func(int64) {}
	return c.readAll(ctx)
}

// proveTable proves the diffID of a layer that is read by a table of its own,
// of which nobody else has decoded all.
func (c *layerCheck) proveTable(ctx context.Context) error {
	if c.spec.Key() == c.spec.Blob.ID() {
		return nil
	}
	spec := c.spec
	spec.Annotations = nil
	if err := c.store.EnsureIndex(ctx, spec); err != nil {
		return c.blame(ctx, err)
	}
	return nil
}

// readAll hashes the blob and, unless it must be quick, decodes each span.
func (c *layerCheck) readAll(ctx context.Context) error {
	layer := c.store.Layer(c.spec, blob.NewCache(CacheSize))
	defer layer.Close()
	ix, err := layer.Index(ctx)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	hashed, decoded := c.more, func(int64) {}
	if !c.quick {
		hashed, decoded = decoded, hashed
	}
	g.Go(func() error { return c.hash(ctx, ix.Info().Digest, hashed) })
	if !c.quick {
		g.Go(func() error { return c.decode(ctx, layer, ix, decoded) })
	}
	return g.Wait()
}

// hash compares the blob with its digest: the one that was promised, which is
// that of the index.
func (c *layerCheck) hash(ctx context.Context, want string, more func(n int64)) error {
	algorithm := digest.SHA256
	if d := digest.Digest(want); d.Validate() == nil {
		algorithm = d.Algorithm()
	}
	hash := algorithm.Digester()
	buf := make([]byte, copyLen)
	for off, size := int64(0), c.spec.Blob.Size(); off < size; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := c.spec.Blob.ReadAt(buf[:min(size-off, int64(len(buf)))], off)
		if n == 0 {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			c.verdict.Err = fmt.Errorf("offset %d: %w", off, err)
			return nil
		}
		hash.Hash().Write(buf[:n])
		off += int64(n)
		more(int64(n))
	}
	if got := hash.Digest().String(); got != want {
		c.verdict.Err = &layerstore.DigestError{What: "digest", Want: want, Got: got}
	}
	return nil
}

// decode reads each span by itself, several at once.
func (c *layerCheck) decode(ctx context.Context, layer *layerstore.Layer, ix *toc.Index, more func(n int64)) error {
	info := ix.Info()
	c.verdict.start = info.Start()
	// How much of the blob the layer is up to an offset, so that the parts add
	// up to the whole.
	share := func(off int64) int64 {
		return int64(float64(off-info.Start()) / float64(info.LayerSize) * float64(info.BlobSize))
	}
	if ix.Spans() == 0 {
		more(info.BlobSize)
	}
	var mu sync.Mutex
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range min(runtime.GOMAXPROCS(0), ix.Spans()) {
		g.Go(func() error {
			buf := make([]byte, toc.BlockLen)
			for i := next.Add(1) - 1; i < int64(ix.Spans()); i = next.Add(1) - 1 {
				span := ix.Span(int(i))
				from := span.Out
				for _, end := range parts(ix, span) {
					at, err := readPart(ctx, layer, from, end, buf)
					if ctx.Err() != nil {
						return ctx.Err()
					}
					if err != nil {
						mu.Lock()
						c.verdict.Damage = append(c.verdict.Damage, DamagedRange{at - info.Start(), end - info.Start(), err})
						mu.Unlock()
					}
					from = end
				}
				more(share(span.OutEnd) - share(span.Out))
			}
			return nil
		})
	}
	err := g.Wait()
	slices.SortFunc(c.verdict.Damage, func(a, b DamagedRange) int { return cmp.Compare(a.Off, b.Off) })
	return err
}

// parts gives the ends of what can be lost of a span by itself.
func parts(ix *toc.Index, span toc.Span) []int64 {
	if info := ix.Info(); !info.Codec.Chunked() {
		return []int64{span.OutEnd}
	}
	var ends []int64
	at := span.Out
	for _, c := range ix.Chunks(span) {
		at += c.Len
		ends = append(ends, at)
	}
	return ends
}

// readPart reads block by block, and gives where the first one begins that
// cannot be had.
func readPart(ctx context.Context, layer *layerstore.Layer, from, end int64, buf []byte) (int64, error) {
	for at := from; at < end; {
		n, err := layer.ReadAt(ctx, buf[:min(end-at, int64(len(buf)))], at)
		at += int64(n)
		if err != nil && err != io.EOF {
			return at, err
		}
	}
	return end, nil
}
