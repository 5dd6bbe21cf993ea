package ondisk

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Names of overlayfs's attributes after the prefix "trusted." or "user."
// (Documentation/filesystems/overlayfs.rst).
const (
	overlayXattr  = "overlay."
	opaqueXattr   = "overlay.opaque"
	redirectXattr = "overlay.redirect"
	metacopyXattr = "overlay.metacopy"
	whiteoutXattr = "overlay.whiteout"
	// escapedXattr is how a program's own overlay.x is kept.
	escapedXattr = "overlay.overlay."
)

// Marks are the attributes by which a directory says what it is in a union.
// The prefix is "trusted." where only a privileged process may set them, else
// "user.".
type Marks struct{ Prefix string }

// Trusted and User are the two kinds that there are.
var (
	Trusted = Marks{"trusted."}
	User    = Marks{"user."}
)

// Opacity is what a directory hides of those that it is merged with.
type Opacity byte

const (
	Transparent Opacity = iota // nothing but what whiteouts name
	Opaque                     // all
	// XWhiteouts is a transparent one in which whiteouts may be files with an
	// attribute: the form that can lie in a union itself (Linux 6.7).
	XWhiteouts
)

// Opacity tells how opaque a directory is.
func (m Marks) Opacity(dir int, name string) (Opacity, error) {
	b, err := Xattr(dir, name, m.Prefix+opaqueXattr)
	switch {
	case err != nil:
		return Transparent, err
	case string(b) == "y":
		return Opaque, nil
	case string(b) == "x":
		return XWhiteouts, nil
	}
	return Transparent, nil
}

// SetOpacity makes a directory opaque, or one that may have whiteouts of the
// other form.
func (m Marks) SetOpacity(dir int, name string, o Opacity) error {
	value := []byte("y")
	if o == XWhiteouts {
		value = []byte("x")
	}
	return SetXattr(dir, name, m.Prefix+opaqueXattr, value, 0)
}

// SetRedirect is the way back from [Marks.Redirect].
func (m Marks) SetRedirect(dir int, name, to string) error {
	return SetXattr(dir, name, m.Prefix+redirectXattr, []byte(to), 0)
}

// SetWhiteout makes an empty file a whiteout of a directory of [XWhiteouts].
func (m Marks) SetWhiteout(dir int, name string) error {
	return SetXattr(dir, name, m.Prefix+whiteoutXattr, []byte("y"), 0)
}

// Redirect gives under which name the layers below have what a file or
// directory is merged with, "" if under the same: a name in the same directory,
// or a path from the root that begins with "/". Anything else is EINVAL, as it
// is to overlayfs.
func (m Marks) Redirect(dir int, name string) (string, error) {
	b, err := Xattr(dir, name, m.Prefix+redirectXattr)
	if err != nil || len(b) == 0 {
		return "", err
	}
	to := string(b)
	elements := []string{to}
	if to[0] == '/' {
		elements = strings.Split(to[1:], "/")
	}
	for _, e := range elements {
		if e == "" || e == "." || e == ".." || strings.ContainsAny(e, "/\x00") {
			return "", fmt.Errorf("redirect to %q: %w", to, unix.EINVAL)
		}
	}
	return to, nil
}

// Metacopy reports whether a regular file has metadata only, and its contents
// are those of the file below it.
func (m Marks) Metacopy(dir int, name string) (bool, error) {
	b, err := Xattr(dir, name, m.Prefix+metacopyXattr)
	return b != nil, err
}

// Whiteout reports whether a name says that the layers below have none. in is
// what its directory is.
func (m Marks) Whiteout(in Opacity, dir int, name string, st *unix.Stat_t) (bool, error) {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		return st.Rdev == 0, nil
	case unix.S_IFREG:
		if in != XWhiteouts || st.Size != 0 {
			return false, nil
		}
		b, err := Xattr(dir, name, m.Prefix+whiteoutXattr)
		return b != nil, err
	}
	return false, nil
}

// Internal reports whether an attribute is a mark and not for programs.
func (m Marks) Internal(name string) bool {
	rest, ok := strings.CutPrefix(name, m.Prefix)
	return ok && strings.HasPrefix(rest, overlayXattr) && !strings.HasPrefix(rest, escapedXattr)
}

// Stored is how an attribute of a program is kept, Shown the way back: one that
// looks like a mark is escaped, as overlayfs does it since Linux 6.7.
func (m Marks) Stored(name string) string {
	if rest, ok := strings.CutPrefix(name, m.Prefix+overlayXattr); ok {
		return m.Prefix + escapedXattr + rest
	}
	return name
}

// Shown is the way back from [Marks.Stored].
func (m Marks) Shown(name string) string {
	if rest, ok := strings.CutPrefix(name, m.Prefix+escapedXattr); ok {
		return m.Prefix + overlayXattr + rest
	}
	return name
}
