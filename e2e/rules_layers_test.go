package e2e

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// layerRules are of how layers are seen as one, before and after writes.
func layerRules() []rule {
	return []rule{
		{about: "1.1 directories merge, all else of the upper hides the lower",
			layers: [][]entry{{dir("d"), file("d/a", "lower"), file("d/b", "lower"), dir("x"), file("x/y", "")}, {dir("d"), file("d/b", "upper"), file("x", "file")}},
			do: func(g *ground) {
				g.write("d/c", "new")
				g.eq("names", g.names("d"), []string{"a", "b", "c"})
				g.eq("d/a", g.read("d/a"), "lower")
				g.eq("d/b", g.read("d/b"), "upper")
				g.eq("x", g.read("x"), "file")
			}},
		{about: "1.2 a directory's metadata are the topmost layer's",
			layers: [][]entry{{dir("d").mode(0o700).own(1, 1).xattr("user.low", "1"), file("d/a", "")}, {dir("d").mode(0o751).own(2, 3).xattr("user.top", "2"), file("d/b", "")}},
			do: func(g *ground) {
				st := g.lstat("d")
				g.eq("mode", st.Mode&0o7777, uint32(0o751))
				g.eq("owner", []uint32{st.Uid, st.Gid}, []uint32{2, 3})
				g.eq("time", st.Mtim.Sec, epoch.Unix())
				g.eq("xattrs", g.listxattr("d"), []string{"user.top"})
			}, not: map[flavour]string{plainDir: "extracting adds xattrs to those that are there"}},
		{about: "1.3 of directory, file, directory over three layers only the top one is seen",
			layers: [][]entry{{dir("d"), file("d/old", "")}, {file("d", "file")}, {dir("d"), file("d/new", "")}},
			do: func(g *ground) {
				g.eq("names", g.names("d"), []string{"new"})
				g.absent("d/old")
				g.write("d/old", "again")
				g.eq("names", g.names("d"), []string{"new", "old"})
			}},
		{about: "1.3 a symlink over a directory is followed and hides it",
			layers: [][]entry{{dir("d"), file("d/old", ""), dir("e"), file("e/f", "")}, {symlink("d", "e")}},
			do: func(g *ground) {
				g.eq("names", g.names("d"), []string{"f"})
				g.write("d/g", "through")
				g.eq("e/g", g.read("e/g"), "through")
			}},
		{about: "1.4 a whiteout hides all lower entries; a directory made over it is opaque",
			layers: [][]entry{{dir("d"), file("d/1", "")}, {dir("d"), file("d/2", ""), file("f", "")}, {deleted("d"), deleted("f")}, {dir("d"), opaque("d"), file("d/3", "")}},
			do: func(g *ground) {
				g.eq("names", g.names("d"), []string{"3"})
				g.absent("f")
				g.ok(unix.Unlink(g.p("d/3")), "unlink")
				g.ok(unix.Rmdir(g.p("d")), "rmdir")
				g.ok(unix.Mkdir(g.p("d"), 0o755), "mkdir")
				g.eq("names", g.names("d"), []string{})
			}},
		{about: "1.4 a directory below an opaque one shows nothing of lower ones",
			layers: [][]entry{{dir("d"), dir("d/s"), file("d/s/old", "")}, {dir("d"), opaque("d"), dir("d/s"), file("d/s/new", "")}},
			do: func(g *ground) {
				g.eq("names", g.names("d/s"), []string{"new"})
				g.ok(unix.Chmod(g.p("d/s"), 0o700), "chmod")
				g.write("d/s/more", "")
				g.eq("names", g.names("d/s"), []string{"more", "new"})
			}},
		{about: "1.5 symlinks resolve in the mount",
			layers: one(dir("d"), file("d/f", "f"), symlink("up", "d/../d/f"), symlink("dangling", "none"), symlink("loop", "loop")),
			do: func(g *ground) {
				g.eq("up", g.read("up"), "f")
				_, err := os.ReadFile(g.p("dangling"))
				g.fails(err, "read a dangling symlink", unix.ENOENT)
				_, err = os.ReadFile(g.p("loop"))
				g.fails(err, "read a loop", unix.ELOOP)
				g.write("dangling", "made")
				g.eq("none", g.read("none"), "made")
			}},
		{about: "1.6 readdir has the inode numbers and types that stat has",
			layers: [][]entry{{dir("d"), file("d/low", ""), symlink("d/link", "x"), fifo("d/fifo"), dir("d/sub"), file("d/changed", "")}, {dir("d"), file("d/mid", ""), dir("d/sub")}},
			do: func(g *ground) {
				g.write("d/new", "")
				g.write("d/changed", "x")
				for _, e := range g.dirents("d") {
					st := g.lstat("d/" + e.name)
					g.eq("type of "+e.name, uint32(e.typ)<<12, st.Mode&unix.S_IFMT)
					g.eq("inode of "+e.name, e.ino, st.Ino)
				}
			}},
		{about: "1.7 a hundred and fifty layers", alone: true, layers: manyLayers(150),
			not: map[flavour]string{kernel: "mount(2) takes a page of options"},
			do: func(g *ground) {
				g.eq("names", len(g.names("d")), 150)
				g.eq("every", g.read("every"), "149")
				g.write("d/7", "new")
				g.ok(unix.Unlink(g.p("d/8")), "unlink")
				g.eq("names", len(g.names("d")), 149)
				g.eq("d/7", g.read("d/7"), "new")
			}},
		{about: "1.7 an empty layer", alone: true, layers: [][]entry{{file("f", "1")}, {}, {file("g", "2")}, {}},
			do: func(g *ground) { g.eq("names", g.names("."), []string{"f", "g"}) }},
	}
}

func manyLayers(n int) (layers [][]entry) {
	for i := range n {
		layers = append(layers, []entry{dir("d"), file(fmt.Sprint("d/", i), ""), file("every", fmt.Sprint(i))})
	}
	return layers
}
