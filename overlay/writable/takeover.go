package writable

import (
	"context"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/ondisk"
)

// findAll makes known what the upper has. After a takeover that is all, as the
// kernel may ask for any of it by number; else only directories that were moved
// need be, to tell under which names the lower's files are seen, and the rest is
// let go again. v.mu is held, or nobody else has the view yet.
func (v *View) findAll(ctx context.Context) error {
	if v.foundAll {
		return nil
	}
	if err := v.findIn(ctx, v.root); err != nil {
		return err
	}
	v.foundAll = true
	if !v.takenOver {
		return nil
	}
	if err := v.findOrphans(); err != nil {
		return err
	}
	if err := v.finishCopies(); err != nil {
		return err
	}
	return v.sweepWork()
}

func (v *View) findIn(ctx context.Context, d *node) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var names []string
	if err := v.readUpper(d, func(name string, kind uint32) {
		if kind == unix.S_IFDIR || v.takenOver && kind != entryWhiteout {
			names = append(names, name)
		}
	}); err != nil {
		return err
	}
	d.children++ // it stays known, though nobody else may need it
	defer func() { d.children-- }()
	for _, name := range names {
		n, _, err := v.upperChild(d, name)
		if err != nil {
			return err
		}
		if n == nil {
			continue
		}
		if n.isDir() {
			if err := v.findIn(ctx, n); err != nil {
				return err
			}
		}
		v.release(n)
	}
	if v.takenOver && len(v.nodes) >= v.restAt {
		v.rest() // nobody has the view yet, and those that are held here are directories
	}
	return nil
}

// findOrphans makes known what was deleted and may still be open.
func (v *View) findOrphans() error {
	names, err := ondisk.Names(v.orphans, "")
	if err != nil {
		return err
	}
	for _, name := range names {
		id, err := strconv.ParseUint(name, 16, 64)
		if err != nil {
			continue
		}
		if n := v.node(overlay.NodeID(id)); n != nil {
			if !n.orphan { // it has been found by another name
				v.removeOrphan(name, n.isDir())
			}
			continue
		}
		var st unix.Stat_t
		if err := unix.Fstatat(v.orphans, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		n := v.keep(overlay.NodeID(id), nil, name, st.Mode)
		n.orphan = true
	}
	return nil
}

// sweepWork removes what the former server had begun: it is asked for again.
func (v *View) sweepWork() error {
	for _, mark := range []string{tempMark, copyMark} {
		names, err := ondisk.Names(v.work, mark)
		if err != nil {
			return err
		}
		for _, name := range names {
			if _, _, ok := v.unfinished(name); ok {
				continue
			}
			if err := os.RemoveAll(filepath.Join(fdPath(v.work), name)); err != nil {
				return err
			}
		}
	}
	return nil
}
