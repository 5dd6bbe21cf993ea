package writable

import (
	"strconv"

	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/ondisk"
)

// Unlink removes a name that is no directory's.
func (v *View) Unlink(dir overlay.NodeID, name string, c Caller) error {
	v.lock()
	defer v.mu.Unlock()
	return again(c, v.remove(dir, name, false))
}

// Rmdir removes an empty directory.
func (v *View) Rmdir(dir overlay.NodeID, name string, c Caller) error {
	v.lock()
	defer v.mu.Unlock()
	return again(c, v.remove(dir, name, true))
}

// again makes nothing of the error that says that it was done before.
func again(c Caller, err error) error {
	if c.Again && notExist(err) {
		return nil
	}
	return err
}

func (v *View) remove(dir overlay.NodeID, name string, isDir bool) error {
	n, a, err := v.find(dir, name)
	if err != nil {
		return err
	}
	switch {
	case isDir && a.Mode&unix.S_IFMT != unix.S_IFDIR:
		return unix.ENOTDIR
	case !isDir && a.Mode&unix.S_IFMT == unix.S_IFDIR:
		return unix.EISDIR
	case isDir:
		if empty, err := v.isEmpty(a.ID); err != nil {
			return err
		} else if !empty {
			return unix.ENOTEMPTY
		}
	}
	d, err := v.own(dir, -1)
	if err != nil {
		return err
	}
	if err := v.removeName(d, name, n); err != nil {
		return err
	}
	if n == nil && !isDir {
		v.lowerGone(a.ID)
	} else if n != nil {
		v.release(n)
	}
	return nil
}

// lowerGone says that a name of a file that only the lower has was deleted.
func (v *View) lowerGone(id overlay.NodeID) {
	v.gone[id]++
	v.deleted = true
}

// removeName takes a name away, with a whiteout where the lower has it. What
// the upper has there, nil for nothing, is an orphan afterwards.
func (v *View) removeName(d *node, name string, n *node) error {
	if err := v.finished(n); err != nil {
		return err
	}
	covers, err := v.lowerHas(d, name)
	if err != nil {
		return err
	}
	p, err := v.in(d, name)
	if err != nil {
		return err
	}
	defer p.done()
	switch {
	case n == nil:
		err = v.makeWhiteout(p)
	case covers:
		err = v.orphanUnderWhiteout(p, n)
	default:
		err = unix.Renameat(p.fd, name, v.orphans, orphanName(n.id))
	}
	if err != nil {
		return err
	}
	d.unlisted(name, covers)
	if n != nil {
		v.orphaned(n)
	}
	return nil
}

// lowerHas reports whether the lower has a name in the directory that d is
// merged with.
func (v *View) lowerHas(d *node, name string) (bool, error) {
	if d.lower == 0 {
		return false, nil
	}
	_, err := v.lower.Lookup(d.lower, name)
	if notExist(err) {
		return false, nil
	}
	return err == nil, err
}

// orphaned says that a node has been moved to the orphans.
func (v *View) orphaned(n *node) {
	v.move(n, nil, orphanName(n.id))
	n.orphan = true
	if n.isDir() {
		n.lower = 0
	}
}

func orphanName(id overlay.NodeID) string { return strconv.FormatUint(uint64(id), 16) }

// removeOrphan removes what the kernel has forgotten; of a directory whiteouts
// may be left in it.
func (v *View) removeOrphan(name string, isDir bool) bool {
	if !isDir {
		return unix.Unlinkat(v.orphans, name, 0) == nil
	}
	fd, err := openDir(v.orphans, name)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	for {
		names, err := ondisk.Names(fd, "")
		if err != nil {
			return false
		}
		for _, name := range names {
			if unix.Unlinkat(fd, name, 0) != nil {
				return false
			}
		}
		if len(names) == 0 {
			return unix.Unlinkat(v.orphans, name, unix.AT_REMOVEDIR) == nil
		}
	}
}

// adopt gives a node that was only known as an orphan the name that it was
// found by: it has several.
func (v *View) adopt(n, dir *node, name string) error {
	if err := unix.Unlinkat(v.orphans, n.name, 0); err != nil {
		return err
	}
	n.orphan = false
	v.move(n, dir, name)
	return nil
}

// isEmpty reports whether a directory shows no names.
func (v *View) isEmpty(id overlay.NodeID) (bool, error) {
	n, err := v.known(id)
	if err != nil {
		return false, err
	}
	lower := id
	deleted := map[string]bool{}
	if n != nil {
		lower = n.lower
		l, err := v.listOf(n)
		if err != nil {
			return false, err
		}
		for name, e := range l.names {
			if e.kind != entryWhiteout {
				return false, nil
			}
			deleted[name] = true
		}
	}
	if lower == 0 {
		return true, nil
	}
	empty := true
	err = v.lower.ReadDir(lower, 0, func(name string, _ overlay.Attr, _ uint64) bool {
		empty = deleted[name]
		return empty
	})
	return empty, err
}

// probeWhiteouts makes the whiteout that others are links to, and reports
// whether it is a character device.
func (v *View) probeWhiteouts() bool {
	_ = unix.Unlinkat(v.work, whiteoutName, 0) // there may be none
	return unix.Mknodat(v.work, whiteoutName, unix.S_IFCHR, 0) == nil
}

// makeWhiteout marks a name as deleted that the upper does not have.
func (v *View) makeWhiteout(p place) error { return v.newWhiteout(p.fd, p.name, p.fd) }

// newWhiteout makes a whiteout under a name of a directory, which is to end up
// in the directory home.
func (v *View) newWhiteout(dir int, name string, home int) error {
	if v.kind.whiteouts {
		err := unix.Linkat(v.work, whiteoutName, dir, name, 0)
		if err == unix.EMLINK || err == unix.ENOENT {
			v.probeWhiteouts()
			err = unix.Linkat(v.work, whiteoutName, dir, name, 0)
		}
		return err
	}
	// The other form: an empty file with a mark, in a directory that says that
	// it has such.
	if opaque, err := v.kind.opaque(home, "."); err != nil {
		return err
	} else if !opaque {
		if err := v.kind.SetOpacity(home, ".", ondisk.XWhiteouts); err != nil {
			return err
		}
	}
	tmp := v.temp()
	fd, err := unix.Openat(v.work, tmp, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	unix.Close(fd)
	if err = v.kind.SetWhiteout(v.work, tmp); err == nil {
		err = unix.Renameat2(v.work, tmp, dir, name, unix.RENAME_NOREPLACE)
	}
	if err != nil {
		unix.Unlinkat(v.work, tmp, 0)
	}
	return err
}

// orphanUnderWhiteout puts a whiteout in the place of what the upper has there,
// at once, and that among the orphans.
func (v *View) orphanUnderWhiteout(p place, n *node) error {
	if v.kind.whiteouts {
		err := unix.Renameat2(p.fd, p.name, v.orphans, orphanName(n.id), unix.RENAME_WHITEOUT)
		if err != unix.EINVAL && err != unix.EPERM {
			return err
		}
	}
	tmp := v.temp()
	if err := v.newWhiteout(v.work, tmp, p.fd); err != nil {
		return err
	}
	if err := unix.Renameat2(v.work, tmp, p.fd, p.name, unix.RENAME_EXCHANGE); err != nil {
		unix.Unlinkat(v.work, tmp, 0)
		return err
	}
	return unix.Renameat(v.work, tmp, v.orphans, orphanName(n.id))
}
