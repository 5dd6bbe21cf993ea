package e2e

import (
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestContainerImages: what a container has changed is told and becomes an
// image; an image that a container is of stays as long as that does.
func TestContainerImages(t *testing.T) {
	b := newBoxes(t, v1.ImageConfig{Env: []string{"PATH=/bin"}, Cmd: []string{"sh"}})
	b.mica("run", "-d", "--name", "box", "-e", `X=a "b" $c\d`, "-w", "/tmp", "-u", "0:50", b.image, "sleep", "1000")
	b.mica("exec", "box", "sh", "-c", "echo 1 >/etc/new; rm /srv/data; chmod 700 /srv/plain")
	if got, want := b.mica("diff", "box"), "C /etc\nA /etc/new\nC /srv\nD /srv/data\nC /srv/plain\n"; got != want {
		t.Errorf("diff: %q, want %q", got, want)
	}
	id := b.mica("commit", "-q", "-m", "changed", "box", "made:1")
	b.mica("commit", "-q", "-c", `CMD ["cat", "/etc/new"]`, "box", "made:2")
	if got := b.mica("run", "--rm", "made:1", "sh", "-c", `echo "$X"; pwd; id -g; ls /srv/data 2>&1; true`); got != "a \"b\" $c\\d\n/tmp\n50\nls: /srv/data: No such file or directory\n" {
		t.Errorf("what was committed prints %q", got)
	}
	if got := b.mica("run", "--rm", "made:2"); got != "1\n" {
		t.Errorf("the command of what was committed prints %q", got)
	}
	if got := strings.TrimSpace(b.mica("images", "-q", "--no-trunc", "made:1")); got != strings.TrimSpace(id) {
		t.Errorf("commit prints %q, the image is %q", id, got)
	}
	explained := b.mica("explain", "box")
	for _, want := range []string{"container box", "sleep 1000", "A /etc/new", "D /srv/data", "layer 1/1", "shared with image made:"} {
		if !strings.Contains(explained, want) {
			t.Errorf("explain lacks %q:\n%s", want, explained)
		}
	}
	b.mica("rm", "-f", "box")

	b.mica("create", "--name", "user", "made:1", "cat", "/etc/new")
	if r := b.try("rmi", "made:1"); r.status != 1 || !strings.Contains(r.stderr, "used by container user") {
		t.Errorf("rmi of what a container is of: %+v", r)
	}
	b.mica("rmi", "-f", "made:1")
	b.mica("prune", "--all")
	if r := b.try("start", "-a", "user"); r.stdout != "1\n" {
		t.Errorf("a container whose image has lost its name: %+v", r)
	}
	b.mica("prune", "--containers")
	if left := b.mica("ps", "-aq") + b.mica("images", "-q"); left != "" {
		t.Errorf("left after prune: %q", left)
	}
}

// TestContainerHostile: images whose configs or files want out do no harm.
func TestContainerHostile(t *testing.T) {
	b := newBoxes(t, v1.ImageConfig{Env: []string{"PATH=/bin"}})
	l, err := busyboxLayer()
	must(err)
	evil := layerOf(
		symlink("etc/passwd", "/proc/self/environ"), symlink("etc/group", "../../../../etc/group"),
		symlink("w", "/srv/up/var"), symlink("dev2", "/dev"), fifo("etc/pipe"),
	)
	many := make([]string, 3000)
	for i := range many {
		many[i] = strings.Repeat("V", 10) + strings.Repeat("x", 200) + "=" + strings.Repeat("y", 500)
	}
	for _, tt := range []struct {
		about  string
		config v1.ImageConfig
		args   []string
		status int
		stdout string
	}{
		{"a user by name where passwd leads out", v1.ImageConfig{User: "ada"}, []string{"/bin/true"}, 125, ""},
		{"a workdir through a symlink out", v1.ImageConfig{WorkingDir: "/srv/up/new/dir"}, []string{"/bin/pwd", "-P"}, 0, "/new/dir\n"},
		{"volumes that are no place", v1.ImageConfig{Volumes: map[string]struct{}{"/": {}, "../x": {}, "rel": {}, "/ok/../fine": {}}}, []string{"/bin/grep", "-c", " /fine ", "/proc/mounts"}, 0, "1\n"},
		{"a volume through a symlink out", v1.ImageConfig{Volumes: map[string]struct{}{"/w/vol": {}}}, []string{"/bin/ls", "/var"}, 0, "vol\n"},
		{"an entrypoint that is a directory", v1.ImageConfig{Entrypoint: []string{"/etc"}}, nil, 126, ""},
		{"an empty entrypoint", v1.ImageConfig{Entrypoint: []string{""}}, nil, 125, ""},
		{"a stop signal that is none", v1.ImageConfig{StopSignal: "SIGNOSUCH"}, []string{"/bin/echo", "x"}, 0, "x\n"},
		{"an environment of 2 MB", v1.ImageConfig{Env: many}, []string{"/bin/echo", "x"}, 0, "x\n"},
		{"a variable without a name", v1.ImageConfig{Env: []string{"=x", "A", "B=1"}}, []string{"/bin/sh", "-c", "echo $B"}, 0, "1\n"},
	} {
		tag := strings.ReplaceAll(strings.ReplaceAll(tt.about, " ", "-"), "'", "")
		b.add(tag, tt.config, l, evil)
		r := b.try(append([]string{"run", "--rm", b.image + ":" + tag}, tt.args...)...)
		if r.status != tt.status || r.stdout != tt.stdout {
			t.Errorf("%s: status %d, %q, %.300q; want %d, %q", tt.about, r.status, r.stdout, r.stderr, tt.status, tt.stdout)
		}
	}
	if left := b.mica("ps", "-aq"); left != "" {
		t.Errorf("left: %q", left)
	}
}
