package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mica/builder/source"
	"mica/layerstore/toc"
	"mica/overlay/tarball"
)

// A Rootfs is a directory that is to become the only layer of an image. Unlike
// with COPY all attributes of files are kept, but for those of this machine.
type Rootfs struct {
	// NotAfter, if not nil, is the latest time that a file has.
	NotAfter *time.Time
	// Note, if not nil, is told of what a layer cannot have.
	Note func(text string)

	dir   string
	open  *source.Directory
	items []source.Item
}

// OpenRootfs finds the files of a directory, whose contents are read later. Close
// it when they have been.
func OpenRootfs(ctx context.Context, dir string, note func(text string)) (_ *Rootfs, err error) {
	r := &Rootfs{Note: note, dir: dir}
	if r.open, err = source.OpenDirectory(dir); err != nil {
		return nil, err
	}
	r.items, err = source.Select(ctx, rootfsTree{r.open, r}, source.Request{Sources: []string{"."}, DestDir: true})
	if err != nil {
		return nil, errors.Join(err, r.open.Close())
	}
	return r, nil
}

// Close lets go of the directory.
func (r *Rootfs) Close() error { return r.open.Close() }

// Size is how many bytes of contents there are.
func (r *Rootfs) Size() int64 { return source.Size(r.items) }

// WriteTar writes the layer: sorted, so that the same files are the same bytes.
func (r *Rootfs) WriteTar(ctx context.Context, w io.Writer) error {
	rewrite := source.Rewrite{}
	if r.NotAfter != nil {
		rewrite.NotAfter = &toc.Time{Sec: r.NotAfter.Unix()}
	}
	t := tarball.NewWriter(w)
	err := source.Write(ctx, rootfsTree{r.open, r}, r.items, rewrite, func(e *toc.Entry, contents source.WriteContents) error {
		return t.Add(e, tarball.Contents(contents))
	})
	if err != nil {
		return err
	}
	return t.Close()
}

// rootfsTree is the directory without sockets and with all attributes.
type rootfsTree struct {
	source.Tree
	r *Rootfs
}

func (t rootfsTree) ReadDir(path string) ([]*source.File, error) {
	all, err := t.Tree.ReadDir(path)
	return slices.DeleteFunc(all, func(f *source.File) bool {
		socket := f.Entry.Type == source.Socket
		if socket && t.r.Note != nil {
			t.r.Note("/" + f.Entry.Path + " is a socket and left out")
		}
		return socket
	}), err
}

// maxXattrs bounds the names and the value of attributes, as Linux does.
const maxXattrs = 64 << 10

func (t rootfsTree) Xattrs(f *source.File) (list []toc.Xattr, err error) {
	path := filepath.Join(t.r.dir, f.Entry.Path)
	buf := make([]byte, maxXattrs)
	n, err := unix.Llistxattr(path, buf)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("attributes: %w", err)
	}
	names := strings.FieldsFunc(string(buf[:n]), func(r rune) bool { return r == 0 })
	slices.Sort(names)
	for _, name := range names {
		// Labels are this machine's, marks of overlayfs would be read as such.
		if name == "security.selinux" || strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.") {
			continue
		}
		n, err := unix.Lgetxattr(path, name, buf)
		if errors.Is(err, unix.ENODATA) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		list = append(list, toc.Xattr{Name: name, Value: slices.Clone(buf[:n])})
	}
	return list, nil
}
