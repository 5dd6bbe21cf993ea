package transport

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mica/layerstore/blob"
)

// TestForms opens one image in each form: the layers are the same.
func TestForms(t *testing.T) {
	low, high := layer(t, "low"), layer(t, "high")
	lowID, highID := digest.FromBytes(low), digest.FromBytes(high)
	b := newBuilder(t)
	desc := b.image(amd64, low, high)
	b.tag(desc, "3.21")
	oci := b.all()

	cfg := string(toJSON(t, configOf(t, amd64, low, high)))
	cfgName := digest.FromString(cfg).Encoded()
	manifest := `[{"Config":"` + cfgName + `.json","RepoTags":["debian:12"],"Layers":["a/layer.tar","b/layer.tar"]}]`
	docker := tarOf(t, file("a/layer.tar", string(low)), symlink("b/layer.tar", "../c/layer.tar"), hardlink("c/layer.tar", "d.tar"),
		file(manifestName, manifest), file(cfgName+".json", cfg), file("./d.tar", string(high)))
	modern := newBuilder(t)
	plain := modern.blob(ocispec.MediaTypeImageLayer, low)
	modern.blob(ocispec.MediaTypeImageLayer, high)
	modern.tag(annotated(modern.manifest(ocispec.Manifest{
		Config: modern.blob(ocispec.MediaTypeImageConfig, []byte(cfg)),
		Layers: []ocispec.Descriptor{plain, {MediaType: ocispec.MediaTypeImageLayer, Digest: highID, Size: int64(len(high))}},
	}), ocispec.AnnotationRefName, "12", annotationImageName, "docker.io/library/debian:12"), "")
	modern.files[manifestName] = []byte(`[{"Config":"blobs/sha256/` + cfgName + `","RepoTags":["debian:12"],
		"Layers":["blobs/sha256/` + lowID.Encoded() + `","blobs/sha256/` + highID.Encoded() + `"]}]`)
	skopeo := map[string][]byte{"version": []byte("Directory Transport Version: 1.1\n")}
	for name, body := range oci {
		if hex, ok := strings.CutPrefix(name, "blobs/sha256/"); ok {
			skopeo[hex] = body
		}
	}
	skopeo[manifestName] = oci["blobs/sha256/"+desc.Digest.Encoded()]

	ociDir, skopeoDir := writeDir(t, oci), writeDir(t, skopeo)
	ociTar, dockerTar, modernTar := b.archive(), writeFile(t, "d.tar", docker), modern.archive()
	at := "@" + desc.Digest.String()
	dockerAt := "@" + digest.FromString(cfg).String()
	modernAt := "@" + modern.index.Manifests[0].Digest.String()
	for _, tt := range []struct {
		about, ref, name, source string
		digests                  []digest.Digest // nil: those of the gzip blobs
	}{
		{about: "layout, tag", ref: "oci:" + ociDir + ":3.21", source: "oci:" + ociDir + ":3.21" + at},
		{about: "layout, only image", ref: "oci:" + ociDir, source: "oci:" + ociDir + ":3.21" + at},
		{about: "layout, by content", ref: ociDir, source: "oci:" + ociDir + ":3.21" + at},
		{about: "layout, digest", ref: ociDir + at, source: "oci:" + ociDir + ":3.21" + at},
		{about: "layout, tag and digest", ref: ociDir + ":no" + at, source: "oci:" + ociDir + ":no" + at},
		{about: "layout, number", ref: ociDir + ":@0", source: "oci:" + ociDir + ":3.21" + at},
		{about: "OCI archive", ref: "oci-archive:" + ociTar + ":3.21", source: "oci-archive:" + ociTar + ":3.21" + at},
		{about: "OCI archive, by content", ref: ociTar, source: "oci-archive:" + ociTar + ":3.21" + at},
		{about: "skopeo's dir", ref: "dir:" + skopeoDir, source: "dir:" + skopeoDir},
		{about: "skopeo's dir, by content", ref: skopeoDir, source: "dir:" + skopeoDir},
		{about: "docker archive", ref: "docker-archive:" + dockerTar, name: "debian:12",
			source: "docker-archive:" + dockerTar + ":debian:12" + dockerAt, digests: []digest.Digest{lowID, highID}},
		{about: "docker archive, by content and full name", ref: dockerTar + ":docker.io/library/debian:12", name: "debian:12",
			source: "docker-archive:" + dockerTar + ":docker.io/library/debian:12" + dockerAt, digests: []digest.Digest{lowID, highID}},
		{about: "docker archive, by tag", ref: dockerTar + ":12", name: "debian:12",
			source: "docker-archive:" + dockerTar + ":12" + dockerAt, digests: []digest.Digest{lowID, highID}},
		{about: "docker archive, by config digest", ref: dockerTar + dockerAt, name: "debian:12",
			source: "docker-archive:" + dockerTar + ":debian:12" + dockerAt, digests: []digest.Digest{lowID, highID}},
		{about: "new docker archive, by content: index.json tells more", ref: modernTar, name: "debian:12",
			source: "oci-archive:" + modernTar + ":debian:12" + modernAt, digests: []digest.Digest{lowID, highID}},
		{about: "new docker archive as one", ref: "docker-archive:" + modernTar + ":@0", name: "debian:12",
			source: "docker-archive:" + modernTar + ":debian:12" + dockerAt, digests: []digest.Digest{lowID, highID}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			img := mustOpen(t, tt.ref, Options{})
			checkLayers(t, img, low, high)
			if tt.name == "" {
				tt.name = tt.ref
			}
			if img.Name != tt.name || img.Source != tt.source {
				t.Errorf("Name, Source = %s, %s; want %s, %s", img.Name, img.Source, tt.name, tt.source)
			}
			if img.Config.Config.User != "nobody" || img.ConfigDigest != digest.FromBytes(img.RawConfig) {
				t.Errorf("config = %s, digest %s", img.RawConfig, img.ConfigDigest)
			}
			if img.RawManifest != nil && img.Manifest.Digest != digest.FromBytes(img.RawManifest) {
				t.Errorf("manifest is not that of its digest %s", img.Manifest.Digest)
			}
			for i, l := range img.Layers {
				want := digest.FromBytes(gzipped(t, [][]byte{low, high}[i]))
				if tt.digests != nil {
					want = tt.digests[i]
				}
				if l.Digest != want || l.Blob.ID() != want.String() || l.DiffID != []digest.Digest{lowID, highID}[i] {
					t.Errorf("layer %d: digest %s, ID %s, diffID %s; want digest %s", i, l.Digest, l.Blob.ID(), l.DiffID, want)
				}
				if step := "COPY step " + string(rune('1'+i)); l.History != step || l.Comment != "c" {
					t.Errorf("layer %d: history %q, comment %q; want %q, c", i, l.History, l.Comment, step)
				}
			}
			// The full form names the same image.
			checkLayers(t, mustOpen(t, img.Source, Options{}), low, high)
		})
	}
}

func TestRootfs(t *testing.T) {
	body := gzipped(t, layer(t, "etc"))
	path := writeFile(t, "root:fs.tar.gz", body)
	img := mustOpen(t, "rootfs:"+path, Options{Platform: "linux/riscv64"})
	if got := contents(t, img); len(got) != 1 || got[0] != string(body) {
		t.Errorf("layers = %q, want the file as it is", got)
	}
	if l := img.Layers[0]; l.Digest != "" || l.DiffID != "" || !strings.HasPrefix(l.Blob.ID(), "file:"+path+"#") {
		t.Errorf("layer = %+v with ID %s, want no digests and the ID of the file", l, l.Blob.ID())
	}
	if img.Source != "rootfs:"+path || img.RawConfig != nil || img.ConfigDigest != "" {
		t.Errorf("Source, RawConfig = %s, %s; want none of a config", img.Source, img.RawConfig)
	}
}

// TestFileID holds that another file has another ID.
func TestFileID(t *testing.T) {
	a, b := writeFile(t, "a.tar", layer(t, "a")), writeFile(t, "a.tar", layer(t, "b"))
	first := mustOpen(t, "rootfs:"+a, Options{}).Layers[0].Blob.ID()
	if again := mustOpen(t, "rootfs:"+a, Options{}).Layers[0].Blob.ID(); again != first {
		t.Errorf("ID = %s, then %s", first, again)
	}
	if other := mustOpen(t, "rootfs:"+b, Options{}).Layers[0].Blob.ID(); other == first {
		t.Errorf("two files have the ID %s", other)
	}
}

// closing is a Source that tells whether it was closed.
type closing struct {
	*source
	closed bool
}

func (c *closing) Close() error { c.closed = true; return c.source.Close() }

func TestCompressedArchive(t *testing.T) {
	l := layer(t, "l")
	b := newBuilder(t)
	b.tag(b.image(amd64, l), "1")
	plain := tarFiles(t, b.all())
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, packed := range map[string][]byte{"a.tar.gz": gzipped(t, plain), "a.tar.zst": enc.EncodeAll(plain, nil)} {
		path := writeFile(t, name, packed)
		var given *closing
		o := Options{Expand: func(_ context.Context, src blob.Source) (blob.Source, error) {
			if !strings.HasPrefix(src.ID(), "file:"+path) || src.Size() != int64(len(packed)) {
				t.Errorf("Expand was given %s of %d bytes", src.ID(), src.Size())
			}
			given = &closing{source: &source{SectionReader: io.NewSectionReader(bytes.NewReader(plain), 0, int64(len(plain))), id: "expanded"}}
			return given, nil
		}}
		img, err := Open(t.Context(), path, o)
		if err != nil {
			t.Fatal(err)
		}
		checkLayers(t, img, l)
		if err := img.Close(); err != nil || !given.closed {
			t.Errorf("%s: Close = %v, the expanded archive closed: %v", name, err, given.closed)
		}
		o.Expand = func(context.Context, blob.Source) (blob.Source, error) { return nil, gzip.ErrChecksum }
		if _, err := Open(t.Context(), path, o); !errors.Is(err, gzip.ErrChecksum) {
			t.Errorf("%s: Open = %v, want the error of Expand", name, err)
		}
		text, code, _ := failure(t, path, Options{})
		if !strings.HasPrefix(text, "compressed with ") || code != "media-type" {
			t.Errorf("%s without Expand: %s [%s]", name, text, code)
		}
	}
	path := writeFile(t, "a.tar.xz", append([]byte{0xfd, '7', 'z', 'X', 'Z', 0}, plain...))
	wantFailure(t, path, Options{}, "compressed with xz: cannot read (can: tar, gzip, zstd)", "media-type", "uncompress it first")
}

// TestExpandedID holds that a layer in a compressed archive which has no
// digest is named by the archive and its place.
func TestExpandedID(t *testing.T) {
	packed := gzipped(t, layer(t, "l"))
	cfg := string(toJSON(t, configOf(t, amd64, layer(t, "l"))))
	path := writeFile(t, "d.tar", tarOf(t, file("l.tar.gz", string(packed)), file("c", cfg), file(manifestName, `[{"Config":"c","Layers":["l.tar.gz"]}]`)))
	img := mustOpen(t, path, Options{})
	l := img.Layers[0]
	if id := l.Blob.ID(); l.Digest != "" || !strings.HasPrefix(id, "file:"+path+"#") || !strings.HasSuffix(id, "@512+"+strconv.Itoa(len(packed))) {
		t.Errorf("Digest, ID = %q, %q; want none, and the place in the file", l.Digest, id)
	}
}

func TestCancelled(t *testing.T) {
	b := newBuilder(t)
	b.tag(b.image(amd64, layer(t, "l")), "1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, path := range []string{b.dir(), b.archive()} {
		if _, err := Open(ctx, path, Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("Open = %v, want context.Canceled", err)
		}
	}
}

// TestTruncated cuts an archive at each length: an image that reads whole, or
// an error.
func TestTruncated(t *testing.T) {
	low, high := layer(t, "low"), layer(t, "high")
	cfg := string(toJSON(t, configOf(t, amd64, low, high)))
	first := tarOf(t, file("c", cfg), file(manifestName, `[{"Config":"c","Layers":["1.tar","2.tar"]}]`), file("1.tar", string(low)), file("2.tar", string(high)))
	for n := 0; n < len(first); n += 100 {
		img, err := Open(t.Context(), writeFile(t, "cut.tar", first[:n]), Options{})
		if err != nil {
			if told, ok := err.(interface{ Code() string }); !ok || err.Error() == "" {
				t.Errorf("cut at %d: %v (%T)", n, err, err)
			} else if code := told.Code(); code != "truncated" && code != "not-image" && code != "corrupt" {
				t.Errorf("cut at %d: %v [%s]", n, err, code)
			}
			continue
		}
		checkLayers(t, img, low, high)
		img.Close()
	}
	end := 512 * (2 + 2 + 3) // config, manifest, and a part of the first layer
	cut := writeFile(t, "cut.tar", first[:end])
	wantFailure(t, cut, Options{}, "ends at 3.58kB inside layer 1/2, which should be 2.05kB long: incomplete download?", "truncated", "")
	last := tarOf(t, file("1.tar", string(low)), file("2.tar", string(high)), file(manifestName, "…"))
	cut = writeFile(t, "cut.tar", last[:5*512])
	wantFailure(t, cut, Options{}, "a tar file, but no image: neither oci-layout+index.json nor manifest.json", "not-image",
		"a plain root filesystem? mica mount rootfs:"+cut+" DIR")
	cut = writeFile(t, "cut.tar", last[:6*512])
	wantFailure(t, cut, Options{}, "ends at 3.07kB inside 2.tar, which should be 2.05kB long: incomplete download?", "truncated", "")
}
