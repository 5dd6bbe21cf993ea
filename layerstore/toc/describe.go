package toc

import (
	"errors"
	"fmt"
	"strings"
)

// A Description is what a table of contents that comes with a layer says of an
// entry, in the terms of tar.
type Description struct {
	Name, Link   string // as in the tar
	Type         Type   // Regular to Fifo
	Mode         int64  // other bits than 07777 are ignored
	UID, GID     int64
	Mtime        Time
	Size         int64 // of Regular
	Major, Minor int64
	Xattrs       map[string][]byte // values are copied
}

// A Describer makes entries of descriptions by the rules that Scan has for
// headers. The zero Describer is ready.
type Describer struct{ s scanner }

// Entry gives what d stands for, with Off and Sparse zero, or nil for what is
// not to be shown. An error says that Scan would refuse the layer.
func (dr *Describer) Entry(d *Description) (*Entry, error) {
	s := &dr.s
	s.pending = true
	s.forget()
	s.longLink = []byte(d.Link)
	if strings.Contains(d.Name+d.Link, "\x00") {
		return nil, errors.New("NUL in a name")
	}
	e := &Entry{Type: d.Type, Mode: uint16(d.Mode & 0o7777), Mtime: d.Mtime}
	var err, err2, err3 error
	e.UID, err = checkID(d.UID)
	e.GID, err2 = checkID(d.GID)
	switch d.Type {
	case Regular:
		if e.Size = d.Size; e.Size < 0 {
			err3 = fmt.Errorf("size is %d", d.Size)
		}
	case Symlink:
		e.Mode = 0o777
	case Char, Block:
		err3 = e.setDevice(d.Major, d.Minor)
	}
	if err := errors.Join(err, err2, err3); err != nil {
		return nil, err
	}
	for name, value := range d.Xattrs {
		if err := s.addXattr(&s.local, []byte("SCHILY.xattr."+name), value); err != nil {
			return nil, err
		}
	}
	if e.Xattrs, err = s.xattrs(d.Type); err != nil {
		return nil, err
	}
	if keep, err := s.names(e, []byte(d.Name)); err != nil || !keep {
		return nil, err
	}
	return e, nil
}

// Summary tells what was left out.
func (dr *Describer) Summary() Summary { return dr.s.sum }
