package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// writeTabled writes the image as a layout whose layers carry a table of
// contents, which the manifest names the digest of: eStargz, or zstd:chunked.
func (im image) writeTabled(dir string, c codec) (v1.Manifest, error) {
	lo := layout{}
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	var whole image // with what eStargz adds to the tars
	for _, l := range im {
		var b bytes.Buffer
		annotations := map[string]string{}
		w := estargz.NewWriter(&b)
		if c == zstdFast {
			w = estargz.NewWriterWithCompressor(&b, &zstdchunked.Compressor{CompressionLevel: zstd.SpeedFastest, Metadata: annotations})
		}
		w.ChunkSize = 50_000
		must(w.AppendTarLossLess(bytes.NewReader(l)))
		digest, err := w.Close()
		must(err)
		annotations["containerd.io/snapshot/stargz/toc.digest"] = digest.String()
		d := lo.blob(layerTypes[c], b.Bytes())
		d.Annotations = annotations
		m.Layers = append(m.Layers, d)
		if c == gzipped {
			r, err := gzip.NewReader(&b)
			must(err)
			l, err = io.ReadAll(r)
			must(err)
		}
		whole = append(whole, l)
	}
	m.Config = lo.blob(v1.MediaTypeImageConfig, whole.config())
	desc := lo.blob(v1.MediaTypeImageManifest, toJSON(m))
	desc.Annotations = map[string]string{v1.AnnotationRefName: "latest"}
	lo[v1.ImageIndexFile] = toJSON(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []v1.Descriptor{desc}})
	lo[v1.ImageLayoutFile] = toJSON(v1.ImageLayout{Version: v1.ImageLayoutVersion})
	return m, lo.write(dir)
}

// TestOwnTables mounts images that are opened by the tables in their layers:
// they are what they are without, and damage is found when it is read.
func TestOwnTables(t *testing.T) {
	needFUSE(t)
	noise := damaged()[0]
	im := image{
		noise,
		layerOf(dir("usr"), dir("usr/bin"), file("usr/bin/su", strings.Repeat("s", 100_000)).mode(0o4755).own(0, 42).xattr("user.a", "b"),
			hardlink("usr/bin/su2", "usr/bin/su"), symlink("bin", "usr/bin"), fifo("run"), file("empty", "")),
		layerOf(deleted("empty"), opaque("etc"), file("etc/issue", "new\n"), hardlink("usr/bin/su3", "usr/bin/su")),
	}
	plainDir := filepath.Join(newDir(t), "oci")
	if _, err := im.writeOCI(plainDir, gzipped); err != nil {
		t.Fatal(err)
	}
	for c, name := range map[codec]string{gzipped: "estargz", zstdFast: "zstd:chunked"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			want := mustReadTree(t, h.mount(plainDir))
			layout := filepath.Join(h.dir, "oci")
			m, err := im.writeTabled(layout, c)
			if err != nil {
				t.Fatal(err)
			}
			dir := h.mount(layout)
			sameTree(t, want, mustReadTree(t, dir))
			var layers []struct{ Codec string }
			if err := json.Unmarshal([]byte(h.mica("layers", "--format", "json", layout)), &layers); err != nil {
				t.Fatal(err)
			}
			for i, l := range layers {
				if l.Codec != name {
					t.Errorf("layer %d is read as %s, want %s", i+1, l.Codec, name)
				}
			}
			h.umount(dir)

			// The tables are at the ends of the blobs, the noise before them.
			blob := filepath.Join(layout, blobPath(m.Layers[0].Digest))
			if err := flipByte(blob, 100_000); err != nil {
				t.Fatal(err)
			}
			dir = h.mount(layout)
			if _, err := os.ReadFile(filepath.Join(dir, "noise")); !errors.Is(err, unix.EIO) {
				t.Errorf("the noise is damaged, and reading it says %v", err)
			}
			if n := contents(t, want, dir); n != 1 {
				t.Errorf("%d files are damaged, want 1", n)
			}
		})
	}
}
