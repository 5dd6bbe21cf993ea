package writable

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/ondisk"
)

// maxDescriptors is how many directories and files of the upper are kept open;
// a usual limit is 1024.
const maxDescriptors = 400

// Names in the work directory. The kernel's overlayfs has its own beside them.
const (
	workName     = "mica"
	orphansName  = "orphans"
	whiteoutName = "whiteout"
	stateName    = "state"
	tempMark     = "tmp-"
)

// Dirs are the directories of an upper, opened by [OpenDirs]. Whoever keeps
// their files open keeps others from using them.
type Dirs struct {
	Upper, Work *os.File
}

// A BusyError says that an upper or work directory is in use.
type BusyError struct {
	Path  string
	Mount string // where it is used, "" is unknown
}

func (e *BusyError) Error() string {
	if e.Mount == "" {
		return e.Path + ": in use by another mount"
	}
	return e.Path + ": in use by the mount on " + e.Mount
}

// Unwrap makes it EBUSY.
func (e *BusyError) Unwrap() error { return unix.EBUSY }

// OpenDirs opens an upper and a work directory, which have to be on one file
// system and neither within the other, and locks them. The error is a
// *BusyError if another mount has them.
func OpenDirs(upper, work string) (d Dirs, err error) {
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	if d.Upper, err = lockedDir(upper); err != nil {
		return d, err
	}
	if d.Work, err = lockedDir(work); err != nil {
		var busy *BusyError
		if errors.As(err, &busy) {
			busy.Mount, _ = d.note(mountXattr)
		}
		return d, err
	}
	var u, w unix.Stat_t
	if err := errors.Join(unix.Fstat(int(d.Upper.Fd()), &u), unix.Fstat(int(d.Work.Fd()), &w)); err != nil {
		return d, err
	}
	if u.Dev != w.Dev {
		return d, fmt.Errorf("%s and %s: upper and work directory must be on one file system", upper, work)
	}
	if within(upper, work) || within(work, upper) {
		return d, fmt.Errorf("%s and %s: neither may lie within the other", upper, work)
	}
	return d, nil
}

func lockedDir(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if err == unix.EWOULDBLOCK {
			mount, _ := (&Dirs{Upper: f}).note(mountXattr) // for the message only
			return nil, &BusyError{path, mount}
		}
		return nil, &os.PathError{Op: "flock", Path: path, Err: err}
	}
	return f, nil
}

// within reports whether a directory lies in another, whatever links lead to it.
func within(dir, outer string) bool {
	o, err := os.Stat(outer)
	if err != nil {
		return false
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return false
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return false
	}
	for {
		if st, err := os.Stat(dir); err == nil && os.SameFile(st, o) {
			return true
		}
		up := filepath.Dir(dir)
		if up == dir {
			return false
		}
		dir = up
	}
}

// Close closes both files, and with them gives up the lock if nobody else has
// them open.
func (d *Dirs) Close() error {
	var errs []error
	for _, f := range []*os.File{d.Upper, d.Work} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// Base gives what [Dirs.SetBase] has noted, "" if nothing.
func (d *Dirs) Base() (string, error) { return d.note(baseXattr) }

// SetBase notes what the upper was made over, so that nobody puts it over
// something else by mistake.
func (d *Dirs) SetBase(base string) error { return d.setNote(baseXattr, base) }

// SetMount notes where the upper is used, for others to be told.
func (d *Dirs) SetMount(dir string) error { return d.setNote(mountXattr, dir) }

func (d *Dirs) note(attr string) (string, error) {
	kind, err := probeKind(int(d.Upper.Fd()))
	if err != nil {
		return "", fmt.Errorf("%s: %w", d.Upper.Name(), err)
	}
	b, err := ondisk.Xattr(int(d.Upper.Fd()), ".", kind.Prefix+attr)
	return string(b), err
}

func (d *Dirs) setNote(attr, value string) error {
	kind, err := probeKind(int(d.Upper.Fd()))
	if err != nil {
		return fmt.Errorf("%s: %w", d.Upper.Name(), err)
	}
	return unix.Fsetxattr(int(d.Upper.Fd()), kind.Prefix+attr, []byte(value), 0)
}

// Open puts an upper over a lower tree. takeover says that another server has
// served the mount, of which the kernel knows nodes: then [View.Start] finds all
// that the upper has, and what was deleted and is still open is there; else the
// work directory is emptied. The files of d stay the caller's.
func Open(lower overlay.Lower, d Dirs, takeover bool) (v *View, err error) {
	v = &View{fds: ondisk.Cache[*node]{Most: maxDescriptors}, lower: lower, nodes: map[overlay.NodeID]*node{}, gone: map[overlay.NodeID]uint32{}, flights: map[overlay.NodeID]*flight{}, restAt: busyNodes, upper: -1, work: -1, orphans: -1, state: -1}
	defer func() {
		if err != nil {
			v.Close()
		}
	}()
	if v.kind, err = probeKind(int(d.Upper.Fd())); err != nil {
		return nil, fmt.Errorf("%s: %w", d.Upper.Name(), err)
	}
	if v.upper, err = openDir(int(d.Upper.Fd()), "."); err != nil {
		return nil, err
	}
	if v.work, err = madeDir(int(d.Work.Fd()), workName); err != nil {
		return nil, err
	}
	if !takeover {
		if err := v.clearWork(); err != nil {
			return nil, err
		}
	}
	v.resting.dir = fdPath(v.work)
	if v.orphans, err = madeDir(v.work, orphansName); err != nil {
		return nil, err
	}
	if v.state, err = unix.Openat(v.work, stateName, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600); err != nil {
		return nil, err
	}
	if v.seed, err = seedOf(v.state); err != nil {
		return nil, err
	}
	v.kind.whiteouts = v.probeWhiteouts()
	unix.Umask(0) // see as
	root := &node{id: overlay.Root, mode: unix.S_IFDIR, lookups: 1}
	if opaque, err := v.kind.opaque(v.upper, "."); err != nil {
		return nil, err
	} else if !opaque {
		root.lower = overlay.Root
	}
	v.root, v.nodes[overlay.Root] = root, root
	if v.empty, err = emptyDir(v.upper); err != nil {
		return nil, err
	}
	if v.empty && !takeover {
		if err := v.likeLowerRoot(); err != nil {
			return nil, err
		}
	}
	v.takenOver = takeover
	if takeover {
		return v, nil // see Start
	}
	return v, v.finishCopies()
}

// clearWork empties the work directory, but for what finishCopies is to look at.
func (v *View) clearWork() error {
	names, err := ondisk.Names(v.work, "")
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
	return nil
}

// Start finds what another server has left, before the view is used.
func (v *View) Start(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.takenOver {
		return nil
	}
	return v.findAll(ctx)
}

// likeLowerRoot gives a fresh upper the metadata of the lower's root: the root
// of a union is always the upper's.
func (v *View) likeLowerRoot() error {
	if done, err := v.kind.nodeOf(v.upper, "."); err != nil || done != 0 {
		return err
	}
	a, err := v.lower.Attr(overlay.Root)
	if err != nil {
		return err
	}
	return v.copyMetadata(v.upper, ".", a)
}

func openDir(dir int, name string) (int, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

func madeDir(dir int, name string) (int, error) {
	if err := unix.Mkdirat(dir, name, 0o700); err != nil && err != unix.EEXIST {
		return -1, &os.PathError{Op: "mkdir", Path: name, Err: err}
	}
	return openDir(dir, name)
}

// emptyDir reports whether a directory has no entries.
func emptyDir(dir int) (bool, error) {
	empty := true
	err := ondisk.Scan(dir, func(ondisk.Entry) bool { empty = false; return false })
	return empty, err
}

// seedOf gives what names are hashed with: random, and the same for all servers
// of a mount.
func seedOf(state int) (uint64, error) {
	var b [8]byte
	if n, err := unix.Pread(state, b[:], seedOffset); err != nil {
		return 0, err
	} else if n < len(b) {
		rand.Read(b[:])
		if err := writeAll(state, b[:], seedOffset); err != nil {
			return 0, err
		}
	}
	return binary.NativeEndian.Uint64(b[:]), nil
}
