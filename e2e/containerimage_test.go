package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// busyboxLayer is a root file system of Debian's busybox, with users.
var busyboxLayer = sync.OnceValues(func() (layer, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return nil, err
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	list, err := exec.Command(path, "--list").Output()
	if err != nil {
		return nil, err
	}
	entries := []entry{
		dir("bin"), dir("dev"), dir("proc"), dir("sys"), dir("etc"), dir("tmp").mode(0o1777), dir("srv/ada").own(1000, 1000).mode(0o700),
		file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/srv/ada:/bin/sh\nbob:x:1001:1001::/srv/bob:/bin/sh\n"),
		file("etc/group", "root:x:0:\nada:x:1000:\nwheel:x:10:ada,root\nstaff:x:50:ada\nbob:x:1001:\n"),
		file("bin/busybox", string(program)).mode(0o755),
		dir("srv"), file("srv/data", "of the image\n"), symlink("srv/up", "/../../.."), file("srv/script", "no program\n").mode(0o755), file("srv/plain", "no program\n"),
	}
	for _, applet := range strings.Fields(string(list)) {
		if applet != "busybox" {
			entries = append(entries, symlink("bin/"+applet, "busybox"))
		}
	}
	return layerOf(entries...), nil
})

// A boxes is a host that containers of a busybox image run on.
type boxes struct {
	*host
	image string
}

// newBoxes makes an image with a configuration, and a place to run it. Each
// container that is left when the test ends is removed.
func newBoxes(t *testing.T, config v1.ImageConfig) *boxes {
	t.Helper()
	needFUSE(t)
	needRoot(t)
	needTool(t, "runc")
	needTool(t, "busybox")
	l, err := busyboxLayer()
	if err != nil {
		t.Fatal(err)
	}
	h := newHost(t)
	b := &boxes{h, filepath.Join(h.dir, "oci")}
	b.add("latest", config, l)
	t.Cleanup(func() {
		for _, id := range strings.Fields(b.mica("ps", "-aq")) {
			b.mica("rm", "-f", "-v", id)
		}
	})
	return b
}

// add adds an image under a tag.
func (b *boxes) add(tag string, config v1.ImageConfig, layers ...layer) {
	b.t.Helper()
	lo, err := readLayout(b.image)
	if err != nil {
		b.t.Fatal(err)
	}
	var cfg v1.Image
	if err := json.Unmarshal(image(layers).config(), &cfg); err != nil {
		b.t.Fatal(err)
	}
	cfg.Config = config
	lo.addWith(image(layers), toJSON(cfg), tag, gzipped)
	if err := lo.write(b.image); err != nil {
		b.t.Fatal(err)
	}
}

// A result is how a command ended, and what it printed.
type result struct {
	status         int
	stdout, stderr string
}

// try runs a command of mica that may fail.
func (h *host) try(args ...string) result { return h.tryWith("", args...) }

// tryWith is try with a standard input.
func (h *host) tryWith(stdin string, args ...string) (r result) {
	h.t.Helper()
	var out, msg bytes.Buffer
	cmd := h.command(args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &msg
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), msg.String()}
}

// run runs a container that is removed when it ends, and has to succeed.
func (b *boxes) run(args ...string) string {
	b.t.Helper()
	return b.mica(append([]string{"run", "--rm"}, args...)...)
}

// sh runs a shell command in one, with flags.
func (b *boxes) sh(script string, flags ...string) string {
	b.t.Helper()
	return b.run(append(flags, b.image, "sh", "-c", script)...)
}
