package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestPodman has podman store its layers as directories and have mica mount
// them: it builds an image, in whose steps a file is deleted, a directory moved
// and another made anew, and runs a container of it.
func TestPodman(t *testing.T) {
	needFUSE(t)
	needRoot(t)
	for _, tool := range []string{"podman", "runc", "busybox"} {
		needTool(t, tool)
	}
	h := newHost(t)
	out := run(t, h.dir, "env", "HOME="+h.dir, "MICA_ROOT="+filepath.Join(h.dir, "store"), "mica="+filepath.Join(binDir(), "mica"), "sh", "-ec", `
		mkdir -p context/rootfs/bin context/rootfs/a/b context/rootfs/c context/rootfs/proc
		cp "$(command -v busybox)" context/rootfs/bin/busybox
		ln -s busybox context/rootfs/bin/sh
		echo 1 >context/rootfs/a/b/f; echo 1 >context/rootfs/c/f; echo 1 >context/rootfs/deleted; echo 1 >context/rootfs/kept
		tar -C context/rootfs -cf context/rootfs.tar .
		cat >context/Dockerfile <<-'END'
			FROM scratch
			ADD rootfs.tar /
			RUN ["/bin/busybox", "sh", "-ec", "cd /; for c in cat find ls mv rm mkdir; do busybox ln -s busybox bin/$c; done; rm deleted; mv a moved; rm -r c; mkdir c; echo 2 >c/g; echo 2 >>kept"]
			RUN ["/bin/sh", "-ec", "echo 3 >moved/b/g; rm c/g"]
		END
		run=$(mktemp -d /tmp/mica-e2e-podman-XXXXXX) # podman takes no long name
		trap 'rm -rf "$run"' EXIT
		p() { podman --root "$PWD/root" --runroot "$run" --tmpdir "$PWD/tmp" --storage-driver overlay --storage-opt "overlay.mount_program=$mica" --cgroup-manager cgroupfs --events-backend file --runtime runc "$@"; }
		limits='--ulimit nofile=1024:1024 --ulimit nproc=1000:1000 --network host'
		p build -q $limits --layers -t localhost/built context >&2
		p run --rm $limits localhost/built /bin/sh -c 'grep "^[^ ]* / " /proc/mounts | busybox cut -d" " -f3; cat kept moved/b/f moved/b/g; find a c deleted moved 2>&1; echo changed >new; cat new' 2>&1
		p rmi -a -f >&2
	`)
	for _, want := range []string{"1\n2\n1\n3\n", "c\n", "moved\nmoved/b\n", "changed\n", "find: a: No such file or directory", "find: deleted: No such file or directory"} {
		if !strings.Contains(out, want) {
			t.Errorf("the container tells %q, want %q in it", out, want)
		}
	}
	if strings.Contains(out, "c/") {
		t.Errorf("the container tells %q, want an empty directory c", out)
	}
}
