package transport

import (
	"cmp"
	"context"
	_ "crypto/sha256" // the algorithms that go-digest can check
	_ "crypto/sha512"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What is read of one image, in bytes: manifests and indexes as registries
// bound them, configs with room for long histories.
const (
	maxManifest = 4 << 20
	maxConfig   = 8 << 20
)

// How much an index may lead to: nested indexes, and so their depth, and
// manifests. Multi-platform images have some dozens of manifests in one index.
const (
	maxIndexes   = 64
	maxManifests = 1024
)

// A layout is the OCI form: blobs by digest and an index of what is there.
// skopeo's dir: is the same with other file names and a single entry.
type layout struct {
	files  files
	scheme string
	// paths gives the names that the blob of a digest may have.
	paths func(digest.Digest) []string
	// roots are the descriptors of the top index.
	roots func() ([]ocispec.Descriptor, error)
	// digests of layers, so that a layer that an image has twice is opened once.
	layers map[digest.Digest]*source
}

// newLayout opens an OCI image layout (image-spec image-layout.md).
func newLayout(fs files, scheme string) (*layout, error) {
	if err := checkLayoutVersion(fs); err != nil {
		return nil, err
	}
	l := &layout{files: fs, scheme: scheme, layers: map[digest.Digest]*source{}}
	l.paths = func(d digest.Digest) []string {
		return []string{"blobs/" + d.Algorithm().String() + "/" + d.Encoded()}
	}
	l.roots = func() ([]ocispec.Descriptor, error) {
		raw, err := readFile(fs, indexName, maxManifest)
		if absent(err) {
			return nil, &NotImageError{Text: "no image layout: it has no index.json"}
		}
		if err != nil {
			return nil, err
		}
		doc, err := parseDocument(indexName, raw)
		if err != nil {
			return nil, err
		}
		if !doc.isIndex() {
			return nil, corrupt(indexName, "is no index: it lists no manifests")
		}
		return doc.Manifests, nil
	}
	return l, nil
}

// checkLayoutVersion reads oci-layout where there is one; some builders leave
// it out.
func checkLayoutVersion(fs files) error {
	raw, err := readFile(fs, layoutName, maxManifest)
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var v ocispec.ImageLayout
	if err := decode(layoutName, raw, &v); err != nil {
		return err
	}
	if !strings.HasPrefix(v.Version, "1.") {
		return &UnsupportedError{Text: fmt.Sprintf("image layout of version %q: cannot read (can: 1)", v.Version)}
	}
	return nil
}

// newSkopeoDir opens what skopeo copy … dir: writes: manifest.json is the
// manifest or index itself, blobs lie beside it, named by their digest's hex.
func newSkopeoDir(fs files) *layout {
	l := &layout{files: fs, scheme: "dir", layers: map[digest.Digest]*source{}}
	l.paths = func(d digest.Digest) []string {
		return []string{d.Encoded(), d.Encoded() + ".manifest.json", d.Algorithm().String() + "-" + d.Encoded()}
	}
	l.roots = func() ([]ocispec.Descriptor, error) {
		raw, err := readFile(fs, manifestName, maxManifest)
		if absent(err) {
			return nil, &NotImageError{Text: "no image: it has no manifest.json"}
		}
		if err != nil {
			return nil, err
		}
		// Inline, so that it is read like any other.
		return []ocispec.Descriptor{{Digest: digest.FromBytes(raw), Size: int64(len(raw)), Data: raw}}, nil
	}
	return l
}

func (l *layout) close() error {
	var all closers
	for _, src := range l.layers {
		all = append(all, src)
	}
	return errors.Join(all.close(), l.files.close())
}

func (l *layout) list(context.Context) ([]entry, error) {
	roots, err := l.roots()
	if err != nil {
		return nil, err
	}
	images := slices.DeleteFunc(slices.Clone(roots), besideImages)
	if len(images) == 0 {
		images = roots // only artifacts: opened, they are refused by name
	}
	var entries []entry
	at := map[digest.Digest]int{}
	for _, d := range images {
		i, ok := at[d.Digest]
		if !ok {
			i = len(entries)
			at[d.Digest] = i
			entries = append(entries, entry{scheme: l.scheme, number: i, digest: d.Digest, desc: d})
		}
		for _, name := range namesOf(d) {
			if !slices.Contains(entries[i].names, name) {
				entries[i].names = append(entries[i].names, name)
			}
		}
	}
	return entries, nil
}

// annotationImageName is where containerd and docker put the full name.
const annotationImageName = "io.containerd.image.name"

func namesOf(d ocispec.Descriptor) []string {
	var names []string
	for _, key := range []string{ocispec.AnnotationRefName, annotationImageName} {
		if name := d.Annotations[key]; name != "" {
			names = append(names, name)
		}
	}
	return names
}

// besideImages says that a descriptor of an index is not one of its images:
// BuildKit's attestations, and artifacts such as signatures and SOCI indexes.
func besideImages(d ocispec.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] != "" || d.ArtifactType != "" ||
		d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
}

func (l *layout) find(_ context.Context, d digest.Digest) (entry, error) {
	src, err := l.openBlob(d)
	if err != nil {
		return entry{}, err
	}
	defer src.Close()
	return entry{scheme: l.scheme, digest: d, desc: ocispec.Descriptor{Digest: d, Size: src.Size()}}, nil
}

func (l *layout) platforms(ctx context.Context, e entry) []*ocispec.Platform {
	found, err := l.manifests(ctx, e.desc)
	if err != nil {
		return nil
	}
	var out []*ocispec.Platform
	for _, d := range found {
		out = append(out, l.platformOf(d))
	}
	return out
}

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
		queue = slices.Concat(queue, slices.DeleteFunc(doc.Manifests, besideImages))
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
	layer.Digest, layer.MediaType = d.Digest, d.MediaType
	if src, ok := l.layers[d.Digest]; ok && src.Size() == d.Size {
		layer.Blob = src
		return nil
	}
	src, err := l.open(object, d)
	if isMissing(err) && len(d.URLs) > 0 {
		return &UnsupportedError{Text: fmt.Sprintf("%s is not in here, but at %s: foreign layers are not fetched", object, d.URLs[0])}
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

func missingBlob(object string, d digest.Digest) error {
	return &CorruptError{withDigest(object, d), "missing", true}
}

// isMissing says that an error is of missingBlob.
func isMissing(err error) bool {
	var e *CorruptError
	return errors.As(err, &e) && e.missing
}

func withDigest(object string, d digest.Digest) string {
	if strings.Contains(object, string(d)) {
		return object
	}
	return object + " " + d.String()
}

// openBlob finds the blob of a digest; [iofs.ErrNotExist] says that it is not here.
func (l *layout) openBlob(d digest.Digest) (*source, error) {
	if err := d.Validate(); err != nil {
		return nil, corrupt("digest "+fmt.Sprintf("%q", string(d)), "%v", err)
	}
	var err error
	for _, name := range l.paths(d) {
		var src *source
		if src, err = l.files.open(name); err == nil {
			src.id = d.String()
			return src, nil
		}
		if !absent(err) {
			break
		}
	}
	return nil, err
}

func (l *layout) holds(d ocispec.Descriptor) bool {
	if len(d.Data) > 0 {
		return true
	}
	src, err := l.openBlob(d.Digest)
	if err != nil {
		return !absent(err)
	}
	src.Close()
	return true
}

// open gives the blob of a descriptor, of the length that it says.
func (l *layout) open(object string, d ocispec.Descriptor) (*source, error) {
	if len(d.Data) > 0 {
		if err := d.Digest.Validate(); err != nil {
			return nil, corrupt(object, "digest %q: %v", string(d.Digest), err)
		}
		src := bytesSource(d.Data)
		src.id = d.Digest.String()
		return src, checkSize(object, src, d)
	}
	src, err := l.openBlob(d.Digest)
	if absent(err) {
		return nil, missingBlob(object, d.Digest)
	}
	if err != nil {
		return nil, err
	}
	if err := checkSize(object, src, d); err != nil {
		src.Close()
		return nil, err
	}
	return src, nil
}

func checkSize(object string, src *source, d ocispec.Descriptor) error {
	if src.Size() == d.Size {
		return nil
	}
	return corrupt(withDigest(object, d.Digest), "%d bytes long, its descriptor says %d", src.Size(), d.Size)
}

// read gives the bytes of a small blob, which are those of its digest.
func (l *layout) read(object string, d ocispec.Descriptor, limit int64) ([]byte, error) {
	src, err := l.open(object, d)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	object = withDigest(object, d.Digest)
	raw, err := readAll(src, object, limit)
	if err != nil {
		return nil, err
	}
	if got := d.Digest.Algorithm().FromBytes(raw); got != d.Digest {
		return nil, corrupt(object, "its bytes are those of %s: damaged or altered", got)
	}
	return raw, nil
}

func (l *layout) document(object string, d ocispec.Descriptor) (*document, []byte, error) {
	raw, err := l.read(object, d, maxManifest)
	if err != nil {
		return nil, nil, err
	}
	doc, err := parseDocument(withDigest(object, d.Digest), raw)
	return doc, raw, err
}
