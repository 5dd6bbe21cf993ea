package writable

import (
	"encoding/binary"
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/ondisk"
)

// Rename is renameat2(2), with RENAME_NOREPLACE and RENAME_EXCHANGE. That a
// directory is not moved into itself the caller has checked.
func (v *View) Rename(dir overlay.NodeID, name string, newDir overlay.NodeID, newName string, flags uint32, c Caller) error {
	if flags&^(unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE) != 0 {
		return unix.EINVAL
	}
	if err := v.raiseNames(dir, name, newDir, newName, flags); err != nil {
		return err
	}
	v.lock()
	defer v.mu.Unlock()
	from, err := v.lookup(dir, name)
	if c.Again && notExist(err) {
		_, err = v.lookup(newDir, newName)
		return err
	}
	if err != nil {
		return err
	}
	to, err := v.lookup(newDir, newName)
	exists := err == nil
	if err != nil && !notExist(err) {
		return err
	}
	if flags&unix.RENAME_EXCHANGE != 0 {
		if !exists {
			return err
		}
		return v.exchange(name, from, newName, to, dir, newDir, c)
	}
	if exists {
		if err := v.replaceable(from, to, flags); err != nil {
			return err
		}
		if from.ID == to.ID {
			return nil // two names of one file: nothing is done (rename(2))
		}
	}
	m, err := v.newMove(dir, name, newDir, newName, from.ID)
	if err != nil {
		return err
	}
	defer m.done()
	return v.rename(m, to, exists)
}

// raiseNames copies up what is long before the lock is taken.
func (v *View) raiseNames(dir overlay.NodeID, name string, newDir overlay.NodeID, newName string, flags uint32) error {
	v.lock()
	from, err := v.lookup(dir, name)
	var to overlay.Attr
	if err == nil && flags&unix.RENAME_EXCHANGE != 0 {
		to, err = v.lookup(newDir, newName)
	}
	v.mu.Unlock()
	if err != nil {
		return nil // it is told with the lock
	}
	if err := v.raise(from.ID, -1); err != nil || to.ID == 0 {
		return err
	}
	return v.raise(to.ID, -1)
}

// replaceable says whether one node may take the name of another.
func (v *View) replaceable(from, to overlay.Attr, flags uint32) error {
	fromDir, toDir := from.Mode&unix.S_IFMT == unix.S_IFDIR, to.Mode&unix.S_IFMT == unix.S_IFDIR
	switch {
	case flags&unix.RENAME_NOREPLACE != 0:
		return unix.EEXIST
	case fromDir && !toDir:
		return unix.ENOTDIR
	case !fromDir && toDir:
		return unix.EISDIR
	case toDir && from.ID != to.ID:
		empty, err := v.isEmpty(to.ID)
		if err == nil && !empty {
			err = unix.ENOTEMPTY
		}
		return err
	}
	return nil
}

// A move is a node of the upper that is to get another name.
type move struct {
	n        *node
	from, to place
	src, dst *node // the directories
	covers   bool  // the lower has the old name: a whiteout is to stay
}

func (m *move) done() {
	m.from.done()
	m.to.done()
}

func (v *View) newMove(dir overlay.NodeID, name string, newDir overlay.NodeID, newName string, id overlay.NodeID) (m *move, err error) {
	m = &move{}
	if m.n, err = v.own(id, -1); err != nil {
		return nil, err
	}
	if m.src, err = v.own(dir, -1); err != nil {
		return nil, err
	}
	if m.dst, err = v.own(newDir, -1); err != nil {
		return nil, err
	}
	if m.dst.orphan {
		return nil, unix.ENOENT
	}
	if m.covers, err = v.lowerHas(m.src, name); err != nil {
		return nil, err
	}
	if m.from, err = v.in(m.src, name); err != nil {
		return nil, err
	}
	if m.to, err = v.in(m.dst, newName); err != nil {
		m.from.done()
		return nil, err
	}
	return m, nil
}

func (v *View) rename(m *move, to overlay.Attr, exists bool) error {
	if err := v.markFor(m.n, m.from, m.dst, m.to.name); err != nil {
		return err
	}
	var victim *node
	if exists {
		victim = v.node(to.ID)
	}
	giveBack := func() {}
	if victim != nil {
		var err error
		if err = v.finished(victim); err == nil {
			giveBack, err = v.makeWay(victim, m.to)
		}
		if err != nil {
			return err
		}
	}
	if err := v.renameWhiteout(m); err != nil {
		giveBack()
		return err
	}
	m.src.unlisted(m.from.name, m.covers)
	m.dst.listed(m.to.name, m.n.mode)
	v.move(m.n, m.dst, m.to.name)
	switch {
	case victim != nil:
		v.orphaned(victim)
		v.release(victim)
	case exists && to.Mode&unix.S_IFMT != unix.S_IFDIR:
		v.lowerGone(to.ID)
	}
	return nil
}

// surePath is how long a redirect may be on any file system: what ENOSPC means is
// that there is no space.
const surePath = 1 << 10

// markFor gives a directory the marks that it needs to stay what it is under
// another name. Under the present one they change nothing.
func (v *View) markFor(n *node, at place, dst *node, name string) error {
	if !n.isDir() {
		return nil
	}
	if n.lower == 0 {
		covers, err := v.lowerHas(dst, name)
		if err == nil && covers {
			err = v.kind.setOpaque(at.fd, at.name)
		}
		return err
	}
	path, err := v.lower.Path(n.lower)
	if err != nil {
		return err
	}
	err = v.kind.SetRedirect(at.fd, at.name, path)
	if errors.Is(err, unix.ERANGE) || errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOSPC) && len(path) > surePath {
		return unix.EXDEV // the path is longer than an attribute; mv copies then
	}
	n.redirected = err == nil
	return err
}

// makeWay has what is to be replaced stay as an orphan. giveBack undoes that.
func (v *View) makeWay(victim *node, p place) (giveBack func(), err error) {
	name := orphanName(victim.id)
	if !victim.isDir() {
		err := unix.Linkat(p.fd, p.name, v.orphans, name, 0)
		if err == unix.EEXIST {
			return func() {}, nil // it has been an orphan, and has this name as well
		}
		return func() { v.removeOrphan(name, false) }, err
	}
	// There may be whiteouts in it, and a directory can only replace an empty one:
	// one that looks the same takes its place, as this may be where the power fails.
	err = v.emptyTwin(name, victim, p)
	if err == nil {
		err = unix.Renameat2(v.orphans, name, p.fd, p.name, unix.RENAME_EXCHANGE)
	}
	if err != nil {
		v.removeOrphan(name, true)
		return nil, err
	}
	return func() {
		if unix.Renameat2(v.orphans, name, p.fd, p.name, unix.RENAME_EXCHANGE) == nil {
			v.removeOrphan(name, true)
		}
	}, nil
}

// emptyTwin makes an empty directory among the orphans that has the metadata of
// one of the upper, and the number if that does not go with the inode.
func (v *View) emptyTwin(name string, d *node, p place) error {
	var st unix.Stat_t
	if err := unix.Fstatat(p.fd, p.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if err := unix.Mkdirat(v.orphans, name, 0o700); err != nil {
		return err
	}
	attrs, err := ondisk.Xattrs(p.fd, p.name)
	if err != nil {
		return err
	}
	for _, attr := range attrs {
		if v.kind.Internal(attr) {
			continue
		}
		value, err := ondisk.Xattr(p.fd, p.name, attr)
		if err == nil && value != nil {
			err = ondisk.SetXattr(v.orphans, name, attr, value, 0)
		}
		if (err == unix.EPERM || err == unix.ENOTSUP) && !strings.HasPrefix(attr, "user.") {
			continue // as in copyMetadata
		}
		if err != nil {
			return err
		}
	}
	if d.id&overlay.UpperNodes == 0 {
		if err := v.kind.noteNode(v.orphans, name, d.id); err != nil {
			return err
		}
	}
	if err := v.kind.setOpaque(v.orphans, name); err != nil {
		return err
	}
	if err := unix.Fchownat(v.orphans, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if err := unix.Fchmodat(v.orphans, name, st.Mode&0o7777, 0); err != nil {
		return err
	}
	return setTimes(v.orphans, name, ondisk.Time(st.Atim), ondisk.Time(st.Mtim))
}

// renameWhiteout renames, and leaves a whiteout where one is due, at once.
func (v *View) renameWhiteout(m *move) error {
	var flags uint
	if m.covers {
		flags = unix.RENAME_WHITEOUT
	}
	err := unix.Renameat2(m.from.fd, m.from.name, m.to.fd, m.to.name, flags)
	switch {
	case err == unix.ENOTDIR && m.n.isDir():
		// A whiteout is there: it goes to the old name, where it is of use or
		// does no harm for a moment.
		if err := unix.Renameat2(m.from.fd, m.from.name, m.to.fd, m.to.name, unix.RENAME_EXCHANGE); err != nil {
			return err
		}
		if !m.covers {
			return unix.Unlinkat(m.from.fd, m.from.name, 0)
		}
		return nil
	case (err == unix.EINVAL || err == unix.EPERM) && m.covers:
		// No file system of today that takes an upper is like this; the old
		// name may come back if the power fails right here.
		if err := unix.Renameat(m.from.fd, m.from.name, m.to.fd, m.to.name); err != nil {
			return err
		}
		return v.makeWhiteout(m.from)
	}
	return err
}

// exchange swaps two names. It is noted before, so that a server that takes
// over can tell whether it was done.
func (v *View) exchange(name string, from overlay.Attr, newName string, to overlay.Attr, dir, newDir overlay.NodeID, c Caller) error {
	if from.ID == to.ID {
		return nil
	}
	if c.Again && v.exchanged(from.ID, to.ID) {
		return nil
	}
	m, err := v.newMove(dir, name, newDir, newName, from.ID)
	if err != nil {
		return err
	}
	defer m.done()
	other, err := v.own(to.ID, -1)
	if err != nil {
		return err
	}
	if err := v.markFor(m.n, m.from, m.dst, newName); err != nil {
		return err
	}
	if err := v.markFor(other, m.to, m.src, name); err != nil {
		return err
	}
	if err := v.noteExchange(from.ID, to.ID); err != nil {
		return err
	}
	if err := unix.Renameat2(m.from.fd, name, m.to.fd, newName, unix.RENAME_EXCHANGE); err != nil {
		return err
	}
	m.src.listed(name, other.mode)
	m.dst.listed(newName, m.n.mode)
	v.move(m.n, m.dst, newName)
	v.move(other, m.src, name)
	return nil
}

func (v *View) noteExchange(from, to overlay.NodeID) error {
	var b [16]byte
	binary.NativeEndian.PutUint64(b[:], uint64(from))
	binary.NativeEndian.PutUint64(b[8:], uint64(to))
	return writeAll(v.state, b[:], exchangeOffset)
}

// exchanged reports whether the last exchange was of what is now the other way
// round.
func (v *View) exchanged(from, to overlay.NodeID) bool {
	var b [16]byte
	n, err := unix.Pread(v.state, b[:], exchangeOffset)
	return err == nil && n == len(b) &&
		binary.NativeEndian.Uint64(b[:]) == uint64(to) && binary.NativeEndian.Uint64(b[8:]) == uint64(from)
}
