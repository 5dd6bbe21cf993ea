package transport

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestSelect chooses among the images of a layout.
func TestSelect(t *testing.T) {
	a, b, c := layer(t, "a"), layer(t, "b"), layer(t, "c")
	l := newBuilder(t)
	first := l.image(amd64, a)
	l.tag(first, "3.19")
	l.tag(first, "3")
	l.tag(annotated(l.image(amd64, b), ocispec.AnnotationRefName, "12", annotationImageName, "docker.io/library/debian:12"), "")
	l.tag(l.image(amd64, c), "ghcr.io/x/y:12-slim")
	nameless := l.image(amd64, a, b)
	l.tag(nameless, "")
	dir := l.dir()
	all := fmt.Sprintf("%[1]s:3.19, %[1]s:debian:12, %[1]s:ghcr.io/x/y:12-slim, %[1]s@%s", dir, nameless.Digest)
	has := "3.19, debian:12, ghcr.io/x/y:12-slim, @" + nameless.Digest.String()
	for _, tt := range []struct {
		about, sel       string
		want             [][]byte
		text, code, hint string
	}{
		{about: "a tag", sel: ":3.19", want: [][]byte{a}},
		{about: "another tag of the same image", sel: ":3", want: [][]byte{a}},
		{about: "a tag with a full name beside", sel: ":12", want: [][]byte{b}},
		{about: "the full name", sel: ":docker.io/library/debian:12", want: [][]byte{b}},
		{about: "the name as people write it", sel: ":debian:12", want: [][]byte{b}},
		{about: "a full name in place of a tag", sel: ":ghcr.io/x/y:12-slim", want: [][]byte{c}},
		{about: "the tag of that", sel: ":12-slim", want: [][]byte{c}},
		{about: "a number", sel: ":@3", want: [][]byte{a, b}},
		{about: "a digest", sel: "@" + nameless.Digest.String(), want: [][]byte{a, b}},
		{about: "nothing", text: "holds 4 images, name one: " + all, code: "ambiguous"},
		{about: "no such tag", sel: ":3.18", text: `tag "3.18" not found (has: ` + has + ")", code: "not-found", hint: "similar: 3.19"},
		{about: "no such name", sel: ":fedora:12", text: `image "fedora:12" not found (has: ` + has + ")", code: "not-found", hint: ""},
		{about: "no such number", sel: ":@4", text: "image @4 not found (has: " + has + ")", code: "not-found"},
		{about: "no such digest", sel: "@" + sha, text: "digest " + sha + " not found (has: " + has + ")", code: "not-found"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			if tt.want != nil {
				checkLayers(t, mustOpen(t, dir+tt.sel, Options{}), tt.want...)
				return
			}
			wantFailure(t, dir+tt.sel, Options{}, tt.text, tt.code, tt.hint)
		})
	}
}

func TestList(t *testing.T) {
	b := newBuilder(t)
	one := b.image(amd64, layer(t, "a"))
	b.tag(one, "1")
	b.tag(one, "one")
	many := b.nested(on(amd64, one), on(arm64, b.image(arm64, layer(t, "b"))))
	b.tag(many, "")
	dir := b.dir()
	got, err := List(t.Context(), "oci:"+dir+":any", Options{})
	want := []Listed{
		{Ref: "oci:" + dir + ":1", Names: []string{"1", "one"}, Digest: one.Digest, Platforms: []string{"linux/amd64"}},
		{Ref: "oci:" + dir + "@" + many.Digest.String(), Digest: many.Digest, Platforms: []string{"linux/amd64", "linux/arm64"}},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("List: %v (-want +got):\n%s", err, diff)
	}
}

func TestManyTags(t *testing.T) {
	b := newBuilder(t)
	for i := range 11 {
		b.tag(b.image(amd64, layer(t, fmt.Sprint(i))), fmt.Sprintf("v%d", i))
	}
	wantFailure(t, b.dir()+":nothing", Options{}, `tag "nothing" not found (has: v0, v1, v2, v3, v4, v5, v6, v7; 3 more)`, "not-found", "")
}

func TestPlatform(t *testing.T) {
	layers := map[string][]byte{}
	b := newBuilder(t)
	var descs []ocispec.Descriptor
	for _, p := range []ocispec.Platform{amd64, {OS: "linux", Architecture: "arm", Variant: "v6"}, {OS: "linux", Architecture: "arm", Variant: "v7"}, arm64, {OS: "windows", Architecture: "amd64"}} {
		text := formatAll([]*ocispec.Platform{&p})[0]
		layers[text] = layer(t, text)
		descs = append(descs, on(p, b.image(p, layers[text])))
	}
	attestation := annotated(b.image(amd64, layer(t, "attestation")), "vnd.docker.reference.type", "attestation-manifest")
	descs = append(descs, on(ocispec.Platform{OS: "unknown", Architecture: "unknown"}, attestation))
	index := b.nested(descs...)
	b.tag(index, "nested")
	b.tag(b.nested(b.nested(index)), "deep")
	for i := range descs {
		descs[i].Platform = nil // told by the configs then
	}
	b.tag(b.nested(descs...), "bare")
	for _, d := range descs[:5] {
		b.tag(d, "flat")
	}
	only := on(arm64, b.image(arm64, layers["linux/arm64"]))
	b.tag(b.nested(only, attestation), "single")
	dir := b.dir()
	has := " (has: linux/amd64, linux/arm/v6, linux/arm/v7, linux/arm64, windows/amd64)"
	for _, tt := range []struct{ about, tag, ask, want, text, hint string }{
		{about: "that one", tag: "nested", ask: "linux/arm64", want: "linux/arm64"},
		{about: "its other name", tag: "nested", ask: "linux/aarch64/v8", want: "linux/arm64"},
		{about: "exact variant", tag: "nested", ask: "linux/arm/v6", want: "linux/arm/v6"},
		{about: "the best that a newer one runs", tag: "nested", ask: "linux/arm/v8", want: "linux/arm/v7"},
		{about: "none", tag: "nested", ask: "linux/riscv64", text: "no linux/riscv64" + has, hint: "--platform linux/amd64"},
		{about: "indexes in indexes", tag: "deep", ask: "linux/arm/v7", want: "linux/arm/v7"},
		{about: "descriptors do not tell", tag: "bare", ask: "linux/arm64", want: "linux/arm64"},
		{about: "one tag on several", tag: "flat", ask: "linux/arm64", want: "linux/arm64"},
		{about: "and none of them", tag: "flat", ask: "linux/s390x", text: "no linux/s390x" + has, hint: "--platform linux/amd64"},
		{about: "the only one, asked for another", tag: "single", ask: "linux/amd64", text: "no linux/amd64 (has: linux/arm64)", hint: "--platform linux/arm64"},
		{about: "the only one", tag: "single", ask: "", want: "linux/arm64"},
		{about: "Windows", tag: "nested", ask: "windows/amd64", text: "is a Windows image (windows/amd64): its layers are no root filesystem",
			hint: "if it was made for Linux too, copy that: skopeo copy --override-os linux SRC DST"},
		{about: "not a platform", tag: "nested", ask: "a/b/c/d", text: `invalid platform "a/b/c/d": it is os/arch[/variant], as linux/arm64/v8`},
	} {
		t.Run(tt.about, func(t *testing.T) {
			if tt.want != "" {
				checkLayers(t, mustOpen(t, dir+":"+tt.tag, Options{Platform: tt.ask}), layers[tt.want])
				return
			}
			text, _, hint := failure(t, dir+":"+tt.tag, Options{Platform: tt.ask})
			if text != tt.text || hint != tt.hint {
				t.Errorf("got %q, hint %q; want %q, hint %q", text, hint, tt.text, tt.hint)
			}
		})
	}
	t.Run("from the environment", func(t *testing.T) {
		t.Setenv("DOCKER_DEFAULT_PLATFORM", "linux/arm/v7")
		checkLayers(t, mustOpen(t, dir+":nested", Options{}), layers["linux/arm/v7"])
		checkLayers(t, mustOpen(t, dir+":nested", Options{Platform: "linux/amd64"}), layers["linux/amd64"])
	})
}

// TestSavedForOnePlatform has an index of two images of which one is not there,
// as docker save leaves it.
func TestSavedForOnePlatform(t *testing.T) {
	l := layer(t, "l")
	b := newBuilder(t)
	other := b.image(amd64, layer(t, "other"))
	delete(b.files, "blobs/sha256/"+other.Digest.Encoded())
	b.tag(b.nested(on(amd64, other), on(arm64, b.image(arm64, l))), "1")
	checkLayers(t, mustOpen(t, b.archive(), Options{}), l)
	wantFailure(t, b.dir(), Options{Platform: "linux/amd64"}, "no linux/amd64 (has: linux/arm64)", "platform", "--platform linux/arm64")
}

// TestUnusual opens images that are rare and right.
func TestUnusual(t *testing.T) {
	one, two := layer(t, "one"), layer(t, "two")
	for _, tt := range []struct {
		about string
		build func(b *builder) ocispec.Descriptor
		want  [][]byte
	}{
		{about: "no layers", build: func(b *builder) ocispec.Descriptor { return b.image(amd64) }},
		{about: "the same layer twice", want: [][]byte{one, two, one}, build: func(b *builder) ocispec.Descriptor { return b.image(amd64, one, two, one) }},
		{about: "no oci-layout file", want: [][]byte{one}, build: func(b *builder) ocispec.Descriptor {
			delete(b.files, layoutName)
			return b.image(amd64, one)
		}},
		{about: "docker's media types", want: [][]byte{one}, build: func(b *builder) ocispec.Descriptor {
			d := b.blob("application/vnd.docker.distribution.manifest.v2+json", toJSON(t, map[string]any{
				"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
				"config": b.blob("application/vnd.docker.container.image.v1+json", toJSON(t, configOf(t, amd64, one))),
				"layers": []any{b.blob("application/vnd.docker.image.rootfs.diff.tar.gzip", gzipped(t, one))},
			}))
			return b.blob("application/vnd.docker.distribution.manifest.list.v2+json", toJSON(t, map[string]any{
				"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json", "manifests": []any{on(amd64, d)},
			}))
		}},
		{about: "no media types", want: [][]byte{one}, build: func(b *builder) ocispec.Descriptor {
			d := b.manifest(ocispec.Manifest{Config: b.blob("", toJSON(t, configOf(t, amd64, one))), Layers: []ocispec.Descriptor{b.blob("", one)}})
			d.MediaType = ""
			return d
		}},
		{about: "an unknown media type of what is a layer", want: [][]byte{one}, build: func(b *builder) ocispec.Descriptor {
			return b.manifest(ocispec.Manifest{Config: b.blob(ocispec.MediaTypeImageConfig, toJSON(t, configOf(t, amd64, one))),
				Layers: []ocispec.Descriptor{b.blob("application/vnd.foo.layer", gzipped(t, one))}})
		}},
		{about: "sha512 digests", want: [][]byte{one}, build: func(b *builder) ocispec.Descriptor {
			strong := func(mediaType string, body []byte) ocispec.Descriptor {
				d := digest.SHA512.FromBytes(body)
				b.files["blobs/sha512/"+d.Encoded()] = body
				return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(body))}
			}
			m := ocispec.Manifest{Config: strong(ocispec.MediaTypeImageConfig, toJSON(t, configOf(t, amd64, one)))}
			m.Layers = []ocispec.Descriptor{strong(ocispec.MediaTypeImageLayer, one)}
			return strong(ocispec.MediaTypeImageManifest, toJSON(t, m))
		}},
		{about: "everything inline", want: [][]byte{one}, build: func(b *builder) ocispec.Descriptor {
			inline := func(mediaType string, body []byte) ocispec.Descriptor {
				return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(body), Size: int64(len(body)), Data: body}
			}
			m := ocispec.Manifest{Config: inline(ocispec.MediaTypeImageConfig, toJSON(t, configOf(t, amd64, one)))}
			m.Layers = []ocispec.Descriptor{inline(ocispec.MediaTypeImageLayer, one)}
			return inline(ocispec.MediaTypeImageManifest, toJSON(t, m))
		}},
		{about: "a foreign layer that is here", want: [][]byte{one}, build: func(b *builder) ocispec.Descriptor {
			l := b.blob("application/vnd.oci.image.layer.nondistributable.v1.tar", one)
			l.URLs = []string{"https://example.com/l"}
			return b.manifest(ocispec.Manifest{Config: b.blob(ocispec.MediaTypeImageConfig, toJSON(t, configOf(t, amd64, one))), Layers: []ocispec.Descriptor{l}})
		}},
		{about: "signatures and other artifacts beside it", want: [][]byte{one}, build: func(b *builder) ocispec.Descriptor {
			for _, kind := range []string{"application/vnd.amazon.soci.index.v2+json", "application/vnd.dev.cosign.artifact.sig.v1+json"} {
				d := b.manifest(ocispec.Manifest{ArtifactType: kind, Config: b.blob(ocispec.MediaTypeEmptyJSON, []byte("{}"))})
				d.ArtifactType = kind
				b.tag(d, "")
			}
			return b.image(amd64, one)
		}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			b := newBuilder(t)
			b.tag(tt.build(b), "1")
			checkLayers(t, mustOpen(t, b.dir(), Options{}), tt.want...)
			checkLayers(t, mustOpen(t, b.archive(), Options{}), tt.want...)
		})
	}
}

// TestSquashed has more history than layers: no layer is told a wrong line.
func TestSquashed(t *testing.T) {
	l := layer(t, "l")
	cfg := configOf(t, amd64, l)
	cfg.History = append(cfg.History, ocispec.History{CreatedBy: "merged"})
	b := newBuilder(t)
	b.tag(b.manifest(ocispec.Manifest{Config: b.blob(ocispec.MediaTypeImageConfig, toJSON(t, cfg)), Layers: []ocispec.Descriptor{b.blob(ocispec.MediaTypeImageLayer, l)}}), "")
	if got := mustOpen(t, b.dir(), Options{}).Layers[0].History; got != "" {
		t.Errorf("history = %q, want none", got)
	}
}

// TestRefused opens images that cannot or must not be served.
func TestRefused(t *testing.T) {
	one, two := layer(t, "one"), layer(t, "two")
	config := func(b *builder, layers ...[]byte) ocispec.Descriptor {
		return b.blob(ocispec.MediaTypeImageConfig, toJSON(t, configOf(t, amd64, layers...)))
	}
	with := func(b *builder, d ocispec.Descriptor) ocispec.Descriptor {
		return b.manifest(ocispec.Manifest{Config: config(b, one), Layers: []ocispec.Descriptor{d}})
	}
	for _, tt := range []struct {
		about            string
		build            func(b *builder) ocispec.Descriptor
		text, code, hint string
		archiveHint      string // "" is the same
	}{
		{about: "schema 1", build: func(b *builder) ocispec.Descriptor {
			return b.blob("application/vnd.docker.distribution.manifest.v1+prettyjws", []byte(`{"schemaVersion":1,"fsLayers":[],"history":[]}`))
		}, text: "a docker schema 1 manifest: cannot read (can: docker schema 2, OCI)", code: "media-type",
			hint: "pull and push it with a docker of 2016 or later, or convert it: skopeo copy --format v2s2 SRC DST"},
		{about: "a Helm chart", build: func(b *builder) ocispec.Descriptor {
			return b.manifest(ocispec.Manifest{Config: b.blob("application/vnd.cncf.helm.config.v1+json", []byte("{}"))})
		}, text: "no image, but a Helm chart: application/vnd.cncf.helm.config.v1+json", code: "media-type",
			hint: "to have its files: oras pull, or skopeo copy SRC dir:DIR"},
		{about: "an artifact", build: func(b *builder) ocispec.Descriptor {
			return b.manifest(ocispec.Manifest{ArtifactType: "application/x.foo", Config: b.blob(ocispec.MediaTypeEmptyJSON, []byte("{}"))})
		}, text: "no image, but an artifact without a root filesystem: application/x.foo", code: "media-type",
			hint: "to have its files: oras pull, or skopeo copy SRC dir:DIR"},
		{about: "an encrypted layer", build: func(b *builder) ocispec.Descriptor {
			return with(b, b.blob("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", []byte("secret")))
		}, text: "layer 1/1 is encrypted (application/vnd.oci.image.layer.v1.tar+gzip+encrypted)", code: "media-type",
			hint: "decrypt it first: skopeo copy --decryption-key KEY SRC DST"},
		{about: "unknown bytes of an unknown media type", build: func(b *builder) ocispec.Descriptor {
			return with(b, b.blob("application/vnd.foo.layer.v1+lz4", []byte("\x04\x22\x4d\x18...")))
		}, text: "layer 1/1 is application/vnd.foo.layer.v1+lz4: cannot read (can: tar, +gzip, +zstd, docker schema 2)", code: "media-type",
			hint: "have it built anew with layers of gzip or zstd"},
		{about: "a foreign layer elsewhere", build: func(b *builder) ocispec.Descriptor {
			return with(b, ocispec.Descriptor{MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Digest: sha, Size: 1, URLs: []string{"https://example.com/l"}})
		}, text: "layer 1/1 is not in here, but at https://example.com/l: foreign layers are not fetched", code: "media-type",
			hint:        "fetch it from there to blobs/" + strings.Replace(sha, ":", "/", 1) + ", beside the others",
			archiveHint: "unpack the archive to a directory, and fetch the layer to its blobs/" + strings.Replace(sha, ":", "/", 1)},
		{about: "a signature with the config of an image", build: func(b *builder) ocispec.Descriptor {
			return with(b, b.blob("application/vnd.dev.cosign.simplesigning.v1+json", []byte("{}")))
		}, text: "no image, but a cosign signature: application/vnd.dev.cosign.simplesigning.v1+json", code: "media-type",
			hint: "to have its files: oras pull, or skopeo copy SRC dir:DIR"},
		{about: "a missing layer", build: func(b *builder) ocispec.Descriptor {
			return with(b, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: sha, Size: 1})
		}, text: "layer 1/1 " + sha + ": missing", code: "corrupt"},
		{about: "a missing manifest", build: func(b *builder) ocispec.Descriptor {
			return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: sha, Size: 1}
		}, text: "manifest " + sha + ": missing", code: "corrupt"},
		{about: "too many diff_ids", build: func(b *builder) ocispec.Descriptor {
			return b.manifest(ocispec.Manifest{Config: config(b, one, two), Layers: []ocispec.Descriptor{b.blob(ocispec.MediaTypeImageLayer, one)}})
		}, text: "config: 2 diff_ids for 1 layers", code: "corrupt"},
		{about: "a layer of another size", build: func(b *builder) ocispec.Descriptor {
			d := b.blob(ocispec.MediaTypeImageLayer, one)
			d.Size = 0
			return with(b, d)
		}, text: "layer 1/1 " + digest.FromBytes(one).String() + ": 2048 bytes long, its descriptor says 0", code: "corrupt"},
		{about: "a manifest of another size", build: func(b *builder) ocispec.Descriptor {
			d := b.blob(ocispec.MediaTypeImageManifest, []byte("{}"))
			d.Size = 3
			return d
		}, text: "manifest " + digest.FromString("{}").String() + ": 2 bytes long, its descriptor says 3", code: "corrupt"},
		{about: "a config that is another", build: func(b *builder) ocispec.Descriptor {
			d := b.blob(ocispec.MediaTypeImageConfig, []byte("{}"))
			b.files["blobs/sha256/"+d.Digest.Encoded()] = []byte("[]")
			return b.manifest(ocispec.Manifest{Config: d})
		}, text: "config " + digest.FromString("{}").String() + ": its bytes are those of " + digest.FromString("[]").String() + ": damaged or altered", code: "corrupt"},
		{about: "inline data that are others", build: func(b *builder) ocispec.Descriptor {
			return ocispec.Descriptor{Digest: digest.FromString("{}"), Size: 2, Data: []byte("[]")}
		}, text: "manifest " + digest.FromString("{}").String() + ": its bytes are those of " + digest.FromString("[]").String() + ": damaged or altered", code: "corrupt"},
		{about: "a digest that is a path", build: func(b *builder) ocispec.Descriptor {
			return with(b, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: "sha256:../../../../etc/passwd", Size: 1})
		}, text: `digest "sha256:../../../../etc/passwd": invalid checksum digest length`, code: "corrupt"},
		{about: "an algorithm that is a path", build: func(b *builder) ocispec.Descriptor {
			return with(b, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: "../..:passwd", Size: 1})
		}, text: `digest "../..:passwd": invalid checksum digest format`, code: "corrupt"},
		{about: "a diff_id that is none", build: func(b *builder) ocispec.Descriptor {
			return b.manifest(ocispec.Manifest{Config: b.blob(ocispec.MediaTypeImageConfig, []byte(`{"rootfs":{"diff_ids":["x"]}}`))})
		}, text: `config ` + digest.FromString(`{"rootfs":{"diff_ids":["x"]}}`).String() + `: diff_ids[0]: "x": invalid checksum digest format`, code: "corrupt"},
		{about: "both an index and a manifest", build: func(b *builder) ocispec.Descriptor {
			return b.blob("", []byte(`{"manifests":[],"layers":[]}`))
		}, text: "manifest " + digest.FromString(`{"manifests":[],"layers":[]}`).String() + ": has both manifests and layers", code: "corrupt"},
		{about: "neither", build: func(b *builder) ocispec.Descriptor { return b.blob("", []byte(`{}`)) },
			text: "manifest " + digest.FromString(`{}`).String() + ": has neither a config nor manifests", code: "corrupt"},
		{about: "an empty index", build: func(b *builder) ocispec.Descriptor { return b.nested([]ocispec.Descriptor{}...) },
			text: "the index lists no image", code: "not-found"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			b := newBuilder(t)
			d := tt.build(b)
			if d.MediaType == ocispec.MediaTypeImageIndex { // encoding/json writes an empty list as null
				d = b.blob(d.MediaType, []byte(`{"manifests":[]}`))
			}
			b.tag(d, "1")
			wantFailure(t, b.dir(), Options{}, tt.text, tt.code, tt.hint)
			hint := tt.hint
			if tt.archiveHint != "" {
				hint = tt.archiveHint
			}
			wantFailure(t, b.archive(), Options{}, tt.text, tt.code, hint)
		})
	}
}

// TestNotImage names what is no image.
func TestNotImage(t *testing.T) {
	dir := t.TempDir()
	notes := writeFile(t, "notes.tar", layer(t, "notes"))
	docker := writeFile(t, "d.tar", tarOf(t, file(manifestName, "[]")))
	b := newBuilder(t)
	b.tag(b.image(amd64, layer(t, "l")), "1")
	oci, ociTar := b.dir(), b.archive()
	future := newBuilder(t)
	future.files[layoutName] = []byte(`{"imageLayoutVersion":"2.0.0"}`)
	const noImage = "a tar file, but no image: neither oci-layout+index.json nor manifest.json"
	for _, tt := range []struct{ about, ref, text, code, hint string }{
		{"a tar file", notes, noImage, "not-image", "a plain root filesystem? mica mount rootfs:" + notes + " DIR"},
		{"no tar file", writeFile(t, "x", []byte(strings.Repeat("hello", 500))), "no image: neither a tar file nor a directory", "not-image", ""},
		{"a short file", writeFile(t, "x", []byte("hello")), "no image: neither a tar file nor a directory", "not-image", ""},
		{"an empty file", writeFile(t, "x", nil), "an empty file", "not-image", ""},
		{"an empty tar file", writeFile(t, "x", make([]byte, 10240)), noImage, "not-image", ""},
		{"a directory", dir, "a directory, but no image: neither oci-layout+index.json nor skopeo's manifest.json", "not-image", ""},
		{"a device", "/dev/null", "/dev/null is not a regular file", "not-image", ""},
		{"oci: of a directory that is none", "oci:" + dir, "no image layout: it has no index.json", "not-image", ""},
		{"dir: of a directory that is none", "dir:" + dir, "no image: it has no manifest.json", "not-image", ""},
		{"oci: of an archive", "oci:" + ociTar, "a file, where oci: names a directory", "not-image", "for a layout in one file write oci-archive:" + ociTar},
		{"oci-archive: of a layout", "oci-archive:" + oci, "a directory, where oci-archive: names a file", "not-image", "for a layout write oci:" + oci},
		{"oci-archive: of a docker archive", "oci-archive:" + docker, "a docker archive: it has manifest.json, but neither oci-layout nor index.json", "not-image", "write docker-archive:" + docker},
		{"docker-archive: of an OCI archive", "docker-archive:" + ociTar, "an OCI archive: it has no manifest.json", "not-image", "write oci-archive:" + ociTar},
		{"rootfs: of a directory", "rootfs:" + dir, "a directory, where rootfs: names a file", "not-image", ""},
		{"a layout of the future", future.dir(), `image layout of version "2.0.0": cannot read (can: 1)`, "media-type", ""},
		{"no image in there", docker, "holds no image", "not-found", ""},
	} {
		t.Run(tt.about, func(t *testing.T) {
			if tt.about == "an empty tar file" {
				tt.hint = "a plain root filesystem? mica mount rootfs:" + tt.ref + " DIR"
			}
			wantFailure(t, tt.ref, Options{}, tt.text, tt.code, tt.hint)
		})
	}
}

// TestHostile bounds what an image may cost.
func TestHostile(t *testing.T) {
	open := func(t *testing.T, b *builder) (text, code string) {
		t.Helper()
		text, code, _ = failure(t, b.dir(), Options{})
		return text, code
	}
	t.Run("deep nesting", func(t *testing.T) {
		b := newBuilder(t)
		d := b.image(amd64)
		for range 2 * maxIndexes {
			d = b.nested(d)
		}
		b.tag(d, "")
		if text, _ := open(t, b); !strings.Contains(text, "too large") {
			t.Error(text)
		}
	})
	t.Run("the same index over and over", func(t *testing.T) {
		b := newBuilder(t)
		l := layer(t, "l")
		d := b.image(amd64, l)
		for range maxIndexes / 2 {
			d = b.nested(slices.Repeat([]ocispec.Descriptor{d}, 100)...)
		}
		b.tag(d, "")
		checkLayers(t, mustOpen(t, b.dir(), Options{}), l)
	})
	t.Run("too many manifests", func(t *testing.T) {
		b := newBuilder(t)
		var descs []ocispec.Descriptor
		for i := range 2 * maxManifests {
			descs = append(descs, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(fmt.Sprint(i)), Size: 1})
		}
		b.tag(b.nested(descs...), "")
		if text, _ := open(t, b); !strings.Contains(text, "too large") {
			t.Error(text)
		}
	})
	t.Run("too many layers", func(t *testing.T) {
		b := newBuilder(t)
		l := ocispec.Descriptor{Digest: sha, Size: 1}
		b.tag(b.manifest(ocispec.Manifest{Layers: slices.Repeat([]ocispec.Descriptor{l}, maxLayers+1)}), "")
		if text, _ := open(t, b); !strings.HasSuffix(text, "4097 layers; more than 4096 are not read") {
			t.Error(text)
		}
	})
	t.Run("a huge manifest", func(t *testing.T) {
		b := newBuilder(t)
		b.tag(b.blob("", make([]byte, maxManifest+1)), "")
		if text, _ := open(t, b); !strings.HasSuffix(text, "4194305 bytes long; more than 4194304 are not read") {
			t.Error(text)
		}
	})
	t.Run("names that speak to the terminal", func(t *testing.T) {
		b := newBuilder(t)
		b.tag(b.image(amd64), "\x1b[2J\n"+strings.Repeat("x", 1<<16))
		b.tag(b.image(arm64), "b")
		text, _, _ := failure(t, b.dir()+":c", Options{})
		if strings.ContainsAny(text, "\x1b\n") || len(text) > maxText+10 {
			t.Errorf("error of %d bytes: %q", len(text), text)
		}
	})
	t.Run("JSON that nests without end", func(t *testing.T) {
		b := newBuilder(t)
		b.tag(b.blob("", []byte(strings.Repeat(`{"a":`, 100_000))), "")
		if _, code := open(t, b); code != "corrupt" {
			t.Error(code)
		}
	})
}

// memory is files in memory.
type memory map[string][]byte

func (m memory) open(name string) (*source, error) {
	body, ok := m[name]
	if !ok {
		return nil, notExist(name)
	}
	return bytesSource(body), nil
}

func (m memory) close() error { return nil }

// FuzzLayout opens a layout of an arbitrary index, manifest and config: an
// image that fits its own manifest, or an error with a code.
func FuzzLayout(f *testing.F) {
	b := newBuilder(f)
	d := b.image(amd64, layer(f, "l"))
	manifest := b.files["blobs/sha256/"+d.Digest.Encoded()]
	var m ocispec.Manifest
	if err := json.Unmarshal(manifest, &m); err != nil {
		f.Fatal(err)
	}
	config := b.files["blobs/sha256/"+m.Config.Digest.Encoded()]
	b.tag(d, "1")
	f.Add(b.all()[indexName], manifest, config)
	f.Add([]byte(`{"manifests":[{"data":"e30=","size":2,"digest":"`+digest.FromString("{}").String()+`"}]}`), []byte(`{"fsLayers":[]}`), []byte(`{}`))
	f.Add([]byte(`{"manifests":[{"platform":{"os":"linux","architecture":"arm64"}},{}]}`), []byte(`{"manifests":[],"config":null}`), []byte(`null`))
	files := maps.Clone(b.files)
	f.Fuzz(func(t *testing.T, index, manifest, config []byte) {
		fs := memory(maps.Clone(files))
		fs[indexName] = index
		for _, body := range [][]byte{manifest, config} {
			fs["blobs/sha256/"+digest.FromBytes(body).Encoded()] = body
		}
		l, err := newLayout(fs, "oci")
		if err != nil {
			t.Fatal(err)
		}
		want, err := wantedPlatform("linux/amd64")
		if err != nil {
			t.Fatal(err)
		}
		// By digest too: few inputs have a right digest in the index.
		for _, at := range []location{{}, {sel: selector{digest: digest.FromBytes(manifest)}}} {
			img, err := openFrom(t.Context(), l, at, want)
			checkOutcome(t, img, err)
		}
		if cfg, err := parseConfig("config", config); err == nil {
			if layers, err := layersOf(cfg, len(cfg.RootFS.DiffIDs)); err != nil || len(layers) != len(cfg.RootFS.DiffIDs) {
				t.Errorf("layersOf: %d layers, %v", len(layers), err)
			}
		}
	})
}

// checkOutcome holds what is true of any image, and of any error.
func checkOutcome(t *testing.T, img *Image, err error) {
	t.Helper()
	if err != nil {
		told, ok := err.(interface{ Code() string })
		if !ok || told.Code() == "" || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Fatalf("%T without a code, or of many lines: %q", err, err)
		}
		return
	}
	if img.ConfigDigest != "" && img.ConfigDigest.Algorithm().FromBytes(img.RawConfig) != img.ConfigDigest {
		t.Errorf("config is not that of its digest %s", img.ConfigDigest)
	}
	if img.RawManifest != nil && img.Manifest.Digest.Algorithm().FromBytes(img.RawManifest) != img.Manifest.Digest {
		t.Errorf("manifest is not that of its digest %s", img.Manifest.Digest)
	}
	for i, l := range img.Layers {
		if l.Blob == nil || l.Blob.ID() == "" || l.Blob.Size() < 0 {
			t.Errorf("layer %d has no blob", i)
		}
		if l.Digest != "" && (l.Digest.Validate() != nil || l.Blob.ID() != l.Digest.String()) {
			t.Errorf("layer %d: digest %s, ID %s", i, l.Digest, l.Blob.ID())
		}
		if _, err := l.Blob.ReadAt(make([]byte, l.Blob.Size()), 0); err != nil && l.Blob.Size() > 0 {
			t.Errorf("layer %d: %v", i, err)
		}
	}
}
