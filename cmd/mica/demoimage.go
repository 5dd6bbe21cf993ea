package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The demonstration image has three layers: a program with files around it, a
// file replaced and one added, a file deleted. It is a real one, that any OCI
// tool can read; only its contents are made up.

// demoTag is the only image of the layout.
const demoTag = "latest"

// A demoLayer is a layer to be made.
type demoLayer struct {
	by    string // the history line
	files []demoFile
}

// A demoFile is an entry of a layer: a directory if the name ends in a slash,
// a link if link is not empty.
type demoFile struct {
	name, link, text string
	mode             int64
}

// demoLayers gives the layers, the program of the lowest being filled in.
func demoLayers(program string) []demoLayer {
	return []demoLayer{
		{"COPY mica docs etc /", []demoFile{
			{name: "bin/", mode: 0o755},
			{name: "bin/mica", text: program, mode: 0o755},
			{name: "bin/hello", link: "mica"},
			{name: "bin/ls", link: "mica"},
			{name: "bin/cat", link: "mica"},
			{name: "etc/", mode: 0o755},
			{name: "etc/motd", text: "This is the motd of layer 1. Nobody sees it: layer 2 has another.\n", mode: 0o644},
			{name: "etc/passwd", text: "root:x:0:0:root:/:/bin/hello\n", mode: 0o644},
			{name: "etc/group", text: "root:x:0:\n", mode: 0o644},
			{name: "docs/", mode: 0o755},
			{name: "docs/layers.txt", text: "An image is a pile of layers, each a tar file: what a later one says, goes.\n", mode: 0o644},
			{name: "docs/draft.txt", text: "This text is deleted in layer 3, and is still in the image.\n", mode: 0o644},
			{name: "tmp/", mode: 0o1777},
		}},
		{"COPY motd app.conf /etc/", []demoFile{
			{name: "etc/", mode: 0o755},
			{name: "etc/motd", text: "Welcome! This line was read out of a compressed layer; nothing was unpacked.\n", mode: 0o644},
			{name: "etc/app.conf", text: "colour = mica\n", mode: 0o640},
		}},
		{"RUN rm /docs/draft.txt", []demoFile{
			{name: "docs/", mode: 0o755},
			// A whiteout: this is how a layer says that a file is gone.
			{name: "docs/.wh.draft.txt"},
		}},
	}
}

// writeDemoImage makes an OCI layout with the image at dir, and gives its layers.
func writeDemoImage(dir string, program io.Reader) ([]ocispec.Descriptor, error) {
	text, err := io.ReadAll(program)
	if err != nil {
		return nil, err
	}
	layout := layoutWriter(dir)
	now := time.Now().UTC().Truncate(time.Second)
	config := ocispec.Image{Created: &now, Platform: ocispec.Platform{Architecture: runtime.GOARCH, OS: runtime.GOOS}}
	config.Config = ocispec.ImageConfig{Cmd: []string{"/bin/hello"}, Env: []string{"PATH=/bin"}, WorkingDir: "/"}
	config.RootFS.Type = "layers"
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, l := range demoLayers(string(text)) {
		b, err := l.tar(now)
		if err != nil {
			return nil, err
		}
		layer, err := layout.blob(ocispec.MediaTypeImageLayerGzip, compress(b))
		if err != nil {
			return nil, err
		}
		manifest.Layers = append(manifest.Layers, layer)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(b))
		config.History = append(config.History, ocispec.History{Created: &now, CreatedBy: l.by})
	}
	if manifest.Config, err = layout.json(ocispec.MediaTypeImageConfig, config); err != nil {
		return nil, err
	}
	top, err := layout.json(ocispec.MediaTypeImageManifest, manifest)
	if err != nil {
		return nil, err
	}
	top.Annotations = map[string]string{ocispec.AnnotationRefName: demoTag}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{top}}
	return manifest.Layers, errors.Join(
		layout.document(ocispec.ImageIndexFile, index),
		layout.document(ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}),
	)
}

// tar gives the layer, uncompressed.
func (l demoLayer) tar(mtime time.Time) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range l.files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.text)), ModTime: mtime}
		switch {
		case f.link != "":
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.link, 0o777
		case f.name[len(f.name)-1] == '/':
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(w, f.text); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

func compress(b []byte) []byte {
	var out bytes.Buffer
	// Neither the level nor a write to memory can be refused.
	w, _ := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// A layoutWriter is the directory of an OCI layout (image-spec image-layout.md).
type layoutWriter string

// blob stores bytes under their digest.
func (dir layoutWriter) blob(mediaType string, b []byte) (ocispec.Descriptor, error) {
	d := digest.FromBytes(b)
	path := filepath.Join(string(dir), ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return ocispec.Descriptor{}, err
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}, os.WriteFile(path, b, 0o644)
}

// json stores a document as a blob.
func (dir layoutWriter) json(mediaType string, v any) (ocispec.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return dir.blob(mediaType, b)
}

// document writes one of the two that have names.
func (dir layoutWriter) document(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(string(dir), name), b, 0o644)
}
