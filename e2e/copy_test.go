package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// skopeoDigest is that of the manifest or index which skopeo finds at a place.
func skopeoDigest(t *testing.T, dir, ref string) digest.Digest {
	t.Helper()
	return digest.FromString(run(t, dir, "skopeo", "inspect", "--raw", "--tls-verify=false", ref))
}

// TestCopy takes an image round through all forms, and holds each against
// skopeo: the digest stays, and so does each blob that skopeo copies out of it.
func TestCopy(t *testing.T) {
	r, h := newRegistry(t, ""), newHost(t)
	want := r.push("e2e/app:1", registryImage())
	from := "docker://" + r.addr + "/e2e/app:1"
	for _, at := range []struct{ to, skopeo, mica string }{
		{"app:1", "oci:store/images:docker.io/library/app:1", "app:1"},
		{"oci:lay:one", "oci:lay:one", ""},
		{"oci:lay:two", "oci:lay:two", ""},
		{"oci-archive:a.tar:one", "oci-archive:a.tar:one", ""},
		{"dir:d", "dir:d", ""},
		{"docker-archive:d.tar:e2e/app:1", "oci-archive:d.tar:1", ""}, // as one of docker skopeo makes another manifest of it
		{"docker://" + r.addr + "/e2e/other:2", "docker://" + r.addr + "/e2e/other:2", ""},
		{"oci:lay:three", "oci:lay:three", ""},
	} {
		if got := h.mica("copy", "--tls-verify=false", from, at.to); got != want.String()+"\n" {
			t.Errorf("copy %s %s printed %q", from, at.to, got)
		}
		if got := skopeoDigest(t, h.dir, at.skopeo); got != want {
			t.Errorf("skopeo finds %s at %s, copied %s", got, at.to, want)
		}
		run(t, h.dir, "skopeo", "copy", "-q", "--src-tls-verify=false", at.skopeo, "oci:"+filepath.Join(newDir(t), "checked"))
		from = at.to
	}
	// One blob each, whatever the number of names.
	if blobs, err := filepath.Glob(filepath.Join(h.dir, "lay/blobs/sha256/*")); err != nil || len(blobs) != 4 {
		t.Errorf("the layout has %q, %v", blobs, err)
	}
	if got := run(t, h.dir, "umoci", "ls", "--layout", "lay"); got != "one\nthree\ntwo\n" && got != "one\ntwo\nthree\n" {
		t.Errorf("umoci lists %q", got)
	}
	h.mica("save", "--format", "oci", "-o", "saved", "app:1")
	if got := skopeoDigest(t, h.dir, "oci:saved:1"); got != want {
		t.Errorf("skopeo finds %s in what save wrote", got)
	}
	load := h.command("load")
	load.Stdin = strings.NewReader(h.mica("copy", "app:1", "docker-archive:-:x:3"))
	if got, err := output(load); got != "Loaded image: x:3\n" || err != nil {
		t.Errorf("load of a copy through a pipe: %q, %v", got, err)
	}
	h.wantBlobs()
}

// TestCopyIndex copies an image for two platforms: one, or all.
func TestCopyIndex(t *testing.T) {
	r, h := newRegistry(t, ""), newHost(t)
	index := h.multiPlatform("multi")
	whole := skopeoDigest(t, h.dir, "oci:multi:both")
	h.mica("copy", "--all", "oci:multi:both", "docker://"+r.addr+"/e2e/multi:1", "--tls-verify=false")
	if got := skopeoDigest(t, h.dir, "docker://"+r.addr+"/e2e/multi:1"); got != whole {
		t.Errorf("the registry has %s, want %s", got, whole)
	}
	h.mica("copy", "--all", "docker://"+r.addr+"/e2e/multi:1", "oci-archive:back.tar:x", "--tls-verify=false")
	if got := skopeoDigest(t, h.dir, "oci-archive:back.tar:x"); got != whole {
		t.Errorf("the archive has %s, want %s", got, whole)
	}
	for i, platform := range []string{"linux/amd64", "linux/arm64"} {
		want := index.Manifests[i].Digest
		if got := h.mica("copy", "--platform", platform, "oci:multi:both", "oci:single:x"); got != want.String()+"\n" {
			t.Errorf("copy of %s printed %q, want %s", platform, got, want)
		}
		h.mica("load", "--all-platforms", "oci:multi:both")
		if got := h.mica("cat", "--platform", platform, "multi:both", "/arch"); got != platform {
			t.Errorf("loaded for %s: /arch is %q", platform, got)
		}
	}
	if _, err := output(h.command("copy", "--all", "oci:multi:both", "docker-archive:d.tar")); err == nil || !strings.Contains(err.Error(), "leave out --all") {
		t.Errorf("an index to a docker archive: %v", err)
	}
}

// multiPlatform writes a layout of an image for two platforms, tagged "both".
func (h *host) multiPlatform(name string) (index v1.Index) {
	h.t.Helper()
	lo := layout{}
	index.SchemaVersion, index.MediaType = 2, v1.MediaTypeImageIndex
	for _, arch := range []string{"amd64", "arm64"} {
		l := layerOf(file("arch", "linux/"+arch))
		blob := gzipped.pack(l)
		c := bareConfig()
		c.OS, c.Architecture = "linux", arch
		c.RootFS.DiffIDs = []digest.Digest{digest.FromBytes(l)}
		m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: lo.blob(v1.MediaTypeImageConfig, toJSON(c)), Layers: []v1.Descriptor{lo.blob(v1.MediaTypeImageLayerGzip, blob)}}
		m.SchemaVersion = 2
		d := lo.blob(v1.MediaTypeImageManifest, toJSON(m))
		d.Platform = &v1.Platform{OS: "linux", Architecture: arch}
		index.Manifests = append(index.Manifests, d)
	}
	top := lo.blob(v1.MediaTypeImageIndex, toJSON(index))
	top.Annotations = map[string]string{v1.AnnotationRefName: "both"}
	lo[v1.ImageIndexFile] = toJSON(v1.Index{Versioned: index.Versioned, Manifests: []v1.Descriptor{top}})
	lo[v1.ImageLayoutFile] = toJSON(v1.ImageLayout{Version: v1.ImageLayoutVersion})
	if err := lo.write(filepath.Join(h.dir, name)); err != nil {
		h.t.Fatal(err)
	}
	return index
}
