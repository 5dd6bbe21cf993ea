package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// commit makes an image of what an operand has changed, with a time that does
// not go on, and gives its ID. It is named by the test.
func (h *host) commit(operand, name string, flags ...string) string {
	h.t.Helper()
	cmd := h.command(append(append([]string{"commit"}, flags...), operand, name)...)
	cmd.Env = append(cmd.Env, "SOURCE_DATE_EPOCH=2000000000") // after all files
	out, err := output(cmd)
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// stored gives the layout of a host's store.
func (h *host) stored() string { return filepath.Join(h.dir, "store", "images") }

// sameCommitted holds the image of a commit against the tree that was committed,
// as mica and as umoci have it.
func (h *host) sameCommitted(want tree, name string) {
	h.t.Helper()
	dir := h.mount(name)
	sameTree(h.t, want, mustReadTree(h.t, dir))
	h.umount(dir)
	if !strings.HasPrefix(name, "zstd") { // which umoci does not know yet
		sameTree(h.t, unpack(h.t, h.stored(), "docker.io/library/"+name), want)
	}
}

// TestCommit commits what all kinds of changes to an image of all kinds of files
// have left.
func TestCommit(t *testing.T) {
	needFUSE(t)
	needRoot(t)
	h := newHost(t)
	layout := filepath.Join(h.dir, "oci")
	if _, err := nasty().writeOCI(layout, gzipped); err != nil {
		t.Fatal(err)
	}
	dir := h.mount(layout, "--rw", "--keep", "changed")
	run(t, dir, "sh", "-ec", `
		rm -r gone names/*quoted* deep; mkdir deep; echo x >deep/again
		rm -r merged; mkdir merged; echo only >merged/this
		mv many few; mv few/a* .; mkdir many; echo >many/one
		mv xattr/user xattr/moved; setfattr -n user.more -v "$(printf 'a\nb')" xattr/moved; setfattr -x user.of.dir xattr
		setfacl -m u:7:rw,g:8:r etc/passwd; setfacl -d -m u:7:rwx srv
		setcap cap_net_raw+ep bin/wall 2>/dev/null || setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 bin/wall
		ln links/over links/above; ln etc/motd srv/motd; ln -s /nowhere/else newlink; mkfifo newpipe; mknod newnull c 1 3; mknod newdisk b 8 17
		chmod 4755 etc/empty; chown 12:34 etc/empty; chown -h 5:6 link; touch -h -d @1400000000.123456789 link
		truncate -s 20M big; printf end >>big; dd if=/dev/zero of=zeros bs=1M count=3 2>/dev/null; truncate -s 5M hole
		printf x | dd of=sparse/holes bs=1 seek=5000000 conv=notrunc 2>/dev/null
		rm types/file-to-link; mkdir types/file-to-link; rm -r types/link-to-dir; echo >types/link-to-dir; mv types/dir-to-file types/moved
		touch -d @1300000000.5 data; chmod 644 data/block; cp -p data/text data/copy; mv data/copy data/text
		mkdir -p `+"a/b/c/d/e"+`; echo deep >a/b/c/d/e/f
		touch "$(printf 'new\nline')" "$(printf '\377\376')" `+strings.Repeat("n", 251)+`
		echo sparse >many/`+"tail"+`; rm -f dev/null2; echo changed >>links/over
	`)
	want := mustReadTree(t, dir)
	first := h.commit(dir, "new:1")
	h.umount(dir)
	if again := h.commit("changed", "again:1"); again != first {
		t.Errorf("unmounted: %s, mounted %s", again, first)
	}
	for _, how := range []string{"zstd", "none", "gzip:9", "zstd:15"} {
		h.commit("changed", strings.ReplaceAll(how, ":", "")+":1", "--compression", how)
	}
	h.sameCommitted(want, "new:1")
	h.sameCommitted(want, "zstd:1")
	// Nothing that others would take for a mark, or that is mica's.
	if out, _ := exec.Command("grep", "-rlaE", "(trusted|user)\\.overlay|mica\\.ino", filepath.Join(h.stored(), "blobs")).Output(); len(out) > 0 {
		t.Errorf("attributes of overlayfs in %s", out)
	}
	h.mica("verify", "new:1")
}

// TestCommitElsewhere: the same upper on another file system is the same image.
func TestCommitElsewhere(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	u, err := unionIn(h, h.dir, overImage, modelLayers(0)...)
	if err != nil {
		t.Fatal(err)
	}
	m := &model{t: t, flavour: overImage}
	like := newUnion(t, plainDir, modelLayers(0)...)
	if d := m.round(u, like, newPlan(7)[0]); d != nil {
		t.Fatal(d)
	}
	run(t, u.dir, "sh", "-c", "truncate -s 9M hole; printf x >>hole; head -c 5000000 /dev/zero >zeros")
	want := h.commit(u.dir, "here:1")
	if err := u.umount(); err != nil {
		t.Fatal(err)
	}
	memory := filepath.Join(h.dir, "memory")
	if err := os.Mkdir(memory, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", memory, "tmpfs", 0, "size=200M"); err != nil {
		t.Fatal(err)
	}
	run(t, h.dir, "cp", "-a", "--sparse=never", u.upper, memory+"/u")
	if got := h.commit(memory+"/u", "there:1"); got != want {
		t.Errorf("on tmpfs, written without holes: %s, want %s", got, want)
	}
}

// commitSeeds is how many random histories are committed; more with modelTimeEnv.
const commitSeeds = 3

// TestCommitModel commits after each round of random operations, and goes on from
// there: on the same upper, and on a new one over the image that was made.
func TestCommitModel(t *testing.T) {
	needRoot(t)
	first := uint64(envInt(t, historySeedEnv, 1))
	for seed := first; seed < first+commitSeeds; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			u, err := unionIn(h, h.dir, overImage, modelLayers(0)...)
			if err != nil {
				t.Fatal(err)
			}
			m := &model{t: t, flavour: overImage}
			like := newUnion(t, plainDir, modelLayers(0)...)
			for i, ops := range newPlan(seed) {
				if d := m.round(u, like, ops); d != nil {
					t.Fatal(d)
				}
				for _, dir := range []string{u.dir, like.dir} { // there are none in a layer
					run(t, dir, "find", ".", "-type", "s", "-delete")
				}
				want := mustReadTree(t, u.dir)
				name := fmt.Sprint("round:", i)
				h.commit(u.dir, name)
				h.sameCommitted(want, name)
				if i%2 == 0 {
					continue
				}
				if err := u.umount(); err != nil {
					t.Fatal(err)
				}
				for _, dir := range []*string{&u.upper, &u.work} {
					*dir += "+"
					if err := os.Mkdir(*dir, 0o755); err != nil {
						t.Fatal(err)
					}
				}
				u.lower = name
				if err := u.mount(); err != nil {
					t.Fatal(err)
				}
				if d := compareActors(u, like, ops); d != nil {
					t.Fatalf("over the image of round %d: %v", i, d)
				}
			}
		})
	}
}

// TestCommitRead has other tools read what commit makes.
func TestCommitRead(t *testing.T) {
	needFUSE(t)
	needRoot(t)
	for _, tool := range []string{"skopeo", "podman", "runc"} {
		needTool(t, tool)
	}
	h := newHost(t)
	layout := filepath.Join(h.dir, "oci")
	im := image{layerOf(dir("."), dir("d"), file("d/a", "a"), file("d/b", "b"), dir("old"), file("old/x", "x"), dir("moved"), file("moved/y", "y"), file("f", "f"), dir("tmp").mode(0o1777))}
	if _, err := im.writeOCI(layout, gzipped); err != nil {
		t.Fatal(err)
	}
	m := h.mount(layout, "--rw", "--keep", "changed")
	run(t, m, "sh", "-ec", `rm d/a; rm -r old; mkdir old; echo 2 >old/z; mv moved elsewhere; ln f g; echo 3 >>d/b; truncate -s 3M hole; echo end >>hole; touch -d @1500000000 tmp/t tmp`)
	want := mustReadTree(t, m)
	for _, how := range []string{"gzip", "zstd", "none"} {
		h.commit(m, "read:"+how, "--compression", how)
		copied := filepath.Join(h.dir, how)
		run(t, h.dir, "skopeo", "copy", "--insecure-policy", "-q", "oci:"+h.stored()+":docker.io/library/read:"+how, "oci:"+copied+":latest")
		if how != "zstd" { // which umoci does not know yet
			sameTree(t, unpack(t, copied, "latest"), want)
		}
		h.mica("save", "-o", filepath.Join(h.dir, how+".tar"), "read:"+how)
		run(t, h.dir, "sh", "-ec", `
			run=$(mktemp -d /tmp/mica-e2e-podman-XXXXXX) # podman takes no long name
			trap 'rm -rf "$run"' EXIT
			p() { podman --root "$PWD/root-`+how+`" --runroot "$run" --tmpdir "$PWD/tmp" --storage-driver overlay --cgroup-manager cgroupfs --events-backend file --runtime runc "$@"; }
			p load -q -i `+how+`.tar >&2
			at=$(p image mount docker.io/library/read:`+how+`)
			tar -C "$at" -cf podman-`+how+`.tar --xattrs .
			p image umount -a >&2; p rmi -a -f >&2
		`)
		unpacked := filepath.Join(h.dir, "podman-"+how)
		if err := os.Mkdir(unpacked, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := output(exec.Command("tar", "-C", unpacked, "--xattrs", "-xpf", unpacked+".tar")); err != nil {
			t.Fatal(err)
		}
		got := mustReadTree(t, unpacked)
		for _, tr := range []tree{got, want} {
			for p, n := range tr {
				n.Mtime.Nsec = 0 // of podman's tar
				tr[p] = n
			}
		}
		delete(got, ".") // podman's own
		delete(want, ".")
		sameTree(t, want, got)
		want = mustReadTree(t, m)
	}
	h.umount(m)
}
