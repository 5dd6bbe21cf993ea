package writable

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/ondisk"
)

// The copy of a file with several names gets one after the other. If that is cut
// short, by the end of the server or for want of space, the copy stays in the work
// directory, where it has one name more: who opens the upper next gives it the rest.
// Else the names would be two files from then on, with one number.

// copyMark begins the name of a copy in the work directory.
const copyMark = "copy-"

// tempCopy gives a name in the work directory for the copy of a lower file.
func (v *View) tempCopy(id overlay.NodeID) string {
	v.temporary++
	return fmt.Sprintf("%s%x-%x", copyMark, uint64(id), v.temporary)
}

// copyOf gives whose copy has a name; ok is false if none has such a name.
func copyOf(name string) (id overlay.NodeID, ok bool) {
	rest, ok := strings.CutPrefix(name, copyMark)
	if !ok {
		return 0, false
	}
	number, _, _ := strings.Cut(rest, "-")
	n, err := strconv.ParseUint(number, 16, 64)
	return overlay.NodeID(n), err == nil
}

// unfinished reports whether a name in the work directory is of a copy that has
// some of its names already, and gives whose and of which type.
func (v *View) unfinished(name string) (id overlay.NodeID, mode uint32, ok bool) {
	id, ok = copyOf(name)
	var st unix.Stat_t
	if !ok || unix.Fstatat(v.work, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return 0, 0, false
	}
	return id, st.Mode, st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1
}

// finishCopies gives unfinished copies the names that they lack, and removes
// them from the work directory. What fails is tried again when the file is changed.
func (v *View) finishCopies() error {
	names, err := ondisk.Names(v.work, copyMark)
	if err != nil {
		return err
	}
	for _, tmp := range names {
		id, mode, ok := v.unfinished(tmp)
		if !ok {
			continue
		}
		if err = v.finishCopy(tmp, id, mode); err == nil {
			err = unix.Unlinkat(v.work, tmp, 0)
		}
		n := v.node(id)
		if n != nil {
			n.unfinished = err != nil
		} else if err != nil {
			// Nothing would lead from the names that it lacks to those that it has.
			return fmt.Errorf("hard links of node %d: %w", id, err)
		}
	}
	return nil
}

func (v *View) finishCopy(tmp string, id overlay.NodeID, mode uint32) error {
	links, err := v.visibleLinks(id)
	if err != nil {
		return err
	}
	for _, l := range links {
		parent, err := v.own(l.Dir, -1)
		if err != nil {
			return err
		}
		if err := v.installLink(tmp, parent, l.Name); err != nil {
			return err
		}
		parent.listed(l.Name, mode)
		v.release(parent)
	}
	return nil
}

// finished has a file of the upper, nil for none, get all its names before one is
// taken away.
func (v *View) finished(n *node) error {
	if n == nil || !n.unfinished {
		return nil
	}
	err := v.finishCopies()
	if err == nil && n.unfinished {
		err = unix.ENOSPC
	}
	return err
}
