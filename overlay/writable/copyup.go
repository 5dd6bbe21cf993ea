package writable

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
	"mica/overlay"
	"mica/overlay/ondisk"
)

// own gives the node of a number in the upper, copied up if only the lower has
// it. size is how much of a regular file's data is wanted: what is to be cut off
// anyway need not be copied; -1 is all.
func (v *View) own(id overlay.NodeID, size int64) (*node, error) {
	n, err := v.known(id)
	if n != nil || err != nil {
		return n, err
	}
	a, err := v.lower.Attr(id)
	if err != nil {
		return nil, err
	}
	if a.Mode&unix.S_IFMT == unix.S_IFDIR {
		return v.ownDir(id, a)
	}
	return v.copyUp(a, size)
}

// ownDir makes a directory of the lower in the upper, with its metadata, and
// before it those that it lies in. Nobody sees a difference.
func (v *View) ownDir(id overlay.NodeID, a overlay.Attr) (*node, error) {
	n, seen, err := v.merged(id)
	if err == nil && !seen {
		err = iofs.ErrNotExist // it has been removed
	}
	if n != nil || err != nil {
		return n, err
	}
	links, err := v.lower.Links(id)
	if err != nil {
		return nil, err
	}
	parent, err := v.own(links[0].Dir, -1)
	if err != nil {
		return nil, err
	}
	tmp := v.temp()
	if err := unix.Mkdirat(v.work, tmp, 0o700); err != nil {
		return nil, err
	}
	if err = v.copyMetadata(v.work, tmp, a); err == nil {
		err = v.install(tmp, parent, links[0].Name)
	}
	if err != nil {
		unix.Unlinkat(v.work, tmp, unix.AT_REMOVEDIR)
		return nil, err
	}
	n = v.keep(id, parent, links[0].Name, a.Mode)
	n.lower = id
	parent.listed(links[0].Name, a.Mode)
	return n, nil
}

// copyUp makes a file of the lower in the upper, whole or not at all, under all
// its names.
func (v *View) copyUp(a overlay.Attr, size int64) (*node, error) {
	tmp := v.tempCopy(a.ID)
	if err := v.copyFile(tmp, a, size); err != nil {
		unix.Unlinkat(v.work, tmp, 0)
		return nil, err
	}
	n, err := v.settle(tmp, a)
	if err != nil {
		unix.Unlinkat(v.work, tmp, 0)
	}
	return n, err
}

// settle gives a finished copy the names that the file has.
func (v *View) settle(tmp string, a overlay.Attr) (n *node, err error) {
	links, err := v.visibleLinks(a.ID)
	if err != nil {
		return nil, err
	}
	if len(links) == 0 { // deleted, and still open
		if err := unix.Renameat(v.work, tmp, v.orphans, orphanName(a.ID)); err != nil {
			return nil, err
		}
		n := v.keep(a.ID, nil, orphanName(a.ID), a.Mode)
		n.orphan = true
		return n, nil
	}
	for i, l := range links {
		parent, err := v.own(l.Dir, -1)
		if err == nil && i < len(links)-1 {
			err = v.installLink(tmp, parent, l.Name)
		} else if err == nil {
			err = v.install(tmp, parent, l.Name)
		}
		if err != nil {
			if n == nil {
				return nil, err
			}
			n.unfinished = true // see finishCopies; the other names show it by the node
			break
		}
		n = v.keep(a.ID, parent, l.Name, a.Mode)
		parent.listed(l.Name, a.Mode)
	}
	return n, nil
}

// quickCopy is how many bytes are copied with everybody else waiting.
const quickCopy = 128 << 10

// A flight is the copy-up of a long file, done without the lock.
type flight struct {
	done chan struct{}
	err  error
}

// raise copies up a regular file that is long and that only the lower has,
// while other files are served. Whoever wants the same file waits. v.mu is not
// held; own does the rest.
func (v *View) raise(id overlay.NodeID, size int64) error {
	v.lock()
	n, err := v.known(id)
	if n != nil || err != nil {
		v.mu.Unlock()
		return err
	}
	a, err := v.lower.Attr(id)
	if err != nil || a.Mode&unix.S_IFMT != unix.S_IFREG || a.Size <= quickCopy || size >= 0 && size <= quickCopy {
		v.mu.Unlock()
		return err
	}
	if f := v.flights[id]; f != nil {
		v.mu.Unlock()
		<-f.done
		return f.err
	}
	f := &flight{done: make(chan struct{})}
	defer close(f.done)
	v.flights[id] = f
	tmp := v.tempCopy(id)
	v.mu.Unlock()
	err = v.copyFile(tmp, a, size)
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.flights, id)
	if err == nil && v.node(id) == nil {
		if _, err = v.settle(tmp, a); err == nil {
			return nil
		}
	}
	unix.Unlinkat(v.work, tmp, 0)
	f.err = err
	return err
}

// merged gives the node of a directory of the lower, nil if the upper does not
// have it. seen is whether it is seen, by whatever name.
func (v *View) merged(id overlay.NodeID) (n *node, seen bool, err error) {
	if n = v.nodes[id]; n != nil {
		return n, !n.orphan && n.lower == id, nil
	}
	names, err := v.lower.Links(id)
	if err != nil || len(names) == 0 {
		return nil, false, err
	}
	parent, seen, err := v.merged(names[0].Dir)
	if parent == nil || !seen || err != nil {
		return nil, seen, err
	}
	defer v.release(parent)
	n, _, err = v.upperChild(parent, names[0].Name)
	if notExist(err) {
		return nil, false, nil
	}
	return n, err == nil && (n == nil || n.lower == id), err
}

// visible reports whether a name that the lower has is seen.
func (v *View) visible(l overlay.Link) (bool, error) {
	d, seen, err := v.merged(l.Dir)
	if d == nil || !seen || err != nil {
		return seen, err
	}
	defer v.release(d)
	n, _, err := v.upperChild(d, l.Name)
	if notExist(err) {
		return false, nil
	}
	if n != nil {
		v.release(n)
	}
	return n == nil, err
}

// visibleLinks gives the names of a lower file that are seen.
func (v *View) visibleLinks(id overlay.NodeID) ([]overlay.Link, error) {
	all, err := v.lower.Links(id)
	if err != nil {
		return nil, err
	}
	if len(all) > 1 && !v.empty {
		// The others may be in directories that were moved.
		if err := v.findAll(context.Background()); err != nil {
			return nil, err
		}
	}
	var links []overlay.Link
	for _, l := range all {
		seen, err := v.visible(l)
		if err != nil {
			return nil, err
		}
		if seen {
			links = append(links, l)
		}
	}
	return links, nil
}

// temp gives a name in the work directory that nothing has.
func (v *View) temp() string {
	v.temporary++
	return fmt.Sprintf("%s%x", tempMark, v.temporary)
}

// copyFile makes a file of the lower under a name in the work directory.
func (v *View) copyFile(tmp string, a overlay.Attr, size int64) error {
	switch a.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if err := v.copyData(tmp, a, size); err != nil {
			return err
		}
	case unix.S_IFLNK:
		target, err := v.lower.Readlink(a.ID)
		if err != nil {
			return err
		}
		if err := unix.Symlinkat(target, v.work, tmp); err != nil {
			return err
		}
	default:
		if err := unix.Mknodat(v.work, tmp, a.Mode&unix.S_IFMT|0o600, devOf(a.Rdev)); err != nil {
			return err
		}
	}
	return v.copyMetadata(v.work, tmp, a)
}

// devOf is a device number as the system call takes it.
func devOf(rdev uint32) int {
	return int(unix.Mkdev(rdev>>8&0xfff, rdev&0xff|rdev>>12&0xfff00))
}

const copyStep = 1 << 20

// copyData copies the first size bytes of a regular file, holes as holes.
func (v *View) copyData(tmp string, a overlay.Attr, size int64) (err error) {
	fd, err := unix.Openat(v.work, tmp, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if e := unix.Close(fd); err == nil {
			err = e
		}
	}()
	if size < 0 || size > a.Size {
		size = a.Size
	}
	if err := unix.Ftruncate(fd, size); err != nil {
		return err
	}
	ctx := context.Background()
	buf := make([]byte, min(copyStep, max(size, 1)))
	for off := int64(0); off < size; {
		data, err := v.lower.SeekData(a.ID, off)
		if errors.Is(err, overlay.ErrPastEnd) {
			break
		}
		if err != nil {
			return err
		}
		hole, err := v.lower.SeekHole(a.ID, data)
		if err != nil {
			return err
		}
		for off = data; off < min(hole, size); {
			k, err := v.lower.ReadAt(ctx, a.ID, buf[:min(int64(len(buf)), min(hole, size)-off)], off)
			if err != nil && (err != io.EOF || k == 0) {
				return err
			}
			if err := writeAll(fd, buf[:k], off); err != nil {
				return err
			}
			off += int64(k)
		}
	}
	if size == 0 {
		return nil
	}
	// So that the name never stands for less after a power cut.
	return unix.Fdatasync(fd)
}

func writeAll(fd int, p []byte, off int64) error {
	for len(p) > 0 {
		k, err := unix.Pwrite(fd, p, off)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if k == 0 {
			return unix.ENOSPC
		}
		p, off = p[k:], off+int64(k)
	}
	return nil
}

// copyMetadata gives a file of the upper's file system owner, mode, attributes and
// times of a lower one.
func (v *View) copyMetadata(dir int, tmp string, a overlay.Attr) error {
	if err := unix.Fchownat(dir, tmp, int(a.UID), int(a.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		// Who is not root owns all that he makes, and in a user namespace there may
		// be no such owner.
		if err != unix.EPERM && err != unix.EINVAL || v.kind.Marks != ondisk.User {
			return err
		}
	}
	if err := v.kind.noteNode(dir, tmp, a.ID); err != nil {
		return err
	}
	names, err := v.lower.Xattrs(a.ID)
	if err != nil {
		return err
	}
	for _, name := range names {
		value, err := v.lower.Xattr(a.ID, name)
		if err != nil {
			return err
		}
		err = ondisk.SetXattr(dir, tmp, v.kind.Stored(name), value, 0)
		if (err == unix.EPERM || err == unix.ENOTSUP) && !strings.HasPrefix(name, "user.") {
			continue // security.* and trusted.* are root's
		}
		if err != nil {
			return err
		}
	}
	if a.Mode&unix.S_IFMT != unix.S_IFLNK {
		// After the owner, whose change takes setuid away.
		if err := unix.Fchmodat(dir, tmp, a.Mode&0o7777, 0); err != nil {
			return err
		}
	}
	return setTimes(dir, tmp, a.Atime, a.Mtime)
}

func setTimes(dir int, name string, atime, mtime toc.Time) error {
	ts := []unix.Timespec{{Sec: atime.Sec, Nsec: int64(atime.Nsec)}, {Sec: mtime.Sec, Nsec: int64(mtime.Nsec)}}
	return unix.UtimesNanoAt(dir, name, ts, unix.AT_SYMLINK_NOFOLLOW)
}

// install renames what is finished from the work directory to its name, where
// nothing is, without moving the times of the directory.
func (v *View) install(tmp string, dir *node, name string) error {
	return v.unseen(dir, func(p place) error {
		return unix.Renameat2(v.work, tmp, p.fd, name, unix.RENAME_NOREPLACE)
	})
}

func (v *View) installLink(tmp string, dir *node, name string) error {
	return v.unseen(dir, func(p place) error { return unix.Linkat(v.work, tmp, p.fd, name, 0) })
}

// unseen calls change for a directory of the upper, which keeps its times.
func (v *View) unseen(dir *node, change func(place) error) error {
	p, err := v.in(dir, ".")
	if err != nil {
		return err
	}
	defer p.done()
	var st unix.Stat_t
	if err := unix.Fstat(p.fd, &st); err != nil {
		return err
	}
	if err := change(p); err != nil {
		return err
	}
	return setTimes(p.fd, ".", ondisk.Time(st.Atim), ondisk.Time(st.Mtim))
}

// walkLower follows an absolute redirect.
func (v *View) walkLower(path string) (overlay.Attr, error) {
	a, err := v.lower.Attr(overlay.Root)
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if err != nil {
			break
		}
		if name == "" || name == "." || name == ".." {
			return overlay.Attr{}, iofs.ErrNotExist
		}
		a, err = v.lower.Lookup(a.ID, name)
	}
	return a, err
}
