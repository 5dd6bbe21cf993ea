package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// nasty is a small image with all that layers may hold and that is easily
// served wrong.
func nasty() image {
	long := strings.Repeat("n", 255)
	deep := "deep/" + strings.Repeat(strings.Repeat("d", 100)+"/", 9) + "file"
	many := make([]entry, 0, 1000)
	for i := range cap(many) {
		many = append(many, file("many/"+strings.Repeat("x", i%40)+string(rune('a'+i%26))+strings.Repeat("y", i/40), strings.Repeat("z", i)))
	}
	var noise strings.Builder // that does not compress, over several spans
	for x := uint64(1); noise.Len() < 5<<20; {
		x = x*6364136223846793005 + 1442695040888963407
		noise.WriteByte(byte(x >> 56))
	}
	bottom := layerOf(append([]entry{
		dir(".").mode(0o755),
		dir("etc"), file("etc/motd", "hello\n"), file("etc/passwd", "root:x:0:0\n").mode(0o600),
		file("etc/shadow", "secret").mode(0o000).own(0, 42),
		file("etc/empty", ""),
		dir("bin"), file("bin/su", "#!").mode(0o4755), file("bin/wall", "#!").mode(0o2755).own(0, 5),
		dir("tmp").mode(0o1777), dir("srv").mode(0o2775).own(33, 33),
		symlink("link", "etc/motd"), symlink("dangling", "/nowhere/at/all"), symlink("loop", "loop"),
		symlink("longlink", strings.Repeat("t/", 1500)+"t"), symlink("up", "../../../etc").own(7, 8),
		hardlink("etc/motd.too", "etc/motd"), hardlink("motd", "etc/motd.too"),
		dir("dev"), char("dev/null", 1, 3).mode(0o666), block("dev/sda", 8, 0).own(0, 6), char("dev/far", 4095, 1<<20-1),
		fifo("dev/pipe").mode(0o600), hardlink("dev/pipe2", "dev/pipe"), hardlink("dev/null2", "dev/null"), hardlink("link2", "link"),
		dir("names"), file("names/"+long, "long"), file("names/new\nline", "1"), file("names/\xff\xfe not utf-8", "2"), file("names/ spaced ", "3"),
		file("names/\"quoted\"\\", "4"), file("names/ünï", "5"), file("names/-rf", "6"), file("names/.hidden", "7"),
		file(deep, "deep"),
		dir("times"), file("times/negative", "").at(-86400, 5), file("times/nano", "").at(1_700_000_000, 123_456_789),
		file("times/zero", "").at(0, 0), file("times/2106", "").at(1<<32+7, 1), dir("times/dir").at(1_600_000_000, 999_999_999),
		symlink("times/symlink", "x").at(1_500_000_000, 1),
		dir("owners"), file("owners/big", "").own(4_294_967_294, 4_000_000_000).pax(), file("owners/gnu", "").own(1<<31-1, 1<<30).gnu(),
		file("owners/octal", "").own(0o7777777, 0o7777777),
		dir("xattr").xattr("user.of.dir", "d"), file("xattr/user", "x").xattr("user.name", "value").xattr("user.empty\xe4", "bin\x00\n\xff"),
		file("xattr/caps", "x").mode(0o755).xattr("security.capability", "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
		file("xattr/trusted", "x").xattr("trusted.mine", "t"),
		file("xattr/large", "x").xattr("user.large", strings.Repeat("v", 3000)),
		dir("sparse"), sparse("sparse/holes", 64<<20, segment{1 << 20, "one MiB in"}, segment{32 << 20, strings.Repeat("half", 2000)}),
		sparse("sparse/all", 10<<20+1), file("sparse/zeros", strings.Repeat("\x00", 1<<20)),
		dir("data"), file("data/noise", noise.String()), file("data/text", strings.Repeat("the quick brown fox\n", 200_000)), file("data/block", strings.Repeat("b", 512)),
		dir("gone"), file("gone/a", "a"), dir("gone/sub"), file("gone/sub/b", "b"),
		dir("emptied"), file("emptied/old", "old"), dir("emptied/sub"), file("emptied/sub/x", "x"),
		dir("merged"), file("merged/stays", "1"), file("merged/changes", "1"), file("merged/goes", "1"), dir("merged/sub"), file("merged/sub/stays", "1"),
		dir("types"), dir("types/dir-to-file"), file("types/dir-to-file/in", "x"), file("types/file-to-dir", "x"), symlink("types/link-to-dir", "/etc"),
		file("types/file-to-link", "x"), fifo("types/fifo-to-file"), dir("types/dir-to-link"), file("types/dir-to-link/in", "x"),
		dir("links"), file("links/a", "linked"), hardlink("links/b", "links/a"), hardlink("links/c", "links/a"), file("links/target", "below"),
		file("twice", "first"), file("twice", "second"),
		dir("many"),
	}, many...)...)
	middle := layerOf(
		deleted("gone"),
		dir("emptied"), opaque("emptied"), file("emptied/new", "new"),
		dir("merged").mode(0o711).at(1_200_000_000, 42), file("merged/changes", "2").own(1, 1), deleted("merged/goes"), file("merged/comes", "2"),
		file("types/dir-to-file", "now a file"), dir("types/file-to-dir"), file("types/file-to-dir/in", "x"),
		dir("types/link-to-dir"), file("types/link-to-dir/in", "x"), symlink("types/file-to-link", "dir-to-file"),
		file("types/fifo-to-file", "x"), symlink("types/dir-to-link", "file-to-dir"),
		deleted("links/b"), hardlink("links/over", "links/target"),
		file("etc/shadow", "changed").mode(0o640).own(0, 42),
		deleted("never/was"),
		dir("dev"), deleted("dev/pipe2"),
		file("made/without/parents", "x"),
	)
	top := layerOf(
		dir("gone"), file("gone/back", "again"),
		file("merged/goes", "returned"), deleted("merged/comes"),
		deleted("links/a"), file("links/target", "above"),
		dir("emptied"), dir("emptied/sub"), file("emptied/sub/y", "y"),
		deleted("made/without"),
		deleted("many/"+"a"),
		file("bin/su", "#! changed").mode(0o4711),
	)
	return image{bottom, middle, layerOf(), top}
}

// forms writes an image in each form that mica takes, and gives the paths by
// what is special in each.
func forms(t *testing.T, im image) map[string]string {
	t.Helper()
	base := newDir(t)
	refs := map[string]string{}
	for _, c := range []codec{gzipped, zstdFast, plain} {
		about := "OCI layout " + string(c)
		refs[about] = filepath.Join(base, "oci-"+string(c))
		if _, err := im.writeOCI(refs[about], c); err != nil {
			t.Fatal(err)
		}
	}
	oci := layout{}
	oci.add(im, "latest", gzipped)
	for about, b := range map[string][]byte{
		"OCI archive":                       oci.archive(),
		"docker archive":                    im.dockerArchive("e2e/nasty:latest", plain),
		"docker archive of gzip layers":     im.dockerArchive("e2e/nasty:latest", gzipped),
		"docker archive gzip":               gzipped.pack(im.dockerArchive("e2e/nasty:latest", plain)),
		"docker archive zstd":               zstdFast.pack(im.dockerArchive("e2e/nasty:latest", plain)),
		"docker archive of today":           im.newDockerArchive("e2e/nasty:latest", plain),
		"docker archive of today, gzip all": gzipped.pack(im.newDockerArchive("e2e/nasty:latest", gzipped)),
	} {
		refs[about] = filepath.Join(base, strings.NewReplacer(" ", "-", ",", "").Replace(about)+".tar")
		if err := os.WriteFile(refs[about], b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return refs
}

// unpack gives the tree that umoci makes of an OCI layout. It has to be root.
func unpack(t *testing.T, layout, tag string) tree {
	t.Helper()
	needRoot(t)
	needTool(t, "umoci")
	// On a disk: /tmp may be a tmpfs, which keeps no user xattrs.
	dir := filepath.Join(newDir(t), "rootfs")
	start := time.Now().Unix()
	if _, err := output(exec.Command("umoci", "raw", "unpack", "--image", layout+":"+tag, dir)); err != nil {
		t.Fatal(err)
	}
	tr := mustReadTree(t, dir)
	// Of directories that an image does not mention, and of those in which
	// umoci deleted something, the time is that of now.
	for p, n := range tr {
		n.AnyMtime = n.Mode&unix.S_IFMT == unix.S_IFDIR && n.Mtime.Sec >= start
		tr[p] = n
	}
	return tr
}

// TestForms mounts the nasty image in each form: each must be what umoci
// unpacks.
func TestForms(t *testing.T) {
	needFUSE(t)
	refs := forms(t, nasty())
	want := oracle(t, refs["OCI layout gzip"])
	for about, ref := range refs {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			dir := h.mount(ref)
			sameTree(t, want, mustReadTree(t, dir))
			// Once more: now the kernel answers much of it from its caches.
			sameTree(t, want, mustReadTree(t, dir))
			h.umount(dir)
			dir = h.mount(ref)
			sameTree(t, want, mustReadTree(t, dir))
			h.umount(dir)
		})
	}
}
