package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"mica/layerstore/blob"
)

// The files that tell the forms apart.
const (
	layoutName       = "oci-layout"
	indexName        = "index.json"
	manifestName     = "manifest.json"
	repositoriesName = "repositories"
)

// open opens what lies at the location, in the form that was named or else in
// the one that its contents tell.
func (at location) open(ctx context.Context, o Options) (form, error) {
	st, err := os.Stat(at.path)
	if err != nil {
		return nil, at.pathError(err)
	}
	if st.IsDir() {
		return at.openDirectory()
	}
	src, err := openFile(at.path)
	if err != nil {
		return nil, at.pathError(err)
	}
	switch at.scheme {
	case "rootfs":
		return &rootfs{src}, nil
	case "oci", "dir":
		src.Close()
		e := &NotImageError{Text: "a file, where " + at.scheme + ": names a directory"}
		if at.scheme == "oci" {
			e.hint = "for a layout in one file write oci-archive:" + at.path
		}
		return nil, e
	}
	fs, err := openArchive(ctx, src, o)
	if errors.Is(err, errNotTar) && st.Size() == 0 {
		return nil, &NotImageError{Text: "an empty file"}
	}
	if errors.Is(err, errNotTar) {
		return nil, &NotImageError{Text: "no image: neither a tar file nor a directory"}
	}
	if err != nil {
		return nil, err
	}
	f, err := at.recogniseArchive(fs)
	if err != nil {
		fs.close()
		return nil, err
	}
	return f, nil
}

func (at location) openDirectory() (form, error) {
	fs := directory(at.path)
	switch {
	case at.scheme != "" && at.scheme != "oci" && at.scheme != "dir":
		e := &NotImageError{Text: "a directory, where " + at.scheme + ": names a file"}
		if has(fs, indexName) {
			e.hint = "for a layout write oci:" + at.path
		}
		return nil, e
	case at.scheme != "dir" && (at.scheme == "oci" || has(fs, indexName)):
		return newLayout(fs, "oci")
	case at.scheme == "dir" || has(fs, manifestName):
		return newSkopeoDir(fs), nil
	}
	return nil, &NotImageError{Text: "a directory, but no image: neither oci-layout+index.json nor skopeo's manifest.json"}
}

// openArchive reads the headers of a tar file, which may be compressed.
func openArchive(ctx context.Context, file *source, o Options) (*archive, error) {
	owns := closers{file}
	src, err := expand(ctx, file, o)
	if err == nil {
		if c, ok := src.(io.Closer); ok && src != blob.Source(file) {
			owns = append(closers{c}, owns...)
		}
		var a *archive
		if a, err = readArchive(ctx, src, owns); err == nil {
			return a, nil
		}
	}
	owns.close()
	return nil, err
}

// expand gives the uncompressed bytes of a file, which is told by its magic.
func expand(ctx context.Context, file *source, o Options) (blob.Source, error) {
	head := make([]byte, min(blob.SniffLen, file.Size()))
	if n, err := file.ReadAt(head, 0); n < len(head) {
		return nil, err
	}
	switch c := blob.Sniff(head); {
	case c == blob.None:
		return file, nil
	case c != blob.Gzip && c != blob.Zstd:
		return nil, &UnsupportedError{
			Text: fmt.Sprintf("compressed with %v: cannot read (can: tar, gzip, zstd)", c),
			hint: "uncompress it first",
		}
	case o.Expand == nil:
		return nil, &UnsupportedError{Text: fmt.Sprintf("compressed with %v as a whole: cannot read", c), hint: "uncompress it first"}
	}
	return o.Expand(ctx, file)
}

func (at location) recogniseArchive(fs *archive) (form, error) {
	docker := at.scheme == "docker-archive"
	switch {
	case !docker && fs.holds(indexName):
		return newLayout(fs, "oci-archive")
	case at.scheme == "oci-archive" && fs.holds(manifestName):
		return nil, &NotImageError{
			Text: "a docker archive: it has manifest.json, but neither oci-layout nor index.json",
			hint: "write docker-archive:" + at.path,
		}
	case fs.holds(manifestName):
		return newDockerArchive(fs)
	case fs.holds(repositoriesName) || fs.holdsV1():
		return newV1Archive(fs)
	case fs.cut != nil:
		return nil, fs.cut
	case docker && fs.holds(indexName):
		return nil, &NotImageError{Text: "an OCI archive: it has no manifest.json", hint: "write oci-archive:" + at.path}
	}
	return nil, &NotImageError{
		Text: "a tar file, but no image: neither oci-layout+index.json nor manifest.json",
		hint: fmt.Sprintf("a plain root filesystem? mica mount rootfs:%s DIR", at.path),
	}
}

// holds says whether the archive has a file of that name.
func (a *archive) holds(name string) bool {
	_, ok := a.members[name]
	return ok
}

// holdsV1 says whether there is a layer as docker before 1.10 wrote them.
func (a *archive) holdsV1() bool {
	for name := range a.members {
		if id, ok := strings.CutSuffix(name, "/layer.tar"); ok && hexID.MatchString(id) && a.holds(id+"/json") {
			return true
		}
	}
	return false
}
