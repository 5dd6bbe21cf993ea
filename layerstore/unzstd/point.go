package unzstd

import "slices"

// PointKind says what follows at a Point.
type PointKind uint8

const (
	AtFrame PointKind = iota + 1 // a frame's header, or skippable frames before it
	AtBlock                      // a block's header
)

// A Point is a place in a zstd stream from which decoding can go on.
type Point struct {
	// In is the offset in the compressed stream where to go on.
	In int64
	// Out is the offset into the uncompressed stream, all frames one after the
	// other, of the first byte that decoding will give.
	Out  int64
	Kind PointKind
	// State is what blocks from In on need and the stream does not say there, up to
	// the next Point: see blockState. Empty for AtFrame.
	State []byte
}

// marker chooses the places for Points and finds out what each of them needs.
type marker struct {
	spacing int64
	onStart func(int64)
	onPoint func(Point)
	last    int64 // Out of the last Point that has output
	room    int64 // bytes of State that may yet come before Points lie further apart

	// open is a Point that is not told yet.
	open      Point
	isOpen    bool
	hasOutput bool
	state     blockState
	carried   [numTables]bool // the table is still that of the open Point

	// Of the window before open, or before the point that was resumed from: the
	// bytes that are referred to, or that are given. Bit 0 is for the offset
	// origin.
	used      bitmap
	origin    int64
	isResumed bool

	packer packer
}

// due says whether output that has come to offset out wants a Point.
func (m *marker) due(out int64) bool {
	return m.spacing > 0 && out-m.last >= m.spacing && !(m.isOpen && m.open.Out == out)
}

const (
	// A stream may be made so that each Point needs all of the window, though
	// nearly nothing of the stream lies between them. Where States come to more
	// than freeState and a part of the stream, Points lie further apart.
	freeState  = 16 << 20
	stateShare = 16 // of the bytes of the stream; of ordinary layers it is a hundredth
	stretch    = 4  // times the spacing at most
)

// dueBlock is due for a Point at a block, at offset in of the stream. A longer
// span needs more of a window that is as long.
func (m *marker) dueBlock(in, out int64, window int) bool {
	return m.due(out) && (m.room+in/stateShare >= 0 || int64(window) > m.spacing || out-m.last >= stretch*m.spacing)
}

// beginFrame opens a Point at a frame's start.
func (m *marker) beginFrame(in, out int64) {
	m.open, m.isOpen, m.hasOutput = Point{In: in, Out: out, Kind: AtFrame}, true, false
}

// beginBlock opens a Point at a block's header, and tells the one before.
func (m *marker) beginBlock(in int64, s blockState, h *history) {
	m.finish(h)
	m.open, m.isOpen, m.hasOutput = Point{In: in, Out: h.out(), Kind: AtBlock}, true, false
	m.state = s
	m.origin = m.open.Out - int64(s.window)
	if need := s.window/64 + 1; len(m.used) < need {
		m.used = make(bitmap, need)
	}
	m.packer.begin(int(max(0, h.start-m.origin)))
	for k := range m.carried {
		m.carried[k] = true
	}
}

// wrote says that there is output after the open Point.
func (m *marker) wrote() {
	if !m.isOpen || m.hasOutput {
		return
	}
	m.hasOutput = true
	m.last = m.open.Out
	if m.onStart != nil {
		m.onStart(m.open.Out)
	}
	if m.open.Kind == AtFrame {
		m.isOpen = false
		m.onPoint(m.open)
	}
}

// repeated says that a table is used that a block before has described.
func (m *marker) repeated(k int, description []byte) {
	if m.carried[k] {
		m.carried[k] = false
		m.state.tables[k] = slices.Clone(description)
	}
}

// replaced says that a table is described anew.
func (m *marker) replaced(k int) { m.carried[k] = false }

// start is the place before which matches must be referred: the open or resumed
// Point's.
func (m *marker) start() int64 {
	if m.isOpen && m.open.Kind == AtBlock || m.isResumed {
		return m.open.Out
	}
	return 0
}

// refer notes that a match needs n bytes at offset from. It says false if they are
// not to be had.
func (m *marker) refer(from int64, n int) bool {
	to := min(from+int64(n), m.start())
	if from >= to {
		return true
	}
	a, b := int(from-m.origin), int(to-m.origin)
	if m.isResumed {
		return m.used.all(a, b)
	}
	m.used.set(a, b)
	return true
}

// harvest keeps the bytes referred to that lie before offset limit: they are about
// to be overwritten.
func (m *marker) harvest(h *history, limit int64) {
	if !m.isOpen || m.open.Kind != AtBlock {
		return
	}
	limit = min(limit, m.open.Out)
	for {
		from := m.origin + int64(m.packer.done)
		if from >= limit {
			return
		}
		// Up to the end of the generation.
		b := h.at(from)
		b = b[:min(int64(len(b)), limit-from)]
		m.packer.add(m.used, b)
	}
}

// finish tells the open Point: nothing that comes before the next can refer to it.
func (m *marker) finish(h *history) {
	if m.isOpen && m.open.Kind == AtBlock && m.hasOutput {
		m.harvest(h, m.open.Out)
		m.open.State = m.packer.pack(&m.state)
		m.room -= int64(len(m.open.State))
		m.onPoint(m.open)
	}
	m.isOpen = false
}

// endFrame tells the open Point. One that has no output yet is dropped, or, if it
// is as good for the next frame, stays.
func (m *marker) endFrame(h *history) {
	if m.isOpen && m.open.Kind == AtBlock {
		m.finish(h)
	}
}
