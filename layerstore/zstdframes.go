package layerstore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// A frameReader walks the frames of a zstd stream (RFC 8878 §3.1). Between
// two calls of next it gives the bytes of one frame, so that a decoder sees
// each frame by itself and it is known where in the stream it began.
type frameReader struct {
	src   *bufio.Reader
	off   int64 // into the stream, of the next byte of src
	left  int64 // bytes of the current piece that are still to be given
	state frameState
	sum   bool // the frame ends in a checksum
}

type frameState uint8

const (
	between  frameState = iota // frames
	inBlocks                   // the piece is followed by a block header
	inLast                     // the piece ends the frame
)

var errZstd = errors.New("zstd")

func newFrameReader(src io.Reader) *frameReader {
	return &frameReader{src: bufio.NewReaderSize(src, 512<<10)}
}

// next goes to the next frame that holds data and gives the offset at which it
// begins. io.EOF is the end of the stream.
func (f *frameReader) next() (int64, error) {
	if _, err := io.Copy(io.Discard, f); err != nil {
		return 0, err
	}
	for {
		head, err := f.src.Peek(zstd.HeaderMaxSize)
		if len(head) == 0 && err == io.EOF {
			return 0, io.EOF
		}
		if err != nil && err != io.EOF {
			return 0, err
		}
		if len(head) >= 4 && !isFrame(binary.LittleEndian.Uint32(head)) {
			return 0, fmt.Errorf("%w: offset %d: no frame begins here", errZstd, f.off)
		}
		var h zstd.Header
		if err := h.Decode(head); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) || len(head) < 4 {
				return 0, fmt.Errorf("%w: offset %d: %w", errZstd, f.off, io.ErrUnexpectedEOF)
			}
			return 0, fmt.Errorf("%w: offset %d: %v", errZstd, f.off, err)
		}
		if !h.Skippable {
			f.left, f.state, f.sum = int64(h.HeaderSize), inBlocks, h.HasCheckSum
			return f.off, nil
		}
		n := int64(h.HeaderSize) + int64(h.SkippableSize)
		if k, err := io.CopyN(io.Discard, f.src, n); err != nil {
			return 0, fmt.Errorf("%w: offset %d: %w", errZstd, f.off+k, io.ErrUnexpectedEOF)
		}
		f.off += n
	}
}

// isFrame says whether a stream may begin with that number: the magic of a
// frame or of a skippable one.
func isFrame(magic uint32) bool { return magic == 0xfd2fb528 || magic&^0xf == 0x184d2a50 }

// Read gives bytes of the current frame, io.EOF at its end.
func (f *frameReader) Read(p []byte) (int, error) {
	for f.left == 0 {
		switch f.state {
		case between:
			return 0, io.EOF
		case inLast:
			f.state = between
		case inBlocks:
			if err := f.block(); err != nil {
				return 0, err
			}
		}
	}
	n, err := f.src.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	f.off += int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// block takes in a block header (RFC 8878 §3.1.1.2): the next piece is that
// header, the block, and after the last one the checksum.
func (f *frameReader) block() error {
	b, err := f.src.Peek(3)
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	h := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
	size := int64(h >> 3)
	switch h >> 1 & 3 {
	case 1: // RLE: one byte stands for all
		size = 1
	case 3:
		return fmt.Errorf("%w: offset %d: reserved block type", errZstd, f.off)
	}
	f.left = 3 + size
	if h&1 != 0 {
		f.state = inLast
		if f.sum {
			f.left += 4
		}
	}
	return nil
}
