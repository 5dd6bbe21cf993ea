package transport

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSkopeo opens what skopeo makes of an image, in each form that it writes.
func TestSkopeo(t *testing.T) {
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Skip("skopeo is not installed")
	}
	low, high := layer(t, "low"), layer(t, "high")
	b := newBuilder(t)
	b.tag(b.nested(on(amd64, b.image(amd64, low, high, low)), on(arm64, b.image(arm64, high))), "1")
	src := "oci:" + b.dir() + ":1"
	out := t.TempDir()
	skopeo := func(t *testing.T, args ...string) {
		t.Helper()
		args = append([]string{"copy", "--quiet", "--insecure-policy", "--override-os=linux", "--override-arch=amd64"}, args...)
		if msg, err := exec.Command("skopeo", args...).CombinedOutput(); err != nil {
			t.Fatalf("skopeo %s: %v\n%s", strings.Join(args, " "), err, msg)
		}
	}
	for _, tt := range []struct {
		about, to, tag string
		args           []string
	}{
		{about: "layout", to: "oci:" + filepath.Join(out, "oci"), tag: ":a"},
		{about: "layout, all platforms", to: "oci:" + filepath.Join(out, "all"), tag: ":a", args: []string{"--all"}},
		{about: "archive", to: "oci-archive:" + filepath.Join(out, "oci.tar"), tag: ":a"},
		{about: "docker archive", to: "docker-archive:" + filepath.Join(out, "docker.tar"), tag: ":x/y:a"},
		{about: "dir", to: "dir:" + filepath.Join(out, "dir")},
		{about: "dir, schema 2", to: "dir:" + filepath.Join(out, "dir2"), args: []string{"--format=v2s2"}},
		{about: "dir, all platforms", to: "dir:" + filepath.Join(out, "dirs"), args: []string{"--all"}},
		{about: "dir, compressed again", to: "dir:" + filepath.Join(out, "dirz"), args: []string{"--dest-compress"}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			skopeo(t, append(tt.args, src, tt.to+tt.tag)...)
			_, path, _ := strings.Cut(tt.to, ":")
			for _, ref := range []string{tt.to, tt.to + tt.tag, path} {
				checkLayers(t, mustOpen(t, ref, Options{Platform: "linux/amd64"}), low, high, low)
			}
			if len(tt.args) == 1 && tt.args[0] == "--all" {
				checkLayers(t, mustOpen(t, tt.to, Options{Platform: "linux/arm64"}), high)
			}
		})
	}
}
