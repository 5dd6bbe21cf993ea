package dirs

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/ondisk"
)

// A disk is a layer that is a directory on disk.
type disk struct {
	u     *Union
	index int
	name  string // for messages
	fd    int    // of its root
	marks ondisk.Marks
	plain bool // see Layer.PlainNames
	// numbered says that entries have the numbers that stat(2) has.
	numbered bool
}

// A diskDir is a folder of a disk. It is opened when it is used, and may be
// closed at any time.
type diskDir struct {
	disk    *disk
	parent  *diskDir // nil for the root of the layer
	name    string
	dev     uint64
	opacity ondisk.Opacity

	aufsOnce sync.Once // see aufsMarks
	aufs     map[string]bool
	aufsErr  error
}

var _ folder = (*diskDir)(nil)

// dirFlags open a directory to find names in it, which needs no right to read it.
const dirFlags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

func (d *diskDir) level() int { return d.disk.index }

// fail says in which layer an error has happened.
func (d *diskDir) fail(name string, err error) error {
	if err == nil || errors.Is(err, unix.ENOENT) {
		return err
	}
	return fmt.Errorf("layer %s: %s: %w", d.disk.name, name, err)
}

// with calls use with the directory open.
func (d *diskDir) with(use func(fd int) error) error {
	if d.parent == nil {
		return use(d.disk.fd)
	}
	cache := &d.disk.u.folders
	f := cache.Get(d)
	if f == nil {
		err := d.parent.with(func(fd int) error {
			fd, err := unix.Openat(fd, d.name, dirFlags, 0)
			if err == nil {
				f = cache.Add(d, fd)
			}
			return err
		})
		if err != nil {
			return d.fail(d.name, err)
		}
	}
	defer cache.Put(f)
	return use(f.FD)
}

func (d *diskDir) stat(name string) (a overlay.Attr, whiteout bool, err error) {
	aufs, err := d.aufsMarks()
	if err != nil {
		return a, false, err
	}
	if isAufsMark(aufs, name) {
		return a, false, unix.ENOENT
	}
	err = d.with(func(fd int) error {
		var st unix.Stat_t
		if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			if whiteout = err == unix.ENOENT && aufs[name]; whiteout {
				return nil
			}
			return d.fail(name, err)
		}
		if whiteout, err = d.disk.marks.Whiteout(d.opacity, fd, name, &st); whiteout || err != nil {
			return d.fail(name, err)
		}
		a = attrOf(d.disk.u.numbers.of(st.Dev, st.Ino), &st)
		return nil
	})
	return a, whiteout, err
}

func attrOf(id overlay.NodeID, st *unix.Stat_t) overlay.Attr {
	a := ondisk.Attr(id, st)
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		a.Nlink = 1 // as overlayfs has it: nobody counts the directories of a merged one
	}
	return a
}

func (d *diskDir) each(emit func(entry) error) error {
	aufs, err := d.aufsMarks()
	if err != nil {
		return err
	}
	for name := range aufs {
		if name == "" {
			continue
		}
		if _, whiteout, err := d.stat(name); err != nil {
			return err
		} else if whiteout {
			if err := emit(entry{name: name, whiteout: true}); err != nil {
				return err
			}
		}
	}
	return d.with(func(fd int) error {
		var failed error
		err := ondisk.Scan(fd, func(e ondisk.Entry) bool {
			if !isAufsMark(aufs, e.Name) {
				failed = d.eachOf(e, emit)
			}
			return failed == nil
		})
		if failed != nil {
			return failed
		}
		return d.fail(d.name, err)
	})
}

// eachOf emits one name. It asks for more than the entry says only where that
// may be a whiteout, or does not say enough.
func (d *diskDir) eachOf(e ondisk.Entry, emit func(entry) error) error {
	maybe := e.Type == unix.S_IFCHR || e.Type == unix.S_IFREG && d.opacity == ondisk.XWhiteouts
	if d.disk.numbered && e.Type != 0 && !maybe {
		return emit(entry{name: e.Name, kind: e.Type, id: d.disk.u.numbers.of(d.dev, e.Ino)})
	}
	a, whiteout, err := d.stat(e.Name)
	if errors.Is(err, unix.ENOENT) {
		return nil // it was there a moment ago
	}
	if err != nil {
		return err
	}
	return emit(entry{name: e.Name, kind: a.Mode & unix.S_IFMT, whiteout: whiteout, id: a.ID})
}

func (d *diskDir) sub(name string) (folder, merging, error) {
	s := &diskDir{disk: d.disk, parent: d, name: name}
	m, err := s.enter()
	if err != nil {
		return s, m, err
	}
	above, err := d.aufsMarks()
	if err != nil {
		return s, m, err
	}
	own, err := s.aufsMarks()
	m.opaque = m.opaque || above[name] || own[""]
	return s, m, err
}

// enter reads what a directory says of itself.
func (d *diskDir) enter() (m merging, err error) {
	err = d.with(func(fd int) error {
		var st unix.Stat_t
		if err := unix.Fstatat(fd, ".", &st, 0); err != nil {
			return d.fail(d.name, err)
		}
		d.dev = st.Dev
		var err error
		if d.opacity, err = d.disk.marks.Opacity(fd, "."); err != nil {
			return d.fail(d.name, err)
		}
		m.opaque = d.opacity == ondisk.Opaque
		if d.parent == nil || m.opaque || d.disk.bottom() {
			return nil
		}
		m.redirect, err = d.disk.marks.Redirect(fd, ".")
		return d.fail(d.name, err)
	})
	return m, err
}

func (l *disk) bottom() bool { return l.index == len(l.u.roots)-1 }

func (d *diskDir) file(name string, id overlay.NodeID) file {
	return &diskFile{dir: d, name: name, id: id}
}
