package layerstore

import (
	"context"
	_ "crypto/sha256" // for go-digest
	_ "crypto/sha512"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"mica/layerstore/blob"
	"mica/layerstore/inflate"
	"mica/layerstore/toc"
	"mica/layerstore/unzstd"
)

// A pass is the one walk over a blob that makes its index. All that can be
// done beside each other is: reading, hashing what is stored, decoding,
// hashing what is decoded, scanning.
type pass struct {
	spec     Spec
	src      blob.Source
	w        *toc.Writer
	archive  *Store        // the blob is an archive of layers, whose indexes go here
	progress func(n int64) // n more bytes of the blob have been read

	digest, diffID string
	size           int64 // of the layer, uncompressed
	behind         int64 // where the last gzip member ends
	scan           toc.Summary
}

// A CodecError says that a layer is packed in a way that mica cannot read.
type CodecError struct{ Compression blob.Compression }

func (e *CodecError) Error() string {
	return fmt.Sprintf("compressed with %v: cannot read (can: tar, gzip, zstd)", e.Compression)
}

// Hint is what can be done.
func (e *CodecError) Hint() string {
	return "have it compressed anew: skopeo copy --dest-compress-format gzip SRC DST"
}

// run makes the index, all but its info.
func (p *pass) run(ctx context.Context) (toc.Codec, error) {
	head := make([]byte, blob.SniffLen)
	n, err := p.src.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return 0, err
	}
	switch c := blob.Sniff(head[:n]); c {
	case blob.None:
		return toc.Plain, p.plain(ctx)
	case blob.Gzip:
		if err := p.packed(ctx, p.gunzip); err != nil || p.archive != nil {
			return toc.Gzip, err
		}
		return toc.Gzip, p.checkEnd()
	case blob.Zstd:
		return toc.Zstd, p.packed(ctx, p.unzstd)
	default:
		return 0, &CodecError{c}
	}
}

// plain walks over a layer that is not compressed.
func (p *pass) plain(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	stored := newFanout(2)
	one := algorithm(p.spec.Digest) == algorithm(p.spec.DiffID)
	if !one {
		stored = newFanout(3)
	}
	g.Go(func() error {
		sums := sums{w: p.w}
		err := p.read(ctx, stored, sums.add)
		sums.cut()
		return err
	})
	g.Go(func() error { return p.scanTar(stored.reader(ctx, 0)) })
	g.Go(func() (err error) { p.digest, err = hash(ctx, stored, 1, p.spec.Digest); return })
	if !one {
		g.Go(func() (err error) { p.diffID, err = hash(ctx, stored, 2, p.spec.DiffID); return })
	}
	err := g.Wait()
	if one {
		p.diffID = p.digest
	}
	p.size = p.src.Size()
	return err
}

// packed walks over a compressed layer or archive; decode reads the blob and
// sends what it holds.
func (p *pass) packed(ctx context.Context, decode func(ctx context.Context, src io.Reader, to *fanout) error) error {
	g, ctx := errgroup.WithContext(ctx)
	hashed := 1
	if p.archive != nil {
		hashed = 0 // nobody has promised a digest
	}
	stored, plain := newFanout(1+hashed), newFanout(1+hashed)
	g.Go(func() error { return p.read(ctx, stored, nil) })
	g.Go(func() error {
		src := stored.reader(ctx, 0)
		if err := decode(ctx, src, plain); err != nil {
			return err
		}
		plain.close()
		// What follows the last member is no data, but of the digest.
		_, err := io.Copy(io.Discard, src)
		return err
	})
	if p.archive != nil {
		g.Go(func() error { return p.scanArchive(ctx, p.archive, plain.reader(ctx, 0)) })
		return g.Wait()
	}
	g.Go(func() error { return p.scanTar(plain.reader(ctx, 0)) })
	g.Go(func() (err error) { p.digest, err = hash(ctx, stored, 1, p.spec.Digest); return })
	g.Go(func() (err error) { p.diffID, err = hash(ctx, plain, 1, p.spec.DiffID); return })
	return g.Wait()
}

// read sends the blob as it is stored. see, if not nil, sees it first.
func (p *pass) read(ctx context.Context, to *fanout, see func([]byte)) error {
	for off, size := int64(0), p.src.Size(); off < size; {
		c, err := to.get(ctx)
		if err != nil {
			return err
		}
		n, err := p.src.ReadAt(c.buf[:min(chunkLen, size-off)], off)
		if n == 0 {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("offset %d: %w", off, err)
		}
		c.data = c.buf[:n]
		if see != nil {
			see(c.data)
		}
		to.send(c)
		off += int64(n)
		p.progress(int64(n))
	}
	to.close()
	return nil
}

// hash gives the digest of a stream, by the algorithm of the one wanted.
func hash(ctx context.Context, f *fanout, consumer int, want string) (string, error) {
	d := algorithm(want).Digester()
	err := f.each(ctx, consumer, func(b []byte) error { d.Hash().Write(b); return nil })
	return d.Digest().String(), err
}

func algorithm(want string) digest.Algorithm {
	if a := digest.Digest(want); a.Validate() == nil {
		return a.Algorithm()
	}
	return digest.SHA256
}

// scanTar puts the entries into the index, and drains the stream: what
// follows the tar is part of the diffID.
func (p *pass) scanTar(src *chunkReader) error {
	var err error
	if p.scan, err = toc.Scan(src, p.w.Add); err != nil {
		return err
	}
	return src.drain()
}

// sums makes the checksums of blocks out of a span's bytes in order.
type sums struct {
	w   *toc.Writer
	sum uint32
	n   int // bytes in sum
}

func (s *sums) add(b []byte) {
	for len(b) > 0 {
		k := min(len(b), toc.BlockLen-s.n)
		s.sum = toc.UpdateChecksum(s.sum, b[:k])
		s.n += k
		b = b[k:]
		if s.n == toc.BlockLen {
			s.cut()
		}
	}
}

// cut ends the block: a span ends here.
func (s *sums) cut() {
	if s.n > 0 {
		s.w.AddSum(s.sum)
	}
	s.sum, s.n = 0, 0
}

// blame gives what is to be told of a pass that failed. Where the blob could
// not be read as what it is, that is mostly because it is not the blob that the
// image names, and this is what the user has to know.
func (p *pass) blame(ctx context.Context, err error) error {
	var badTar *toc.FormatError
	var badGzip *inflate.FormatError
	var badZstd *unzstd.FormatError
	damaged := errors.As(err, &badTar) || errors.As(err, &badGzip) || errors.As(err, &badZstd) || errors.Is(err, io.ErrUnexpectedEOF)
	if err == io.ErrUnexpectedEOF {
		err = fmt.Errorf("the blob ends too early, after %d bytes: %w", p.src.Size(), err)
	}
	if !damaged || p.spec.Digest == "" || ctx.Err() != nil {
		return err
	}
	got, failed := digestOf(ctx, p.spec, p.spec.Digest)
	if failed != nil {
		return err
	}
	if wrong := check(Spec{Digest: p.spec.Digest}, got, ""); wrong != nil {
		return wrong
	}
	return err
}
