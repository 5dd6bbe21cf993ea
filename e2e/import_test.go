package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestImport makes images of a directory that GNU tar knows, of its tar packed
// in each way and of that by a pipe, and wants them to be the directory.
func TestImport(t *testing.T) {
	needRoot(t)
	needFUSE(t)
	for _, tool := range []string{"gzip", "zstd", "setfattr", "skopeo"} {
		needTool(t, tool)
	}
	h := newHost(t)
	run(t, h.dir, "sh", "-ec", `
		mkdir -p root/etc root/var/empty
		echo hello >root/etc/motd
		ln root/etc/motd root/etc/same
		ln -s ../etc/motd root/var/link
		mkfifo root/var/pipe
		mknod root/var/null c 1 3
		chown 12:34 root/etc/motd
		chmod 4755 root/etc/motd
		setfattr -n user.note -v x root/etc
		chmod 1777 root/var/empty
		truncate -s 3M root/var/holes
		touch -d '1999-12-31 23:59:58.5 UTC' root/var/holes root/var
		tar --xattrs --format=pax -C root -cf root.tar .
		gzip -k root.tar
		zstd -q root.tar
	`)
	want := mustReadTree(t, filepath.Join(h.dir, "root"))
	for _, tt := range []struct{ about, from, name string }{
		{"a directory", "root", "of/directory"},
		{"a tar", "root.tar", "of/tar"},
		{"a tar through gzip", "root.tar.gz", "of/gzip"},
		{"a tar through zstd", "rootfs:root.tar.zst", "of/zstd"},
		{"a pipe", "-", "of/pipe"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			cmd := h.command("import", "-q", "-c", `CMD ["sh"]`, tt.from, tt.name)
			if tt.from == "-" {
				f, err := os.Open(filepath.Join(h.dir, "root.tar"))
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				cmd.Stdin = f
			}
			id, err := output(cmd)
			if err != nil || !strings.HasPrefix(id, "sha256:") {
				t.Fatalf("import printed %q, %v", id, err)
			}
			dir := h.mount(tt.name)
			sameTree(t, want, mustReadTree(t, dir))
			h.umount(dir)
			if out := h.mica("history", "-n", tt.name); strings.Count(out, "\n") != 1 || !strings.Contains(out, "mica import") {
				t.Errorf("history says %q, want one line of mica import", out)
			}
			h.mica("verify", tt.name)
		})
	}
	// The blob of a tar stays what it is.
	if got, want := h.mica("inspect", "--raw", "of/gzip"), strings.Fields(run(t, h.dir, "sha256sum", "root.tar.gz"))[0]; !strings.Contains(got, want) {
		t.Errorf("the layer is not the tar %s: %s", want, got)
	}
	missing := h.command("import", "nothing", "x")
	if _, err := output(missing); err == nil || missing.ProcessState.ExitCode() != 3 {
		t.Errorf("import of what is not there: %v, want exit status 3", err)
	}
}

// TestSquash wants the same files in one layer, the config kept, the same layer
// each time, and what umoci unpacks to be the same.
func TestSquash(t *testing.T) {
	needRoot(t)
	needFUSE(t)
	h := newHost(t)
	im := image{
		layerOf(dir("etc"), file("etc/motd", "hello\n"), file("etc/gone", random(1, 1<<20))),
		layerOf(file("etc/.wh.gone", ""), file("etc/more", "more\n")),
	}
	if _, err := im.writeOCI(filepath.Join(h.dir, "image"), gzipped); err != nil {
		t.Fatal(err)
	}
	dir := h.mount("image")
	want := mustReadTree(t, dir)
	h.umount(dir)
	first := h.mica("squash", "-q", "image", "flat:1")
	dir = h.mount("flat:1")
	sameTree(t, want, mustReadTree(t, dir))
	h.umount(dir)
	run(t, h.dir, "skopeo", "copy", "-q", "oci:store/images:docker.io/library/flat:1", "oci:copy:flat")
	sameTree(t, want, unpack(t, filepath.Join(h.dir, "copy"), "flat"))
	if out := h.mica("layers", "-n", "flat:1"); strings.Count(out, "\n") != 1 {
		t.Errorf("squashed image has the layers %q, want one", out)
	}
	for _, name := range []string{"flat:2", "flat:3"} {
		cmd := h.command("squash", "-q", "image", name)
		cmd.Env = append(cmd.Environ(), "SOURCE_DATE_EPOCH=7")
		if id, err := output(cmd); err != nil || id == first {
			t.Errorf("squash with SOURCE_DATE_EPOCH printed %q, %v", id, err)
		}
	}
	if a, b := h.mica("inspect", "--raw", "flat:2"), h.mica("inspect", "--raw", "flat:3"); a != b {
		t.Errorf("squashed twice: %s and %s", a, b)
	}
}
