package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// How much an index may lead to: nested indexes, and so their depth, and
// manifests. Multi-platform images have some dozens of manifests in one index.
const (
	maxIndexes   = 64
	maxManifests = 1024
)

// platformOf gives the platform of a manifest, out of its config where the
// descriptor does not tell; nil if that cannot be read.
func (l *layout) platformOf(d ocispec.Descriptor) *ocispec.Platform {
	if d.Platform != nil {
		return d.Platform
	}
	doc, _, err := l.document("manifest", d)
	if err != nil || doc.Config == nil {
		return nil
	}
	raw, err := l.read("config", *doc.Config, maxConfig)
	if err != nil {
		return nil
	}
	cfg, err := parseConfig("config", raw)
	if err != nil || cfg.OS == "" && cfg.Architecture == "" {
		return nil
	}
	return &cfg.Platform
}

// manifests gives the image manifests that a descriptor leads to, through any
// indexes. Those that are not here, as other platforms of an image that was
// saved for one, are left out unless nothing else is left.
func (l *layout) manifests(ctx context.Context, root ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	var found, missing []ocispec.Descriptor
	seen := map[digest.Digest]bool{}
	indexes := 0
	for queue := []ocispec.Descriptor{root}; len(queue) > 0; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		d := queue[0]
		queue = queue[1:]
		if seen[d.Digest] {
			continue
		}
		if seen[d.Digest] = true; len(seen) > maxManifests {
			return nil, corrupt("index "+root.Digest.String(), "too large: more than %d manifests", maxManifests)
		}
		if isManifestType(d.MediaType) && d.Platform != nil {
			if l.holds(d) {
				found = append(found, d)
			} else {
				missing = append(missing, d)
			}
			continue
		}
		doc, _, err := l.document("manifest", d)
		if isMissing(err) {
			missing = append(missing, d)
			continue
		}
		if err != nil {
			return nil, err
		}
		if !doc.isIndex() {
			found = append(found, d)
			continue
		}
		if indexes++; indexes > maxIndexes || len(doc.Manifests) > maxManifests {
			return nil, corrupt("index "+d.Digest.String(), "too large: more than %d manifests or %d nested indexes", maxManifests, maxIndexes)
		}
		queue = slices.Concat(queue, slices.DeleteFunc(doc.Manifests, BesideImages))
	}
	switch {
	case len(found) == 0 && len(missing) > 0:
		return nil, missingBlob("manifest", missing[0].Digest)
	case len(found) == 0:
		return nil, &NotFoundError{Text: "the index lists no image"}
	}
	return found, nil
}

func isManifestType(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageManifest || mediaType == mediaTypeDockerManifest
}

func (l *layout) image(ctx context.Context, e entry, want platform) (*Image, error) {
	found, err := l.manifests(ctx, e.desc)
	if err != nil {
		return nil, err
	}
	at := 0
	if len(found) > 1 {
		list := make([]*ocispec.Platform, len(found))
		for i, d := range found {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			list[i] = l.platformOf(d)
		}
		if at, err = want.best(list); err != nil {
			return nil, err
		}
	}
	return l.load(ctx, found[at], want)
}

// load opens the image of one manifest.
func (l *layout) load(ctx context.Context, d ocispec.Descriptor, want platform) (*Image, error) {
	doc, raw, err := l.document("manifest", d)
	if err != nil {
		return nil, err
	}
	if err := doc.checkImage(withDigest("manifest", d.Digest)); err != nil {
		return nil, err
	}
	d.MediaType, d.Data = cmp.Or(d.MediaType, doc.MediaType, ocispec.MediaTypeImageManifest), nil
	img := &Image{Manifest: d, RawManifest: raw, ConfigDigest: doc.Config.Digest}
	object := "config " + doc.Config.Digest.String()
	if img.RawConfig, err = l.read(object, *doc.Config, maxConfig); err != nil {
		return nil, err
	}
	if img.Config, err = parseConfig(object, img.RawConfig); err != nil {
		return nil, err
	}
	// An index knows better: many configs are of the builder's platform.
	if err := want.check(*cmp.Or(d.Platform, &img.Config.Platform)); err != nil {
		return nil, err
	}
	if err := refuseWindows(img.Config.Platform); err != nil {
		return nil, err
	}
	if img.Layers, err = layersOf(img.Config, len(doc.Layers)); err != nil {
		return nil, err
	}
	for i, ld := range doc.Layers {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := l.openLayer(&img.Layers[i], layerName(i, len(doc.Layers)), ld); err != nil {
			return nil, err
		}
	}
	return img, nil
}

func (l *layout) openLayer(layer *Layer, object string, d ocispec.Descriptor) error {
	if err := refuseLayerType(object, d.MediaType); err != nil {
		return err
	}
	layer.Digest, layer.MediaType, layer.Annotations = d.Digest, d.MediaType, d.Annotations
	if src, ok := l.layers[d.Digest]; ok && src.Size() == d.Size {
		layer.Blob = src
		return nil
	}
	src, err := l.open(object, d)
	if isMissing(err) && len(d.URLs) > 0 {
		return &UnsupportedError{
			Text: fmt.Sprintf("%s is not in here, but at %s: foreign layers are not fetched", object, d.URLs[0]),
			hint: l.foreignHint(d.Digest),
		}
	}
	if err != nil {
		return inLayer(err, object)
	}
	l.layers[d.Digest] = src
	layer.Blob = src
	return refuseUnknownBytes(object, d.MediaType, src)
}

// inLayer names the layer that an archive ends in; the archive knows the
// member only.
func inLayer(err error, object string) error {
	var cut *TruncatedError
	if errors.As(err, &cut) && cut.asked {
		return &TruncatedError{Size: cut.Size, Inside: object, Want: cut.Want}
	}
	return err
}

// foreignHint says what to do about a layer that lies elsewhere.
func (l *layout) foreignHint(d digest.Digest) string {
	if _, ok := l.files.(directory); !ok {
		return "unpack the archive to a directory, and fetch the layer to its blobs/" + d.Algorithm().String() + "/" + d.Encoded()
	}
	return "fetch it from there to " + l.paths(d)[0] + ", beside the others"
}
