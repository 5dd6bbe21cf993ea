package layerstore

import (
	"context"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"mica/layerstore/blob"
)

// zstdSpan is the length in uncompressed bytes from which on a run of frames
// makes a span, and that of the frames of a content file.
const zstdSpan = 1 << 20

// unzstd sends the contents of a zstd blob and puts its spans into the index:
// runs of its frames, or, for frames too long to seek in, frames of a content
// file into which they are packed anew.
func (p *pass) unzstd(ctx context.Context, src io.Reader, to *fanout) error {
	frames := newFrameReader(src)
	// The second goroutine of the decoder pays: one decodes, one copies.
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderLowmem(true))
	if err != nil {
		return err
	}
	defer dec.Close()
	spans := zstdSpans{pass: p}
	defer spans.close()
	var c *chunk
	for {
		in, err := frames.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		spans.beginFrame(in)
		if err := dec.Reset(frames); err != nil {
			return err
		}
		for {
			if c == nil {
				if c, err = to.get(ctx); err != nil {
					return err
				}
			}
			n, err := dec.Read(c.buf[len(c.data):])
			piece := c.buf[len(c.data) : len(c.data)+n]
			c.data = c.buf[:len(c.data)+n]
			if err := spans.add(piece); err != nil {
				return err
			}
			if len(c.data) == len(c.buf) {
				to.send(c)
				c = nil
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
		}
		if _, err := io.Copy(io.Discard, frames); err != nil {
			return err
		}
		if err := spans.endFrame(frames.off); err != nil {
			return err
		}
	}
	if c != nil {
		to.send(c)
	}
	return spans.finish()
}

// zstdSpans cuts the output of frames into spans. What belongs to the span
// in the making is held until it is known how long its frame is.
type zstdSpans struct {
	pass *pass

	held    []byte // the output of the span so far
	in      int64  // where the span's frames begin
	frameIn int64  // where the current frame begins
	frameAt int    // and its output, in held
	long    bool   // the current frame goes to the content file
	content *os.File
	written int64 // bytes of content
	enc     *zstd.Encoder
	encoded []byte
}

func (s *zstdSpans) beginFrame(in int64) {
	s.frameIn, s.frameAt, s.long = in, len(s.held), false
	if len(s.held) == 0 {
		s.in = in
	}
}

func (s *zstdSpans) add(b []byte) error {
	s.held = append(s.held, b...)
	if !s.long && len(s.held)-s.frameAt > blob.MaxFrame {
		// The frames before this one are a span; this one is packed anew.
		frame := s.held[s.frameAt:]
		s.held = s.held[:s.frameAt]
		s.endSpan(s.frameIn)
		s.held = append(s.held, frame...)
		s.long = true
	}
	if !s.long {
		return nil
	}
	rest := s.held
	for len(rest) >= zstdSpan {
		if err := s.pack(rest[:zstdSpan]); err != nil {
			return err
		}
		rest = rest[zstdSpan:]
	}
	s.held = s.held[:copy(s.held, rest)]
	return nil
}

func (s *zstdSpans) endFrame(inEnd int64) error {
	switch {
	case s.long:
		err := s.pack(s.held)
		s.held = s.held[:0]
		return err
	case len(s.held) >= zstdSpan:
		s.endSpan(inEnd)
	}
	return nil
}

// endSpan puts what is held into the index as frames of the blob.
func (s *zstdSpans) endSpan(inEnd int64) {
	s.put(s.held, s.in, inEnd, false)
	s.held = s.held[:0]
}

func (s *zstdSpans) put(b []byte, in, inEnd int64, content bool) {
	if len(b) == 0 {
		return
	}
	s.pass.w.AddFrames(in, inEnd, s.pass.size, content)
	s.pass.size += int64(len(b))
	sums := sums{w: s.pass.w}
	sums.add(b)
	sums.cut()
}

// pack writes a frame of the content file.
func (s *zstdSpans) pack(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if s.content == nil {
		var err error
		if s.content, err = s.pass.content(); err != nil {
			return err
		}
		if s.enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(zstdSpan)); err != nil {
			return err
		}
	}
	s.encoded = s.enc.EncodeAll(b, s.encoded[:0])
	if _, err := s.content.Write(s.encoded); err != nil {
		return err
	}
	in := s.written
	s.written += int64(len(s.encoded))
	s.pass.contentSize = s.written
	s.put(b, in, s.written, true)
	return nil
}

func (s *zstdSpans) finish() error {
	if s.long {
		return nil // endFrame has written all
	}
	s.endSpan(s.pass.src.Size())
	return nil
}

func (s *zstdSpans) close() {
	if s.enc != nil {
		s.enc.Close()
	}
}
