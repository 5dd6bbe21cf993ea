package images

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Saved is an image that is to go into an archive.
type Saved struct {
	Desc ocispec.Descriptor
	Name string // in full; "" has none there
	// Image is the manifest that docker takes: Desc, or of an index for many
	// platforms one of its manifests.
	Image digest.Digest
}

// annotationImageName is where containerd and docker put the full name.
const annotationImageName = "io.containerd.image.name"

// Save writes images as an OCI image layout in a tar; with docker there is a
// manifest.json besides, as docker save has written it since 25. Blobs are
// those of the store, so digests stay.
func (s *Store) Save(ctx context.Context, w io.Writer, all []Saved, docker bool) (err error) {
	lease, err := s.Lease(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lease.Release()) }()
	blobs := map[digest.Digest]bool{}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	var manifests []dockerManifest
	for _, img := range all {
		if err := s.hold(ctx, lease, img.Desc.Digest); err != nil {
			return err
		}
		if err := s.reach(img.Desc.Digest, blobs); err != nil {
			return err
		}
		index.Manifests = append(index.Manifests, named(img))
		m, err := s.dockerManifest(img)
		if docker && err != nil {
			return err
		}
		manifests = append(manifests, m)
	}
	t := tar.NewWriter(w)
	if err := s.saveBlobs(ctx, t, blobs); err != nil {
		return err
	}
	err = saveJSON(t, ocispec.ImageIndexFile, index)
	if docker && err == nil {
		err = saveJSON(t, "manifest.json", manifests)
	}
	if err == nil {
		err = saveJSON(t, ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	}
	return errors.Join(err, t.Close())
}

// named is the descriptor of an image in the archive's index.
func named(img Saved) ocispec.Descriptor {
	d := row("", img.Desc)
	name, err := reference.ParseNormalizedNamed(img.Name)
	if err != nil {
		return d
	}
	d.Annotations = map[string]string{annotationImageName: img.Name}
	if tagged, ok := name.(reference.Tagged); ok {
		d.Annotations[ocispec.AnnotationRefName] = tagged.Tag()
	}
	return d
}

// A dockerManifest is an image of manifest.json.
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func (s *Store) dockerManifest(img Saved) (dockerManifest, error) {
	refs, err := s.References(img.Image)
	if err != nil {
		return dockerManifest{}, err
	}
	return dockerManifestOf(refs, img.Name)
}

func dockerManifestOf(refs *References, name string) (dockerManifest, error) {
	m := dockerManifest{RepoTags: []string{}, Layers: []string{}}
	if refs.Config == nil {
		return m, errors.New("a manifest without a config")
	}
	m.Config = blobName(refs.Config.Digest)
	for _, l := range refs.Layers {
		m.Layers = append(m.Layers, blobName(l.Digest))
	}
	if name != "" {
		m.RepoTags = append(m.RepoTags, Named{Name: name}.Familiar())
	}
	return m, nil
}

func blobName(d digest.Digest) string { return path.Join("blobs", d.Algorithm().String(), d.Encoded()) }

// saveBlobs writes those blobs that are here, in the order of their digests, so
// that an archive of the same images has the same bytes.
func (s *Store) saveBlobs(ctx context.Context, t *tar.Writer, blobs map[digest.Digest]bool) error {
	var sorted []digest.Digest
	for d := range blobs {
		sorted = append(sorted, d)
	}
	slices.Sort(sorted)
	if err := saveDirs(t, sorted); err != nil {
		return err
	}
	for _, d := range sorted {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		err := s.saveBlob(t, d)
		if errors.Is(err, os.ErrNotExist) {
			continue // of another platform
		}
		if err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
	}
	return nil
}

// saveDirs writes the directories of blobs: what an archive does not name, skopeo
// makes root's when it unpacks it, and fails where it may not.
func saveDirs(t *tar.Writer, sorted []digest.Digest) error {
	dirs := []string{"blobs/"}
	for _, d := range sorted {
		if dir := path.Dir(blobName(d)) + "/"; dir != dirs[len(dirs)-1] {
			dirs = append(dirs, dir)
		}
	}
	for _, dir := range dirs {
		if err := writeDir(t, dir); err != nil {
			return err
		}
	}
	return nil
}

func writeDir(t *tar.Writer, name string) error {
	h := header(name, 0)
	h.Typeflag, h.Mode = tar.TypeDir, 0o755
	return t.WriteHeader(h)
}

func (s *Store) saveBlob(t *tar.Writer, d digest.Digest) error {
	f, err := os.Open(s.BlobPath(d))
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if err := t.WriteHeader(header(blobName(d), st.Size())); err != nil {
		return err
	}
	check := d.Algorithm().Hash()
	if _, err := io.Copy(t, io.TeeReader(f, check)); err != nil {
		return err
	}
	if got := digest.NewDigest(d.Algorithm(), check); got != d {
		return fmt.Errorf("its bytes are those of %s: damaged or altered", got)
	}
	return nil
}

func header(name string, size int64) *tar.Header {
	// Who writes it owns it: tools that unpack an archive in a directory of their
	// own would fail to give files away.
	return &tar.Header{
		Typeflag: tar.TypeReg, Name: name, Mode: 0o444, Size: size, ModTime: time.Unix(0, 0), Uid: os.Geteuid(), Gid: os.Getegid(),
	}
}

func saveJSON(t *tar.Writer, name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := t.WriteHeader(header(name, int64(len(b)))); err != nil {
		return err
	}
	_, err = t.Write(b)
	return err
}
