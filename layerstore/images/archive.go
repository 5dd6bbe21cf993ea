package images

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// An Archive is an OCI image layout in a tar that images are copied to, one
// after the other; for docker with its manifest.json besides. It is written as
// it comes, so nothing of it is whole before Close.
type Archive struct {
	tar    *tar.Writer
	docker bool
	seen   map[digest.Digest]bool
	dirs   map[string]bool
	index  ocispec.Index
	named  []dockerManifest
}

// NewArchive writes an archive to w.
func NewArchive(w io.Writer, docker bool) *Archive {
	return &Archive{
		tar: tar.NewWriter(w), docker: docker, seen: map[digest.Digest]bool{}, dirs: map[string]bool{},
		index: ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex},
	}
}

// HasManifest is that of a [Target].
func (a *Archive) HasManifest(_ context.Context, d ocispec.Descriptor) (bool, error) {
	return a.seen[d.Digest], nil
}

// HasBlob is that of a [Target].
func (a *Archive) HasBlob(_ context.Context, d ocispec.Descriptor) (bool, error) {
	return a.seen[d.Digest], nil
}

// PutBlob is that of a [Target], for one caller at a time.
func (a *Archive) PutBlob(_ context.Context, d ocispec.Descriptor, _ string, open func() (io.ReadCloser, error)) error {
	if a.seen[d.Digest] {
		return nil
	}
	if err := d.Digest.Validate(); err != nil {
		return err
	}
	a.seen[d.Digest] = true
	if err := a.makeDirs(d.Digest); err != nil {
		return err
	}
	if err := a.tar.WriteHeader(header(blobName(d.Digest), d.Size)); err != nil {
		return err
	}
	return copyBlob(a.tar, d, open)
}

// makeDirs writes the directories of a blob that are not there yet: see saveDirs.
func (a *Archive) makeDirs(d digest.Digest) error {
	if a.dirs[d.Algorithm().String()] {
		return nil
	}
	a.dirs[d.Algorithm().String()] = true
	if len(a.dirs) > 1 {
		return writeDir(a.tar, "blobs/"+d.Algorithm().String()+"/")
	}
	return saveDirs(a.tar, []digest.Digest{d})
}

// PutManifest writes a manifest or an index, under a tag or a full name unless
// ref is its digest.
func (a *Archive) PutManifest(ctx context.Context, ref string, d ocispec.Descriptor, raw []byte) error {
	if err := a.PutBlob(ctx, d, "", bytesOf(raw)); err != nil || ref == d.Digest.String() {
		return err
	}
	top := row(ref, d)
	if strings.ContainsAny(ref, ":/") {
		top = named(Saved{Desc: d, Name: ref})
	}
	a.index.Manifests = append(a.index.Manifests, top)
	refs, err := ParseReferences("manifest "+d.Digest.String(), raw)
	if err != nil || !a.docker {
		return err
	}
	if refs.Manifests != nil {
		return errors.New("an index for many platforms, and docker-archive has one: leave out --all, or copy to an oci-archive")
	}
	m, err := dockerManifestOf(refs, ref)
	a.named = append(a.named, m)
	return err
}

// Close writes what is at the end of the archive. The writer stays the caller's.
func (a *Archive) Close() error {
	err := saveJSON(a.tar, ocispec.ImageIndexFile, a.index)
	if err == nil && a.docker {
		err = saveJSON(a.tar, "manifest.json", a.named)
	}
	if err == nil {
		err = saveJSON(a.tar, ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	}
	return errors.Join(err, a.tar.Close())
}
