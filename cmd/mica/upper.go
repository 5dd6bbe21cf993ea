package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"mica/fs"
	"mica/layerstore"
	"mica/overlay"
	"mica/overlay/writable"
)

// upperFlags say where changes to a mount go: nowhere, to directories of the
// user's, or to such as mica makes.
type upperFlags struct {
	upper, work string
	rw          bool
	keep        string
	force       bool
	engine      choice
}

func (f *upperFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.upper, "upper", "", "write changes to `DIR`, in the form of an overlayfs upper directory")
	flags.StringVar(&f.work, "work", "", "work in `DIR`, an empty directory on the file system of --upper")
	flags.BoolVar(&f.rw, "rw", false, "allow changes; they are gone after the mount")
	flags.StringVar(&f.keep, "keep", "", "with --rw, keep the changes in the store as `NAME`, to go on with")
	flags.BoolVar(&f.force, "force", false, "take an upper directory that was made over another image")
	addChoice(flags, &f.engine, "engine", "who serves a mount that takes changes; kernel is overlayfs over a read-only mount,\nfor root alone, and auto is fuse here", "auto", "fuse", "kernel")
}

// writable reports whether changes are allowed.
func (f *upperFlags) writable() bool { return f.rw || f.upper != "" }

// kernel reports whether the kernel's overlayfs is to take the changes.
func (f *upperFlags) kernel() bool { return f.engine.word == "kernel" }

// check completes the flags with what -o said, and refuses what does not go
// together.
func (f *upperFlags) check(o *mountOptions) error {
	f.upper, f.work = first(f.upper, o.upper), first(f.work, o.work)
	var text string
	switch {
	case f.upper != "" && f.work == "":
		text = "--upper needs --work, a directory on the same file system"
	case f.upper == "" && f.work != "":
		text = "--work needs --upper"
	case f.upper != "" && f.rw:
		text = "--rw makes an upper directory itself: leave --upper or --rw out"
	case f.keep != "" && !f.rw:
		text = "--keep goes with --rw"
	case f.keep != "" && (filepath.Base(f.keep) != f.keep || f.keep[0] == '.'):
		text = fmt.Sprintf("--keep %s: a name has no slash and does not begin with a dot", f.keep)
	case f.kernel() && !f.writable():
		text = "--engine kernel goes with --rw or --upper"
	case f.kernel() && o.lowers != "":
		text = "--engine kernel is for images: mount -t overlay takes directories"
	case f.writable() && (o.uid != nil || o.gid != nil):
		text = "-o uid= and gid= are for read-only mounts"
	default:
		o.fs.Writable = f.writable() && !f.kernel()
		// Programs that run as others are what a root file system is for.
		o.fs.AllowOther = o.fs.AllowOther || f.writable() && os.Geteuid() == 0
		return nil
	}
	return &usageError{err: errors.New(text)}
}

// An upper is what a writable mount writes to.
type upper struct {
	writable.Dirs
	scratch string // removed after the mount, "" is nothing
}

// open opens the directories for a mount at dir of what base names. ref is the
// reference of the image; "" is none.
func (f *upperFlags) open(store *layerstore.Store, base, ref, dir string) (u *upper, err error) {
	u = &upper{}
	switch {
	case f.keep != "":
		err = u.openIn(filepath.Join(store.Root(), "uppers", f.keep))
	case f.rw:
		err = u.openScratch(filepath.Join(store.Root(), "scratch"))
	default:
		u.Dirs, err = openDirs(f.upper, f.work)
	}
	if err != nil {
		return nil, err
	}
	if err := f.claim(u, base, ref, dir); err != nil {
		return nil, errors.Join(err, u.Close())
	}
	return u, nil
}

// openIn opens an upper of mica's own, made if it is not there.
func (u *upper) openIn(root string) (err error) {
	up, work := filepath.Join(root, "upper"), filepath.Join(root, "work")
	if err := errors.Join(os.MkdirAll(up, 0o755), os.MkdirAll(work, 0o755)); err != nil {
		return err
	}
	u.Dirs, err = openDirs(up, work)
	return err
}

// openScratch makes an upper for one mount, and removes what others have left
// whose servers all were killed.
func (u *upper) openScratch(all string) error {
	if err := os.MkdirAll(all, 0o755); err != nil {
		return err
	}
	lock, err := os.Open(all)
	if err != nil {
		return err
	}
	defer lock.Close()
	// Until ours is locked it looks dead to others.
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return &os.PathError{Op: "flock", Path: all, Err: err}
	}
	removeDeadScratch(all)
	if u.scratch, err = os.MkdirTemp(all, ""); err != nil {
		return err
	}
	return u.openIn(u.scratch)
}

// endingFor is how long one that was unmounted may take to end.
const endingFor = 3 * time.Second

// openDirs opens the directories, when the server of a mount that is gone has
// let go of them.
func openDirs(up, work string) (d writable.Dirs, err error) {
	for end := time.Now().Add(endingFor); ; time.Sleep(5 * time.Millisecond) {
		d, err = writable.OpenDirs(up, work)
		var busy *writable.BusyError
		if !errors.As(err, &busy) || busy.Mount == "" || time.Now().After(end) {
			return d, err
		}
		if mounted, e := fs.MountedAt(busy.Mount); e != nil || mounted {
			return d, err
		}
	}
}

// claim notes in an upper what it is used for.
func (f *upperFlags) claim(u *upper, base, ref, dir string) error {
	had, err := u.Base()
	if err != nil {
		return err
	}
	if had != "" && had != base && !f.force {
		return &otherBaseError{u.Upper.Name()}
	}
	if err := u.SetMount(dir); err != nil {
		return err
	}
	if err := u.SetImage(ref); err != nil {
		return err
	}
	return u.SetBase(base)
}

// base names what is below an upper, whatever it is called.
func (s *service) base() string {
	h := sha256.New()
	tell := func(layers []serviceLayer) {
		for _, l := range layers {
			fmt.Fprintln(h, first(l.DiffID, l.Digest))
		}
	}
	tell(s.Layers)
	for _, l := range s.Lowers {
		fmt.Fprintln(h, "lower", l.Inode)
		if l.Image != nil {
			tell(l.Image.Layers)
		}
	}
	return "layers:" + hex.EncodeToString(h.Sum(nil))
}

// otherBaseError says that an upper was made over something else.
type otherBaseError struct{ upper string }

func (e *otherBaseError) Error() string { return e.upper + ": made over another image" }
func (e *otherBaseError) Code() string  { return "other-image" }
func (e *otherBaseError) Hint() string {
	return "--force takes it all the same: files that it changed then lie over other ones"
}

// removeDeadScratch removes what mounts have left whose servers all were killed.
func removeDeadScratch(root string) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return
	}
	for _, e := range entries {
		dir := filepath.Join(root, e.Name())
		dirs, err := writable.OpenDirs(filepath.Join(dir, "upper"), filepath.Join(dir, "work"))
		if err != nil {
			continue // in use
		}
		_ = os.RemoveAll(dir)
		_ = dirs.Close()
	}
}

// serviceUpper tells a server of its upper.
type serviceUpper struct {
	Files   int    `json:"files"` // where its two directories are among the files
	Scratch string `json:"scratch,omitempty"`
	AtOpen  bool   `json:"atOpen,omitempty"` // see writable.View.CopyAtOpen
	// Kernel says that the kernel's overlayfs writes to it: the server has its
	// directories open, and serves what is below.
	Kernel bool `json:"kernel,omitempty"`
}

// view puts the upper of a held mount over what is below.
func (s *serviceUpper) view(held *fs.Held, lower overlay.Lower) (*writable.View, error) {
	files := held.Files()
	if s.Files+2 > len(files) {
		return nil, fmt.Errorf("%d files for an upper at %d", len(files), s.Files)
	}
	d := writable.Dirs{Upper: files[s.Files], Work: files[s.Files+1]}
	v, err := writable.Open(lower, d, held.Succeeds())
	if err == nil && s.AtOpen {
		v.CopyAtOpen()
	}
	return v, err
}

// removeScratch removes what was to last as long as the mount.
func (s *serviceUpper) removeScratch() error {
	if s.Scratch == "" {
		return nil
	}
	return os.RemoveAll(s.Scratch)
}
