package e2e

import (
	"crypto/sha512"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// An imagePitfall is an image put together in an unusual way.
type imagePitfall struct {
	about   string
	files   layout // an OCI layout, or nil:
	archive []byte // a tar of an image
	want    []string
	refused string // a part of the error; "" is served
	hint    string // of what is refused: a part of what can be done
}

// The layers that the images are made of, and what they add up to.
var (
	lowerLayer = layerOf(dir("d"), file("d/a", "1"), file("d/b", "1"))
	upperLayer = layerOf(file("d/a", "2"), deleted("d/b"))
	bothLayers = []string{"d/", "d/a: 2"}
	lowerAlone = []string{"d/", "d/a: 1", "d/b: 1"}
)

// A buildLayout is a layout in the making, of which each part can be unusual.
type buildLayout struct {
	layout
	im       image
	manifest v1.Manifest
}

// building gives a layout of layers, not yet with its manifest.
func building(layers ...layer) *buildLayout {
	b := &buildLayout{layout: layout{}, im: layers}
	b.manifest = v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	for _, l := range layers {
		b.manifest.Layers = append(b.manifest.Layers, b.blob(v1.MediaTypeImageLayerGzip, gzipped.pack(l)))
	}
	b.manifest.Config = b.blob(v1.MediaTypeImageConfig, b.im.config())
	return b
}

// done lets change have a last word on the manifest.
func (b *buildLayout) done(change func(m *v1.Manifest)) layout {
	if change != nil {
		change(&b.manifest)
	}
	b.point(b.blob(b.manifest.MediaType, toJSON(b.manifest)))
	return b.layout
}

// indexed puts an index between the top one and the manifest, with others beside it.
func (b *buildLayout) indexed(beside ...v1.Descriptor) layout {
	d := b.blob(b.manifest.MediaType, toJSON(b.manifest))
	d.Platform = &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	for range 2 { // an index in an index
		beside = append(beside, d)
		d = b.blob(v1.MediaTypeImageIndex, toJSON(v1.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: beside,
		}))
		beside = nil
	}
	b.point(d)
	return b.layout
}

func imagePitfalls() []imagePitfall {
	empty := layerOf()
	attestation := func(b *buildLayout) v1.Descriptor { // as BuildKit adds them
		d := b.blob(v1.MediaTypeImageManifest, toJSON(v1.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest,
			Config: b.blob(v1.MediaTypeImageConfig, []byte(`{"architecture":"unknown","os":"unknown"}`)),
			Layers: []v1.Descriptor{b.blob("application/vnd.in-toto+json", []byte(`{}`))},
		}))
		d.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
		d.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
		return d
	}
	nested := building(lowerLayer, upperLayer)
	return []imagePitfall{
		{about: "no layers: FROM scratch", files: building().done(nil)},
		{about: "an empty layer: blocks of zeros", files: building(lowerLayer, empty, upperLayer).done(nil), want: bothLayers},
		{about: "the same layer twice", files: building(lowerLayer, upperLayer, lowerLayer).done(nil), want: lowerAlone},
		{about: "history lines without a layer", files: emptyHistory(), want: bothLayers},
		{about: "layers inline in their descriptors", files: building(lowerLayer, upperLayer).inlined(), want: bothLayers},
		{about: "SHA-512", files: sha512Layout(), want: bothLayers},
		{about: "attestations, nested indexes", files: nested.indexed(attestation(nested)), want: bothLayers},
		{about: "docker's media types", want: bothLayers, files: building(lowerLayer, upperLayer).done(func(m *v1.Manifest) {
			m.MediaType = "application/vnd.docker.distribution.manifest.v2+json"
			m.Config.MediaType = "application/vnd.docker.container.image.v1+json"
			for i := range m.Layers {
				m.Layers[i].MediaType = "application/vnd.docker.image.rootfs.diff.tar.gzip"
			}
		})},
		{about: "no media types", want: bothLayers, files: building(lowerLayer, upperLayer).done(func(m *v1.Manifest) {
			m.MediaType, m.Config.MediaType, m.Layers[0].MediaType, m.Layers[1].MediaType = "", "", "", ""
		})},
		{about: "a foreign layer that is here", want: bothLayers, files: building(lowerLayer, upperLayer).done(func(m *v1.Manifest) {
			m.Layers[0].MediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
			m.Layers[0].URLs = []string{"https://example.com/layer"}
		})},
		{about: "a layer that may not be distributed, and is here", want: bothLayers, files: building(lowerLayer, upperLayer).done(func(m *v1.Manifest) {
			m.Layers[1].MediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
		})},
		{about: "docker save", archive: image{lowerLayer, upperLayer}.dockerArchive("x:1", plain), want: bothLayers},
		{about: "docker save, its layers compressed", archive: image{lowerLayer, upperLayer}.dockerArchive("x:1", gzipped), want: bothLayers},
		{about: "docker save of today", archive: image{lowerLayer, upperLayer}.newDockerArchive("x:1", plain), want: bothLayers},
		{about: "docker save through gzip", archive: gzipped.pack(image{lowerLayer, upperLayer}.dockerArchive("x:1", plain)), want: bothLayers},
		{about: "docker save, a layer a symlink to another's", archive: linkedArchive(symlink("c/layer.tar", "../a/layer.tar")), want: lowerAlone},
		{about: "docker save, a layer a hard link to another's", archive: linkedArchive(hardlink("c/layer.tar", "a/layer.tar")), want: lowerAlone},
		{about: "docker save, members in another order", archive: reordered(image{lowerLayer, upperLayer}), want: bothLayers},
		{about: "docker save of before 1.10", archive: v1Archive(lowerLayer, upperLayer), want: bothLayers},

		{about: "a layer's size is wrong", refused: "bytes long, its descriptor says", files: building(lowerLayer).done(func(m *v1.Manifest) { m.Layers[0].Size++ })},
		{about: "a layer's size is 0", refused: "bytes long, its descriptor says 0", files: building(lowerLayer).done(func(m *v1.Manifest) { m.Layers[0].Size = 0 })},
		{about: "the digest is right, the diffID is not", refused: "layer 2: diffID is sha256:", files: otherDiffID()},
		{about: "a foreign layer that is elsewhere", refused: "https://example.com/layer: foreign layers are not fetched", hint: "fetch it from there to blobs/sha256/", files: foreign()},
		{about: "an encrypted layer", refused: "is encrypted (application/vnd.oci.image.layer.v1.tar+gzip+encrypted)", hint: "skopeo copy --decryption-key KEY", files: building(lowerLayer).done(func(m *v1.Manifest) {
			m.Layers[0].MediaType = v1.MediaTypeImageLayerGzip + "+encrypted"
		})},
		{about: "a layer of xz", refused: "compressed with xz: cannot read (can: tar, gzip, zstd)", hint: "skopeo copy --dest-compress-format gzip", files: firstBytes("\xfd7zXZ\x00")},
		{about: "a layer of bzip2", refused: "compressed with bzip2: cannot read", hint: "skopeo copy --dest-compress-format gzip", files: firstBytes("BZh91AY&SY")},
		{about: "a layer of an unknown kind", refused: "is application/vnd.foo.layer.v1+lz4: cannot read (can: tar, +gzip, +zstd, docker schema 2)", hint: "built anew", files: otherKind()},
		{about: "Windows", refused: "is a Windows image (windows/amd64): its layers are no root filesystem", hint: "--override-os linux", files: windows()},
		{about: "docker's schema 1", refused: "a docker schema 1 manifest: cannot read", hint: "skopeo copy --format v2s2", files: schema1()},
		{about: "a Helm chart", refused: "no image, but a Helm chart: application/vnd.cncf.helm.config.v1+json", hint: "oras pull", files: building(lowerLayer).done(func(m *v1.Manifest) {
			m.Config.MediaType = "application/vnd.cncf.helm.config.v1+json"
		})},
		{about: "an artifact of a kind that nobody knows", refused: "no image, but an artifact without a root filesystem: application/x.y", hint: "oras pull", files: building(lowerLayer).done(func(m *v1.Manifest) {
			m.ArtifactType, m.Config.MediaType = "application/x.y", v1.MediaTypeEmptyJSON
		})},
	}
}

// TestPitfallsImages mounts each, or is refused.
func TestPitfallsImages(t *testing.T) {
	needFUSE(t)
	for _, row := range imagePitfalls() {
		t.Run(row.about, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			ref := filepath.Join(h.dir, "image")
			err := row.files.write(ref)
			if row.files == nil {
				err = os.WriteFile(ref, row.archive, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			mnt, err := h.tryMount(ref)
			if row.refused != "" {
				if err == nil || !strings.Contains(err.Error(), row.refused) || !strings.Contains(err.Error(), row.hint) {
					t.Errorf("mount: %v, want %q and %q", err, row.refused, row.hint)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(row.want, lines(t, mnt)); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			h.umount(mnt)
		})
	}
}

// emptyHistory is an image whose config has lines for ENV and CMD too.
func emptyHistory() layout {
	b := building(lowerLayer, upperLayer)
	c := bareConfig()
	for i, l := range b.im {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.FromBytes(l))
		c.History = append(c.History, v1.History{CreatedBy: "ENV a=b", EmptyLayer: true}, v1.History{CreatedBy: "COPY " + string(rune('a'+i))})
	}
	return b.done(func(m *v1.Manifest) { m.Config = b.blob(v1.MediaTypeImageConfig, toJSON(c)) })
}

// bareConfig is a config of this machine's platform, and nothing more.
func bareConfig() v1.Image {
	return v1.Image{Platform: v1.Platform{OS: "linux", Architecture: runtime.GOARCH}, RootFS: v1.RootFS{Type: "layers"}}
}

// inlined has the layers in their descriptors and nowhere else.
func (b *buildLayout) inlined() layout {
	return b.done(func(m *v1.Manifest) {
		for i := range m.Layers {
			p := blobPath(m.Layers[i].Digest)
			m.Layers[i].Data = b.layout[p]
			delete(b.layout, p)
		}
	})
}

// sha512Layout has all its blobs by SHA-512.
func sha512Layout() layout {
	lo := layout{}
	blob := func(mediaType string, b []byte) v1.Descriptor {
		sum := sha512.Sum512(b)
		d := v1.Descriptor{MediaType: mediaType, Digest: digest.NewDigestFromEncoded(digest.SHA512, hex.EncodeToString(sum[:])), Size: int64(len(b))}
		lo[blobPath(d.Digest)] = b
		return d
	}
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	c := bareConfig()
	for _, l := range []layer{lowerLayer, upperLayer} {
		m.Layers = append(m.Layers, blob(v1.MediaTypeImageLayerGzip, gzipped.pack(l)))
		sum := sha512.Sum512(l)
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.NewDigestFromEncoded(digest.SHA512, hex.EncodeToString(sum[:])))
	}
	m.Config = blob(v1.MediaTypeImageConfig, toJSON(c))
	lo.point(blob(m.MediaType, toJSON(m)))
	return lo
}

// linkedArchive is a docker archive whose third layer is a link to the first.
func linkedArchive(link entry) []byte {
	im := image{lowerLayer, upperLayer, lowerLayer}
	return layerOf(
		link, file("a/layer.tar", string(lowerLayer)), file("b/layer.tar", string(upperLayer)), file("config.json", string(im.config())),
		file("manifest.json", string(toJSON([]dockerManifest{{Config: "config.json", Layers: []string{"a/layer.tar", "b/layer.tar", "c/layer.tar"}}}))))
}

// reordered is a docker archive with what is needed first at its end.
func reordered(im image) []byte {
	m := dockerManifest{Config: "sha256:" + digest.FromBytes(im.config()).Encoded()}
	var entries []entry
	for i, l := range slices.Backward(im) {
		name := digest.FromBytes(l).Encoded() + ".tar.gz"
		m.Layers = append([]string{name}, m.Layers...)
		entries = append(entries, file(name, string(codec([]codec{gzipped, plain}[i%2]).pack(l))))
	}
	entries = append(entries, file(m.Config, string(im.config())), file("manifest.json", string(toJSON([]dockerManifest{m}))))
	return layerOf(entries...)
}

// v1Archive is an image as docker saved them before 1.10: no manifest.json, but
// a directory a layer that names its parent.
func v1Archive(layers ...layer) []byte {
	parent := ""
	var entries []entry
	for _, l := range layers {
		id := digest.FromBytes(l).Encoded()
		config := map[string]string{"id": id, "parent": parent, "os": "linux"}
		entries = append(entries, dir(id), file(id+"/VERSION", "1.0"), file(id+"/json", string(toJSON(config))), file(id+"/layer.tar", string(l)))
		parent = id
	}
	return layerOf(append(entries, file("repositories", `{"x":{"1":"`+parent+`"}}`))...)
}

// otherDiffID promises for the second layer a diffID that it has not.
func otherDiffID() layout {
	b := building(lowerLayer, upperLayer)
	return b.done(func(m *v1.Manifest) {
		m.Config = b.blob(v1.MediaTypeImageConfig, image{lowerLayer, layerOf(file("x", ""))}.config())
	})
}

func foreign() layout {
	b := building(lowerLayer)
	return b.done(func(m *v1.Manifest) {
		delete(b.layout, blobPath(m.Layers[0].Digest))
		m.Layers[0].URLs = []string{"https://example.com/layer"}
	})
}

// firstBytes has a layer that begins so and goes on as it likes.
func firstBytes(head string) layout {
	b := building(lowerLayer)
	return b.done(func(m *v1.Manifest) {
		m.Layers[0] = b.blob(v1.MediaTypeImageLayer, append([]byte(head), make([]byte, 1000)...))
	})
}

func otherKind() layout {
	b := building(lowerLayer)
	return b.done(func(m *v1.Manifest) {
		m.Layers[0] = b.blob("application/vnd.foo.layer.v1+lz4", []byte("\x04\x22\x4d\x18 and so on"))
	})
}

func windows() layout {
	b := building(lowerLayer)
	c := bareConfig()
	c.OS, c.Architecture = "windows", "amd64"
	c.RootFS.DiffIDs = []digest.Digest{digest.FromBytes(lowerLayer)}
	return b.done(func(m *v1.Manifest) { m.Config = b.blob(v1.MediaTypeImageConfig, toJSON(c)) })
}

// schema1 is a manifest as docker had them before 1.10.
func schema1() layout {
	lo := layout{}
	lo.point(lo.blob("application/vnd.docker.distribution.manifest.v1+prettyjws", []byte(`{"schemaVersion":1,"name":"x","fsLayers":[]}`)))
	return lo
}
