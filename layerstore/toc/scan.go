package toc

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// A Summary is what Scan says of a stream as a whole.
type Summary struct {
	// End is where the tar ends, in bytes into the uncompressed layer: behind
	// the end mark, else where the stream ends. What follows is not looked at.
	End int64
	// Marked says that the tar ends with two blocks of zeros, as it should.
	// Some writers leave them out, and every reader lets them.
	Marked bool
	// Landmarks says that files of eStargz were left out: its table of
	// contents, or the mark of what to fetch ahead.
	Landmarks bool
	// Notes tell what was left out, the first maxNotes of them; Noted is how
	// many there were.
	Notes []Note
	Noted int
}

// A Note says that a part of the layer was left out, and why.
type Note struct {
	Offset int64  // of the header, into the uncompressed layer
	Path   string // of the entry, at most 256 bytes of it; empty if it is about a header
	Text   string
}

const (
	maxNotes    = 16
	maxNotePath = 256
)

// Scan reads the tar stream of one layer from src, once and front to back, and
// calls emit with each entry, in the order of the stream, when all its data
// has been passed. It reads up to the end of the tar; what follows in src is
// the caller's, who may need it for a digest.
//
// Formats: V7, ustar, PAX, GNU, star; sparse files in GNU's four forms.
// Whiteouts are resolved to entries of their own type; what else the names
// that begin with ".wh." stand for is not shown. Where tars contradict
// themselves, Scan reads what archive/tar reads, as all container engines are
// built on it; where that gives up, it goes on if there is one meaning only.
//
// The Entry given to emit is used again for the next one, but what it refers
// to is not: a copy of it may be kept. Xattr values may be shared between
// entries and must not be changed. An error from emit or src ends the scan and
// is returned as it is; a broken stream is a [*FormatError]. Memory is bounded
// (some 20 MiB at worst, 2 KiB as a rule), and time is linear in the length.
func Scan(src Source, emit func(*Entry) error) (Summary, error) {
	s := scanner{src: src, emit: emit}
	err := s.run()
	return s.sum, err
}

// A scanner is the state of one Scan.
type scanner struct {
	src  Source
	emit func(*Entry) error
	sum  Summary

	off    int64 // of the next byte from src
	start  int64 // of the header in blk
	blk    block
	peeked bool  // blk is a header that run has not seen yet, or zeros
	ext    block // of a sparse map
	fatal  error // from src, or its end; nothing can be read any more

	// What earlier headers say of the entry to come, and the buffers behind it.
	pending            bool   // one has been there
	longName, longLink []byte // empty: nothing
	local              records
	nameBuf, linkBuf   []byte
	paxBuf             []byte

	global records // what global headers say of all entries to come
	joined []byte  // prefix and name
	entry  Entry
}

// Bounds of what comes before an entry. archive/tar and libarchive have 1 MiB
// for all of them.
const (
	maxPAX      = 4 << 20
	maxLongName = 64 << 10 // Linux has no use for more than maxPath
)

func (s *scanner) run() error {
	for {
		ok, err := s.next()
		if err != nil || !ok {
			return err
		}
		switch s.blk.flag() {
		case flagGNUName:
			err = s.readMeta(&s.nameBuf, maxLongName)
			s.longName, s.pending = cString(s.nameBuf), true
		case flagGNULink:
			err = s.readMeta(&s.linkBuf, maxLongName)
			s.longLink, s.pending = cString(s.linkBuf), true
		case flagPAX, flagPAXSolaris:
			s.pending = true
			err = s.readPAX(s.takeLocal)
		case flagPAXGlobal:
			// Other headers come directly before their entry; archive/tar
			// forgets those before a global one.
			s.forget()
			err = s.readPAX(s.takeGlobal)
		default:
			err = s.member()
			s.forget()
		}
		if err != nil {
			return err
		}
	}
}

// forget drops what headers before an entry said of it.
func (s *scanner) forget() {
	if !s.pending {
		return
	}
	s.pending = false
	s.longName, s.longLink = nil, nil
	s.local.reset()
}

// next reads the next header into blk. It gives false where the tar ends.
func (s *scanner) next() (bool, error) {
	if !s.peeked {
		if err := s.readBlock(&s.blk); err != nil {
			return false, s.end(err)
		}
	}
	s.peeked = false
	s.start = s.off - blockSize
	header, zero := s.blk.check()
	switch {
	case header:
		return true, nil
	case !zero:
		return false, s.fail(errors.New("no tar header, nor the end of a tar"))
	}
	if err := s.readBlock(&s.blk); err != nil {
		return false, s.end(err)
	}
	if _, zero := s.blk.check(); !zero {
		// GNU tar stops here and warns, archive/tar fails. What follows may
		// be entries: to stop would be to lose them unsaid.
		return false, s.fail(errors.New("a lone block of zeros"))
	}
	s.sum.Marked = true
	return false, s.end(io.EOF)
}

// end is called with why there is no header any more.
func (s *scanner) end(err error) error {
	s.sum.End = s.off
	if err != io.EOF {
		return err
	}
	if s.pending {
		return &FormatError{Offset: s.off, Err: fmt.Errorf("no entry behind a header for it: %w", io.ErrUnexpectedEOF)}
	}
	return nil
}

// readBlock reads the next block. The error is [io.EOF] if src ends before it.
func (s *scanner) readBlock(b *block) error {
	n, err := io.ReadFull(s.src, b[:])
	s.off += int64(n)
	if err == nil || err == io.EOF {
		return err
	}
	return s.broke(err)
}

// readInner reads a block that must be there.
func (s *scanner) readInner(b *block) error {
	err := s.readBlock(b)
	if err == io.EOF {
		return s.broke(err)
	}
	return err
}

// readMeta reads the data of the header in blk into *buf, limit bytes at most.
func (s *scanner) readMeta(buf *[]byte, limit int64) error {
	*buf = (*buf)[:0]
	size, ok := parseNumber(s.blk.size())
	if !ok || size < 0 {
		return s.fail(fmt.Errorf("header of type %q with a size that is no number", s.blk.flag()))
	}
	if size > limit {
		return s.fail(OverLimit("header of type %q with %d bytes for the next entry: at most %d are read", s.blk.flag(), size, limit))
	}
	for left := int(size); left > 0; {
		// In parts, so that memory is taken for what is there only.
		part := min(left, 64<<10)
		*buf = slices.Grow(*buf, part)
		n, err := io.ReadFull(s.src, (*buf)[len(*buf):len(*buf)+part])
		s.off += int64(n)
		if err != nil {
			return s.broke(err)
		}
		*buf = (*buf)[:len(*buf)+n]
		left -= n
	}
	return s.pass(0, -size&(blockSize-1))
}

// skip passes over the data of an entry.
func (s *scanner) skip(size int64) error {
	// Far beyond any layer, and far enough from where sums overflow.
	if size < 0 || size > math.MaxInt64/2 || size > math.MaxInt64/2-s.off {
		return s.fail(fmt.Errorf("%d bytes of data", size))
	}
	return s.pass(size, -size&(blockSize-1))
}

// pass passes over n bytes and padding. The padding may be missing at the
// very end of the stream: no byte of a file is missing then, and archive/tar
// takes it.
func (s *scanner) pass(n, padding int64) error {
	if n+padding == 0 {
		return nil
	}
	got, err := s.src.Skip(n + padding)
	s.off += got
	if err == nil || err == io.EOF && got >= n {
		return nil
	}
	return s.broke(err)
}

// skipUnused passes over the data of an entry whose type has none. Some tars
// give a hard link the size of its file without the data (V7, older GNU tar,
// and archive/tar reads all of them so), some with the data (cpio, "pax -o
// linkdata"). So it is data exactly if it is neither a header nor zeros.
func (s *scanner) skipUnused(size int64) error {
	if size <= 0 {
		return nil
	}
	if err := s.readBlock(&s.blk); err == io.EOF {
		return nil
	} else if err != nil {
		return err
	}
	if header, zero := s.blk.check(); header || zero {
		s.peeked = true
		return nil
	}
	return s.skip(max(size-blockSize, 0))
}

// broke keeps an error from src, or that src ends in the midst of things.
func (s *scanner) broke(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = &FormatError{Offset: s.off, Err: io.ErrUnexpectedEOF}
	}
	s.fatal = err
	return err
}

// fail is err as one about the header in blk, unless src is at fault.
func (s *scanner) fail(err error) error {
	if s.fatal != nil {
		return s.fatal
	}
	return &FormatError{Offset: s.start, Err: err}
}

// failEntry is fail with the name of the entry.
func (s *scanner) failEntry(name []byte, err error) error {
	fe, ok := s.fail(err).(*FormatError)
	if !ok {
		return s.fatal
	}
	return &FormatError{Offset: fe.Offset, Err: fmt.Errorf("%q: %w", name[:min(len(name), maxNotePath)], fe.Err)}
}

func (s *scanner) note(path []byte, text string) {
	s.sum.Noted++
	if len(s.sum.Notes) < maxNotes {
		s.sum.Notes = append(s.sum.Notes, Note{s.start, string(path[:min(len(path), maxNotePath)]), text})
	}
}
