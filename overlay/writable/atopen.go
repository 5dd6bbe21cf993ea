package writable

import (
	"golang.org/x/sys/unix"

	"mica/overlay"
)

// CopyAtOpen has a file copied up when it is opened to be written to, as
// overlayfs does, and not when it is: for who looks into the upper meanwhile. It
// costs a request for each open. To be called before the view is used.
func (v *View) CopyAtOpen() { v.atOpen = true }

// CopiesAtOpen reports whether CopyAtOpen was called.
func (v *View) CopiesAtOpen() bool { return v.atOpen }

// OpenFile is open(2) of a regular file: of flags O_ACCMODE and O_TRUNC are looked
// at. dropPrivileges takes setuid and setgid away if it is cut.
func (v *View) OpenFile(id overlay.NodeID, flags uint32, dropPrivileges bool) error {
	if flags&unix.O_TRUNC != 0 {
		var size int64
		_, err := v.SetAttr(id, Change{Size: &size, DropPrivileges: dropPrivileges})
		return err
	}
	if flags&unix.O_ACCMODE == unix.O_RDONLY {
		return nil
	}
	if err := v.raise(id, -1); err != nil {
		return err
	}
	v.lock()
	defer v.mu.Unlock()
	_, err := v.own(id, -1)
	return err
}
