package change

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
	"mica/overlay"
	"mica/overlay/diff"
	"mica/overlay/dirs"
	"mica/overlay/ondisk"
)

// A Tree is an upper directory and the image below it. Its methods may be called
// concurrently. What the two hold should not change meanwhile: of what does, the
// one or the other is told.
type Tree struct {
	image overlay.Lower
	union *dirs.Union
	// lent is who owns what he made though another should: -1 is nobody. An
	// ordinary user can give files to nobody but himself.
	lent int64
}

// Open puts an upper over an image; both stay the caller's and are needed until
// Close. marks are those that count in the upper, which is only read.
func Open(upper *os.File, marks ondisk.Marks, image overlay.Lower) (*Tree, error) {
	u, err := dirs.New([]dirs.Layer{
		{Dir: upper, Name: upper.Name(), Marks: marks, PlainNames: true},
		{Tree: image, Name: "image"},
	})
	if err != nil {
		return nil, err
	}
	t := &Tree{image: image, union: u, lent: -1}
	if uid := os.Geteuid(); uid != 0 {
		t.lent = int64(uid)
	}
	return t, nil
}

// Close lets go of the files that are open.
func (t *Tree) Close() error { return t.union.Close() }

// From has the contents of files of the image.
func (t *Tree) From() diff.Opener { return opener{t.image} }

// To has the contents of files as they are now.
func (t *Tree) To() diff.Opener { return opener{t.union} }

type opener struct{ tree overlay.Lower }

func (o opener) Open(ctx context.Context, f *diff.File) (diff.Contents, error) {
	return diff.ContentsOf(ctx, o.tree, f.Ref.(overlay.NodeID), f.Size), nil
}

// file describes a node of one of the trees.
func file(tree overlay.Lower, name string, a overlay.Attr) (f *diff.File, err error) {
	f = &diff.File{Name: name, Mode: a.Mode, UID: a.UID, GID: a.GID, Mtime: a.Mtime, Ref: a.ID}
	switch a.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		f.Size = a.Size
	case unix.S_IFLNK:
		if f.Target, err = tree.Readlink(a.ID); err != nil {
			return nil, err
		}
	case unix.S_IFCHR, unix.S_IFBLK:
		f.Major, f.Minor = a.Device()
	}
	f.Xattrs, err = xattrs(tree, a.ID)
	return f, err
}

// xattrs gives the attributes of a node that a layer can have, by name.
func xattrs(tree overlay.Lower, id overlay.NodeID) ([]toc.Xattr, error) {
	names, err := tree.Xattrs(id)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	slices.Sort(names)
	var list []toc.Xattr
	for _, name := range names {
		if !ofLayers(name) {
			continue
		}
		value, err := tree.Xattr(id, name)
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		list = append(list, toc.Xattr{Name: name, Value: value})
	}
	return list, nil
}

// ofLayers reports whether an attribute belongs to the file: marks of overlayfs,
// which would be read as such (SEMANTICS.md 2.11), and the labels of this
// machine's SELinux do not.
func ofLayers(name string) bool {
	for _, prefix := range []string{"trusted.overlay.", "user.overlay.", "user.fuseoverlayfs."} {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	return name != "security.selinux"
}

// own gives a file the owner that it would have if an ordinary user could give
// it to him: that of the image's file, else root.
func (t *Tree) own(to, from *diff.File) {
	if t.lent < 0 || int64(to.UID) != t.lent {
		return
	}
	to.UID, to.GID = 0, 0
	if from != nil {
		to.UID, to.GID = from.UID, from.GID
	}
}
