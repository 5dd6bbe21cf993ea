package writable

import (
	"golang.org/x/sys/unix"

	"mica/overlay"
)

// A Change says what [View.SetAttr] is to change: what is not nil.
type Change struct {
	Mode     *uint32
	UID, GID *uint32
	Size     *int64
	// Nsec may be UTIME_NOW.
	Atime, Mtime *unix.Timespec
	// DropPrivileges takes setuid and setgid away with a change of the size.
	DropPrivileges bool
}

func (c *Change) none() bool {
	return c.Mode == nil && c.UID == nil && c.GID == nil && c.Size == nil && c.Atime == nil && c.Mtime == nil
}

// SetAttr changes attributes and gives what they are then.
func (v *View) SetAttr(id overlay.NodeID, c Change) (overlay.Attr, error) {
	if c.none() {
		return v.Attr(id)
	}
	size := int64(-1)
	if c.Size != nil {
		size = *c.Size
	}
	if err := v.raise(id, size); err != nil {
		return overlay.Attr{}, err
	}
	v.lock()
	defer v.mu.Unlock()
	n, err := v.own(id, size)
	if err != nil {
		return overlay.Attr{}, err
	}
	if c.Size != nil {
		before, err := v.truncate(n, size, c.DropPrivileges)
		if err != nil {
			return overlay.Attr{}, err
		}
		if c.Mtime == nil {
			c.Mtime = &before
		}
	}
	p, err := v.place(n)
	if err != nil {
		return overlay.Attr{}, err
	}
	defer p.done()
	if err := c.apply(p); err != nil {
		return overlay.Attr{}, err
	}
	a, err := v.attr(id)
	if err == nil && c.Mtime != nil {
		n.unmoved.mtime = unix.Timespec{Sec: a.Mtime.Sec, Nsec: int64(a.Mtime.Nsec)}
	}
	return a, err
}

// apply changes all but the size.
func (c *Change) apply(p place) error {
	if c.UID != nil || c.GID != nil {
		if err := unix.Fchownat(p.fd, p.name, idOrNone(c.UID), idOrNone(c.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
	}
	if c.Mode != nil {
		if err := unix.Fchmodat(p.fd, p.name, *c.Mode&0o7777, 0); err != nil {
			return err
		}
	}
	if c.Atime == nil && c.Mtime == nil {
		return nil
	}
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_OMIT}}
	for i, t := range []*unix.Timespec{c.Atime, c.Mtime} {
		if t != nil {
			ts[i] = *t
		}
	}
	return unix.UtimesNanoAt(p.fd, p.name, ts, unix.AT_SYMLINK_NOFOLLOW)
}

func idOrNone(id *uint32) int {
	if id == nil {
		return -1
	}
	return int(*id)
}

// truncate gives the time of change that the file had.
func (v *View) truncate(n *node, size int64, drop bool) (mtime unix.Timespec, err error) {
	if n.isDir() {
		return mtime, unix.EISDIR
	}
	f, err := v.file(n)
	if err != nil {
		return mtime, err
	}
	defer v.fds.Put(f)
	var st unix.Stat_t
	if err := unix.Fstat(f.FD, &st); err != nil {
		return mtime, err
	}
	if err := unix.Ftruncate(f.FD, size); err != nil {
		return mtime, writeError(err)
	}
	if drop {
		err = dropPrivileges(f.FD, nil)
	}
	return st.Mtim, err
}

// dropPrivileges does what a write by an ordinary user does to the mode
// (capabilities go by themselves). Where keep is not nil it is asked first, of a
// file that has something to lose.
func dropPrivileges(fd int, keep func() bool) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	drop := uint32(unix.S_ISUID)
	if st.Mode&unix.S_IXGRP != 0 {
		drop |= unix.S_ISGID
	}
	if st.Mode&drop == 0 || keep != nil && keep() {
		return nil
	}
	return unix.Fchmod(fd, st.Mode&0o7777&^drop)
}
