package layerstore

import (
	"context"
	"errors"
	"io"

	"mica/layerstore/unzstd"
)

const (
	// zstdSpacing is the wanted length of a zstd layer's spans, in uncompressed
	// bytes. What their points keep of the window takes .7 to .8 % of the blob
	// at 16 MiB, 1.6 to 2.3 at 8, 2.9 to 3.7 at 4.
	zstdSpacing = 16 << 20

	// zstdWindow is the largest window that is served: what zstd --long gives
	// that may be decoded without a flag.
	zstdWindow = 128 << 20
)

// maxZstdState bounds what the points of a layer keep, besides as many bytes as
// the blob has. A stream can be made so that a blob of 100 MB has points of
// gigabytes: to unpack it would not take more. It is a variable for tests.
var maxZstdState int64 = 256 << 20

var errEntangled = errors.New("zstd: the parts of the stream refer to one another so much that its index would be longer than the layer; compress it without --long")

// unzstd sends the contents of a zstd blob and puts its spans into the index.
func (p *pass) unzstd(ctx context.Context, src io.Reader, to *fanout) error {
	var starts []int64 // of spans that begin in what was read last
	var failed error
	room := maxZstdState + p.src.Size()
	dec := unzstd.NewReader(src, unzstd.Options{
		Spacing:   zstdSpacing,
		MaxWindow: zstdWindow,
		OnStart:   func(out int64) { starts = append(starts, out) },
		OnPoint: func(pt unzstd.Point) {
			err := p.w.AddZstdPoint(pt)
			if room -= int64(len(pt.State)); room < 0 {
				err = errEntangled
			}
			if err != nil {
				failed = err
			}
		},
	})
	sums := sums{w: p.w}
	for {
		c, err := to.get(ctx)
		if err != nil {
			return err
		}
		n, err := io.ReadFull(dec, c.buf)
		c.data = c.buf[:n]
		if failed != nil {
			return failed
		}
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		rest := c.data
		for _, start := range starts {
			n := start - p.size
			sums.add(rest[:n])
			sums.cut()
			rest = rest[n:]
			p.size = start
		}
		starts = starts[:0]
		sums.add(rest)
		p.size += int64(len(rest))
		to.send(c)
		if n < len(c.buf) {
			break
		}
	}
	sums.cut()
	// ReadFull does not tell the end of the stream from a stream cut short.
	if _, err := dec.Read(make([]byte, 1)); err != io.EOF {
		return err
	}
	return nil
}
