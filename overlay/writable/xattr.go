package writable

import (
	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/ondisk"
)

// Xattr gives the value of an attribute, [overlay.ErrNoXattr] if there is none.
func (v *View) Xattr(id overlay.NodeID, name string) ([]byte, error) {
	if path, ok := v.upperPath(id, name); ok {
		return path, nil
	}
	v.lock()
	defer v.mu.Unlock()
	n, p, err := v.placeOf(id)
	if err != nil {
		return nil, err
	}
	if n == nil {
		return v.lower.Xattr(id, name)
	}
	defer p.done()
	b, err := ondisk.Xattr(p.fd, p.name, v.kind.Stored(name))
	if err == nil && b == nil {
		err = overlay.ErrNoXattr
	}
	return b, err
}

// Xattrs lists the names of a node's attributes.
func (v *View) Xattrs(id overlay.NodeID) ([]string, error) {
	v.lock()
	defer v.mu.Unlock()
	n, p, err := v.placeOf(id)
	if err != nil {
		return nil, err
	}
	if n == nil {
		return v.lower.Xattrs(id)
	}
	defer p.done()
	list, err := ondisk.Xattrs(p.fd, p.name)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, name := range list {
		if !v.kind.Internal(name) {
			names = append(names, v.kind.Shown(name))
		}
	}
	return names, nil
}

// SetXattr sets an attribute; flags are those of setxattr(2). dropSetgid takes
// setgid away: an ACL sets the mode too, and its owner is not of the file's group.
func (v *View) SetXattr(id overlay.NodeID, name string, value []byte, flags uint32, dropSetgid bool, c Caller) error {
	if flags&unix.XATTR_CREATE != 0 {
		if v.begun(c) {
			flags = 0
		} else if _, err := v.Xattr(id, name); err == nil {
			return unix.EEXIST // and nothing is copied up
		} else if err := v.begin(c); err != nil {
			return err
		}
	}
	return v.changeXattr(id, func(p place) error {
		err := ondisk.SetXattr(p.fd, p.name, v.kind.Stored(name), value, int(flags))
		if err == nil && dropSetgid {
			err = dropSetgidOf(p)
		}
		return err
	})
}

// RemoveXattr removes an attribute, [overlay.ErrNoXattr] if there is none.
func (v *View) RemoveXattr(id overlay.NodeID, name string, c Caller) error {
	begun := v.begun(c)
	if _, err := v.Xattr(id, name); err != nil {
		if begun && err == overlay.ErrNoXattr {
			err = nil
		}
		return err // and nothing is copied up
	}
	if err := v.begin(c); err != nil {
		return err
	}
	return v.changeXattr(id, func(p place) error { return ondisk.RemoveXattr(p.fd, p.name, v.kind.Stored(name)) })
}

func dropSetgidOf(p place) error {
	var st unix.Stat_t
	if err := unix.Fstatat(p.fd, p.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || st.Mode&unix.S_ISGID == 0 {
		return err
	}
	return unix.Fchmodat(p.fd, p.name, st.Mode&0o7777&^unix.S_ISGID, 0)
}

func (v *View) changeXattr(id overlay.NodeID, change func(place) error) error {
	if err := v.raise(id, -1); err != nil {
		return err
	}
	v.lock()
	defer v.mu.Unlock()
	n, err := v.own(id, -1)
	if err != nil {
		return err
	}
	p, err := v.place(n)
	if err != nil {
		return err
	}
	defer p.done()
	return change(p)
}
