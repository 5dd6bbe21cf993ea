package e2e

import (
	"archive/tar"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A flavour is one way to have a writable directory over lower layers. The last
// two are controls: what a test asks of mica and they do not do is a wrong test,
// or a rule that the test says they break.
type flavour string

const (
	overImage flavour = "mica over an image"
	overDirs  flavour = "mica over directories"
	kernel    flavour = "kernel overlayfs"
	// overKernel is mica's own use of the kernel's overlayfs, over an image. What
	// that breaks this does.
	overKernel flavour = "mica over an image, by the kernel"
	plainDir   flavour = "a plain directory"
)

func (f flavour) isMica() bool { return f == overImage || f == overDirs }

// isKernel reports whether it is the kernel's overlayfs that takes the changes.
func (f flavour) isKernel() bool { return f == kernel || f == overKernel }

// ofImage reports whether what is below is an image.
func (f flavour) ofImage() bool { return f == overImage || f == overKernel }

// flavours are those that can be had here. MICA_TEST_FLAVOUR names the only one to try.
func flavours() []flavour {
	all := []flavour{overImage, overDirs, kernel, plainDir}
	if only := flavour(os.Getenv("MICA_TEST_FLAVOUR")); only != "" {
		all = []flavour{only}
	}
	return all
}

// andByKernel adds mica's use of the kernel to flavours: to suites that tell what that
// breaks apart.
func andByKernel(all []flavour) []flavour {
	if len(all) == 1 {
		return all
	}
	return append(all, overKernel)
}

// A union is a writable directory over lower layers, bottom first.
type union struct {
	flavour
	h     *host
	dir   string // where it is seen
	lower string // the image, or the directories as overlayfs's option has them
	// On one filesystem; "" for a plain directory.
	upper, work string
	index       string // the kernel's option of that name; "on" if ""
}

// newUnion makes the layers and mounts them.
func newUnion(t *testing.T, f flavour, layers ...[]entry) *union {
	t.Helper()
	needRoot(t)
	u, err := tryUnion(t, f, layers...)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func tryUnion(t *testing.T, f flavour, layers ...[]entry) (*union, error) {
	t.Helper()
	h := newHost(t)
	return unionIn(h, h.dir, f, layers...)
}

// unionIn is newUnion with all that changes in a directory of its own, which may
// be another filesystem.
func unionIn(h *host, at string, f flavour, layers ...[]entry) (*union, error) {
	u := &union{flavour: f, h: h, dir: filepath.Join(h.dir, "m")}
	if f == plainDir {
		u.dir = filepath.Join(at, "m")
	}
	if err := os.Mkdir(u.dir, 0o755); err != nil {
		return nil, err
	}
	if f == plainDir {
		for _, l := range layers {
			if err := putLayer(u.dir, l, false); err != nil {
				return nil, err
			}
		}
		return u, nil
	}
	u.upper, u.work = filepath.Join(at, "u"), filepath.Join(at, "w")
	if err := errors.Join(os.Mkdir(u.upper, 0o755), os.Mkdir(u.work, 0o755)); err != nil {
		return nil, err
	}
	var err error
	if u.lower, err = putLower(h.dir, f, layers); err != nil {
		return nil, err
	}
	return u, u.mount()
}

// putLower writes layers as a flavour wants them, and gives what it mounts.
func putLower(root string, f flavour, layers [][]entry) (string, error) {
	if f.ofImage() {
		var im image
		for _, l := range layers {
			im = append(im, layerOf(l...))
		}
		lower := filepath.Join(root, "oci")
		_, err := im.writeOCI(lower, gzipped)
		return lower, err
	}
	var dirs []string
	for i, l := range layers {
		// Short, as all of them have to fit a page for mount(2).
		dir := filepath.Join(root, fmt.Sprint("l", i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return "", err
		}
		if err := putLayer(dir, l, true); err != nil {
			return "", err
		}
		dirs = append(dirs, dir)
	}
	slices.Reverse(dirs)
	return strings.Join(dirs, ":"), nil
}

func (u *union) mount() error {
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", u.lower, u.upper, u.work)
	var err error
	switch u.flavour {
	case overImage:
		_, err = output(u.h.command("mount", "--upper", u.upper, "--work", u.work, u.lower, u.dir))
	case overKernel:
		_, err = output(u.h.command("mount", "--engine", "kernel", "--upper", u.upper, "--work", u.work, u.lower, u.dir))
	case overDirs:
		_, err = output(u.h.command("mount", "-o", options, u.dir))
	case kernel:
		// With all that it can do towards POSIX.
		err = unix.Mount("overlay", u.dir, "overlay", 0, options+",redirect_dir=on,xino=auto,index="+cmp.Or(u.index, "on"))
	}
	return err
}

func (u *union) umount() error {
	switch u.flavour {
	case overImage, overDirs, overKernel:
		var err error // see unmountFree
		waitFor(func() bool {
			_, err = output(u.h.command("umount", u.dir))
			return err == nil || !strings.Contains(err.Error(), "busy")
		})
		return err
	case kernel:
		return unmountFree(u.dir)
	}
	return nil
}

// unmountFree unmounts once nobody uses a mount: a process that is about to run
// another program has our files still open.
func unmountFree(dir string) (err error) {
	waitFor(func() bool { err = unix.Unmount(dir, 0); return err != unix.EBUSY })
	return err
}

func (u *union) remount() error {
	if err := u.umount(); err != nil {
		return err
	}
	return u.mount()
}

// complaints is the beginning of what mica's log says of errors.
func (u *union) complaints() string {
	const most = 3000
	var b strings.Builder
	log, _ := os.ReadFile(filepath.Join(u.h.dir, "store/mica.log"))
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "level=ERROR") && b.Len() < most {
			b.WriteString(line[:min(len(line), most)])
		}
	}
	return b.String()
}

// putLayer writes a layer into a directory: as overlayfs has it, with marks for
// what it hides, or applied to what is there.
func putLayer(root string, entries []entry, marks bool) error {
	for _, e := range entries {
		if err := e.put(root, marks); err != nil {
			return fmt.Errorf("layer: %w", err)
		}
	}
	// Last, as each entry changes its directory's.
	for _, e := range slices.Backward(entries) {
		if h := e.h; h != nil && h.Typeflag == tar.TypeDir {
			ts := unix.NsecToTimespec(h.ModTime.UnixNano())
			if err := unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(root, h.Name), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e entry) put(root string, marks bool) error {
	h, data := e.h, e.data
	if e.raw != nil {
		r := tar.NewReader(bytes.NewReader(e.raw))
		var err error
		if h, err = r.Next(); err != nil {
			return err
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		data = string(b)
	}
	p := filepath.Join(root, h.Name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		return err
	}
	if hidden, ok := strings.CutPrefix(filepath.Base(p), ".wh."); ok {
		return putMark(filepath.Dir(p), hidden, marks)
	}
	if old, err := os.Lstat(p); err == nil && !(old.IsDir() && h.Typeflag == tar.TypeDir) {
		if err := os.RemoveAll(p); err != nil {
			return err
		}
	}
	var err error
	switch mode := uint32(h.Mode); h.Typeflag {
	case tar.TypeDir:
		if err = os.Mkdir(p, 0o755); os.IsExist(err) {
			err = nil
		}
	case tar.TypeSymlink:
		err = os.Symlink(h.Linkname, p)
	case tar.TypeLink:
		return os.Link(filepath.Join(root, h.Linkname), p)
	case tar.TypeChar, tar.TypeBlock:
		typ := map[byte]uint32{tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK}[h.Typeflag]
		err = unix.Mknod(p, typ|mode, int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))))
	case tar.TypeFifo:
		err = unix.Mkfifo(p, mode)
	default:
		err = writeSparse(p, data)
	}
	if err != nil {
		return err
	}
	if err := os.Lchown(p, h.Uid, h.Gid); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := unix.Chmod(p, uint32(h.Mode)); err != nil {
			return err
		}
	}
	for key, val := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
			if err := unix.Lsetxattr(p, name, []byte(val), 0); err != nil {
				return fmt.Errorf("%s: %s: %w", p, name, err)
			}
		}
	}
	ts := unix.NsecToTimespec(h.ModTime.UnixNano())
	return unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}

// putMark hides a name of a directory, or all that lower layers have in it if
// the name is .wh..opq.
func putMark(dir, hidden string, marks bool) error {
	opaque := hidden == ".wh..opq"
	switch {
	case opaque && marks:
		return unix.Setxattr(dir, "trusted.overlay.opaque", []byte("y"), 0)
	case marks:
		return unix.Mknod(filepath.Join(dir, hidden), unix.S_IFCHR, 0)
	case !opaque:
		return os.RemoveAll(filepath.Join(dir, hidden))
	}
	// Only right where the mark comes first in its layer.
	names, err := os.ReadDir(dir)
	for _, d := range names {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, d.Name())))
	}
	return err
}

// writeSparse writes a file with a hole for each page of zeros.
func writeSparse(path, data string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	zeros := strings.Repeat("\x00", 4096)
	for off := 0; off < len(data); off += len(zeros) {
		if page := data[off:min(off+len(zeros), len(data))]; page != zeros[:len(page)] {
			if _, err := f.WriteAt([]byte(page), int64(off)); err != nil {
				return err
			}
		}
	}
	return f.Truncate(int64(len(data)))
}
