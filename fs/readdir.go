package fs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"mica/overlay"
)

// The kernel's offset in a directory is 0 before ".", 1 before "..", and the
// View's cookie + dotEntries from there on: never 0 after an entry, and the
// same for READDIR and READDIRPLUS, which the kernel mixes.
const dotEntries = 2

// ReadDir lists names, numbers and types.
func (h *handlers) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return h.readDir(in, h.view.ReadDir, func(e fuse.DirEntry, _ *overlay.Attr) bool {
		return out.AddDirEntry(e)
	})
}

// ReadDirPlus lists them with all attributes, so that no LOOKUP follows.
func (h *handlers) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return h.readDirPlus(in, out, h.view.ReadDir)
}

// A dirReader is [View.ReadDir], or one that counts nodes as well.
type dirReader func(dir overlay.NodeID, cookie uint64, emit func(name string, a overlay.Attr, next uint64) bool) error

func (h *handlers) readDirPlus(in *fuse.ReadIn, out *fuse.DirEntryList, read dirReader) fuse.Status {
	return h.readDir(in, read, func(e fuse.DirEntry, a *overlay.Attr) bool {
		entry := out.AddDirLookupEntry(e)
		if entry != nil && a != nil && !(h.fleeting != nil && h.fleeting(a.ID)) {
			fillEntry(entry, *a)
		}
		return entry != nil
	})
}

// readDir adds entries until add says that the reply is full. "." and ".."
// have no attributes, and names that are fleeting get none: as node 0 the kernel
// takes them for names only.
func (h *handlers) readDir(in *fuse.ReadIn, read dirReader, add func(fuse.DirEntry, *overlay.Attr) bool) fuse.Status {
	dir := node(&in.InHeader)
	if in.Offset < dotEntries {
		parent, err := h.view.Parent(dir)
		if err != nil {
			return h.fail(&in.InHeader, "readdir", err)
		}
		dots := [dotEntries]fuse.DirEntry{
			{Name: ".", Ino: uint64(dir), Mode: syscall.S_IFDIR, Off: 1},
			{Name: "..", Ino: uint64(parent), Mode: syscall.S_IFDIR, Off: 2},
		}
		for _, e := range dots[in.Offset:] {
			if !add(e, nil) {
				return fuse.OK
			}
		}
	}
	cookie := max(in.Offset, dotEntries) - dotEntries
	err := read(dir, cookie, func(name string, a overlay.Attr, next uint64) bool {
		return add(fuse.DirEntry{Name: name, Ino: uint64(a.ID), Mode: a.Mode, Off: next + dotEntries}, &a)
	})
	if err != nil {
		return h.fail(&in.InHeader, "readdir", err)
	}
	return fuse.OK
}
