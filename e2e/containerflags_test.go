package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestContainerFlags: each flag does what docker's documentation says of it,
// as seen from inside.
func TestContainerFlags(t *testing.T) {
	b := newBoxes(t, v1.ImageConfig{Env: []string{"PATH=/bin"}})
	shared := filepath.Join(b.dir, "shared")
	must(os.Mkdir(shared, 0o777), os.WriteFile(filepath.Join(shared, "f"), []byte("of the host\n"), 0o644),
		os.WriteFile(filepath.Join(b.dir, "env"), []byte("# comment\nE=file\n\nF=a b\n"), 0o644))
	for _, tt := range []struct {
		about  string
		flags  string // separated by spaces
		script string
		want   string
	}{
		{"a namespace of processes", "", "echo $$; ls /proc | grep -c '^[0-9]'", "1\n3\n"},
		{"capabilities", "", "grep CapBnd /proc/self/status", "CapBnd:\t00000000a80425fb\n"},
		{"of another user none", "-u ada", "grep CapEff /proc/self/status", "CapEff:\t0000000000000000\n"},
		{"--cap-drop ALL", "--cap-drop ALL", "grep CapEff /proc/self/status", "CapEff:\t0000000000000000\n"},
		{"--cap-drop, --cap-add", "--cap-drop ALL --cap-add net_admin --cap-add CAP_CHOWN", "grep CapEff /proc/self/status", "CapEff:\t0000000000001001\n"},
		{"seccomp", "", "grep Seccomp: /proc/self/status; unshare -U true 2>&1 | grep -c 'not permitted'", "Seccomp:\t2\n1\n"},
		{"seccomp=unconfined", "--security-opt seccomp=unconfined", "grep Seccomp: /proc/self/status", "Seccomp:\t0\n"},
		{"no-new-privileges", "--security-opt no-new-privileges", "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1\n"},
		{"what is masked", "", "cat /proc/keys; echo x 2>/dev/null >/proc/sys/vm/swappiness || echo no; ls /sys/firmware", "no\n"},
		{"--privileged", "--privileged", "grep Seccomp: /proc/self/status; test -e /dev/fuse && echo fuse; grep -c ' /proc/sys ' /proc/mounts", "Seccomp:\t0\nfuse\n0\n"},
		{"no network but loopback", "", "ls /sys/class/net; cat /sys/class/net/lo/operstate", "lo\nunknown\n"},
		{"--network host", "--network host", "readlink /proc/self/ns/net", readlink("/proc/self/ns/net") + "\n"},
		{"--pid host", "--pid host", "readlink /proc/self/ns/pid", readlink("/proc/self/ns/pid") + "\n"},
		{"--ipc host", "--ipc host", "readlink /proc/self/ns/ipc", readlink("/proc/self/ns/ipc") + "\n"},
		{"--uts host", "--uts host", "readlink /proc/self/ns/uts", readlink("/proc/self/ns/uts") + "\n"},
		{"--env-file under -e", "--env-file env -e E=flag", "echo $E $F", "flag a b\n"},
		{"-v of a directory", "-v ./shared:/mnt/x", "cat /mnt/x/f; echo >/mnt/x/new && echo written", "of the host\nwritten\n"},
		{"-v :ro", "-v ./shared:/mnt:ro", "echo 2>/dev/null >/mnt/new2 || echo read-only", "read-only\n"},
		{"-v of a file", "-v ./shared/f:/etc/f", "cat /etc/f", "of the host\n"},
		{"--mount bind", "--mount type=bind,src=shared,dst=/mnt,ro", "cat /mnt/f; touch /mnt/y 2>/dev/null || echo read-only", "of the host\nread-only\n"},
		{"--tmpfs", "--tmpfs /srv:size=1m", "grep ' /srv ' /proc/mounts | grep -c 'tmpfs.*nosuid.*nodev.*noexec.*size=1024k'; ls /srv", "1\n"},
		{"--mount tmpfs", "--mount type=tmpfs,dst=/t,tmpfs-size=1048576,tmpfs-mode=700", "stat -c %a /t", "700\n"},
		{"a bind through a symlink that leads out stays inside", "-v ./shared:/srv/up/b", "cat /b/f", "of the host\n"},
		{"--read-only", "--read-only --tmpfs /tmp", "touch /x 2>/dev/null || echo read-only; touch /tmp/x && echo but there", "read-only\nbut there\n"},
		{"--hostname", "--hostname box", "hostname", "box\n"},
		{"--add-host, --dns", "--add-host there:10.1.2.3 --dns 10.9.9.9 --dns-search example.org --dns-option ndots:3", "grep there /etc/hosts; cat /etc/resolv.conf | grep -c -e 10.9.9.9 -e example.org -e ndots:3", "10.1.2.3\tthere\n3\n"},
		{"--shm-size", "--shm-size 1m", "df -k /dev/shm | tail -1 | awk '{print $2}'", "1024\n"},
		{"--ulimit", "--ulimit nofile=64:128 --ulimit core=0", "ulimit -Sn; ulimit -Hn; ulimit -c", "64\n128\n0\n"},
		{"--device", "--device /dev/fuse:/dev/other:r", "stat -c %t:%T /dev/other; test -e /dev/fuse || echo no other", "a:e5\nno other\n"},
		{"--sysctl", "--sysctl net.ipv4.ip_forward=1", "cat /proc/sys/net/ipv4/ip_forward", "1\n"},
		{"--init", "--init", "cat /proc/1/comm; (sh -c 'sleep 0.01 & exit') ; sleep 0.2; ps -o stat | grep -c Z", "mica-init\n0\n"},
		{"--init and a status", "--init", "exit 0", ""},
		{"workdir through a symlink that leads out", "-w /srv/up/etc", "pwd -P; cat passwd | head -1", "/etc\nroot:x:0:0:root:/root:/bin/sh\n"},
		{"workdir with dots", "-w /../../tmp", "pwd", "/tmp\n"},
		{"--engine kernel", "--engine kernel", "grep ' / ' /proc/mounts | cut -d' ' -f3; echo x >/srv/data && cat /srv/data", "overlay\nx\n"},
		{"--engine fuse", "--engine fuse", "grep ' / ' /proc/mounts | cut -d' ' -f3; echo x >/srv/data && cat /srv/data", "fuse.mica\nx\n"},
		{"--oom-score-adj", "--oom-score-adj 500", "cat /proc/self/oom_score_adj", "500\n"},
	} {
		r := b.try(append(append([]string{"run", "--rm"}, strings.Fields(tt.flags)...), b.image, "sh", "-c", tt.script)...)
		if r.status != 0 && !strings.HasSuffix(tt.want, "0\n") || r.stdout != tt.want {
			t.Errorf("%s: %q, status %d, %q; want %q", tt.about, r.stdout, r.status, r.stderr, tt.want)
		}
	}
}

func readlink(path string) string {
	target, err := os.Readlink(path)
	must(err)
	return target
}

// TestContainerVolumes: a volume has at first what the image has at its target,
// stays when its container goes, and does not when it has no name.
func TestContainerVolumes(t *testing.T) {
	b := newBoxes(t, v1.ImageConfig{Env: []string{"PATH=/bin"}})
	if got := b.sh("cat /srv/data; stat -c %u /srv/ada; echo new >/srv/new", "-v", "vol:/srv"); got != "of the image\n1000\n" {
		t.Errorf("a new volume has %q", got)
	}
	if got := b.sh("cat /mnt/new", "-v", "vol:/mnt"); got != "new\n" {
		t.Errorf("of a volume that was there: %q", got)
	}
	if got := b.sh("ls /srv", "-v", "empty:/srv:nocopy"); got != "" {
		t.Errorf("with nocopy: %q", got)
	}
	b.sh("true", "-v", "/srv")
	names, err := os.ReadDir(filepath.Join(b.dir, "store", "volumes"))
	if err != nil || len(names) != 2 {
		t.Errorf("volumes: %v, %v; want empty, vol", names, err)
	}
}
