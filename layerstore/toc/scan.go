package toc

import (
	"bytes"
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
	Path   string // of the entry as the tar has it, at most 256 bytes; may be empty
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
// (about 40 MiB at worst, 1 KiB as a rule), and time is linear in the length.
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

// maxMeta bounds PAX headers and long names; archive/tar and libarchive stop
// at 1 MiB already.
const maxMeta = 4 << 20

func (s *scanner) run() error {
	for {
		ok, err := s.next()
		if err != nil || !ok {
			return err
		}
		switch s.blk.flag() {
		case flagGNUName:
			err = s.readMeta(&s.nameBuf)
			s.longName, s.pending = cString(s.nameBuf), true
		case flagGNULink:
			err = s.readMeta(&s.linkBuf)
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
		return false, s.fail(errors.New("neither a header nor an end mark"))
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

// member takes in the entry whose header is in blk.
func (s *scanner) member() error {
	name := s.name()
	size, inHeader, err := s.size()
	if err != nil {
		return s.failEntry(name, err)
	}
	t := typeOf(s.blk.flag(), name)
	if t == 0 {
		s.note(name, fmt.Sprintf("unknown type %q: left out", s.blk.flag()))
		return s.skip(size)
	}
	e := &s.entry
	*e = Entry{Type: t}
	if err := s.attrs(e); err != nil {
		return s.failEntry(name, err)
	}
	stored := int64(0) // bytes of data from here on
	sparse, err := s.sparse(size)
	switch {
	case err != nil:
		return s.failEntry(name, err)
	case sparse != nil:
		if t != Regular {
			return s.failEntry(name, errors.New("sparse, but not a regular file"))
		}
		if v := s.local.vals[keySparseName]; len(v) > 0 {
			name = v
		}
		// Some writers give the size with holes in the PAX header, where
		// the one without belongs; the header has the right one then.
		stored = sparse.stored()
		if want := sparse.inData + stored; want != size && want != inHeader {
			return s.failEntry(name, fmt.Errorf("sparse file with %d bytes of data, its map tells of %d", size, want))
		}
		e.Size, e.Off, e.Sparse = sparse.size, s.off, sparse.holes()
	case t == Regular:
		stored = size
		e.Size, e.Off = size, s.off
	}
	keep, err := s.names(e, name)
	if err != nil {
		return s.failEntry(name, err)
	}
	if t == Regular {
		err = s.skip(stored)
	} else {
		err = s.skipUnused(size)
	}
	if err != nil || !keep {
		return err
	}
	return s.emit(e)
}

// size is how many bytes the entry has in the tar as its headers say: all of
// them, and that in blk alone.
func (s *scanner) size() (size, inHeader int64, err error) {
	inHeader, ok := parseNumber(s.blk.size())
	size = inHeader
	if v := s.record(keySize); ok && len(v) > 0 {
		size, ok = parseDecimal(v)
	}
	if !ok {
		return 0, 0, errors.New("size is not a number")
	}
	return size, inHeader, nil
}

// name is the name of the entry as the tar has it. A GNU header goes before a
// PAX record (GNU tar has it the other way round).
func (s *scanner) name() []byte {
	if len(s.longName) > 0 {
		return s.longName
	}
	if v := s.record(keyPath); len(v) > 0 {
		return v
	}
	name, prefix := s.blk.name(), s.blk.prefix()
	if len(prefix) == 0 {
		return name
	}
	s.joined = append(append(append(s.joined[:0], prefix...), '/'), name...)
	return s.joined
}

// link is the link target of the entry as the tar has it.
func (s *scanner) link() []byte {
	if len(s.longLink) > 0 {
		return s.longLink
	}
	if v := s.record(keyLinkpath); len(v) > 0 {
		return v
	}
	return s.blk.link()
}

// typeOf gives 0 for a type that is not known.
func typeOf(flag byte, name []byte) Type {
	switch flag {
	case flagRegularV7:
		// V7 had one flag for both. With '0' it is a file, as archive/tar
		// has it; GNU tar and libarchive make a directory of that too.
		if bytes.HasSuffix(name, []byte{'/'}) {
			return Dir
		}
		return Regular
	case flagRegular, flagContiguous, flagGNUSparse:
		return Regular
	case flagHardlink:
		return Hardlink
	case flagSymlink:
		return Symlink
	case flagChar:
		return Char
	case flagBlock:
		return Block
	case flagDir:
		return Dir
	case flagFifo:
		return Fifo
	}
	return 0
}

// attrs fills in what does not depend on names and contents.
func (s *scanner) attrs(e *Entry) (err error) {
	mode, ok := parseNumber(s.blk.mode())
	if !ok {
		return errors.New("mode is not a number")
	}
	e.Mode = uint16(mode & 0o7777)
	if e.Type == Symlink {
		e.Mode = 0o777 // as Linux has it
	}
	if e.UID, err = id(s.record(keyUID), s.blk.uid()); err != nil {
		return fmt.Errorf("uid %w", err)
	}
	if e.GID, err = id(s.record(keyGID), s.blk.gid()); err != nil {
		return fmt.Errorf("gid %w", err)
	}
	if v := s.record(keyMtime); len(v) > 0 {
		e.Mtime, ok = parseTime(v)
	} else {
		e.Mtime.Sec, ok = parseNumber(s.blk.mtime())
	}
	if !ok {
		return errors.New("mtime is not a number")
	}
	if e.Type == Char || e.Type == Block {
		if err := s.device(e); err != nil {
			return err
		}
	}
	e.Xattrs, err = s.xattrs(e.Type)
	return err
}

// id reads a user or group number: a PAX record, else a field of the header.
func id(record, field []byte) (uint32, error) {
	n, ok := int64(0), false
	if len(record) > 0 {
		n, ok = parseDecimal(record)
	} else {
		n, ok = parseNumber(field)
	}
	switch {
	case !ok:
		return 0, errors.New("is not a number")
	case n < 0 || n >= math.MaxUint32: // the last one is no id to Linux
		return 0, fmt.Errorf("%d is out of range", n)
	}
	return uint32(n), nil
}

// device reads a device number. V7 had none.
func (s *scanner) device(e *Entry) error {
	if s.blk.format() == formatV7 {
		return nil
	}
	major, ok := parseNumber(s.blk.major())
	minor, ok2 := parseNumber(s.blk.minor())
	if !ok || !ok2 || major < 0 || minor < 0 || major >= 1<<12 || minor >= 1<<20 {
		return errors.New("device number out of Linux's range")
	}
	e.Major, e.Minor = uint32(major), uint32(minor)
	return nil
}

// names fills in path and link, and makes an entry that is a marker one. It
// gives false for an entry that is not to be shown.
func (s *scanner) names(e *Entry, name []byte) (keep bool, err error) {
	path, err := cleanPath(name)
	if err != nil {
		return false, err
	}
	if tooLong(path) {
		s.note(path, "name too long for Linux: left out")
		return false, nil
	}
	e.Path = string(path)
	switch m, at := splitMarker(e.Path); m {
	case invalid:
		return false, errors.New("whiteout of a whole directory from within")
	case ignored:
		return false, nil
	case whiteout:
		*e = Entry{Type: Whiteout, Path: at}
		return true, nil
	case opaque:
		*e = Entry{Type: Opaque, Path: at}
		return true, nil
	}
	switch {
	case e.Path == "" && e.Type != Dir:
		return false, errors.New("the root is not a directory")
	case e.Type == Char && e.Major == 0 && e.Minor == 0:
		// What it is to overlayfs, once a container engine has unpacked it.
		*e = Entry{Type: Whiteout, Path: e.Path}
	case e.Type == Regular && isLandmark(e.Path):
		s.sum.Landmarks = true
		return false, nil
	case e.Type == Symlink:
		return s.symlink(e), nil
	case e.Type == Hardlink:
		return s.hardlink(e)
	}
	return true, nil
}

func (s *scanner) symlink(e *Entry) (keep bool) {
	link := s.link()
	if len(link) == 0 || len(link) > maxPath {
		s.note([]byte(e.Path), fmt.Sprintf("symlink to a path of %d bytes: left out", len(link)))
		return false
	}
	e.Link = string(link)
	return true
}

func (s *scanner) hardlink(e *Entry) (keep bool, err error) {
	link, err := cleanPath(s.link())
	if err != nil {
		return false, fmt.Errorf("hard link to %.100q: %w", s.link(), err)
	}
	e.Link = string(link)
	if m, _ := splitMarker(e.Link); m != none || tooLong(link) {
		s.note([]byte(e.Path), fmt.Sprintf("hard link to %.100q, which no file can be: left out", link))
		return false, nil
	}
	return e.Link != e.Path, nil // one to itself says nothing
}

// readBlock reads the next block. The error is [io.EOF] if src ends before it.
func (s *scanner) readBlock(b *block) error {
	n, err := io.ReadFull(s.src, b[:])
	s.off += int64(n)
	if err == io.ErrUnexpectedEOF {
		err = s.truncated()
	}
	s.fatal = err
	return err
}

// readInner reads a block that must be there.
func (s *scanner) readInner(b *block) error {
	err := s.readBlock(b)
	if err == io.EOF {
		err = s.truncated()
	}
	s.fatal = err
	return err
}

// readMeta reads the data of the header in blk into *buf.
func (s *scanner) readMeta(buf *[]byte) error {
	*buf = (*buf)[:0]
	size, ok := parseNumber(s.blk.size())
	if !ok || size < 0 || size > maxMeta {
		return s.fail(fmt.Errorf("header of type %q is longer than %d bytes", s.blk.flag(), maxMeta))
	}
	for left := int(size); left > 0; {
		// In parts, so that memory is taken for what is there only.
		part := min(left, 64<<10)
		*buf = slices.Grow(*buf, part)
		n, err := io.ReadFull(s.src, (*buf)[len(*buf):len(*buf)+part])
		s.off += int64(n)
		if err != nil {
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				err = s.truncated()
			}
			s.fatal = err
			return err
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
	if err == io.EOF {
		err = s.truncated()
	}
	s.fatal = err
	return err
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

func (s *scanner) truncated() error {
	return &FormatError{Offset: s.off, Err: io.ErrUnexpectedEOF}
}

// fail is err as one about the header at hand, unless src has failed.
func (s *scanner) fail(err error) error {
	if s.fatal != nil {
		return s.fatal
	}
	return &FormatError{Offset: s.start, Err: err}
}

func (s *scanner) failEntry(name []byte, err error) error {
	return s.fail(fmt.Errorf("%q: %w", name[:min(len(name), maxNotePath)], err))
}

func (s *scanner) note(path []byte, text string) {
	s.sum.Noted++
	if len(s.sum.Notes) < maxNotes {
		s.sum.Notes = append(s.sum.Notes, Note{s.start, string(path[:min(len(path), maxNotePath)]), text})
	}
}
