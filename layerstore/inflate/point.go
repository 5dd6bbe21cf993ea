package inflate

import (
	"bytes"
	"fmt"
)

// windowSize is how far back a match may reach (RFC 1951 §2), in bytes.
const windowSize = 32 << 10

// PointKind says what follows at a Point.
type PointKind uint8

const (
	AtMember PointKind = iota + 1 // a member's header
	AtBlock                       // a block's header
	InBlock                       // symbols of a huffman block that began at Head
)

// A Point is a place in a gzip stream from which decoding can go on.
type Point struct {
	// In and Bit are where the compressed data goes on: the offset of the
	// first byte with unread bits, and how many of its low bits are read, 0 to 7.
	In  int64
	Bit uint8
	// Out is the offset into the uncompressed stream, all members one after
	// the other, of the first byte that decoding will give.
	Out  int64
	Kind PointKind
	// Head and HeadBit are where the block's header begins, as In and Bit.
	// Zero unless Kind is InBlock.
	Head    int64
	HeadBit uint8
	// Window is the output right before Out that matches after Out refer to:
	// at most 32 KiB, bytes that none refers to are zero, and zeros at the
	// start are left out. Empty for AtMember.
	Window []byte
}

// End is the least end to give to Resume at an earlier point so that all
// output before p can be had.
func (p Point) End() int64 {
	if p.Bit > 0 {
		return p.In + 1
	}
	return p.In
}

// check refuses what no Reader can have given.
func (p Point) check() error {
	ok := p.In >= 0 && p.Out >= 0 && p.Bit < 8 && p.HeadBit < 8 && len(p.Window) <= windowSize
	switch p.Kind {
	case AtMember:
		ok = ok && p.Bit == 0 && len(p.Window) == 0
	case AtBlock:
	case InBlock:
		ok = ok && p.Head >= 0 && p.Head <= p.In
	default:
		ok = false
	}
	if !ok {
		return fmt.Errorf("gzip: no such point: kind %d, in %d.%d, out %d, head %d.%d, window of %d bytes",
			p.Kind, p.In, p.Bit, p.Out, p.Head, p.HeadBit, len(p.Window))
	}
	return nil
}

// marker chooses the places for Points and finds out which bytes of the
// window each of them needs.
type marker struct {
	spacing int64
	emit    func(Point)
	last    int64 // Out of the last Point
	before  int64 // and of the one before it
	// open is a Point whose window is not complete: the output is not yet
	// windowSize past it. The bytes referred to so far are in window.
	open   Point
	isOpen bool
	window []byte // of windowSize, once there is a Point that needs it
}

// due says whether output that has come to offset out wants a Point, given a
// place that is good for one.
func (m *marker) due(out int64) bool {
	m.settle(out)
	return m.spacing > 0 && !m.isOpen && out-m.last >= m.spacing
}

// begin opens a Point.
func (m *marker) begin(p Point) {
	if m.window == nil {
		m.window = make([]byte, windowSize)
	}
	clear(m.window)
	m.before, m.last = m.last, p.Out
	m.open, m.isOpen = p, true
}

// settle gives the open Point if nothing from offset out on can refer to its window.
func (m *marker) settle(out int64) {
	if m.isOpen && out-m.open.Out >= windowSize {
		m.finish()
	}
}

// endMember gives the open Point, if there is one, as no match reaches from one
// member to another; unless the member ends with no output after the Point.
func (m *marker) endMember(out int64) {
	if m.isOpen && out == m.open.Out {
		m.isOpen, m.last = false, m.before
	}
	if m.isOpen {
		m.finish()
	}
}

// finish gives the open Point.
func (m *marker) finish() {
	m.isOpen = false
	m.open.Window = bytes.Clone(bytes.TrimLeft(m.window, "\x00"))
	m.emit(m.open)
}
