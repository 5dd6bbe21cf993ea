package writable

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mica/overlay"
)

// Marks of overlayfs (Documentation/filesystems/overlayfs.rst), after the
// prefix: trusted. as root, user. where that is not allowed.
const (
	overlayXattr  = "overlay."
	opaqueXattr   = "overlay.opaque"
	redirectXattr = "overlay.redirect"
	whiteoutXattr = "overlay.whiteout"
	// nodeXattr is mica's own: the number of the lower node that was copied up,
	// in decimal.
	nodeXattr = "overlay.mica.ino"
	// baseXattr of an upper directory tells what it was made over.
	baseXattr = "overlay.mica.base"
	// mountXattr tells where it is mounted, as long as it is locked.
	mountXattr = "overlay.mica.mount"
	// escapedXattr is how a program's own trusted.overlay.x is kept.
	escapedXattr = "overlay.overlay."
)

// An upperKind says which attributes an upper directory takes.
type upperKind struct {
	prefix    string // "trusted." or "user."
	whiteouts bool   // character devices 0/0 can be made
}

// probeKind finds out what the file system of the directory allows.
func probeKind(dir int) (upperKind, error) {
	for _, prefix := range []string{"trusted.", "user."} {
		name := prefix + "overlay.mica.probe"
		err := unix.Fsetxattr(dir, name, []byte("y"), 0)
		if err == nil {
			return upperKind{prefix: prefix}, unix.Fremovexattr(dir, name)
		}
		if err != unix.EPERM && err != unix.ENOTSUP && err != unix.EACCES {
			return upperKind{}, err
		}
	}
	return upperKind{}, errors.New("its file system takes neither trusted.* nor user.* attributes")
}

// internal reports whether an attribute is a mark and not for programs.
func (k upperKind) internal(name string) bool {
	rest, ok := strings.CutPrefix(name, k.prefix)
	return ok && strings.HasPrefix(rest, overlayXattr) && !strings.HasPrefix(rest, escapedXattr)
}

// stored is how an attribute that a program sets is kept, shown the way back:
// one that looks like a mark is escaped, as overlayfs does it since Linux 6.7.
func (k upperKind) stored(name string) string {
	if rest, ok := strings.CutPrefix(name, k.prefix+overlayXattr); ok {
		return k.prefix + escapedXattr + rest
	}
	return name
}

func (k upperKind) shown(name string) string {
	if rest, ok := strings.CutPrefix(name, k.prefix+escapedXattr); ok {
		return k.prefix + overlayXattr + rest
	}
	return name
}

// getXattr gives an attribute of name in dir, which is not followed; nil if it
// has none.
func getXattr(dir int, name, attr string) ([]byte, error) {
	buf := make([]byte, 256)
	for {
		n, err := unix.Lgetxattr(at(dir, name), attr, buf)
		switch err {
		case nil:
			return buf[:n], nil
		case unix.ENODATA, unix.ENOTSUP:
			return nil, nil
		case unix.ERANGE:
			buf = make([]byte, 64<<10)
		default:
			return nil, err
		}
	}
}

// at is a path to name in the directory that a descriptor is of, for calls that
// have no form of their own for this.
func at(dir int, name string) string { return fdPath(dir) + "/" + name }

func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// nodeOf gives the number that a copied-up file had, 0 if none is noted.
func (k upperKind) nodeOf(dir int, name string) (overlay.NodeID, error) {
	b, err := getXattr(dir, name, k.prefix+nodeXattr)
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
	err := unix.Lsetxattr(at(dir, name), k.prefix+nodeXattr, strconv.AppendUint(nil, uint64(id), 10), 0)
	if err == unix.EPERM && k.prefix == "user." {
		return nil // symlinks and devices take no user.*: these get a new number at a remount
	}
	return err
}

// opaque reports whether a directory of the upper hides the lower one.
func (k upperKind) opaque(dir int, name string) (bool, error) {
	b, err := getXattr(dir, name, k.prefix+opaqueXattr)
	return string(b) == "y", err
}

// whiteout reports whether what was found in the upper says that a name is deleted.
func (k upperKind) whiteout(dir int, name string, st *unix.Stat_t) bool {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		return st.Rdev == 0
	case unix.S_IFREG:
		if st.Size != 0 {
			return false
		}
		b, err := getXattr(dir, name, k.prefix+whiteoutXattr)
		return err == nil && b != nil
	}
	return false
}

func (k upperKind) setOpaque(dir int, name string) error {
	return unix.Lsetxattr(at(dir, name), k.prefix+opaqueXattr, []byte("y"), 0)
}

func (k upperKind) setRedirect(dir int, name, path string) error {
	return unix.Lsetxattr(at(dir, name), k.prefix+redirectXattr, []byte(path), 0)
}
