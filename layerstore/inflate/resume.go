package inflate

import "io"

// maxBlockHeader bounds the length of a block's header, in bytes: after 74 bits
// come at most 316 code lengths of at most 14 bits each.
const maxBlockHeader = 1 << 10

// section reads the part [off, end) of src.
type section struct {
	src      io.ReaderAt
	off, end int64
}

func (s *section) Read(p []byte) (int, error) {
	if s.off >= s.end {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), s.end-s.off)]
	n, err := s.src.ReadAt(p, s.off)
	s.off += int64(n)
	return n, err
}

// goOn takes up decoding at r.resume.
func (r *Reader) goOn() error {
	p, end := r.resume, r.section.end
	if p.Kind == InBlock {
		if err := r.goTo(p.Head, p.HeadBit, min(end, p.Head+maxBlockHeader)); err != nil {
			return err
		}
		if err := r.blockHeader(); err != nil {
			return err
		}
		if r.state != inHuffman {
			return r.corrupt("no huffman block around the point")
		}
	}
	if err := r.goTo(p.In, p.Bit, end); err != nil {
		return err
	}
	switch p.Kind {
	case AtMember:
		r.state = atMember
	case AtBlock:
		r.state = atBlock
	case InBlock:
		r.state = inHuffman
	}
	return nil
}

// goTo reads from the given place on, up to end.
func (r *Reader) goTo(in int64, bit uint8, end int64) error {
	r.section.off, r.section.end = in, end
	r.bits.reset(&r.section, in)
	_, err := r.bits.take(uint(bit))
	return err
}
