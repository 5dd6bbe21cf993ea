package transport

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
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
	// layers are those opened, by digest: an image may have one twice.
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
	images := slices.DeleteFunc(slices.Clone(roots), BesideImages)
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

// BesideImages says that a descriptor of an index is not one of its images:
// BuildKit's attestations, and artifacts such as signatures and SOCI indexes.
func BesideImages(d ocispec.Descriptor) bool {
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
