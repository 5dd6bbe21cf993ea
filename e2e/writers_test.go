package e2e

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	ggcrlayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The images here are written by the tools that people write images with. What
// umoci unpacks of each is what a mount has to show.

// Two steps that make a root filesystem and change it, in its directory. They
// are understood by dash and by busybox.
const (
	firstStep = `
		umask 022
		mkdir -p etc/sub var/lib tmp gone/sub dir "odd name" opaque/old
		chmod 1777 tmp
		echo root:x:0:0:root:/root:/bin/sh >etc/passwd; echo one >etc/sub/one; echo changes >etc/changes
		echo a >var/a; ln var/a var/b; ln -s ../var/a etc/link; ln -s /nowhere etc/dangling
		echo x >gone/x; echo y >gone/sub/y; echo z >dir/z; echo old >opaque/old/file
		echo u >"odd name/ünï
code"
		chmod 4755 var/lib; chmod 0600 etc/passwd; chown 33:44 var/a
		i=0; while [ $i -lt 200 ]; do echo $i >var/lib/$i; i=$((i+1)); done
		dd if=/dev/zero of=var/zeros bs=1024 count=3000 2>/dev/null
		mkfifo var/fifo
		touch -d "2001-02-03 04:05:06" etc/sub/one etc/sub
	`
	secondStep = `
		umask 022
		rm -r gone etc/dangling dir opaque; echo new >dir; mkdir opaque; echo new >opaque/new
		echo more >>etc/changes; mv etc/sub etc/moved; rm var/b; ln etc/passwd etc/passwd-
		rm var/lib/1*; chmod 711 var/lib; mkdir -p a/b/c; echo deep >a/b/c/d; ln -sf passwd etc/link
	`
)

// A writer writes images into base and gives their references by form, and an
// OCI layout with a tag that umoci can read.
type writer struct {
	about string
	tools []string
	write func(t *testing.T, base string) (refs map[string]string, oci string)
}

var writers = []writer{
	{"umoci", []string{"umoci"}, byUmoci},
	{"skopeo", []string{"umoci", "skopeo"}, bySkopeo},
	{"buildah", []string{"buildah", "skopeo", "umoci"}, byBuildah},
	{"podman", []string{"podman", "runc", "busybox", "skopeo", "umoci"}, byPodman},
	{"go-containerregistry", []string{"umoci"}, byContainerRegistry},
}

// TestWriters mounts what each has written.
func TestWriters(t *testing.T) {
	needFUSE(t)
	needRoot(t)
	for _, w := range writers {
		t.Run(w.about, func(t *testing.T) {
			for _, name := range w.tools {
				needTool(t, name)
			}
			refs, oci := w.write(t, newDir(t))
			layout, tag, _ := strings.Cut(oci, ":")
			sameForms(t, unpack(t, layout, tag), refs)
		})
	}
}

func byUmoci(t *testing.T, base string) (map[string]string, string) {
	umociTwoSteps(t, base)
	oci := filepath.Join(base, "oci") + ":2"
	return map[string]string{"oci": oci}, oci
}

// umociTwoSteps makes the layout oci in base, with the tag 2.
func umociTwoSteps(t *testing.T, base string) {
	t.Helper()
	steps(t, base, `
		exec >&2
		umoci init --layout oci
		umoci new --image oci:0
		umoci unpack --image oci:0 bundle
		(cd bundle/rootfs && . "$steps/first")
		umoci repack --refresh-bundle --image oci:1 bundle
		(cd bundle/rootfs && . "$steps/second")
		umoci repack --image oci:2 bundle
	`)
}

// bySkopeo copies an image of umoci's into all forms that skopeo can write.
func bySkopeo(t *testing.T, base string) (map[string]string, string) {
	umociTwoSteps(t, base)
	steps(t, base, `
		exec >&2
		copy() { skopeo --insecure-policy copy -q "$@"; }
		copy oci:oci:2 oci:copy:2
		copy --dest-compress-format zstd oci:oci:2 oci:zstd:2
		copy --dest-compress-format zstd --dest-compress-level 19 oci:oci:2 oci:zstd19:2
		copy --dest-decompress oci:oci:2 dir:plain
		copy oci:oci:2 dir:dir
		copy --format v2s2 oci:oci:2 dir:v2s2
		copy oci:oci:2 oci-archive:oci.tar:2
		copy oci:oci:2 docker-archive:docker.tar:mica/two:2
		copy oci:oci:2 docker-archive:nameless.tar
	`)
	in := func(scheme, file string) string { return scheme + ":" + filepath.Join(base, file) }
	return map[string]string{
		"oci": in("oci", "copy:2"), "oci, zstd": in("oci", "zstd:2"), "oci, zstd 19": in("oci", "zstd19:2"),
		"dir": in("dir", "dir"), "dir, docker's media types": in("dir", "v2s2"), "dir, not compressed": in("dir", "plain"),
		"oci-archive": in("oci-archive", "oci.tar:2"), "docker-archive": in("docker-archive", "docker.tar:mica/two:2"),
		"docker-archive without a name": filepath.Join(base, "nameless.tar"),
	}, filepath.Join(base, "oci") + ":2"
}

// byBuildah commits two containers whose root filesystems it has mounted.
func byBuildah(t *testing.T, base string) (map[string]string, string) {
	steps(t, base, `
		exec >&2
		b() { buildah --root "$PWD/root" --runroot "$PWD/run" --storage-driver vfs "$@"; }
		c=$(b from scratch)
		(cd "$(b mount "$c")" && . "$steps/first")
		b commit -q "$c" localhost/two:1
		c=$(b from localhost/two:1)
		(cd "$(b mount "$c")" && . "$steps/second")
		b config --cmd /bin/sh --env A=b "$c"
		b commit -q "$c" localhost/two:2
		b commit -q --squash "$c" localhost/squashed:2
		for to in oci:oci:2 oci-archive:oci.tar:2 docker-archive:docker.tar:mica/two:2 dir:dir; do b push -q localhost/two:2 "$to"; done
		b push -q --format v2s2 localhost/two:2 dir:v2s2
		b push -q --compression-format zstd localhost/two:2 oci:zstd:2
		b push -q localhost/squashed:2 oci:squashed:2
		b rm -a && b rmi -a -f
	`)
	in := func(scheme, file string) string { return scheme + ":" + filepath.Join(base, file) }
	return map[string]string{
		"oci": in("oci", "oci:2"), "oci, zstd": in("oci", "zstd:2"), "dir": in("dir", "dir"), "dir, v2s2": in("dir", "v2s2"),
		"oci-archive": in("oci-archive", "oci.tar:2"), "docker-archive": in("docker-archive", "docker.tar:mica/two:2"),
	}, filepath.Join(base, "oci") + ":2"
}

// byPodman builds from a Dockerfile: files of busybox and of the steps, and
// what running the second step in a container changes.
func byPodman(t *testing.T, base string) (map[string]string, string) {
	steps(t, base, `
		exec >&2
		mkdir -p context/rootfs/bin
		(cd context/rootfs && . "$steps/first")
		cp "$(command -v busybox)" context/rootfs/bin/busybox
		ln -s busybox context/rootfs/bin/sh
		cp "$steps/second" context/second
		tar -C context/rootfs -cf context/rootfs.tar .
		printf '%s\n' 'FROM scratch' 'ADD rootfs.tar /' 'COPY second /second' 'ENV A=b' 'RUN ["/bin/busybox", "sh", "-ec", "cd / && . ./second && rm second"]' 'CMD ["/bin/sh"]' >context/Dockerfile
		run=$(mktemp -d /tmp/mica-e2e-podman-XXXXXX) # podman takes no long name
		trap 'rm -rf "$run"' EXIT
		p() { podman --root "$PWD/root" --runroot "$run" --tmpdir "$PWD/tmp" --storage-driver vfs --cgroup-manager cgroupfs --runtime runc "$@"; }
		# Limits that a container may have where the machine's own are lower than podman's.
		p build -q --network host --isolation chroot --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 --layers -t localhost/two:2 context
		p save -q --format oci-dir -o oci localhost/two:2
		p save -q --format oci-archive -o oci.tar localhost/two:2
		p save -q --format docker-archive -o docker.tar localhost/two:2
		p save -q --format docker-dir -o dir localhost/two:2
		p import -q context/rootfs.tar localhost/imported:2
		p save -q -m --format docker-archive -o both.tar localhost/two:2 localhost/imported:2
		skopeo --insecure-policy copy -q docker-archive:docker.tar:localhost/two:2 oci:oracle:2
		p rmi -a -f
	`)
	in := func(scheme, file string) string { return scheme + ":" + filepath.Join(base, file) }
	return map[string]string{
		"oci-dir": in("oci", "oci"), "oci-archive": in("oci-archive", "oci.tar"), "docker-archive": in("docker-archive", "docker.tar"), "docker-dir": in("dir", "dir"),
		"docker-archive of two images": in("docker-archive", "both.tar:localhost/two:2"),
	}, filepath.Join(base, "oracle") + ":2"
}

// steps runs a shell script in base, with the two steps as files in $steps.
func steps(t *testing.T, base, script string) {
	t.Helper()
	dir := newDir(t)
	for name, step := range map[string]string{"first": firstStep, "second": secondStep} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(step), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// HOME, so that no configuration of this user's counts.
	run(t, base, "env", "HOME="+base, "TMPDIR="+dir, "steps="+dir, "sh", "-ec", script)
}

// byContainerRegistry writes with the library of ko, kaniko, crane and apko.
func byContainerRegistry(t *testing.T, base string) (map[string]string, string) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	img, packed := ggcr.Image(empty.Image), ggcr.Image(empty.Image)
	for _, l := range nasty() {
		open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(l)), nil }
		gz, err := tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer))
		check(err)
		img, err = mutate.AppendLayers(img, gz)
		check(err)
		zst, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(zstdFast.pack(l))), nil
		}, tarball.WithMediaType(types.OCILayerZStd))
		check(err)
		packed, err = mutate.AppendLayers(packed, zst)
		check(err)
	}
	one, err := name.NewTag("example.com/mica/nasty:1")
	check(err)
	two, err := name.NewTag("example.com/mica/zstd:1")
	check(err)
	in := func(file string) string { return filepath.Join(base, file) }
	check(tarball.WriteToFile(in("one.tar"), one, img))
	check(tarball.MultiWriteToFile(in("two.tar"), map[name.Tag]ggcr.Image{one: img, two: packed}))
	both := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	path, err := ggcrlayout.Write(in("oci"), both)
	check(err)
	check(path.AppendImage(mutate.ConfigMediaType(mutate.MediaType(img, types.OCIManifestSchema1), types.OCIConfigJSON), ggcrlayout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "1"})))
	check(path.AppendImage(packed, ggcrlayout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "zstd"})))
	return map[string]string{
		"layout": in("oci:1"), "layout, zstd": in("oci:zstd"),
		"tarball": in("one.tar"), "tarball of two": in("two.tar:example.com/mica/nasty:1"), "tarball, zstd": in("two.tar:example.com/mica/zstd:1"),
	}, in("oci:1")
}
