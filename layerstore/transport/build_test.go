package transport

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// An item is a member of a tar file to be written.
type item struct {
	tar.Header
	body string
}

func file(name, body string) item {
	return item{tar.Header{Typeflag: tar.TypeReg, Name: name}, body}
}

func symlink(name, target string) item {
	return item{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}}
}

func hardlink(name, target string) item {
	return item{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}}
}

// tarOf gives a tar file of items.
func tarOf(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, it := range items {
		it.Mode, it.Size = 0o644, int64(len(it.body))
		if err := w.WriteHeader(&it.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, it.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// layer gives a small layer, another one for each name.
func layer(t testing.TB, name string) []byte {
	return tarOf(t, file(name, "contents of "+name))
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func toJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A builder puts an OCI layout together, as files by name.
type builder struct {
	t     testing.TB
	files map[string][]byte
	index ocispec.Index
}

func newBuilder(t testing.TB) *builder {
	return &builder{t: t, files: map[string][]byte{layoutName: []byte(`{"imageLayoutVersion":"1.0.0"}`)}}
}

// blob adds a blob and describes it.
func (b *builder) blob(mediaType string, body []byte) ocispec.Descriptor {
	d := digest.FromBytes(body)
	b.files["blobs/sha256/"+d.Encoded()] = body
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(body))}
}

// config makes one for layers, which are not compressed.
func configOf(t testing.TB, p ocispec.Platform, layers ...[]byte) ocispec.Image {
	cfg := ocispec.Image{Platform: p, RootFS: ocispec.RootFS{Type: "layers"}}
	cfg.Config.User = "nobody"
	for i, l := range layers {
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, digest.FromBytes(l))
		cfg.History = append(cfg.History, ocispec.History{CreatedBy: "ENV nothing", EmptyLayer: true},
			ocispec.History{CreatedBy: "COPY step " + string(rune('1'+i)), Comment: "c"})
	}
	return cfg
}

var amd64 = ocispec.Platform{OS: "linux", Architecture: "amd64"}
var arm64 = ocispec.Platform{OS: "linux", Architecture: "arm64"}

// image adds an image of layers that are stored with gzip.
func (b *builder) image(p ocispec.Platform, layers ...[]byte) ocispec.Descriptor {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	m.Config = b.blob(ocispec.MediaTypeImageConfig, toJSON(b.t, configOf(b.t, p, layers...)))
	m.Layers = []ocispec.Descriptor{}
	for _, l := range layers {
		m.Layers = append(m.Layers, b.blob(ocispec.MediaTypeImageLayerGzip, gzipped(b.t, l)))
	}
	return b.manifest(m)
}

func (b *builder) manifest(m ocispec.Manifest) ocispec.Descriptor {
	return b.blob(ocispec.MediaTypeImageManifest, toJSON(b.t, m))
}

func (b *builder) nested(descs ...ocispec.Descriptor) ocispec.Descriptor {
	ix := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: descs}
	return b.blob(ocispec.MediaTypeImageIndex, toJSON(b.t, ix))
}

func on(p ocispec.Platform, d ocispec.Descriptor) ocispec.Descriptor {
	d.Platform = &p
	return d
}

func annotated(d ocispec.Descriptor, pairs ...string) ocispec.Descriptor {
	d.Annotations = map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		d.Annotations[pairs[i]] = pairs[i+1]
	}
	return d
}

// tag lists an image in index.json; "" is without a name.
func (b *builder) tag(d ocispec.Descriptor, name string) {
	if name != "" {
		d = annotated(d, ocispec.AnnotationRefName, name)
	}
	b.index.Manifests = append(b.index.Manifests, d)
}

func (b *builder) all() map[string][]byte {
	b.index.SchemaVersion = 2
	files := maps.Clone(b.files)
	files[indexName] = toJSON(b.t, b.index)
	return files
}

// dir writes the layout into a new directory.
func (b *builder) dir() string { return writeDir(b.t, b.all()) }

// archive writes the layout into a new file.
func (b *builder) archive() string { return writeFile(b.t, "image.tar", tarFiles(b.t, b.all())) }

func tarFiles(t testing.TB, files map[string][]byte) []byte {
	var items []item
	for _, name := range slices.Sorted(maps.Keys(files)) {
		items = append(items, file(name, string(files[name])))
	}
	return tarOf(t, items...)
}

func writeDir(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, body := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func writeFile(t testing.TB, name string, body []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, body, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// mustOpen opens an image and closes it with the test.
func mustOpen(t testing.TB, ref string, o Options) *Image {
	t.Helper()
	img, err := Open(t.Context(), ref, o)
	if err != nil {
		t.Fatalf("Open(%q): %v", ref, err)
	}
	t.Cleanup(func() {
		if err := img.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return img
}

// contents reads each layer as stored.
func contents(t testing.TB, img *Image) []string {
	t.Helper()
	var out []string
	for _, l := range img.Layers {
		b, err := io.ReadAll(io.NewSectionReader(l.Blob, 0, l.Blob.Size()))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	return out
}

// checkLayers compares the layers of an image, uncompressed.
func checkLayers(t testing.TB, img *Image, want ...[]byte) {
	t.Helper()
	got := contents(t, img)
	for i, g := range got {
		if strings.HasPrefix(g, "\x1f\x8b") {
			r, err := gzip.NewReader(strings.NewReader(g))
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			got[i] = string(b)
		}
	}
	var text []string
	for _, w := range want {
		text = append(text, string(w))
	}
	if diff := cmp.Diff(text, got); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}
}

// failure is the text, code and hint of an error that Open must give.
func failure(t testing.TB, ref string, o Options) (text, code, hint string) {
	t.Helper()
	img, err := Open(t.Context(), ref, o)
	if err == nil {
		img.Close()
		t.Fatalf("Open(%q) gave an image, want an error", ref)
	}
	told, ok := err.(interface {
		Code() string
		Hint() string
	})
	if !ok {
		t.Fatalf("Open(%q): %v (%T), want an error of this package", ref, err, err)
	}
	return err.Error(), told.Code(), told.Hint()
}

// wantFailure compares text, code and hint of the error of Open.
func wantFailure(t testing.TB, ref string, o Options, text, code, hint string) {
	t.Helper()
	gotText, gotCode, gotHint := failure(t, ref, o)
	if gotText != text || gotCode != code || gotHint != hint {
		t.Errorf("Open(%q):\ngot  %s [%s]\n hint %s\nwant %s [%s]\n hint %s", ref, gotText, gotCode, gotHint, text, code, hint)
	}
}
