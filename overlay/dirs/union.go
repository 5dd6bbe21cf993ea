package dirs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/ondisk"
)

// A Layer is a directory that is a layer of a union, or an image. What it has
// open stays the caller's, and is needed as long as the union is used.
type Layer struct {
	// Dir is open as [OpenLayer] opens it.
	Dir *os.File
	// Tree is an image in place of a directory.
	Tree overlay.Lower
	// Name is for messages.
	Name string
	// Marks are those that count in it; see [MarksOf].
	Marks ondisk.Marks
	// PlainNames says of a directory that its files named .wh.NAME are files, as
	// programs can make them in an upper: attributes and devices alone are marks.
	PlainNames bool
}

// A Union is some layers as one directory tree, read-only. Its methods may be
// called concurrently.
type Union struct {
	roots   []folder // of the layers, topmost first; constant
	systems []int    // a descriptor in each file system; constant
	trees   []overlay.Lower
	numbers numbers
	folders ondisk.Cache[*diskDir]
	files   ondisk.Cache[overlay.NodeID]

	building sync.Mutex // held while the index is made
	mu       sync.RWMutex
	dirs     map[overlay.NodeID]*dir
	known    recent
	apart    map[overlay.NodeID]file // whose contents are another file's
	index    *index
	lists    lists
}

var _ overlay.Lower = (*Union)(nil)

// A dir is a directory that has been entered. But for its list it is constant.
type dir struct {
	id     overlay.NodeID
	parent *dir // of the root, itself
	name   string
	stack  []folder // not empty

	list *list // guarded by Union.mu
}

// A spot is where a node is found: a name in one of the folders of a directory.
// Of a hard link it is one of several.
type spot struct {
	dir  *dir
	at   int // into dir.stack
	name string
	kind uint32 // S_IFMT
	// whole says of a regular file that it is known to have its contents itself.
	whole bool
}

func (s *spot) file(id overlay.NodeID) file { return s.dir.stack[s.at].file(s.name, id) }

// openFiles is how many files are kept open; a usual limit is 1024, of which a
// writable layer takes 400.
const openFiles = 400

// New makes a union of layers, topmost first.
func New(layers []Layer) (*Union, error) {
	if len(layers) == 0 {
		return nil, errors.New("no layers")
	}
	u := &Union{
		dirs:  map[overlay.NodeID]*dir{},
		apart: map[overlay.NodeID]file{},
		known: recent{now: map[overlay.NodeID]spot{}},
		numbers: numbers{
			systems: map[uint64]uint64{}, odd: map[overlay.NodeID]oddInode{},
		},
	}
	open := max(64, openFiles-len(layers))
	u.folders.Most, u.files.Most = open/2, open/2
	u.roots = make([]folder, len(layers))
	for i := len(layers) - 1; i >= 0; i-- {
		if t := layers[i].Tree; t != nil {
			u.trees = append(u.trees, t)
			root := &imageLayer{index: i, tree: t, base: overlay.NodeID(u.counted()) << systemShift}
			u.roots[i] = &imageDir{root, overlay.Root}
		} else if err := u.addDisk(i, &layers[i]); err != nil {
			return nil, err
		}
	}
	for i, f := range u.roots {
		d, ok := f.(*diskDir)
		if !ok {
			continue
		}
		m, err := d.enter()
		if err != nil {
			return nil, err
		}
		aufs, err := d.aufsMarks()
		if err != nil {
			return nil, err
		}
		if m.opaque || aufs[""] {
			// Kernel overlayfs does not look at the root's; but who unpacks a layer
			// whose root is opaque marks it so.
			u.roots = u.roots[:i+1]
			break
		}
	}
	root := &dir{id: overlay.Root, name: ".", stack: u.roots}
	root.parent = root
	u.dirs[overlay.Root] = root
	return u, nil
}

// counted is how many file systems there are so far, an image being one.
func (u *Union) counted() uint64 { return uint64(len(u.systems) + len(u.trees)) }

func (u *Union) addDisk(i int, l *Layer) error {
	fd := int(l.Dir.Fd())
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("layer %s: %w", l.Name, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return fmt.Errorf("layer %s: %w", l.Name, unix.ENOTDIR)
	}
	if u.numbers.systems[st.Dev] == 0 {
		u.systems = append(u.systems, fd)
		u.numbers.systems[st.Dev] = u.counted()
	}
	d := &disk{u: u, index: i, name: l.Name, fd: fd, marks: l.Marks, plain: l.PlainNames, numbered: ondisk.EntriesNumber(fd)}
	u.roots[i] = &diskDir{disk: d, name: "."}
	return nil
}

// Close closes the files that are open.
func (u *Union) Close() error {
	u.folders.Close()
	u.files.Close()
	return nil
}

// find gives where a name in a directory is found, and what it stands for.
func (u *Union) find(d *dir, name string) (spot, overlay.Attr, error) {
	for i, f := range d.stack {
		a, whiteout, err := f.stat(name)
		switch {
		case errors.Is(err, iofs.ErrNotExist):
			continue
		case err != nil:
			return spot{}, a, err
		case whiteout:
			return spot{}, a, iofs.ErrNotExist
		}
		s := spot{dir: d, at: i, name: name, kind: a.Mode & unix.S_IFMT}
		a.ID = u.know(a.ID, s)
		return s, a, nil
	}
	return spot{}, overlay.Attr{}, iofs.ErrNotExist
}

// enter gives the directory at a spot.
func (u *Union) enter(id overlay.NodeID, s spot) (*dir, error) {
	stack, err := u.merge(s.dir, s.at, s.name)
	if err != nil {
		return nil, err
	}
	return &dir{id: id, parent: s.dir, name: s.name, stack: stack}, nil
}

// dir gives the directory of a number.
func (u *Union) dir(id overlay.NodeID) (*dir, error) {
	u.mu.RLock()
	d := u.dirs[id]
	u.mu.RUnlock()
	if d != nil {
		return d, nil
	}
	s, err := u.spot(id)
	if err != nil {
		return nil, err
	}
	if s.kind != unix.S_IFDIR {
		return nil, overlay.ErrNotDir
	}
	if d, err = u.enter(id, s); err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if other := u.dirs[id]; other != nil {
		return other, nil
	}
	u.dirs[id] = d
	return d, nil
}
