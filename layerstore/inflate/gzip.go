package inflate

import (
	"encoding/binary"
	"hash/crc32"
	"io"
)

// Flags of a member's header (RFC 1952 §2.3.1).
const (
	flagText = 1 << iota
	flagHeaderCRC
	flagExtra
	flagName
	flagComment
	flagsReserved = 0xe0
)

// member reads a member's header, or finds the end of the stream, which is
// io.EOF: once one member was read to its end, what does not begin with the magic
// number is padding or garbage, which gzip(1) ignores too.
func (r *Reader) member() error {
	start, _ := r.bits.offset()
	magic, err := r.bits.bytes(2)
	if r.members > 0 && (err == nil || err == io.ErrUnexpectedEOF) && string(magic) != "\x1f\x8b" {
		return io.EOF
	}
	if err == nil && string(magic) != "\x1f\x8b" {
		return r.corrupt("no gzip member")
	}
	if err != nil {
		return err
	}
	if err := r.header(); err != nil {
		return err
	}
	r.crc, r.size, r.checked = 0, 0, true
	r.floor = r.pos
	r.state = atBlock
	m, p := &r.points, Point{In: start, Out: r.outputOffset(), Kind: AtMember}
	if m.spacing > 0 && start == 0 {
		m.emit(p)
	} else if m.due(p.Out) {
		m.begin(p)
	}
	return nil
}

// header reads a member's header (RFC 1952 §2.3). Only its form matters here.
func (r *Reader) header() error {
	h := headerReader{bits: &r.bits}
	fixed, err := h.next(10)
	if err != nil {
		return err
	}
	method, flags := fixed[2], fixed[3]
	if method != 8 {
		return r.corrupt("compression method is not deflate")
	}
	if flags&flagsReserved != 0 {
		return r.corrupt("reserved flag in a member's header")
	}
	if flags&flagExtra != 0 {
		n, err := h.next(2)
		if err != nil {
			return err
		}
		if _, err := h.next(int(binary.LittleEndian.Uint16(n))); err != nil {
			return err
		}
	}
	for _, text := range []byte{flagName, flagComment} {
		if flags&text == 0 {
			continue
		}
		if err := h.skipString(); err != nil {
			return err
		}
	}
	if flags&flagHeaderCRC != 0 {
		want := uint16(h.crc)
		b, err := h.next(2)
		if err != nil {
			return err
		}
		if binary.LittleEndian.Uint16(b) != want {
			return r.corrupt("checksum of a member's header is wrong")
		}
	}
	return nil
}

// headerReader reads bytes and sums them up for FHCRC.
type headerReader struct {
	bits *bitReader
	crc  uint32
}

// next reads n bytes, at most 64 KiB, valid until the call after.
func (h *headerReader) next(n int) ([]byte, error) {
	b, err := h.bits.bytes(n)
	if err != nil {
		return nil, err
	}
	h.bits.pos += n
	h.crc = crc32.Update(h.crc, crc32.IEEETable, b)
	return b, nil
}

// skipString reads up to and with a NUL.
func (h *headerReader) skipString() error {
	for {
		b, err := h.next(1)
		if err != nil {
			return err
		}
		if b[0] == 0 {
			return nil
		}
	}
}

// trailer reads a member's CRC and size and holds the output against them,
// unless decoding began inside of the member.
func (r *Reader) trailer() error {
	r.points.endMember(r.outputOffset())
	r.sum()
	r.bits.align()
	b, err := r.bits.bytes(8)
	if err != nil {
		return err
	}
	if r.checked && binary.LittleEndian.Uint32(b) != r.crc {
		return r.corrupt("CRC of a member is wrong")
	}
	if r.checked && binary.LittleEndian.Uint32(b[4:]) != r.size {
		return r.corrupt("size of a member is wrong")
	}
	r.bits.pos += len(b)
	r.members++
	r.state = atMember
	return nil
}

// sum takes the output since the last call into the member's CRC and size.
func (r *Reader) sum() {
	b := r.out[r.summed:r.pos]
	if r.checked {
		r.crc = crc32.Update(r.crc, crc32.IEEETable, b)
		r.size += uint32(len(b))
	}
	r.summed = r.pos
}
