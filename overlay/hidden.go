package overlay

import (
	"bytes"
	"context"
	"fmt"
	iofs "io/fs"
	"strconv"

	"golang.org/x/sys/unix"
)

// HiddenName is the directory in the root of a read-only mount that tells
// about the image. It is found by name and never listed.
const HiddenName = ".mica"

// A Hidden is the view of an image with the directory [HiddenName]:
//
//	.mica/layers/N/   layer N alone, its marks as ".wh." files; bottom is 1
//	.mica/at/N/       the image as it was after layer N
//	.mica/NAME        the files given to NewHidden
//
// A view of layers is made when it is looked at (see [Hidden.Hold]), leaves
// nothing in the store, and may be made again later. Its methods may be called
// concurrently.
type Hidden struct {
	*Image
	files []HiddenFile
	parts *hiddenParts
	taken snapshots
}

// A HiddenFile is a file of the directory .mica.
type HiddenFile struct {
	Name string
	Data []byte
	// Live, if there is one, gives the contents in place of Data, each time that
	// the name is looked up: what was found by one look-up does not change.
	Live func() []byte `json:"-"`
}

// NewHidden adds the directory to an image, which stays the caller's, to be
// closed after it.
func NewHidden(img *Image, files []HiddenFile) *Hidden {
	return &Hidden{Image: img, files: files, parts: newHiddenParts()}
}

// Node numbers above those of the image: the part of the tree is in the bits
// from 40 on, the node there below. Part 1 is the hidden directory itself, the
// parts of layer N are 2N (alone) and 2N+1.
const (
	partShift = 40
	nodeMask  = 1<<partShift - 1

	hiddenDir NodeID = 1<<partShift + iota
	layersDir
	atDir
	firstFile
)

// A spot says what a node number is of: a view and the node there, or, with
// the view nil, a node of the hidden directory.
type spot struct {
	view    *View
	base    NodeID
	id      NodeID
	release func() // ends the use of the view
}

func inUseForEver() {}

// outer is the number by which a node of the spot's view is known outside.
func (p spot) outer(a Attr) Attr {
	a.ID |= p.base
	return a
}

// spot finds a node. The caller releases the spot, unless there is an error.
func (h *Hidden) spot(id NodeID) (spot, error) {
	switch {
	case id>>partShift == 0:
		return spot{view: h.View, id: id, release: inUseForEver}, nil
	case id>>partShift == 1, id&snapshotBit != 0:
		return spot{id: id, release: inUseForEver}, nil
	}
	v, release, err := h.part(id)
	if err != nil {
		return spot{}, err
	}
	return spot{view: v, base: id &^ nodeMask, id: id & nodeMask, release: release}, nil
}

// Lookup is that of a View.
func (h *Hidden) Lookup(dir NodeID, name string) (Attr, error) {
	p, err := h.spot(dir)
	if err != nil {
		return Attr{}, err
	}
	defer p.release()
	if p.view == nil {
		return h.lookupHidden(dir, name)
	}
	a, err := p.view.Lookup(p.id, name)
	if dir == Root && name == HiddenName && err != nil {
		return h.hiddenAttr(hiddenDir)
	}
	return p.outer(a), err
}

func (h *Hidden) lookupHidden(dir NodeID, name string) (Attr, error) {
	if key, ok := numbered(dir, name); ok && key.n >= 1 && key.n <= len(h.specs) {
		return h.hiddenAttr(key.base() | Root)
	}
	if dir == hiddenDir {
		for i, n := range h.names() {
			if n == name {
				return h.hiddenAttr(h.snapshot(layersDir + NodeID(i)))
			}
		}
	}
	if dir >= firstFile {
		return Attr{}, ErrNotDir
	}
	return Attr{}, iofs.ErrNotExist
}

// numbered says which layer a name in one of the two numbered directories is.
func numbered(dir NodeID, name string) (partKey, bool) {
	n, err := strconv.Atoi(name)
	ok := err == nil && strconv.Itoa(n) == name && (dir == layersDir || dir == atDir)
	return partKey{alone: dir == layersDir, n: n}, ok
}

// names are those in the hidden directory, in the order of their numbers from
// layersDir on.
func (h *Hidden) names() []string {
	names := []string{"layers", "at"}
	for _, f := range h.files {
		names = append(names, f.Name)
	}
	return names
}

// Attr is that of a View.
func (h *Hidden) Attr(id NodeID) (Attr, error) {
	if _, ok := h.partOf(id); ok && id&nodeMask == Root {
		return h.hiddenAttr(id)
	}
	p, err := h.spot(id)
	if err != nil {
		return Attr{}, err
	}
	defer p.release()
	if p.view == nil {
		return h.hiddenAttr(id)
	}
	a, err := p.view.Attr(p.id)
	return p.outer(a), err
}

// hiddenAttr gives the attributes of what is of the hidden directory, and of
// the roots of the views of layers, for which none of them has to be made.
func (h *Hidden) hiddenAttr(id NodeID) (Attr, error) {
	root, err := h.View.Attr(Root)
	if err != nil {
		return Attr{}, err
	}
	a := Attr{ID: id, Mode: unix.S_IFDIR | 0o555, Nlink: 2, Size: dirSize}
	a.SetTimes(root.Mtime)
	switch {
	case id == hiddenDir:
		a.Nlink = 4
	case id&snapshotBit == 0 && id>>partShift > 1:
		a.Mode = root.Mode
	case id == layersDir || id == atDir:
		a.Nlink += uint32(len(h.specs))
	default:
		data, err := h.data(id)
		if err != nil {
			return Attr{}, err
		}
		a.Mode, a.Nlink = unix.S_IFREG|0o444, 1
		a.Size = int64(len(data))
		a.Blocks = (a.Size + 511) / 512
	}
	return a, nil
}

// Parent is that of a View.
func (h *Hidden) Parent(dir NodeID) (NodeID, error) {
	p, err := h.spot(dir)
	if err != nil {
		return 0, err
	}
	defer p.release()
	switch {
	case p.view == nil && dir == hiddenDir:
		return Root, nil
	case p.view == nil:
		return hiddenDir, nil
	case p.base != 0 && p.id == Root:
		if p.base>>partShift%2 == 0 {
			return layersDir, nil
		}
		return atDir, nil
	}
	id, err := p.view.Parent(p.id)
	return id | p.base, err
}

// ReadDir is that of a View; the hidden directory is not among what the root
// has.
func (h *Hidden) ReadDir(dir NodeID, cookie uint64, emit func(name string, a Attr, next uint64) bool) error {
	p, err := h.spot(dir)
	if err != nil {
		return err
	}
	defer p.release()
	if p.view != nil {
		return p.view.ReadDir(p.id, cookie, func(name string, a Attr, next uint64) bool {
			return emit(name, p.outer(a), next)
		})
	}
	names := h.names()
	if dir == layersDir || dir == atDir {
		names = nil
		for n := range h.specs {
			names = append(names, strconv.Itoa(n+1))
		}
	} else if dir != hiddenDir {
		return ErrNotDir
	}
	for i := cookie; i < uint64(len(names)); i++ {
		a, err := h.listed(dir, names[i], int(i))
		if err != nil {
			return fmt.Errorf("%s: %w", names[i], err)
		}
		if !emit(names[i], a, i+1) {
			break
		}
	}
	return nil
}

// NextFile is that of a View. Files of the hidden directory itself have none: their
// contents may be of the moment.
func (h *Hidden) NextFile(id NodeID) (next NodeID, size int64) {
	p, err := h.spot(id)
	if err != nil || p.view == nil {
		return 0, 0
	}
	if next, size = p.view.NextFile(p.id); next == 0 {
		return 0, 0
	}
	return next | p.base, size
}

// Readlink is that of a View.
func (h *Hidden) Readlink(id NodeID) (string, error) {
	p, err := h.spot(id)
	if err != nil {
		return "", err
	}
	defer p.release()
	if p.view == nil {
		return "", unix.EINVAL
	}
	return p.view.Readlink(p.id)
}

// ReadAt is that of a View.
func (h *Hidden) ReadAt(ctx context.Context, id NodeID, b []byte, off int64) (int, error) {
	p, err := h.spot(id)
	if err != nil {
		return 0, err
	}
	defer p.release()
	if p.view != nil {
		return p.view.ReadAt(ctx, p.id, b, off)
	}
	a, err := h.hiddenAttr(id)
	if err != nil {
		return 0, err
	}
	if a.Mode&unix.S_IFMT != unix.S_IFREG || off < 0 {
		return 0, unix.EINVAL
	}
	data, err := h.data(id)
	if err != nil {
		return 0, err
	}
	return copy(b, data[min(off, int64(len(data))):]), nil
}

// Cached is that of a View.
func (h *Hidden) Cached(id NodeID, off int64, n int) bool {
	p, err := h.spot(id)
	if err != nil {
		return true
	}
	defer p.release()
	return p.view == nil || p.view.Cached(p.id, off, n)
}

// Xattr is that of a View.
func (h *Hidden) Xattr(id NodeID, name string) ([]byte, error) {
	p, err := h.spot(id)
	if err != nil {
		return nil, err
	}
	defer p.release()
	if p.view == nil {
		return nil, ErrNoXattr
	}
	value, err := p.view.Xattr(p.id, name)
	return bytes.Clone(value), err // the view may be gone sooner
}

// Xattrs is that of a View.
func (h *Hidden) Xattrs(id NodeID) ([]string, error) {
	p, err := h.spot(id)
	if err != nil {
		return nil, err
	}
	defer p.release()
	if p.view == nil {
		return nil, nil
	}
	return p.view.Xattrs(p.id)
}

// SeekData is that of a View.
func (h *Hidden) SeekData(id NodeID, off int64) (int64, error) { return h.seek(id, off, true) }

// SeekHole is that of a View.
func (h *Hidden) SeekHole(id NodeID, off int64) (int64, error) { return h.seek(id, off, false) }

func (h *Hidden) seek(id NodeID, off int64, data bool) (int64, error) {
	p, err := h.spot(id)
	if err != nil {
		return 0, err
	}
	defer p.release()
	if p.view != nil {
		return p.view.seek(p.id, off, data)
	}
	a, err := h.hiddenAttr(id)
	switch {
	case err != nil:
		return 0, err
	case off < 0 || off >= a.Size:
		return 0, ErrPastEnd
	case data:
		return off, nil
	}
	return a.Size, nil
}

// MayHaveXattr is that of a View, for the nodes of the image itself; of the
// others it is not known.
func (h *Hidden) MayHaveXattr(id NodeID, name string) bool {
	return id>>partShift != 0 || h.View.MayHaveXattr(id, name)
}

// Close ends what is being made and lets go of all that was.
func (h *Hidden) Close() error { return h.parts.close() }
