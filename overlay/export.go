package overlay

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/base64"
	"io"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
)

// WriteTar writes a node and all below it as one tar: as it would be
// unpacked, so that the same tree is always the same bytes. The node itself
// is called name, what is in it name/…; a directory can have the name "", it
// is then "./", and what is in it has no prefix.
//
// The format is ustar, and PAX where that does not hold all: times below a
// second, long names, large numbers, extended attributes (SCHILY.xattr).
// Second names are hard links to the first; files with holes are in GNU's
// sparse format 1.0, which all but the simplest readers know.
func (v *View) WriteTar(ctx context.Context, w io.Writer, name string, id NodeID) error {
	buffered := bufio.NewWriterSize(w, 1<<16)
	e := exporter{
		view: v, w: buffered, tar: tar.NewWriter(buffered),
		first: map[NodeID]string{}, buf: make([]byte, copyLen),
	}
	err := v.Walk(name, id, func(at *Visit) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return e.add(ctx, at)
	})
	if err != nil {
		return err
	}
	if err := e.tar.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

// An exporter writes one tar.
type exporter struct {
	view  *View
	w     *bufio.Writer
	tar   *tar.Writer // to w
	buf   []byte
	first map[NodeID]string // under which name a node with several was written
}

func (e *exporter) add(ctx context.Context, at *Visit) error {
	h, err := e.header(at)
	if err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg {
		return e.tar.WriteHeader(h)
	}
	d, err := e.view.fileData(at.Attr.ID)
	if err != nil {
		return err
	}
	if d.sparse {
		return e.addSparse(ctx, h, d, at.Attr)
	}
	if err := e.tar.WriteHeader(h); err != nil {
		return err
	}
	_, err = e.view.writeRange(ctx, e.tar, at.Attr.ID, 0, d.size, e.buf)
	return err
}

// tarTypes are those of archive/tar for the kinds of file.
var tarTypes = map[uint32]byte{
	unix.S_IFREG: tar.TypeReg, unix.S_IFDIR: tar.TypeDir, unix.S_IFLNK: tar.TypeSymlink,
	unix.S_IFCHR: tar.TypeChar, unix.S_IFBLK: tar.TypeBlock, unix.S_IFIFO: tar.TypeFifo,
}

func (e *exporter) header(at *Visit) (*tar.Header, error) {
	a := at.Attr
	h := &tar.Header{
		Typeflag: tarTypes[a.Mode&unix.S_IFMT], Name: at.Path, Mode: int64(a.Mode & 0o7777),
		Uid: int(a.UID), Gid: int(a.GID), ModTime: a.Mtime.Time(),
	}
	if a.Mode&unix.S_IFMT != unix.S_IFDIR && a.Nlink > 1 {
		first, ok := e.first[a.ID]
		if ok {
			h.Typeflag, h.Linkname = tar.TypeLink, first
			h.ModTime = h.ModTime.Truncate(time.Second) // told with the first name
			return h, nil
		}
		e.first[a.ID] = at.Path
	}
	var err error
	switch h.Typeflag {
	case tar.TypeReg:
		h.Size = a.Size
	case tar.TypeDir:
		if h.Name == "" {
			h.Name = "."
		}
		h.Name = withSlash(h.Name)
	case tar.TypeSymlink:
		h.Linkname, err = e.view.Readlink(a.ID)
	case tar.TypeChar, tar.TypeBlock:
		major, minor := a.Device()
		h.Devmajor, h.Devminor = int64(major), int64(minor)
	}
	if err != nil {
		return nil, err
	}
	if a.Mtime.Nsec != 0 {
		h.Format = tar.FormatPAX // else archive/tar rounds to seconds
	}
	xs, err := e.view.Tree.Xattrs(a.ID)
	if len(xs) > 0 {
		h.PAXRecords = xattrRecords(xs)
	}
	return h, err
}

// xattrRecords gives attributes as PAX records.
func xattrRecords(xs []toc.Xattr) map[string]string {
	records := make(map[string]string, len(xs))
	for _, x := range xs {
		if strings.Contains(x.Name, "=") {
			// A keyword ends at the first "=". libarchive's has the name
			// encoded as in URLs.
			name := strings.ReplaceAll(url.PathEscape(x.Name), "=", "%3D")
			records["LIBARCHIVE.xattr."+name] = base64.RawStdEncoding.EncodeToString(x.Value)
			continue
		}
		records["SCHILY.xattr."+x.Name] = string(x.Value)
	}
	return records
}
