package toc

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

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
		if len(sparse.name) > 0 {
			name = sparse.name
		}
		// Some writers give the size with holes in the PAX header, where
		// the one without belongs; the field has the right one then.
		stored = sparse.stored()
		if want := sparse.inData + stored; want != size && (size != sparse.size || want != inHeader) {
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
	if err != nil {
		return s.failEntry([]byte(e.Path), err)
	}
	if !keep {
		return nil
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
	if !ok {
		return 0, errors.New("is not a number")
	}
	return checkID(n)
}

func checkID(n int64) (uint32, error) {
	if n < 0 || n >= math.MaxUint32 { // the last one is no id to Linux
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
	if !ok || !ok2 {
		return errDevice
	}
	return e.setDevice(major, minor)
}

var errDevice = errors.New("device number out of Linux's range")

func (e *Entry) setDevice(major, minor int64) error {
	if major < 0 || minor < 0 || major >= 1<<12 || minor >= 1<<20 {
		return errDevice
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
	if m, _ := splitMarker(e.Link); m != none || len(link) == 0 || tooLong(link) {
		s.note([]byte(e.Path), fmt.Sprintf("hard link to %.100q, which no file can be: left out", link))
		return false, nil
	}
	return e.Link != e.Path, nil // one to itself says nothing
}
