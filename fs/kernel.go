package fs

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	overlayType = "overlay"
	// overlaySource is what the source of an overlay mount of mica's begins with.
	overlaySource = "mica:"
)

// An Overlay is a mount of the kernel's overlayfs over one of this package's.
type Overlay struct {
	Lower, Upper, Work string // directories
	Source             string // the image's full reference
	NoSuid, NoDev      bool
	NoExec, NoAtime    bool
}

// Mount mounts it at dir. The lower mount may be taken away then, lazily: it ends
// with this one. Only root may.
//
// Directories of the lower can be renamed (redirect_dir), and each file has its
// contents (metacopy=off), so that the upper is one that [mica/overlay/writable] goes on
// with, and the other way round. What the kernel breaks of POSIX, as it has no
// file handles of the lower (Options.NoHandles): names of one lower file part at
// the first change, the number of a file is another after it was copied up, and
// its device too. As everywhere, a descriptor opened to read before that, and what
// it is mapped to, keep what the file was.
func (o *Overlay) Mount(dir string) error {
	data := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s,redirect_dir=on,metacopy=off,index=off,xino=off",
		escapeOverlay(o.Lower), escapeOverlay(o.Upper), escapeOverlay(o.Work))
	if len(data) >= os.Getpagesize() {
		return &MountError{code: "mount-refused", text: fmt.Sprintf("mount on %s: the options of overlayfs are longer than a page", dir), err: unix.ENAMETOOLONG}
	}
	var flags uintptr
	for _, f := range []struct {
		set  bool
		flag uintptr
	}{{o.NoSuid, unix.MS_NOSUID}, {o.NoDev, unix.MS_NODEV}, {o.NoExec, unix.MS_NOEXEC}, {o.NoAtime, unix.MS_NOATIME}} {
		if f.set {
			flags |= f.flag
		}
	}
	err := unix.Mount(overlaySource+o.Source, dir, overlayType, flags, data)
	switch err {
	case nil:
		return nil
	case unix.ENODEV:
		return &MountError{code: "no-overlay", text: "the kernel has no overlayfs", hint: "modprobe overlay, or --engine fuse", err: err}
	case unix.EPERM:
		return &MountError{code: "no-overlay", text: fmt.Sprintf("mount on %s: %v", dir, err), hint: "be root, or --engine fuse", err: err}
	}
	return &MountError{code: "mount-refused", text: fmt.Sprintf("mount overlayfs on %s: %v", dir, err), hint: "dmesg | tail; --engine fuse", err: err}
}

// escapeOverlay is how overlayfs's options have a path.
func escapeOverlay(path string) string {
	return strings.NewReplacer(`\`, `\\`, ",", `\,`, ":", `\:`).Replace(path)
}

// Upper gives the upper directory of a mount of the kernel's overlayfs, "" of
// another.
func (m *Info) Upper() string {
	_, rest, ok := strings.Cut(","+m.Options, ",upperdir=")
	if !ok {
		return ""
	}
	var path strings.Builder
	for i := 0; i < len(rest) && rest[i] != ','; i++ {
		if rest[i] == '\\' && i+1 < len(rest) {
			i++
		}
		path.WriteByte(rest[i])
	}
	return path.String()
}
