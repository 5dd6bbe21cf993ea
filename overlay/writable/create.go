package writable

import (
	"fmt"
	iofs "io/fs"

	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/ondisk"
)

// Mknod makes a file of any type but a directory or a symlink. rdev is as the
// system call takes it, of 32 bits.
func (v *View) Mknod(dir overlay.NodeID, name string, mode, rdev uint32, c Caller) (overlay.Attr, error) {
	if mode&unix.S_IFMT == unix.S_IFCHR && rdev == 0 {
		return overlay.Attr{}, unix.EPERM // it would be a whiteout
	}
	return v.create(dir, name, c, func(fd int, name string) error {
		return unix.Mknodat(fd, name, mode, devOf(rdev))
	})
}

// Symlink makes a symlink.
func (v *View) Symlink(dir overlay.NodeID, name, target string, c Caller) (overlay.Attr, error) {
	return v.create(dir, name, c, func(fd int, name string) error { return unix.Symlinkat(target, fd, name) })
}

// Mkdir makes a directory.
func (v *View) Mkdir(dir overlay.NodeID, name string, mode uint32, c Caller) (overlay.Attr, error) {
	return v.create(dir, name, c, func(fd int, name string) error { return unix.Mkdirat(fd, name, mode) })
}

// create makes something with a new inode under a name that is free.
func (v *View) create(dir overlay.NodeID, name string, c Caller, mk func(fd int, name string) error) (overlay.Attr, error) {
	v.lock()
	defer v.mu.Unlock()
	d, covered, err := v.vacant(dir, name)
	if c.Again && err == unix.EEXIST {
		return v.tell(v.lookup(dir, name))
	}
	if err != nil {
		return overlay.Attr{}, err
	}
	p, err := v.in(d, name)
	if err != nil {
		return overlay.Attr{}, err
	}
	defer p.done()
	if covered {
		err = v.createOver(p, c, mk)
	} else {
		err = v.as(c, func() error { return mk(p.fd, name) })
	}
	if err != nil {
		return overlay.Attr{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(p.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return overlay.Attr{}, err
	}
	n := v.keep(upperNode(&st), d, name, st.Mode)
	n.counted = true // even after a takeover: it is new
	d.listed(name, st.Mode)
	return v.tell(v.attrOf(n, &st), nil)
}

// vacant gives the directory in which a name is to be made that nothing has; else
// the error is EEXIST. covered is whether a whiteout is there.
func (v *View) vacant(dir overlay.NodeID, name string) (d *node, covered bool, err error) {
	if d, err = v.own(dir, -1); err != nil {
		return nil, false, err
	}
	if d.orphan {
		return nil, false, iofs.ErrNotExist
	}
	n, _, err := v.upperChild(d, name)
	if notExist(err) {
		return d, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	if n != nil {
		return nil, false, unix.EEXIST
	}
	has, err := v.lowerHas(d, name)
	if has {
		err = unix.EEXIST
	}
	return d, false, err
}

// createOver makes something in the place of a whiteout, at once.
func (v *View) createOver(p place, c Caller, mk func(fd int, name string) error) error {
	nursery, done, err := v.nursery(p)
	if err != nil {
		return err
	}
	defer done()
	tmp := v.temp()
	if err := v.as(c, func() error { return mk(nursery, tmp) }); err != nil {
		return err
	}
	err = v.replaceWhiteout(nursery, tmp, p)
	if err != nil {
		v.discard(nursery, tmp)
	}
	return err
}

// replaceWhiteout moves what is finished to where a whiteout is. A directory
// becomes opaque, as the whiteout hid what the lower has.
func (v *View) replaceWhiteout(from int, tmp string, p place) error {
	var st unix.Stat_t
	if err := unix.Fstatat(from, tmp, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return unix.Renameat(from, tmp, p.fd, p.name)
	}
	if err := v.kind.setOpaque(from, tmp); err != nil {
		return err
	}
	if err := unix.Renameat2(from, tmp, p.fd, p.name, unix.RENAME_EXCHANGE); err != nil {
		return err
	}
	v.discard(from, tmp) // the whiteout
	return nil
}

// discard removes a name in the work directory; what is left there goes at the
// next mount.
func (v *View) discard(dir int, name string) {
	if unix.Unlinkat(dir, name, 0) == unix.EISDIR {
		_ = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
	}
}

// nursery gives a directory in the work directory in which new files inherit
// what they would in the directory of p: group and default ACL.
func (v *View) nursery(p place) (fd int, done func(), err error) {
	var st unix.Stat_t
	if err := unix.Fstat(p.fd, &st); err != nil {
		return -1, nil, err
	}
	acl, err := ondisk.Xattr(p.fd, ".", aclDefault)
	if err != nil {
		return -1, nil, err
	}
	if st.Mode&unix.S_ISGID == 0 && acl == nil {
		return v.work, func() {}, nil
	}
	tmp := v.temp()
	if fd, err = madeDir(v.work, tmp); err != nil {
		return -1, nil, err
	}
	done = func() {
		unix.Close(fd)
		_ = unix.Unlinkat(v.work, tmp, unix.AT_REMOVEDIR)
	}
	err = unix.Fchown(fd, -1, int(st.Gid))
	if err == nil {
		err = unix.Fchmod(fd, 0o700|st.Mode&unix.S_ISGID)
	}
	if err == nil && acl != nil {
		err = unix.Fsetxattr(fd, aclDefault, acl, 0)
	}
	if err != nil {
		done()
		return -1, nil, fmt.Errorf("work directory: %w", err)
	}
	return fd, done, nil
}

// aclDefault is the attribute of a directory's default ACL (acl(5)).
const aclDefault = "system.posix_acl_default"

// Tmpfile makes a regular file without a name, as O_TMPFILE does, as if in a
// directory.
func (v *View) Tmpfile(dir overlay.NodeID, mode uint32, c Caller) (overlay.Attr, error) {
	v.lock()
	defer v.mu.Unlock()
	d, err := v.own(dir, -1)
	if err != nil {
		return overlay.Attr{}, err
	}
	if d.orphan {
		return overlay.Attr{}, iofs.ErrNotExist
	}
	p, err := v.in(d, ".")
	if err != nil {
		return overlay.Attr{}, err
	}
	defer p.done()
	nursery, done, err := v.nursery(p)
	if err != nil {
		return overlay.Attr{}, err
	}
	defer done()
	tmp := v.temp()
	if err := v.as(c, func() error { return unix.Mknodat(nursery, tmp, unix.S_IFREG|mode&0o7777, 0) }); err != nil {
		return overlay.Attr{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(nursery, tmp, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return overlay.Attr{}, err
	}
	id := upperNode(&st)
	if err := unix.Renameat(nursery, tmp, v.orphans, orphanName(id)); err != nil {
		v.discard(nursery, tmp)
		return overlay.Attr{}, err
	}
	n := v.keep(id, nil, orphanName(id), st.Mode)
	n.orphan, n.counted = true, true
	return v.tell(v.attrOf(n, &st), nil)
}

// Link gives a file one more name.
func (v *View) Link(id, dir overlay.NodeID, name string, c Caller) (overlay.Attr, error) {
	if err := v.raise(id, -1); err != nil {
		return overlay.Attr{}, err
	}
	v.lock()
	defer v.mu.Unlock()
	n, err := v.own(id, -1)
	if err != nil {
		return overlay.Attr{}, err
	}
	if n.isDir() {
		return overlay.Attr{}, unix.EPERM
	}
	d, covered, err := v.vacant(dir, name)
	if c.Again && err == unix.EEXIST {
		return v.tell(v.lookup(dir, name))
	}
	if err != nil {
		return overlay.Attr{}, err
	}
	if err := v.link(n, d, name, covered); err != nil {
		return overlay.Attr{}, err
	}
	d.listed(name, n.mode)
	return v.tell(v.attr(n.id))
}

func (v *View) link(n, d *node, name string, covered bool) error {
	to, err := v.in(d, name)
	if err != nil {
		return err
	}
	defer to.done()
	from, err := v.place(n)
	if err != nil {
		return err
	}
	defer from.done()
	if n.orphan {
		// Made without a name; or it has others, which the orphans' stands for.
		if covered {
			err = unix.Renameat(from.fd, from.name, to.fd, name)
		} else {
			err = unix.Renameat2(from.fd, from.name, to.fd, name, unix.RENAME_NOREPLACE)
		}
		if err == nil {
			n.orphan = false
			v.move(n, d, name)
		}
		return err
	}
	if !covered {
		return unix.Linkat(from.fd, from.name, to.fd, name, 0)
	}
	tmp := v.temp()
	if err := unix.Linkat(from.fd, from.name, v.work, tmp, 0); err != nil {
		return err
	}
	if err = v.replaceWhiteout(v.work, tmp, to); err != nil {
		v.discard(v.work, tmp)
	}
	return err
}
