package e2e

import (
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestContainerConfig: what the image's config says is done, unless the command
// line says otherwise.
func TestContainerConfig(t *testing.T) {
	b := newBoxes(t, v1.ImageConfig{
		Entrypoint: []string{"/bin/echo", "entry"}, Cmd: []string{"cmd"}, Env: []string{"PATH=/bin", "A=image", "B=image"},
		WorkingDir: "/srv/new", User: "ada", StopSignal: "SIGUSR1", Labels: map[string]string{"l": "image"},
		Volumes: map[string]struct{}{"/srv": {}},
	})
	for _, tt := range []struct {
		about string
		args  []string // before and after the image, which stands for "@"
		want  string
	}{
		{"entrypoint and command of the image", []string{"@"}, "entry cmd\n"},
		{"another command", []string{"@", "other"}, "entry other\n"},
		{"another entrypoint drops the command", []string{"--entrypoint", "/bin/echo", "@"}, "\n"},
		{"no entrypoint", []string{"--entrypoint", "", "@", "echo", "x"}, "x\n"},
		{"user of the image, its groups and home", []string{"--entrypoint", "sh", "@", "-c", "id -u; id -g; id -G; echo $HOME"}, "1000\n1000\n1000 10 50\n/srv/ada\n"},
		{"user by name and group by number", []string{"-u", "bob:50", "--entrypoint", "sh", "@", "-c", "id -u; id -g; id -G"}, "1001\n50\n50\n"},
		{"user by number, of no entry", []string{"-u", "4242", "--entrypoint", "sh", "@", "-c", "id -u; id -g; echo $HOME"}, "4242\n0\n/\n"},
		{"group more", []string{"-u", "bob", "--group-add", "wheel", "--entrypoint", "sh", "@", "-c", "id -G"}, "1001 10\n"},
		{"environment", []string{"-e", "B=flag", "-e", "C", "-e", "D=a=b", "--entrypoint", "sh", "@", "-c", "echo $A $B $C $D"}, "image flag here a=b\n"},
		{"workdir that is not there", []string{"--entrypoint", "pwd", "@"}, "/srv/new\n"},
		{"workdir asked for", []string{"-w", "/tmp", "--entrypoint", "pwd", "@"}, "/tmp\n"},
		{"volume with what the image has there", []string{"-u", "0", "--entrypoint", "sh", "@", "-c", "cat /srv/data; grep -c ' /srv ' /proc/mounts"}, "of the image\n1\n"},
		{"host name", []string{"-h", "box", "--entrypoint", "sh", "@", "-c", "hostname; cat /etc/hostname; echo $HOSTNAME; grep -c box /etc/hosts"}, "box\nbox\nbox\n1\n"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			h := *b.host
			h.t = t
			t.Setenv("C", "here")
			args := append([]string{"run", "--rm"}, tt.args...)
			for i, a := range args {
				if a == "@" {
					args[i] = b.image
				}
			}
			if got := h.mica(args...); got != tt.want {
				t.Errorf("mica %s: %q, want %q", strings.Join(args, " "), got, tt.want)
			}
		})
	}
}

// TestContainerStatus: docker's exit statuses.
func TestContainerStatus(t *testing.T) {
	b := newBoxes(t, v1.ImageConfig{Env: []string{"PATH=/bin"}})
	for _, tt := range []struct {
		about  string
		args   []string
		status int
		stderr string // part of
	}{
		{"the command's own", []string{b.image, "sh", "-c", "exit 7"}, 7, ""},
		{"a signal", []string{b.image, "sh", "-c", "sh -c 'kill -9 $$'; exit $?"}, 137, ""},
		{"not in PATH", []string{b.image, "nosuch"}, 127, "nosuch: not found in the PATH of the container"},
		{"no such path", []string{b.image, "/bin/nosuch"}, 127, "/bin/nosuch"},
		{"a directory", []string{b.image, "/etc"}, 126, "/etc"},
		{"not executable", []string{b.image, "/srv/plain"}, 126, "/srv/plain: permission denied"},
		{"no program, which runc finds out too late", []string{b.image, "/srv/script"}, 1, "exec format error"},
		{"unknown user", []string{"-u", "nosuch", b.image, "true"}, 125, `user "nosuch"`},
		{"no command", []string{b.image}, 125, "no command"},
		{"no such image", []string{"nosuch:1", "true"}, 125, "nosuch"},
		{"unknown flag", []string{"--nosuch", b.image}, 125, "unknown flag"},
		{"environment without end", []string{"-e", "A=" + strings.Repeat("x", 100_000), "-e", "B=" + strings.Repeat("x", 100_000), b.image, "sh", "-c", "echo ${#A} ${#B}"}, 0, ""},
	} {
		r := b.try(append([]string{"run", "--rm"}, tt.args...)...)
		if r.status != tt.status || !strings.Contains(r.stderr, tt.stderr) {
			t.Errorf("%s: status %d, %q; want %d, %q", tt.about, r.status, r.stderr, tt.status, tt.stderr)
		}
	}
	if left := b.mica("ps", "-aq"); left != "" {
		t.Errorf("left: %q", left)
	}
}
