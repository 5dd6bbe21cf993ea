package layerstore

import (
	"bytes"
	"context"
	"runtime"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"mica/layerstore/blob"
	"mica/layerstore/toc"
)

// A packer compresses a stream by blocks, several at once: each is a gzip member
// or a zstd frame by itself. All readers of layers take those one after the
// other, and each is a place to start reading from that needs no window.
type packer struct {
	codec toc.Codec
	// compressor gives what compresses a block behind what dst has. It is used
	// by one goroutine.
	compressor func() (func(dst, block []byte) ([]byte, error), error)
}

const (
	// packBlock is how many bytes a block has. That a member does not know what
	// came before it makes a layer 1 % longer; with zstd and blocks of 2 MiB it
	// would be 2 % shorter, for 16 MiB of memory more.
	packBlock = 1 << 20

	defaultGzip = 3
	defaultZstd = 3

	// maxPackers bounds memory on machines of many processors.
	maxPackers = 8
)

func newPacker(how Packing) (*packer, error) {
	if err := how.Check(); err != nil {
		return nil, err
	}
	level := how.Level
	switch how.Codec {
	case blob.Gzip:
		if level == 0 {
			level = defaultGzip
		}
		return &packer{toc.Gzip, func() (func(dst, block []byte) ([]byte, error), error) { return gzipBlocks(level) }}, nil
	case blob.Zstd:
		if level == 0 {
			level = defaultZstd
		}
		return &packer{toc.Zstd, func() (func(dst, block []byte) ([]byte, error), error) { return packBlocks(level) }}, nil
	}
	return &packer{toc.Plain, func() (func(dst, block []byte) ([]byte, error), error) {
		return func(_, block []byte) ([]byte, error) { return block, nil }, nil
	}}, nil
}

func gzipBlocks(level int) (func(dst, block []byte) ([]byte, error), error) {
	enc, err := gzip.NewWriterLevel(nil, level)
	return func(dst, block []byte) ([]byte, error) {
		out := bytes.NewBuffer(dst)
		enc.Reset(out)
		if _, err := enc.Write(block); err != nil {
			return nil, err
		}
		err := enc.Close()
		return out.Bytes(), err
	}, err
}

func packBlocks(level int) (func(dst, block []byte) ([]byte, error), error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(packBlock))
	return func(dst, block []byte) ([]byte, error) { return enc.EncodeAll(block, dst), nil }, err
}

// A packJob is a block on its way.
type packJob struct {
	block, packed []byte
	err           error
	done          chan struct{}
}

// run cuts what feed adds into blocks and calls put for each of them, in order.
func (p *packer) run(ctx context.Context, feed func(add func([]byte) error) error, put func(block, packed []byte) error) error {
	n := min(runtime.GOMAXPROCS(0), maxPackers)
	g, ctx := errgroup.WithContext(ctx)
	free := make(chan *packJob, n+2)
	for range cap(free) {
		free <- &packJob{}
	}
	todo, order := make(chan *packJob, cap(free)), make(chan *packJob, cap(free))
	g.Go(func() error {
		defer close(order)
		defer close(todo)
		return p.cut(ctx, feed, free, todo, order)
	})
	for range n {
		g.Go(func() error {
			compress, err := p.compressor()
			if err != nil {
				return err
			}
			for j := range todo {
				j.packed, j.err = compress(j.packed[:0], j.block)
				close(j.done)
			}
			return nil
		})
	}
	g.Go(func() error {
		for j := range order {
			select {
			case <-j.done:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if j.err != nil {
				return j.err
			}
			if err := put(j.block, j.packed); err != nil {
				return err
			}
			free <- j
		}
		return nil
	})
	return g.Wait()
}

// cut is the part of run that fills blocks.
func (p *packer) cut(ctx context.Context, feed func(add func([]byte) error) error, free, todo, order chan *packJob) error {
	var cur *packJob
	send := func() {
		todo <- cur // neither ever waits: there are no more jobs than they hold
		order <- cur
		cur = nil
	}
	err := feed(func(b []byte) error {
		for len(b) > 0 {
			if cur == nil {
				select {
				case cur = <-free:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
				cur.done = make(chan struct{})
				cur.block = cur.block[:0]
				if cap(cur.block) < packBlock {
					cur.block = make([]byte, 0, packBlock)
				}
			}
			k := min(len(b), packBlock-len(cur.block))
			cur.block = append(cur.block, b[:k]...)
			b = b[k:]
			if len(cur.block) == packBlock {
				send()
			}
		}
		return nil
	})
	if err == nil && cur != nil {
		send()
	}
	return err
}
