package writable

import (
	"context"
	"io"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/ondisk"
)

// open gives a regular file of the upper; nil if only the lower has it. The
// caller gives it back to v.fds.
func (v *View) open(id overlay.NodeID) (*ondisk.File[*node], error) {
	v.lock()
	defer v.mu.Unlock()
	n, err := v.known(id)
	if n == nil || err != nil {
		return nil, err
	}
	return v.file(n)
}

// ReadAt reads as [overlay.View.ReadAt] does.
func (v *View) ReadAt(ctx context.Context, id overlay.NodeID, p []byte, off int64) (int, error) {
	f, err := v.open(id)
	if err != nil {
		return 0, err
	}
	if f == nil {
		return v.lower.ReadAt(ctx, id, p, off)
	}
	defer v.fds.Put(f)
	for done := 0; ; {
		k, err := unix.Pread(f.FD, p[done:], off+int64(done))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		if done += k; k == 0 && done < len(p) {
			return done, io.EOF
		} else if done == len(p) {
			return done, nil
		}
	}
}

// WriteAt writes all of p, and takes setuid and setgid away if drop says so. The
// time of change stays: the kernel has noted that of the program's write, and
// sets it.
func (v *View) WriteAt(id overlay.NodeID, p []byte, off int64, drop bool) error {
	w, err := v.openToWrite(id)
	if err != nil {
		return err
	}
	if err = writeAll(w.FD, p, off); err != nil {
		err = writeError(err)
	} else if drop {
		err = dropPrivileges(w.FD, nil)
	}
	return v.wrote(w, err)
}

// smallRead is how much of a file of the upper is read without asking whether
// it is in memory.
const smallRead = 64 << 10

// Cached reports whether reading is quick; see [overlay.View.Cached].
func (v *View) Cached(id overlay.NodeID, off int64, n int) bool {
	v.lock()
	up, err := v.known(id)
	v.mu.Unlock()
	if up != nil || err != nil {
		return n <= smallRead
	}
	return v.lower.Cached(id, off, n)
}

// Lasting reports whether copying up a file before it is changed takes long.
func (v *View) Lasting(id overlay.NodeID) bool {
	v.lock()
	defer v.mu.Unlock()
	if n, err := v.known(id); n != nil || err != nil {
		return false
	}
	a, err := v.lower.Attr(id)
	return err == nil && lasting(a)
}

// LastingName is Lasting of the file that has a name.
func (v *View) LastingName(dir overlay.NodeID, name string) bool {
	v.lock()
	defer v.mu.Unlock()
	a, err := v.lookup(dir, name)
	return err == nil && v.node(a.ID) == nil && lasting(a)
}

func lasting(a overlay.Attr) bool {
	return a.Mode&unix.S_IFMT == unix.S_IFREG && a.Size > quickCopy
}

// Path gives where a directory is, or any node that the upper has.
func (v *View) Path(id overlay.NodeID) (string, error) {
	v.lock()
	defer v.mu.Unlock()
	var names []string
	n, err := v.known(id)
	if n == nil || err != nil {
		if err == nil {
			return v.lower.Path(id)
		}
		return "", err
	}
	for ; n.parent != nil; n = n.parent {
		names = append(names, n.name)
	}
	slices.Reverse(names)
	return "/" + strings.Join(names, "/"), nil
}

// Allocate is fallocate(2). Setuid and setgid of a file that has them go, unless
// keep says otherwise; the time of change stays as in [View.WriteAt].
func (v *View) Allocate(id overlay.NodeID, mode uint32, off, size int64, keep func() bool) error {
	w, err := v.openToWrite(id)
	if err != nil {
		return err
	}
	if err = unix.Fallocate(w.FD, mode, off, size); err == nil {
		err = dropPrivileges(w.FD, keep)
	}
	return v.wrote(w, err)
}

// Copy is copy_file_range(2), with setuid, setgid and times as of [View.Allocate].
// It gives EXDEV where the upper does not have the source: then the caller copies.
func (v *View) Copy(from overlay.NodeID, fromOff int64, to overlay.NodeID, toOff int64, size int, keep func() bool) (int, error) {
	in, err := v.open(from)
	if err != nil {
		return 0, err
	}
	if in == nil {
		return 0, unix.EXDEV
	}
	defer v.fds.Put(in)
	out, err := v.openToWrite(to)
	if err != nil {
		return 0, err
	}
	n, err := unix.CopyFileRange(in.FD, &fromOff, out.FD, &toOff, size, 0)
	if n > 0 {
		err = dropPrivileges(out.FD, keep)
	}
	return n, v.wrote(out, err)
}

// SeekData and SeekHole are lseek(2)'s.
func (v *View) SeekData(id overlay.NodeID, off int64) (int64, error) {
	return v.seek(id, off, unix.SEEK_DATA, v.lower.SeekData)
}

// SeekHole is SeekData for holes.
func (v *View) SeekHole(id overlay.NodeID, off int64) (int64, error) {
	return v.seek(id, off, unix.SEEK_HOLE, v.lower.SeekHole)
}

func (v *View) seek(id overlay.NodeID, off int64, whence int, lower func(overlay.NodeID, int64) (int64, error)) (int64, error) {
	f, err := v.open(id)
	if err != nil {
		return 0, err
	}
	if f == nil {
		return lower(id, off)
	}
	defer v.fds.Put(f)
	found, err := unix.Seek(f.FD, off, whence)
	if err == unix.ENXIO {
		err = overlay.ErrPastEnd
	}
	return found, err
}

// Sync has what a node is now reach the disk.
func (v *View) Sync(id overlay.NodeID, dataOnly bool) error {
	v.lock()
	n, err := v.known(id)
	var f *ondisk.File[*node]
	if err == nil && n != nil && (n.isDir() || n.mode == unix.S_IFREG) {
		f, err = v.file(n)
	}
	v.mu.Unlock()
	if f == nil || err != nil {
		return err
	}
	defer v.fds.Put(f)
	if dataOnly {
		return unix.Fdatasync(f.FD)
	}
	return unix.Fsync(f.FD)
}

// Space is statfs(2) of the upper's file system.
func (v *View) Space() (st unix.Statfs_t, err error) {
	err = unix.Fstatfs(v.upper, &st)
	return st, err
}

// Statfs tells the size of the upper's file system.
func (v *View) Statfs() (blocks, files uint64) {
	st, err := v.Space()
	if err != nil {
		return 0, 0
	}
	return st.Blocks * uint64(st.Bsize) / 512, st.Files
}
