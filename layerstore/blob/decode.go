package blob

import (
	"io"
	"sync"

	"mica/layerstore/inflate"
	"mica/layerstore/toc"
)

// decode calls use with a reader of the span's bytes.
func (r *Reader) decode(ix *toc.Index, sp toc.Span, use func(io.Reader) error) error {
	switch ix.Info().Codec {
	case toc.Gzip:
		p, err := ix.Point(sp)
		if err != nil {
			return err
		}
		dec := inflaters.Get().(*inflate.Reader)
		defer inflaters.Put(dec)
		if err := dec.Resume(r.src, p, sp.InEnd); err != nil {
			return err
		}
		return use(dec)
	case toc.Zstd:
		dec := unzstders.get()
		defer unzstders.put(dec)
		if err := dec.Resume(r.src, ix.ZstdPoint(sp), sp.InEnd); err != nil {
			return err
		}
		return use(dec)
	}
	return use(io.NewSectionReader(r.src, sp.In, sp.InEnd-sp.In))
}

// inflaters are decoders that are used again, for their tables.
var inflaters = sync.Pool{New: func() any { return new(inflate.Reader) }}
