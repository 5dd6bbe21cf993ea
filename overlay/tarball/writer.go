package tarball

import (
	"archive/tar"
	"bufio"
	"encoding/base64"
	"errors"
	"io"
	"net/url"
	"strings"

	"mica/layerstore/toc"
)

// Contents write n bytes of a regular file from off on to w.
type Contents func(w io.Writer, off, n int64) error

// A Writer writes one tar.
type Writer struct {
	w   *bufio.Writer
	tar *tar.Writer // to w
}

// NewWriter begins a tar on w, which stays the caller's.
func NewWriter(w io.Writer) *Writer {
	b := bufio.NewWriterSize(w, 64<<10)
	return &Writer{b, tar.NewWriter(b)}
}

// types are those of archive/tar.
var types = map[toc.Type]byte{
	toc.Regular: tar.TypeReg, toc.Dir: tar.TypeDir, toc.Symlink: tar.TypeSymlink, toc.Hardlink: tar.TypeLink,
	toc.Char: tar.TypeChar, toc.Block: tar.TypeBlock, toc.Fifo: tar.TypeFifo,
	toc.Whiteout: tar.TypeReg, toc.Opaque: tar.TypeReg,
}

// Add writes an entry. Its Path is written as it is, but for a slash at the end
// of a directory, "" being "./"; that of a mark is what the mark is about. Its
// Sparse says what of a regular file is no hole, nil being all. Off is not
// looked at. contents may be nil where there are none.
func (w *Writer) Add(e *toc.Entry, contents Contents) error {
	h := w.header(e)
	if e.Type == toc.Regular && e.Sparse != nil {
		return w.addSparse(h, e, contents)
	}
	if err := w.tar.WriteHeader(h); err != nil || e.Type != toc.Regular || e.Size == 0 {
		return err
	}
	return contents(w.tar, 0, e.Size)
}

func (w *Writer) header(e *toc.Entry) *tar.Header {
	h := &tar.Header{
		Typeflag: types[e.Type], Name: e.Path, Mode: int64(e.Mode), Uid: int(e.UID), Gid: int(e.GID),
		ModTime: e.Mtime.Time(), Linkname: e.Link, Devmajor: int64(e.Major), Devminor: int64(e.Minor),
	}
	switch e.Type {
	case toc.Regular:
		h.Size = e.Size
	case toc.Dir:
		if h.Name == "" {
			h.Name = "."
		}
		if !strings.HasSuffix(h.Name, "/") {
			h.Name += "/"
		}
	case toc.Whiteout, toc.Opaque:
		h.Name = toc.MarkerPath(e)
	}
	if e.Mtime.Nsec != 0 {
		h.Format = tar.FormatPAX // else archive/tar rounds to seconds
	}
	if len(e.Xattrs) > 0 {
		h.PAXRecords = xattrRecords(e.Xattrs)
	}
	return h
}

// Close ends the tar.
func (w *Writer) Close() error {
	return errors.Join(w.tar.Close(), w.w.Flush())
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
