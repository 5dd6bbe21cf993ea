package fs

import (
	"context"
	"fmt"
	"io"
	iofs "io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"mica/layerstore/blob"
	"mica/layerstore/toc"
	"mica/overlay"
)

// A memNode is one inode of a memView.
type memNode struct {
	overlay.Attr
	children map[string]overlay.NodeID // of a directory
	parent   overlay.NodeID            // of a directory
	target   string                    // of a symlink
	data     []byte                    // of a regular file; its zero pages are holes
	xattrs   map[string]string
	ready    bool // reads need nothing to be decoded
	held     bool // its first read waits for the gate; then it is ready
}

// A memView is a View in memory, some files of which do on purpose what a
// server has to withstand.
type memView struct {
	nodes []*memNode // by node number - 1

	slow atomic.Int64   // reads of the file "slow" that wait now
	held atomic.Bool    // the file that is held was asked for
	gate chan struct{}  // closed, it lets them through
	lazy overlay.NodeID // a directory "lazy" in the root, not listed, that is not ready before
}

// openWith opens the gate when there is a file of that name.
func (v *memView) openWith(path string) {
	for {
		if _, err := os.Stat(path); err == nil {
			close(v.gate)
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// Hold is that of a [lazyView].
func (v *memView) Hold(id overlay.NodeID) (func(), bool) {
	if id != v.lazy {
		return func() {}, true
	}
	select {
	case <-v.gate:
		return func() {}, true
	default:
		return nil, false
	}
}

// Prepare is that of a [lazyView].
func (v *memView) Prepare(ctx context.Context, id overlay.NodeID) (func(), error) {
	if id != v.lazy {
		return func() {}, nil
	}
	v.slow.Add(1)
	defer v.slow.Add(-1)
	select {
	case <-v.gate:
		return func() {}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

const slowSize = 1 << 20

func newMemView() *memView {
	v := &memView{gate: make(chan struct{})}
	v.addNode(unix.S_IFDIR|0o755, nil)
	v.nodes[0].parent = overlay.Root
	return v
}

func (v *memView) addNode(mode uint32, fill func(*memNode)) overlay.NodeID {
	n := &memNode{Attr: overlay.Attr{ID: overlay.NodeID(len(v.nodes) + 1), Mode: mode, Nlink: 1}}
	if mode&unix.S_IFMT == unix.S_IFDIR {
		n.children, n.Nlink = map[string]overlay.NodeID{}, 2
	}
	n.SetTimes(toc.Time{Sec: 1_700_000_000, Nsec: 123456789})
	if fill != nil {
		fill(n)
	}
	v.nodes = append(v.nodes, n)
	return n.ID
}

// add makes a node at a path whose parent is there, and gives it.
func (v *memView) add(path string, mode uint32, fill func(*memNode)) *memNode {
	id := v.addNode(mode, fill)
	v.link(path, id)
	return v.nodes[id-1]
}

func (v *memView) link(path string, id overlay.NodeID) {
	dir := v.nodes[0]
	elems := strings.Split(path, "/")
	for _, e := range elems[:len(elems)-1] {
		dir = v.nodes[dir.children[e]-1]
	}
	dir.children[elems[len(elems)-1]] = id
	if n := v.nodes[id-1]; n.children != nil {
		n.parent = dir.ID
		dir.Nlink++
	}
}

func (v *memView) file(path, data string) *memNode {
	return v.add(path, unix.S_IFREG|0o644, func(n *memNode) {
		n.data, n.Size = []byte(data), int64(len(data))
		n.Blocks = (n.Size + 511) / 512
	})
}

func (v *memView) node(id overlay.NodeID) (*memNode, error) {
	if id == 0 || id > overlay.NodeID(len(v.nodes)) {
		return nil, fmt.Errorf("node %d: no such node", id)
	}
	return v.nodes[id-1], nil
}

func (v *memView) Lookup(parent overlay.NodeID, name string) (overlay.Attr, error) {
	n, err := v.node(parent)
	if err != nil {
		return overlay.Attr{}, err
	}
	if n.children == nil {
		return overlay.Attr{}, overlay.ErrNotDir
	}
	if name == "panic" {
		panic("a name that must not be looked up")
	}
	id, ok := n.children[name]
	if parent == overlay.Root && name == "lazy" {
		id, ok = v.lazy, true
	}
	if !ok {
		return overlay.Attr{}, fmt.Errorf("%s: %w", name, iofs.ErrNotExist)
	}
	return v.nodes[id-1].Attr, nil
}

func (v *memView) Attr(id overlay.NodeID) (overlay.Attr, error) {
	n, err := v.node(id)
	if err != nil {
		return overlay.Attr{}, err
	}
	return n.Attr, nil
}

func (v *memView) Parent(dir overlay.NodeID) (overlay.NodeID, error) {
	n, err := v.node(dir)
	if err != nil {
		return 0, err
	}
	return n.parent, nil
}

func (v *memView) ReadDir(dir overlay.NodeID, cookie uint64, emit func(string, overlay.Attr, uint64) bool) error {
	n, err := v.node(dir)
	if err != nil {
		return err
	}
	if n.children == nil {
		return overlay.ErrNotDir
	}
	names := slices.Sorted(maps.Keys(n.children))
	for ; cookie < uint64(len(names)); cookie++ {
		name := names[cookie]
		if !emit(name, v.nodes[n.children[name]-1].Attr, cookie+1) {
			return nil
		}
	}
	return nil
}

func (v *memView) Readlink(id overlay.NodeID) (string, error) {
	n, err := v.node(id)
	if err != nil {
		return "", err
	}
	return n.target, nil
}

func (v *memView) name(id overlay.NodeID) string {
	for _, n := range v.nodes {
		for name, child := range n.children {
			if child == id {
				return name
			}
		}
	}
	return ""
}

// Path gives the name alone, of several the first.
func (v *memView) Path(id overlay.NodeID) (string, error) {
	var names []string
	for _, n := range v.nodes {
		for name, child := range n.children {
			if child == id {
				names = append(names, name)
			}
		}
	}
	if names == nil {
		return "", iofs.ErrNotExist
	}
	return "/" + slices.Min(names), nil
}

func (v *memView) ReadAt(ctx context.Context, id overlay.NodeID, p []byte, off int64) (int, error) {
	n, err := v.node(id)
	if err != nil {
		return 0, err
	}
	switch name := v.name(id); {
	case name == "slow" || n.held && !v.held.Swap(true):
		v.slow.Add(1)
		defer v.slow.Add(-1)
		select {
		case <-v.gate:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	case name == "corrupt":
		return 0, &blob.DataError{Blob: "sha256:00", Offset: off, Err: iofs.ErrNotExist}
	case name == "panic-read":
		panic("a file that must not be read")
	}
	if off >= int64(len(n.data)) {
		return 0, io.EOF
	}
	return copy(p, n.data[off:]), nil
}

func (v *memView) Cached(id overlay.NodeID, off int64, n int) bool {
	node, err := v.node(id)
	return err == nil && (node.ready || node.held && v.held.Load()) || v.name(id) == "cached"
}

// NextFile is that of a [sequentialView].
func (v *memView) NextFile(id overlay.NodeID) (next overlay.NodeID, size int64) {
	for next = id + 1; next <= overlay.NodeID(len(v.nodes)); next++ {
		if n := v.nodes[next-1]; n.Mode&unix.S_IFMT == unix.S_IFREG && len(n.data) > 0 {
			return next, n.Size
		}
	}
	return 0, 0
}

func (v *memView) Xattr(id overlay.NodeID, name string) ([]byte, error) {
	n, err := v.node(id)
	if err != nil {
		return nil, err
	}
	value, ok := n.xattrs[name]
	if !ok {
		return nil, overlay.ErrNoXattr
	}
	return []byte(value), nil
}

func (v *memView) Xattrs(id overlay.NodeID) ([]string, error) {
	n, err := v.node(id)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(n.xattrs)), nil
}

const holePage = 4096

// seek finds the first page from off on that is a hole, or is none.
func (v *memView) seek(id overlay.NodeID, off int64, hole bool) (int64, error) {
	n, err := v.node(id)
	if err != nil {
		return 0, err
	}
	for at := off; at < n.Size; at = at&^(holePage-1) + holePage {
		page := n.data[at&^(holePage-1) : min(at&^(holePage-1)+holePage, n.Size)]
		if allZero(page) == hole {
			return at, nil
		}
	}
	if hole && off < n.Size {
		return n.Size, nil
	}
	return 0, overlay.ErrPastEnd
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func (v *memView) SeekData(id overlay.NodeID, off int64) (int64, error) {
	return v.seek(id, off, false)
}
func (v *memView) SeekHole(id overlay.NodeID, off int64) (int64, error) { return v.seek(id, off, true) }

func (v *memView) Statfs() (blocks, files uint64) { return 4096, uint64(len(v.nodes)) }

func (v *memView) MayHaveXattr(_ overlay.NodeID, name string) bool {
	for _, n := range v.nodes {
		if _, ok := n.xattrs[name]; ok {
			return true
		}
	}
	return false
}
