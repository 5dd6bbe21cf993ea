package e2e

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// imagesEnv names a directory of real images, if there is one: oci/ and
// oci-zstd/, layouts with a tag an image, and NAME.docker.tar.
const imagesEnv = "MICA_TEST_IMAGES"

// busybox writes an image of Debian's busybox by other tools: umoci makes the
// layers, skopeo the other forms. It gives references by form.
func busybox(t *testing.T) map[string]string {
	t.Helper()
	needRoot(t)
	for _, tool := range []string{"umoci", "skopeo", "busybox"} {
		needTool(t, tool)
	}
	base := newDir(t)
	run(t, base, "sh", "-ec", `
		exec 2>&1
		umoci init --layout oci
		umoci new --image oci:busybox
		umoci unpack --image oci:busybox bundle
		cd bundle/rootfs
		mkdir bin etc tmp root
		chmod 1777 tmp
		cp "$(command -v busybox)" bin/busybox
		for applet in $(bin/busybox --list); do [ "$applet" = busybox ] || ln -s busybox "bin/$applet"; done
		echo root:x:0:0:root:/root:/bin/sh >etc/passwd
		echo root:x:0: >etc/group
		ln etc/passwd etc/passwd-
		cd ../..
		umoci repack --refresh-bundle --image oci:busybox bundle
		cd bundle/rootfs
		echo busybox >etc/hostname
		rm etc/group bin/ar
		mv root home
		chmod 700 tmp
		cd ../..
		umoci repack --refresh-bundle --image oci:busybox bundle
		copy() { skopeo --insecure-policy copy -q "$@"; }
		copy --dest-compress-format zstd oci:oci:busybox oci:oci-zstd:busybox
		copy --dest-compress-format zstd:chunked oci:oci:busybox oci:oci-chunked:busybox
		copy oci:oci:busybox oci-archive:oci.tar:busybox
		copy oci:oci:busybox docker-archive:docker.tar:mica/busybox:latest
		copy oci:oci:busybox dir:dir
	`)
	refs := map[string]string{
		"umoci's OCI layout":      filepath.Join(base, "oci") + ":busybox",
		"skopeo's zstd layout":    filepath.Join(base, "oci-zstd") + ":busybox",
		"skopeo's zstd:chunked":   filepath.Join(base, "oci-chunked") + ":busybox",
		"skopeo's OCI archive":    "oci-archive:" + filepath.Join(base, "oci.tar") + ":busybox",
		"skopeo's docker archive": "docker-archive:" + filepath.Join(base, "docker.tar") + ":mica/busybox:latest",
		"skopeo's dir":            "dir:" + filepath.Join(base, "dir"),
	}
	packed(t, base, filepath.Join(base, "docker.tar"), refs)
	return refs
}

// packed adds a docker archive compressed as a whole, by gzip and zstd.
func packed(t *testing.T, base, archive string, refs map[string]string) {
	t.Helper()
	for c, wrap := range map[codec]func(io.Writer) (io.WriteCloser, error){
		gzipped: func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriterLevel(w, gzip.BestSpeed) },
		zstdFast: func(w io.Writer) (io.WriteCloser, error) {
			return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest))
		},
	} {
		path := filepath.Join(base, filepath.Base(archive)+"."+string(c))
		if err := packFile(archive, path, wrap); err != nil {
			t.Fatal(err)
		}
		refs["docker archive "+string(c)] = path
	}
}

func packFile(from, to string, wrap func(io.Writer) (io.WriteCloser, error)) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	w, err := wrap(out)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, in); err != nil {
		return err
	}
	return w.Close()
}

// TestImages mounts images that other tools wrote, in each form, and compares
// with what umoci unpacks.
func TestImages(t *testing.T) {
	needFUSE(t)
	t.Run("busybox by umoci", func(t *testing.T) {
		refs := busybox(t)
		layout, tag, _ := strings.Cut(refs["umoci's OCI layout"], ":")
		sameForms(t, unpack(t, layout, tag), refs)
	})
	real := os.Getenv(imagesEnv)
	if real == "" {
		return
	}
	for _, name := range []string{"busybox", "app"} {
		t.Run(name, func(t *testing.T) {
			refs := map[string]string{
				"OCI gzip":       "oci:" + filepath.Join(real, "oci") + ":" + name,
				"OCI zstd":       "oci:" + filepath.Join(real, "oci-zstd") + ":" + name,
				"docker archive": filepath.Join(real, name+".docker.tar"),
			}
			packed(t, newDir(t), refs["docker archive"], refs)
			sameForms(t, unpack(t, filepath.Join(real, "oci"), name), refs)
		})
	}
}

func sameForms(t *testing.T, want tree, refs map[string]string) {
	t.Helper()
	for about, ref := range refs {
		t.Run(about, func(t *testing.T) {
			h := newHost(t)
			dir := h.mount(ref)
			sameTree(t, want, mustReadTree(t, dir))
			h.umount(dir)
		})
	}
}

// TestSpeed holds the figures that mica promises, where there is the large
// image that they are of.
func TestSpeed(t *testing.T) {
	real := os.Getenv(imagesEnv)
	if real == "" {
		t.Logf("no %s: nothing measured", imagesEnv)
		return
	}
	for _, tt := range []struct {
		ref           string
		first, second time.Duration
	}{
		{"docker-archive:" + filepath.Join(real, "big.docker.tar"), time.Second, 50 * time.Millisecond},
		{"oci:" + filepath.Join(real, "oci") + ":big", 20 * time.Second, 50 * time.Millisecond},
	} {
		// The better of two: the first finds the blobs in the page cache or
		// brings them there. Each has a store of its own.
		first := newHost(t).timeMount(tt.ref)
		h := newHost(t)
		first = min(first, h.timeMount(tt.ref))
		second := min(h.timeMount(tt.ref), h.timeMount(tt.ref), h.timeMount(tt.ref))
		t.Logf("%s: mounted in %v, then in %v", tt.ref, first.Round(time.Millisecond), second.Round(100*time.Microsecond))
		if first > tt.first || second > tt.second {
			t.Errorf("%s: mounted in %v, then in %v; want at most %v and %v", tt.ref, first, second, tt.first, tt.second)
		}
	}
}

// timeMount mounts, unmounts and tells how long the mounting took.
func (h *host) timeMount(ref string) time.Duration {
	h.t.Helper()
	start := time.Now()
	dir := h.mount(ref)
	took := time.Since(start)
	h.umount(dir)
	return took
}

// TestStart: a command-line tool is there at once, and is one file of modest
// size that needs no other.
func TestStart(t *testing.T) {
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	// With symbols, as go build makes it. BuildKit's parser of Dockerfiles links
	// protobuf, which is 3 MB; `make` builds without symbols, 17 MB.
	const mostSize = 28 << 20
	if st.Size() > mostSize {
		t.Errorf("mica has %d MB, want at most %d", st.Size()>>20, mostSize>>20)
	}
	if out, err := exec.Command("ldd", path).CombinedOutput(); !strings.Contains(string(out), "not a dynamic executable") && !strings.Contains(string(out), "statically linked") {
		t.Errorf("not static: %s (%v)", out, err)
	}
	quickest := time.Hour
	for range 20 {
		start := time.Now()
		if _, err := output(exec.Command(path, "version")); err != nil {
			t.Fatal(err)
		}
		quickest = min(quickest, time.Since(start))
	}
	if most := 50 * time.Millisecond; quickest > most {
		t.Errorf("mica version took %v at best, want at most %v", quickest, most)
	}
}
