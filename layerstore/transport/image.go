package transport

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mica/layerstore/blob"
)

// Options say how an image is chosen.
type Options struct {
	// Platform is os/arch[/variant]. Empty means $DOCKER_DEFAULT_PLATFORM, else
	// this machine's; then, and only then, an image that is there for a single
	// platform is taken whatever that is.
	Platform string
	// Expand gives random access to the uncompressed bytes of an archive that
	// is compressed as a whole, a docker save piped through gzip for one. What
	// it gives is closed with the image if it is an io.Closer. With nil such
	// archives are refused.
	Expand func(ctx context.Context, src blob.Source) (blob.Source, error)
	// Named finds what is neither a path nor begins with the name of a form, or
	// begins with docker:// or registry:, which is left out then: an image by
	// name. [iofs.ErrNotExist] is that there is none. With nil there never is.
	Named func(ctx context.Context, name string) (Found, error)
}

// Found is where an image lies that was asked for by name.
type Found struct {
	Layout string // a directory, an OCI image layout
	Digest digest.Digest
	Name   string // in full, without the digest; "" has none
}

// An Image is an image on this machine whose parts can be read. Close it when
// none of its blobs is read any more.
type Image struct {
	Name   string   // for people: "debian:12", or what was typed
	Source string   // in full, and a reference again: "oci:/srv/oci:3.21@sha256:…"
	Names  []string // all that it has where it lies, as stored: tags, or full names

	// Manifest and RawManifest are zero where the format has none: docker
	// archives without an index.json, and rootfs.
	Manifest    ocispec.Descriptor
	RawManifest []byte

	// RawConfig and ConfigDigest are zero for rootfs. A docker archive without
	// manifest.json has no config but one for each layer: Config is put
	// together from that of the top, RawConfig is that, ConfigDigest is empty.
	Config       ocispec.Image
	RawConfig    []byte
	ConfigDigest digest.Digest

	Layers []Layer // bottom to top

	// Expanded says that the image lies in an archive that is compressed as a
	// whole, so that its layers are read through [Options.Expand].
	Expanded bool

	form form // owns the open files
}

// A Layer is one layer of an image, as stored.
type Layer struct {
	Digest    digest.Digest // of the blob; "" where the format does not tell
	DiffID    digest.Digest // of the uncompressed layer; "" where the format does not tell
	MediaType string        // as the manifest has it, which may be wrong; "" where there is none
	// Annotations are those of the manifest's descriptor; nil where there is none.
	Annotations map[string]string

	// What the history tells, matched by count without its empty layers; zero
	// where the counts differ.
	History string // created_by: the command that made the layer
	Comment string
	Created *time.Time

	Blob blob.Source // the same one where an image has a layer twice
}

// Open finds the image that ref names, in a form of the package document, and
// opens it. Errors are of the types of this package where the image is at
// fault, else those of the file system.
func Open(ctx context.Context, ref string, o Options) (*Image, error) {
	want, err := wantedPlatform(o.Platform)
	if err != nil {
		return nil, err
	}
	at, err := locateNamed(ctx, ref, o)
	if err != nil {
		return nil, err
	}
	expanded := false
	if expand := o.Expand; expand != nil {
		o.Expand = func(ctx context.Context, src blob.Source) (blob.Source, error) {
			expanded = true
			return expand(ctx, src)
		}
	}
	f, err := at.open(ctx, o)
	if err != nil {
		return nil, err
	}
	img, err := openFrom(ctx, f, at, want)
	if err != nil {
		f.close()
		return nil, err
	}
	img.Expanded = expanded
	return img, nil
}

func openFrom(ctx context.Context, f form, at location, want platform) (*Image, error) {
	entries, err := f.list(ctx)
	if err != nil {
		return nil, err
	}
	chosen, err := choose(ctx, f, entries, at, want)
	if err != nil {
		return nil, err
	}
	img, err := f.image(ctx, chosen, want)
	if err != nil {
		return nil, err
	}
	img.Name, img.Source = at.names(chosen, img)
	img.Names = chosen.names
	img.form = f
	return img, nil
}

// Close lets go of the files that hold the image.
func (img *Image) Close() error { return img.form.close() }
