package blob

import (
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"mica/layerstore/inflate"
	"mica/layerstore/toc"
)

// MaxFrame is the length in uncompressed bytes of the longest zstd frame that
// is decoded where it lies; longer ones are packed anew in a content file.
const MaxFrame = 4 << 20

// maxWindow bounds the memory that a zstd frame may ask for.
const maxWindow = 128 << 20

// decode calls use with a reader of the span's bytes.
func (r *Reader) decode(ix *toc.Index, sp toc.Span, use func(io.Reader) error) error {
	src := r.src
	if sp.Content {
		var err error
		if src, err = r.contentFile(); err != nil {
			return err
		}
	}
	switch ix.Info().Codec {
	case toc.Gzip:
		p, err := ix.Point(sp)
		if err != nil {
			return err
		}
		dec := inflaters.Get().(*inflate.Reader)
		defer inflaters.Put(dec)
		if err := dec.Resume(src, p, sp.InEnd); err != nil {
			return err
		}
		return use(dec)
	case toc.Zstd:
		dec, err := zstdDecoder(io.NewSectionReader(src, sp.In, sp.InEnd-sp.In))
		if err != nil {
			return err
		}
		defer zstdDecoders.Put(dec)
		return use(dec)
	}
	return use(io.NewSectionReader(src, sp.In, sp.InEnd-sp.In))
}

// Decoders are kept between spans: they are large, and their tables are used
// again.
var (
	inflaters    = sync.Pool{New: func() any { return new(inflate.Reader) }}
	zstdDecoders sync.Pool // of *zstd.Decoder
)

func zstdDecoder(src io.Reader) (*zstd.Decoder, error) {
	if dec, ok := zstdDecoders.Get().(*zstd.Decoder); ok {
		return dec, dec.Reset(src)
	}
	// One goroutine: the reader that waits is the only one to be served.
	return zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
}
