package writable

import (
	"errors"
	"strconv"

	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/ondisk"
)

// Marks of mica's own, after the prefix. The kernel's overlayfs ignores them.
const (
	// nodeXattr is the number of the lower node that was copied up, in decimal.
	nodeXattr = "overlay.mica.ino"
	// baseXattr of an upper directory tells what it was made over.
	baseXattr = "overlay.mica.base"
	// mountXattr tells where it is mounted, as long as it is locked.
	mountXattr = "overlay.mica.mount"
)

// An upperKind says what the file system of an upper directory takes.
type upperKind struct {
	ondisk.Marks
	whiteouts bool // character devices 0/0 can be made
}

// probeKind finds it out, but for whiteouts.
func probeKind(dir int) (upperKind, error) {
	for _, marks := range []ondisk.Marks{ondisk.Trusted, ondisk.User} {
		name := marks.Prefix + "overlay.mica.probe"
		err := unix.Fsetxattr(dir, name, []byte("y"), 0)
		if err == nil {
			return upperKind{Marks: marks}, unix.Fremovexattr(dir, name)
		}
		if err != unix.EPERM && err != unix.ENOTSUP && err != unix.EACCES {
			return upperKind{}, err
		}
	}
	return upperKind{}, errors.New("its file system takes neither trusted.* nor user.* attributes")
}

func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// nodeOf gives the number that a copied-up file had, 0 if none is noted.
func (k upperKind) nodeOf(dir int, name string) (overlay.NodeID, error) {
	b, err := ondisk.Xattr(dir, name, k.Prefix+nodeXattr)
	if err != nil || b == nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil {
		return 0, nil // not ours
	}
	return overlay.NodeID(n), nil
}

func (k upperKind) noteNode(dir int, name string, id overlay.NodeID) error {
	err := ondisk.SetXattr(dir, name, k.Prefix+nodeXattr, strconv.AppendUint(nil, uint64(id), 10), 0)
	if err == unix.EPERM && k.Marks == ondisk.User {
		return nil // symlinks and devices take no user.*: these get a new number at a remount
	}
	return err
}

// opaque reports whether a directory of the upper hides the lower one.
func (k upperKind) opaque(dir int, name string) (bool, error) {
	o, err := k.Opacity(dir, name)
	return o == ondisk.Opaque, err
}

// whiteout reports whether what was found in the upper says that a name is
// deleted, in either form.
func (k upperKind) whiteout(dir int, name string, st *unix.Stat_t) bool {
	is, err := k.Whiteout(ondisk.XWhiteouts, dir, name, st)
	return is && err == nil
}

func (k upperKind) setOpaque(dir int, name string) error {
	return k.SetOpacity(dir, name, ondisk.Opaque)
}
