package writable

import (
	"os"

	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/ondisk"
)

const (
	// imageXattr of an upper directory is the reference of the image that it was
	// made over.
	imageXattr = "overlay.mica.image"

	// UpperXattr of the root of a union, found by name and never listed, is the
	// path of its upper directory.
	UpperXattr = "user.mica.upper"
)

// SetImage notes the reference of the image that the upper is made over, for who
// has the directory alone.
func (d *Dirs) SetImage(ref string) error { return d.setNote(imageXattr, ref) }

// Marks gives those that a view writes in the upper.
func (d *Dirs) Marks() (ondisk.Marks, error) {
	kind, err := probeKind(int(d.Upper.Fd()))
	return kind.Marks, err
}

// Notes are what an upper directory says of itself; "" is nothing.
type Notes struct {
	Image string // see [Dirs.SetImage]
	Base  string // see [Dirs.SetBase]
	Mount string // see [Dirs.SetMount]
	// Marks are those of who has noted it; trusted.* if nobody has.
	Marks ondisk.Marks
}

// ReadNotes reads them from a directory that is open. It changes nothing, and may be
// called while the upper is in use.
func ReadNotes(upper *os.File) (n Notes, err error) {
	for _, n.Marks = range []ondisk.Marks{ondisk.User, ondisk.Trusted} {
		for attr, value := range map[string]*string{imageXattr: &n.Image, baseXattr: &n.Base, mountXattr: &n.Mount} {
			b, err := ondisk.Xattr(int(upper.Fd()), ".", n.Marks.Prefix+attr)
			if err != nil {
				return n, &os.PathError{Op: "getxattr", Path: upper.Name(), Err: err}
			}
			*value = string(b)
		}
		if n.Base != "" {
			return n, nil
		}
	}
	return n, nil
}

// upperPath is the value of UpperXattr.
func (v *View) upperPath(id overlay.NodeID, name string) ([]byte, bool) {
	if id != overlay.Root || name != UpperXattr {
		return nil, false
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlink(fdPath(v.upper), buf)
	return buf[:max(n, 0)], err == nil
}
