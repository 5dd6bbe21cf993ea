package dirs

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mica/overlay"
)

// Lookup finds a name in a directory.
func (u *Union) Lookup(parent overlay.NodeID, name string) (overlay.Attr, error) {
	d, err := u.dir(parent)
	if err != nil {
		return overlay.Attr{}, err
	}
	_, a, err := u.find(d, name)
	return a, err
}

// here gives where a node is found; the root in itself.
func (u *Union) here(id overlay.NodeID) (spot, error) {
	if id != overlay.Root {
		return u.spot(id)
	}
	root, err := u.dir(id)
	return spot{dir: root, name: ".", kind: unix.S_IFDIR}, err
}

// Attr gives what stat(2) tells of a node.
func (u *Union) Attr(id overlay.NodeID) (overlay.Attr, error) {
	s, err := u.here(id)
	if err != nil {
		return overlay.Attr{}, err
	}
	a, err := s.attr(id)
	if err != nil {
		return a, err
	}
	return a, u.countBlocks(&a, s)
}

// countBlocks gives a file whose contents are elsewhere their blocks: what it
// has itself are those of its attributes, one at most.
func (u *Union) countBlocks(a *overlay.Attr, s spot) error {
	const most = 8
	if s.kind != unix.S_IFREG || a.Blocks > most || a.Blocks*512 >= a.Size {
		return nil
	}
	f, err := u.contentsOf(a.ID, s)
	if err != nil || f == nil {
		return nil // reading it says what is wrong
	}
	b, err := f.blocks()
	if err == nil {
		a.Blocks = b
	}
	return err
}

// Parent gives what ".." of a directory is.
func (u *Union) Parent(id overlay.NodeID) (overlay.NodeID, error) {
	d, err := u.dir(id)
	if err != nil {
		return 0, err
	}
	return d.parent.id, nil
}

// Path gives the path of a directory from the root, "/" for the root itself; of
// a file under several names, one of them.
func (u *Union) Path(id overlay.NodeID) (string, error) {
	var names []string
	if id != overlay.Root {
		s, err := u.spot(id)
		if err != nil {
			return "", err
		}
		names = append(names, s.name)
		for d := s.dir; d.parent != d; d = d.parent {
			names = append(names, d.name)
		}
	}
	slices.Reverse(names)
	return "/" + strings.Join(names, "/"), nil
}

// Readlink gives the target of a symlink.
func (u *Union) Readlink(id overlay.NodeID) (string, error) {
	s, err := u.here(id)
	if err != nil {
		return "", err
	}
	return s.file(id).readlink()
}

// Xattr gives the value of an attribute, [overlay.ErrNoXattr] if there is none.
// The marks are not shown, those that a program has set are unescaped.
func (u *Union) Xattr(id overlay.NodeID, name string) ([]byte, error) {
	s, err := u.here(id)
	if err != nil {
		return nil, err
	}
	return s.file(id).xattr(name)
}

// Xattrs gives the names of a node's attributes.
func (u *Union) Xattrs(id overlay.NodeID) ([]string, error) {
	s, err := u.here(id)
	if err != nil {
		return nil, err
	}
	return s.file(id).xattrs()
}

// Statfs tells how large the file systems of the layers are, each counted once, and the images.
func (u *Union) Statfs() (blocks, files uint64) {
	for _, fd := range u.systems {
		var st unix.Statfs_t
		if unix.Fstatfs(fd, &st) == nil {
			blocks += st.Blocks * uint64(st.Bsize) / 512
			files += st.Files
		}
	}
	for _, t := range u.trees {
		b, f := t.Statfs()
		blocks, files = blocks+b, files+f
	}
	return blocks, files
}

// contentsOf gives the file that has the contents of a regular one; nil if that
// is the file itself.
func (u *Union) contentsOf(id overlay.NodeID, s spot) (file, error) {
	if s.whole {
		return nil, nil
	}
	u.mu.RLock()
	f := u.apart[id]
	u.mu.RUnlock()
	if f != nil {
		return f, nil
	}
	own := s.file(id)
	f, err := u.contents(s, own)
	if err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if f != own {
		u.apart[id] = f
		return f, nil
	}
	s.whole = true
	u.known.put(id, s)
	return nil, nil
}

// data gives what has the contents of a regular file.
func (u *Union) data(id overlay.NodeID) (file, error) {
	s, err := u.here(id)
	if err != nil {
		return nil, err
	}
	switch s.kind {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		return nil, unix.EISDIR
	default:
		return nil, unix.EINVAL // opening a device or a pipe does something
	}
	f, err := u.contentsOf(id, s)
	if f == nil && err == nil {
		f = s.file(id)
	}
	return f, err
}

// ReadAt fills p with the bytes of a regular file from off on, but for the end of
// the file, where the error is io.EOF.
func (u *Union) ReadAt(ctx context.Context, id overlay.NodeID, p []byte, off int64) (int, error) {
	f, err := u.data(id)
	if err != nil {
		return 0, err
	}
	return f.readAt(ctx, p, off)
}

// Cached reports whether a read of n bytes at off is in memory.
func (u *Union) Cached(id overlay.NodeID, off int64, n int) bool {
	f, err := u.data(id)
	return err != nil || f.cached(off, n)
}

// SeekData gives the first offset at or after off that holds data (lseek(2)).
func (u *Union) SeekData(id overlay.NodeID, off int64) (int64, error) {
	return u.seek(id, off, unix.SEEK_DATA)
}

// SeekHole is SeekData for holes; the end of the file counts as one.
func (u *Union) SeekHole(id overlay.NodeID, off int64) (int64, error) {
	return u.seek(id, off, unix.SEEK_HOLE)
}

func (u *Union) seek(id overlay.NodeID, off int64, whence int) (int64, error) {
	f, err := u.data(id)
	if err != nil {
		return 0, err
	}
	return f.seek(off, whence)
}

// Links gives all names of a node; the root has none.
func (u *Union) Links(id overlay.NodeID) ([]overlay.Link, error) {
	if id == overlay.Root {
		return nil, nil
	}
	s, err := u.spot(id)
	if err != nil {
		return nil, err
	}
	if s.kind != unix.S_IFDIR {
		a, err := s.attr(id)
		if err != nil {
			return nil, err
		}
		if a.Nlink > 1 {
			return u.linksByIndex(id)
		}
	}
	return []overlay.Link{{Dir: s.dir.id, Name: s.name}}, nil
}
