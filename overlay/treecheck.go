package overlay

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Check proves the invariants of a tree: each inode is met from the root, a
// directory once; children are in order; link counts are exact; each
// reference is in range. It reads everything, and is for tests and for those
// who doubt.
func (t *Tree) Check() error {
	seen := make([]uint32, t.Inodes())
	links := make([]uint32, t.Inodes())
	seen[0], links[0] = 1, 2
	dirs := []NodeID{Root}
	for i := 0; i < len(dirs); i++ {
		last := ""
		var failed error
		err := t.ReadDir(dirs[i], 0, func(name string, id NodeID, _ uint64) bool {
			failed = func() error {
				if name == "" || name <= last && last != "" {
					return fmt.Errorf("node %d: name %q after %q", dirs[i], name, last)
				}
				last = name
				a, err := t.Attr(id)
				if err != nil {
					return fmt.Errorf("%q in node %d: %w", name, dirs[i], err)
				}
				seen[id-1]++
				if a.Mode&unix.S_IFMT != unix.S_IFDIR {
					links[id-1]++
					return t.checkContents(id, a)
				}
				if seen[id-1] > 1 {
					return fmt.Errorf("directory %d has two names", id)
				}
				if p, err := t.Parent(id); err != nil || p != dirs[i] {
					return fmt.Errorf("directory %d: parent %d, %v; want %d", id, p, err, dirs[i])
				}
				links[id-1] += 2
				links[dirs[i]-1]++
				dirs = append(dirs, id)
				return nil
			}()
			return failed == nil
		})
		if failed != nil {
			return failed
		}
		if err != nil {
			return err
		}
	}
	for i := range seen {
		id := NodeID(i + 1)
		if seen[i] == 0 {
			return fmt.Errorf("node %d is in no directory", id)
		}
		if a, err := t.Attr(id); err != nil || a.Nlink != links[i] {
			return fmt.Errorf("node %d: %d links, counted %d (%v)", id, a.Nlink, links[i], err)
		}
	}
	return nil
}

// checkContents checks what a node that is no directory refers to.
func (t *Tree) checkContents(id NodeID, a Attr) error {
	if _, err := t.Xattrs(id); err != nil {
		return err
	}
	if a.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil // Attr has read the target of a symlink
	}
	d, err := t.fileData(id)
	if err != nil {
		return err
	}
	end := int64(0)
	for i := range d.extents {
		x, err := d.extent(i)
		if err != nil {
			return err
		}
		if x.off < end {
			return fmt.Errorf("node %d: extent %d: [%d, +%d) of %d bytes", id, i, x.off, x.len, d.size)
		}
		end = x.off + x.len
	}
	return nil
}
