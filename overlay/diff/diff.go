package diff

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
)

// Aspects are the respects in which two files differ, or that are left out.
type Aspects uint16

const (
	Type    Aspects = 1 << iota // a directory here, a file there
	Content                     // of regular files
	Mode                        // permissions
	Owner
	Xattr
	Target // of symlinks
	Device // its number
	Mtime
)

// aspectNames are in the order of the bits.
var aspectNames = []string{"type", "content", "mode", "owner", "xattr", "target", "device", "mtime"}

// Words gives the names of the aspects; see ParseAspect.
func (a Aspects) Words() []string {
	words := []string{}
	for i, name := range aspectNames {
		if a&(1<<i) != 0 {
			words = append(words, name)
		}
	}
	return words
}

// ParseAspect gives the aspect of a name: type, content, mode, owner, xattr,
// target, device or mtime.
func ParseAspect(word string) (Aspects, error) {
	i := slices.Index(aspectNames, word)
	if i < 0 {
		return 0, fmt.Errorf("%q is none of %s", word, strings.Join(aspectNames, ", "))
	}
	return 1 << i, nil
}

// A Change is a path at which the sides differ.
type Change struct {
	Path     string // clean, from the root of the sides, without a slash at the front
	From, To *File  // nil where there is nothing
	What     Aspects
}

// Letter is 'A' for what only the second side has, 'D' for what only the first
// has, 'M' for what differs.
func (c *Change) Letter() byte {
	switch {
	case c.From == nil:
		return 'A'
	case c.To == nil:
		return 'D'
	}
	return 'M'
}

// Compare gives all changes from a to b at a path and below it; "" is
// everything. What only one side has is told with all that is in it. Aspects of
// ignore are not looked at. A path that neither side has matches
// [io/fs.ErrNotExist].
func Compare(ctx context.Context, a, b Side, path string, ignore Aspects) ([]Change, error) {
	from, err := lstat(a, path)
	if err != nil {
		return nil, err
	}
	to, err := lstat(b, path)
	if err != nil {
		return nil, err
	}
	if from == nil && to == nil {
		return nil, fmt.Errorf("%s: neither side has it: %w", path, iofs.ErrNotExist)
	}
	c := &comparison{ctx: ctx, a: a, b: b, ignore: ignore}
	if err := c.pair(strings.Trim(path, "/"), from, to); err != nil {
		return nil, err
	}
	if err := c.readContents(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(c.changes, func(c Change) bool { return c.From != nil && c.To != nil && c.What == 0 }), nil
}

// lstat gives nil for what is not there.
func lstat(s Side, path string) (*File, error) {
	f, err := s.Lstat(path)
	if errors.Is(err, iofs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	return f, err
}

// A comparison is the work of one Compare.
type comparison struct {
	ctx     context.Context // of the call
	a, b    Side
	ignore  Aspects
	changes []Change
	unread  []int // numbers of changes that contents are to decide on
}

// pair compares what the sides have at a path, and below it.
func (c *comparison) pair(path string, from, to *File) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	change := Change{Path: path, From: from, To: to}
	undecided := false
	if from != nil && to != nil {
		change.What, undecided = Differences(from, to)
		change.What &^= c.ignore
		undecided = undecided && c.ignore&Content == 0
	}
	if from == nil || to == nil || change.What != 0 || undecided {
		if undecided {
			c.unread = append(c.unread, len(c.changes))
		}
		c.changes = append(c.changes, change)
	}
	below, err := children(c.a, from)
	if err != nil {
		return err
	}
	others, err := children(c.b, to)
	if err != nil {
		return err
	}
	return c.directories(path, below, others)
}

// children gives what is in a file, if it is a directory.
func children(s Side, f *File) ([]*File, error) {
	if f == nil || !f.isDir() {
		return nil, nil
	}
	return s.ReadDir(f)
}

// directories compares two sorted lists name by name.
func (c *comparison) directories(path string, from, to []*File) error {
	if path != "" {
		path += "/"
	}
	for len(from) > 0 || len(to) > 0 {
		var f, t *File
		if len(to) == 0 || len(from) > 0 && from[0].Name <= to[0].Name {
			f, from = from[0], from[1:]
		}
		if len(to) > 0 && (f == nil || f.Name == to[0].Name) {
			t, to = to[0], to[1:]
		}
		name := f
		if name == nil {
			name = t
		}
		if err := c.pair(path+name.Name, f, t); err != nil {
			return err
		}
	}
	return nil
}

// Differences compares two files without reading them. undecided says that
// their contents may differ and must be read.
func Differences(f, t *File) (what Aspects, undecided bool) {
	set := func(a Aspects, differ bool) {
		if differ {
			what |= a
		}
	}
	set(Owner, f.UID != t.UID || f.GID != t.GID)
	set(Mtime, f.Mtime != t.Mtime)
	set(Xattr, !slices.EqualFunc(f.Xattrs, t.Xattrs, func(x, y toc.Xattr) bool {
		return x.Name == y.Name && string(x.Value) == string(y.Value)
	}))
	if f.kind() != t.kind() {
		return what | Type, false
	}
	switch f.kind() {
	case unix.S_IFLNK:
		set(Target, f.Target != t.Target)
		return what, false // a symlink's mode means nothing
	case unix.S_IFCHR, unix.S_IFBLK:
		set(Device, f.Major != t.Major || f.Minor != t.Minor)
	case unix.S_IFREG:
		set(Content, f.Size != t.Size)
		samePlace := f.place.holds != "" && f.place.holds == t.place.holds && f.place.layerOff == t.place.layerOff
		undecided = f.Size == t.Size && f.Size > 0 && !samePlace
	}
	set(Mode, f.Mode != t.Mode)
	return what, undecided
}
