package layerstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sync/errgroup"

	"mica/layerstore/blob"
	"mica/layerstore/inflate"
	"mica/layerstore/scratch"
	"mica/layerstore/toc"
	"mica/layerstore/unzstd"
)

// Packed is what has become of a layer that was written by [Store.Pack].
type Packed struct {
	Digest string // of the blob
	DiffID string
	Blob   int64 // bytes as stored
	Layer  int64 // bytes uncompressed

	index *os.File // without a name
}

// Close lets go of the index, if it was not kept.
func (p *Packed) Close() error { return p.index.Close() }

// Pack writes to f, from its beginning on, the layer that write gives, a tar,
// and makes its index meanwhile: nothing is decoded again. What comes out is the
// same whatever the number of processors. [Store.Keep] keeps the index; the
// caller closes what it gives.
func (s *Store) Pack(ctx context.Context, f *os.File, how Packing, write func(w io.Writer) error) (_ *Packed, err error) {
	packer, err := newPacker(how)
	if err != nil {
		return nil, err
	}
	if err := s.mkdir(s.root); err != nil {
		return nil, err
	}
	index, err := scratch.File(s.root)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			index.Close()
		}
	}()
	ix, err := toc.NewWriter(index)
	if err != nil {
		return nil, err
	}
	defer ix.Close()
	p := &packRun{packer: packer, w: ix, to: f, pass: pass{w: ix}}
	if err := p.run(ctx, write); err != nil {
		return nil, err
	}
	info := toc.Info{Codec: packer.codec, BlobSize: p.in, LayerSize: p.out, Digest: p.digest, DiffID: p.diffID, Notes: notes(p.scan)}
	if err := ix.Finish(info); err != nil {
		return nil, err
	}
	return &Packed{Digest: p.digest, DiffID: p.diffID, Blob: p.in, Layer: p.out, index: index}, nil
}

// Keep keeps the index that Pack has made, of a blob that lies where spec says.
func (s *Store) Keep(ctx context.Context, spec Spec, p *Packed) error {
	path := s.IndexPath(spec.Key())
	valid := func() error {
		ix, err := s.OpenIndex(spec)
		if err != nil {
			return err
		}
		return ix.Close()
	}
	err := s.Make(ctx, path, valid, func(f *os.File) error {
		if _, err := p.index.Seek(0, io.SeekStart); err != nil {
			return err
		}
		_, err := io.Copy(f, p.index)
		return err
	})
	if err != nil {
		return err
	}
	return s.proven(ctx, spec.Key(), Place(spec.Blob))
}

// A packRun is the work of one Pack: what is written is hashed, scanned and
// compressed side by side.
type packRun struct {
	pass
	packer *packer
	w      *toc.Writer
	to     io.Writer

	in, out int64 // bytes of the blob and of the layer
}

func (p *packRun) run(ctx context.Context, write func(io.Writer) error) error {
	plain := newFanout(3)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		w := &chunkWriter{ctx: ctx, to: plain}
		if err := write(w); err != nil {
			return err
		}
		w.end()
		return nil
	})
	g.Go(func() error { return p.scanTar(plain.reader(ctx, 0)) })
	g.Go(func() (err error) { p.diffID, err = hash(ctx, plain, 1, ""); return })
	g.Go(func() error { return p.pack(ctx, plain) })
	return g.Wait()
}

// pack writes the blob, and the spans of it into the index.
func (p *packRun) pack(ctx context.Context, plain *fanout) error {
	digest := sha256.New()
	to := io.MultiWriter(p.to, digest)
	sums := sums{w: p.w}
	err := p.packer.run(ctx, func(add func([]byte) error) error { return plain.each(ctx, 2, add) }, func(block, packed []byte) error {
		var err error
		switch p.packer.codec {
		case toc.Gzip:
			err = p.w.AddPoint(inflate.Point{In: p.in, Out: p.out, Kind: inflate.AtMember})
		case toc.Zstd:
			err = p.w.AddZstdPoint(unzstd.Point{In: p.in, Out: p.out, Kind: unzstd.AtFrame})
		}
		if err != nil {
			return err
		}
		sums.add(block)
		if p.packer.codec != toc.Plain {
			sums.cut()
		}
		p.in, p.out = p.in+int64(len(packed)), p.out+int64(len(block))
		_, err = to.Write(packed)
		return err
	})
	sums.cut()
	p.digest = "sha256:" + hex.EncodeToString(digest.Sum(nil))
	return err
}

// A chunkWriter sends what is written to it as a stream.
type chunkWriter struct {
	ctx context.Context // of the pack that it is a part of
	to  *fanout
	cur *chunk
	n   int // bytes in cur
}

func (w *chunkWriter) Write(b []byte) (n int, err error) {
	for n < len(b) {
		if w.cur == nil {
			if w.cur, err = w.to.get(w.ctx); err != nil {
				return n, err
			}
			w.n = 0
		}
		k := copy(w.cur.buf[w.n:], b[n:])
		n, w.n = n+k, w.n+k
		if w.n == len(w.cur.buf) {
			w.send()
		}
	}
	return n, nil
}

func (w *chunkWriter) send() {
	w.cur.data = w.cur.buf[:w.n]
	w.to.send(w.cur)
	w.cur = nil
}

// end says that this was all.
func (w *chunkWriter) end() {
	if w.cur != nil {
		w.send()
	}
	w.to.close()
}

// A Packing says how a layer is compressed.
type Packing struct {
	Codec blob.Compression // None, Gzip or Zstd
	// Level is one of gzip(1)'s, 1 to 9, or zstd(1)'s, 1 to 22. 0 is mica's own
	// choice.
	Level int
}

var errLevel = errors.New("no such level")

// Check says what is wrong with it.
func (p Packing) Check() error {
	most := map[blob.Compression]int{blob.None: 0, blob.Gzip: 9, blob.Zstd: 22}
	n, ok := most[p.Codec]
	if !ok {
		return fmt.Errorf("%v: a layer is written as tar, gzip or zstd", p.Codec)
	}
	if p.Level < 0 || p.Level > n {
		return fmt.Errorf("%v, level %d: %w (1 to %d)", p.Codec, p.Level, errLevel, n)
	}
	return nil
}
