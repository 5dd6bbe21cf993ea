package transport

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"mica/layerstore/blob"
)

// maxMembers bounds the members of an archive that are remembered: a layout
// with every image of a large project has some thousands.
const maxMembers = 1 << 18

// maxName bounds the names of members that are remembered, in bytes.
const maxName = 4096

// maxLinks bounds how many links lead from a name to its bytes.
const maxLinks = 16

// An archive is a tar file of which the members are known, by name.
type archive struct {
	src     blob.Source
	members map[string]member
	cut     *TruncatedError // nil: the archive is whole
	cutName string          // the member that the cut is in
	closers closers
}

// A member is a regular file, or a link to another name.
type member struct {
	off, size int64  // of a regular file
	target    string // of a link: another name; "" in a link is outside or void
	link      bool
	sparse    bool
}

// errNotTar says that a file does not begin as a tar does.
var errNotTar = errors.New("not a tar file")

// readArchive walks the headers of a tar file and seeks past what is between
// them. What is in owns is closed with the archive.
func readArchive(ctx context.Context, src blob.Source, owns closers) (*archive, error) {
	a := &archive{src: src, members: map[string]member{}, closers: owns}
	in := io.NewSectionReader(src, 0, src.Size())
	tr := tar.NewReader(in)
	var last string
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		hdr, err := tr.Next()
		switch {
		case err == io.EOF && src.Size() > 0:
			return a, nil
		case err == io.EOF:
			return nil, errNotTar
		case n == 0 && (errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF)):
			return nil, errNotTar
		case errors.Is(err, io.ErrUnexpectedEOF):
			a.cut = &TruncatedError{Size: src.Size()}
			return a, nil
		case errors.Is(err, tar.ErrHeader):
			return nil, corrupt("the archive", "no tar header follows %q", last)
		case err != nil:
			return nil, err
		case n == maxMembers:
			return nil, &NotImageError{Text: fmt.Sprintf("a tar file of more than %d members is no image", maxMembers)}
		}
		last = hdr.Name
		// The reader stands where the data begins.
		off, _ := in.Seek(0, io.SeekCurrent)
		if !a.add(hdr, off) {
			return a, nil
		}
	}
}

// add notes a member; false says that the archive ends inside of it. Names
// that lead outside are no names of this archive; of two the later one counts,
// as when tar unpacks them.
func (a *archive) add(hdr *tar.Header, off int64) bool {
	name := inside(strings.TrimLeft(hdr.Name, "/")) // as tar unpacks it
	m := member{off: off, size: hdr.Size}
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeCont:
		m.sparse = isSparse(hdr)
	case tar.TypeGNUSparse:
		m.sparse = true
	case tar.TypeLink:
		m.link, m.target = true, inside(strings.TrimLeft(hdr.Linkname, "/"))
	case tar.TypeSymlink:
		m.link = true
		if !path.IsAbs(hdr.Linkname) {
			m.target = inside(path.Join(path.Dir(name), hdr.Linkname))
		}
	default:
		return true
	}
	if name != "" && len(name) <= maxName {
		a.members[name] = m
	}
	if !m.link && !m.sparse && m.size > a.src.Size()-off {
		a.cutName = name
		a.cut = &TruncatedError{Size: a.src.Size(), Inside: hdr.Name, Want: m.size}
		return false
	}
	return true
}

// isSparse tells the PAX forms: such data are not the file's, byte by byte.
func isSparse(hdr *tar.Header) bool {
	for key := range hdr.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// inside gives the plain form of a name, "" for one that is absolute, leads
// outside or is the root.
func inside(name string) string {
	clean := path.Clean(name)
	if path.IsAbs(clean) || clean == "." || clean == ".." || strings.HasPrefix(clean, "../") {
		return ""
	}
	return clean
}

func (a *archive) open(name string) (*source, error) {
	at := name
	for range maxLinks {
		m, ok := a.members[at]
		switch {
		case a.cut != nil && ok && at == a.cutName:
			return nil, &TruncatedError{Size: a.cut.Size, Inside: a.cut.Inside, Want: a.cut.Want, asked: true}
		case a.cut != nil && !ok:
			return nil, a.cut
		case !ok && at == name:
			return nil, notExist(name)
		case !ok:
			return nil, corrupt(name, "links to %q, which is not in the archive", at)
		case m.link && m.target == "":
			return nil, corrupt(name, "links to outside of the archive")
		case m.link:
			at = m.target
		case m.sparse:
			return nil, &UnsupportedError{Text: fmt.Sprintf("%s is a sparse file in the archive: it cannot be read in place", name)}
		default:
			return section(a.src, m.off, m.size), nil
		}
	}
	return nil, corrupt(name, "more than %d links lead on from it", maxLinks)
}

func (a *archive) close() error { return a.closers.close() }
