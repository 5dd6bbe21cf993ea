package layerstore

import (
	"context"
	"fmt"
	"io"

	"mica/layerstore/inflate"
	"mica/layerstore/toc"
)

// gzipSpacing is the wanted length of a gzip layer's spans, in uncompressed
// bytes. A random read inflates half a span; windows take .66 % of the blob at
// 1 MiB, .36 at 2, .18 at 4.
const gzipSpacing = 1 << 20

// gunzip sends the contents of a gzip blob and puts its spans into the index.
//
// A point is told some 32 KiB of output after its place. So each chunk waits
// until the next one is full: then all points in it are known, and the sums of
// blocks can begin anew at each.
func (p *pass) gunzip(ctx context.Context, src io.Reader, to *fanout) error {
	var points []inflate.Point // told, and not yet in the index
	dec := inflate.NewReader(src, inflate.Options{
		Spacing: gzipSpacing,
		OnPoint: func(pt inflate.Point) { points = append(points, pt) },
	})
	sums := sums{w: p.w}
	// finish does what could not be done before the points of c were known.
	finish := func(c *chunk) error {
		p.size += int64(len(c.data))
		rest := c.data
		// A point at the very end has no span.
		for len(points) > 0 && points[0].Out < p.size {
			n := points[0].Out - (p.size - int64(len(rest)))
			sums.add(rest[:n])
			sums.cut()
			rest = rest[n:]
			if err := p.w.AddPoint(points[0]); err != nil {
				return err
			}
			points = points[1:]
		}
		sums.add(rest)
		to.send(c)
		return nil
	}
	var last *chunk
	for {
		c, err := to.get(ctx)
		if err != nil {
			return err
		}
		n, err := io.ReadFull(dec, c.buf)
		c.data = c.buf[:n]
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		if last != nil {
			if err := finish(last); err != nil {
				return err
			}
		}
		last = c
		if n < len(c.buf) {
			break
		}
	}
	// ReadFull does not tell the end of the stream from a stream cut short.
	if _, err := dec.Read(make([]byte, 1)); err != io.EOF {
		return err
	}
	if err := finish(last); err != nil {
		return err
	}
	sums.cut()
	p.behind = dec.InputOffset()
	return nil
}

// checkEnd refuses a tar that just ends where bytes follow that are no gzip
// member: mostly one that is damaged, and the rest of the tar with it. gzip(1)
// gives what came before and fails. A layer whose diffID is right has all.
func (p *pass) checkEnd() error {
	if p.scan.Marked || p.spec.DiffID != "" {
		return nil
	}
	rest := debris(false)
	if _, err := io.Copy(&rest, io.NewSectionReader(p.src, p.behind, p.src.Size()-p.behind)); err != nil {
		return err
	}
	if rest {
		return &toc.FormatError{Offset: p.scan.End, Err: fmt.Errorf("the tar has no end, and at %d of the blob follows what is no gzip member", p.behind)}
	}
	return nil
}

// debris says whether anything but zeros was written to it.
type debris bool

func (d *debris) Write(b []byte) (int, error) {
	*d = *d || debris(!allZero(b))
	return len(b), nil
}
