package transport

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mica/layerstore/blob"
)

// Docker's own media types (distribution's manifest-v2-2.md).
const (
	mediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	mediaTypeDockerConfig   = "application/vnd.docker.container.image.v1+json"
)

// maxLayers bounds the layers of an image; docker allows 127, overlayfs 500.
const maxLayers = 4096

// A document is a manifest or an index, OCI's or docker's: what a descriptor
// says of it is not relied on, what is in there tells.
type document struct {
	SchemaVersion int                  `json:"schemaVersion"`
	MediaType     string               `json:"mediaType"`
	ArtifactType  string               `json:"artifactType"`
	Config        *ocispec.Descriptor  `json:"config"`
	Layers        []ocispec.Descriptor `json:"layers"`
	Manifests     []ocispec.Descriptor `json:"manifests"`
	FSLayers      json.RawMessage      `json:"fsLayers"` // schema 1
}

func parseDocument(object string, raw []byte) (*document, error) {
	var d document
	if err := decode(object, raw, &d); err != nil {
		return nil, err
	}
	switch {
	case d.SchemaVersion == 1 || d.FSLayers != nil:
		return nil, &UnsupportedError{
			Text: "a docker schema 1 manifest: cannot read (can: docker schema 2, OCI)",
			hint: "pull and push it with a docker of 2016 or later, or convert it: skopeo copy --format v2s2 SRC DST",
		}
	case d.isIndex() && (d.Config != nil || d.Layers != nil):
		// Readers that go by one or the other would see two images (CVE-2021-41190).
		return nil, corrupt(object, "has both manifests and layers")
	case len(d.Layers) > maxLayers:
		return nil, corrupt(object, "%d layers; more than %d are not read", len(d.Layers), maxLayers)
	}
	return &d, nil
}

// decode reads a JSON file, with errors that do not speak of Go.
func decode(object string, raw []byte, v any) error {
	err := json.Unmarshal(raw, v)
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return corrupt(object, "a JSON %s at offset %d, where something else belongs", kind.Value, kind.Offset)
	}
	if err != nil {
		return corrupt(object, "not right as JSON: %v", err)
	}
	return nil
}

func (d *document) isIndex() bool { return d.Manifests != nil }

// artifacts names what is often found in a registry and is no image, by the
// beginning of its media type.
var artifacts = []struct{ mediaType, name string }{
	{"application/vnd.cncf.helm.", "a Helm chart"},
	{"application/vnd.cncf.flux.", "a Flux artifact"},
	{"application/vnd.in-toto", "an in-toto attestation"},
	{"application/vnd.dev.cosign.", "a cosign signature"},
	{"application/vnd.dev.sigstore.", "a sigstore bundle"},
	{"application/vnd.cncf.notary.", "a notary signature"},
	{"application/spdx", "an SBOM"},
	{"application/vnd.cyclonedx", "an SBOM"},
	{"application/vnd.syft", "an SBOM"},
	{"application/vnd.amazon.soci.", "a SOCI index"},
	{"application/vnd.wasm.", "a WebAssembly module"},
	{"application/vnd.sylabs.sif.", "a Singularity image"},
	{"application/vnd.docker.plugin.", "a docker plugin"},
	{"application/vnd.buildkit.cacheconfig.", "a BuildKit cache"},
}

// checkImage refuses what has no root filesystem.
func (d *document) checkImage(object string) error {
	what := d.ArtifactType
	switch {
	case d.Config == nil && what == "":
		return corrupt(object, "has neither a config nor manifests")
	case d.Config != nil && isConfigType(d.Config.MediaType):
		return nil
	case d.Config != nil && (what == "" || what == ocispec.MediaTypeEmptyJSON):
		what = d.Config.MediaType
	}
	if err := refuseArtifact(what); err != nil {
		return err
	}
	return notImage("an artifact without a root filesystem", what)
}

// refuseArtifact refuses a media type that is known to be of no image.
func refuseArtifact(mediaType string) error {
	for _, a := range artifacts {
		if strings.HasPrefix(mediaType, a.mediaType) {
			return notImage(a.name, mediaType)
		}
	}
	return nil
}

func notImage(what, mediaType string) error {
	return &UnsupportedError{Text: fmt.Sprintf("no image, but %s: %s", what, mediaType), hint: "to have its files: oras pull, or skopeo copy SRC dir:DIR"}
}

// isConfigType knows the media types of image configs. Docker 1.10 pushed
// them as octet-stream, and some write none.
func isConfigType(mediaType string) bool {
	return slices.Contains([]string{ocispec.MediaTypeImageConfig, mediaTypeDockerConfig, "application/octet-stream", ""}, mediaType)
}

// refuseLayerType refuses layers that are known to be none we can read. Others
// are tried, their bytes tell.
func refuseLayerType(object, mediaType string) error {
	if strings.HasSuffix(mediaType, "+encrypted") || strings.Contains(mediaType, "+encrypted+") {
		return &UnsupportedError{
			Text: fmt.Sprintf("%s is encrypted (%s)", object, mediaType),
			hint: "decrypt it first: skopeo copy --decryption-key KEY SRC DST",
		}
	}
	// Signatures have the config of an image.
	return refuseArtifact(mediaType)
}

// layerTypes are the beginnings of the media types of layers that are tar
// files, compressed in some way.
var layerTypes = []string{
	"application/vnd.oci.image.layer.v1.tar",
	"application/vnd.oci.image.layer.nondistributable.v1.tar",
	"application/vnd.docker.image.rootfs.diff.tar",
	"application/vnd.docker.image.rootfs.foreign.diff.tar",
	"application/vnd.docker.container.image.rootfs.diff",
}

// refuseUnknownBytes refuses a layer of an unknown media type that does not
// begin as a layer does.
func refuseUnknownBytes(object, mediaType string, src *source) error {
	if slices.ContainsFunc(layerTypes, func(known string) bool { return strings.HasPrefix(mediaType, known) }) {
		return nil
	}
	head := make([]byte, min(512, src.Size()))
	if n, err := src.ReadAt(head, 0); n < len(head) {
		return fmt.Errorf("%s: %w", object, err)
	}
	if c := blob.Sniff(head); c == blob.Gzip || c == blob.Zstd || c == blob.None && isTar(head) {
		return nil
	}
	return &UnsupportedError{
		Text: fmt.Sprintf("%s is %s: cannot read (can: tar, +gzip, +zstd, docker schema 2)", object, cmp.Or(mediaType, "of no media type")),
		hint: "have it built anew with layers of gzip or zstd",
	}
}

// isTar says whether a file may begin so: with a header, or with the end mark
// of an empty one.
func isTar(head []byte) bool {
	return len(head) == 512 && (string(head[257:262]) == "ustar" || !slices.ContainsFunc(head, func(b byte) bool { return b != 0 }))
}
