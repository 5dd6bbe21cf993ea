package e2e

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// linkRules are of inodes and their names.
func linkRules() []rule {
	return []rule{
		{about: "4.1 lower hard links have one inode and the true count at once", layers: one(file("a", "text"), hardlink("b", "a"), hardlink("c", "a")),
			do: func(g *ground) {
				g.eq("nlink", g.lstat("c").Nlink, uint64(3))
				g.eq("inode", g.lstat("a").Ino, g.lstat("b").Ino)
			}},
		{about: "4.2 a write by one name is seen by the other", alone: true, layers: one(file("a", "text"), hardlink("b", "a"), hardlink("c", "a")),
			do: func(g *ground) {
				g.write("a", "new")
				g.eq("b", g.read("b"), "new")
				g.eq("nlink", g.lstat("c").Nlink, uint64(3))
				g.remounted()
				g.eq("c", g.read("c"), "new")
				g.eq("nlink after a remount", g.lstat("c").Nlink, uint64(3))
				g.eq("inode", g.lstat("a").Ino, g.lstat("c").Ino)
				g.write("b", "newer")
				g.eq("a", g.read("a"), "newer")
			}},
		{about: "4.3 same number, same data: chmod too goes by all names", layers: one(file("a", "text"), hardlink("b", "a")),
			do: func(g *ground) {
				g.ok(unix.Chmod(g.p("b"), 0o600), "chmod")
				g.eq("mode", g.lstat("a").Mode&0o777, uint32(0o600))
				g.eq("inode", g.lstat("a").Ino, g.lstat("b").Ino)
			}},
		{about: "4.4 a link to a lower file", layers: one(file("a", "text")),
			do: func(g *ground) {
				g.lstat("a")
				g.ok(unix.Link(g.p("a"), g.p("b")), "link")
				for _, name := range []string{"a", "b"} {
					g.eq("nlink of "+name, g.lstat(name).Nlink, uint64(2))
				}
				g.eq("inode", g.lstat("a").Ino, g.lstat("b").Ino)
				g.ok(unix.Chmod(g.p("b"), 0o604), "chmod")
				g.eq("mode", g.lstat("a").Mode&0o777, uint32(0o604))
				g.write("a", "changed")
				g.eq("b", g.read("b"), "changed")
				g.ok(unix.UtimesNano(g.p("a"), someTimes), "utimes")
				g.eq("mtime", g.lstat("b").Mtim, someTimes[1])
			}},
		{about: "4.5 unlink of a lower link lowers the count", alone: true, layers: one(file("a", "text"), hardlink("b", "a"), hardlink("c", "a")),
			do: func(g *ground) {
				fd := g.fd("a", unix.O_RDONLY)
				g.ok(unix.Unlink(g.p("a")), "unlink")
				g.eq("nlink", g.lstat("b").Nlink, uint64(2))
				g.eq("nlink by descriptor", g.fstat(fd).Nlink, uint64(2))
				g.closeAll()
				g.remounted()
				g.eq("nlink after a remount", g.lstat("c").Nlink, uint64(2))
				g.ok(unix.Unlink(g.p("b")), "unlink")
				g.eq("nlink", g.lstat("c").Nlink, uint64(1))
				g.eq("text", g.read("c"), "text")
			}},
		{about: "4.5 link, unlink and rename among lower links", layers: one(file("a", "text"), hardlink("b", "a")),
			do: func(g *ground) {
				g.ok(unix.Link(g.p("b"), g.p("c")), "link")
				g.eq("nlink", g.lstat("a").Nlink, uint64(3))
				g.rename("a", "d")
				g.ok(unix.Unlink(g.p("b")), "unlink")
				g.eq("nlink", g.lstat("d").Nlink, uint64(2))
				g.eq("names", g.names("."), []string{"c", "d"})
				g.write("c", "x")
				g.eq("d", g.read("d"), "x")
			}},
		{about: "4.6 links to what is no regular file", layers: one(symlink("l", "nowhere"), fifo("p"), char("c", 1, 3)),
			do: func(g *ground) {
				g.ok(unix.Mknod(g.p("s"), unix.S_IFSOCK|0o644, 0), "mknod of a socket")
				for _, name := range []string{"l", "p", "c", "s"} {
					g.ok(unix.Link(g.p(name), g.p(name+"2")), "link %s", name)
					g.eq("nlink of "+name, g.lstat(name).Nlink, uint64(2))
					g.eq("inode of "+name, g.lstat(name).Ino, g.lstat(name+"2").Ino)
					g.eq("type of "+name, g.lstat(name).Mode, g.lstat(name+"2").Mode)
				}
			}},
		{about: "4.7 link of an open file, of O_TMPFILE, of an unlinked file", layers: one(file("a", "text"), dir("d")),
			do: func(g *ground) {
				fd := g.fd("a", unix.O_RDONLY)
				g.ok(unix.Linkat(unix.AT_FDCWD, procFD(fd), unix.AT_FDCWD, g.p("b"), unix.AT_SYMLINK_FOLLOW), "link by /proc")
				g.eq("nlink", g.fstat(fd).Nlink, uint64(2))
				tmp := g.fd("d", unix.O_TMPFILE|unix.O_RDWR)
				g.pwrite(tmp, "temporary", 0)
				g.eq("nlink of a temporary file", g.fstat(tmp).Nlink, uint64(0))
				g.ok(unix.Linkat(tmp, "", unix.AT_FDCWD, g.p("d/t"), unix.AT_EMPTY_PATH), "linkat")
				g.eq("d/t", g.read("d/t"), "temporary")
				g.eq("nlink", g.lstat("d/t").Nlink, uint64(1))
				g.ok(unix.Unlink(g.p("a")), "unlink")
				g.ok(unix.Unlink(g.p("b")), "unlink")
				g.fails(unix.Linkat(unix.AT_FDCWD, procFD(fd), unix.AT_FDCWD, g.p("c"), unix.AT_SYMLINK_FOLLOW), "link of an unlinked file", unix.ENOENT)
			}},
		{about: "4.8 one device number, no inode number twice", layers: [][]entry{{dir("d"), file("d/1", ""), dir("e"), file("f", "")}, {dir("d"), file("d/2", ""), symlink("l", "x")}},
			do: func(g *ground) {
				g.write("d/3", "")
				g.write("f", "copied")
				g.ok(unix.Mkdir(g.p("new"), 0o755), "mkdir")
				dev, seen := g.lstat(".").Dev, map[uint64]string{}
				for _, name := range []string{".", "d", "d/1", "d/2", "d/3", "e", "f", "l", "new"} {
					st := g.lstat(name)
					g.eq("device of "+name, st.Dev, dev)
					g.eq("another with the inode of "+name, seen[st.Ino], "")
					seen[st.Ino] = name
				}
			}},
		{about: "4.9 rename keeps the inode number and gives it to what it replaces", layers: one(file("a", "a"), file("b", "b"), dir("d"), dir("e")),
			do: func(g *ground) {
				a, d := g.lstat("a").Ino, g.lstat("d").Ino
				g.rename("a", "b")
				g.eq("b", g.lstat("b").Ino, a)
				g.rename("d", "e")
				g.eq("e", g.lstat("e").Ino, d)
			}},
		{about: "4.9 the number of a file that is open is not used again", layers: one(file("a", "text")),
			do: func(g *ground) {
				used := map[uint64]bool{}
				for i := range 20 {
					name := "a"
					if i > 0 {
						name = fmt.Sprint("n", i)
						g.write(name, "x")
					}
					fd := g.fd(name, unix.O_RDWR)
					g.ok(unix.Unlink(g.p(name)), "unlink")
					ino := g.fstat(fd).Ino
					g.eq("number used", used[ino], false)
					used[ino] = true
				}
			}},
		{about: "4.10 directories have a count of 1 or of their directories", layers: [][]entry{{dir("d"), dir("d/1")}, {dir("d"), dir("d/2"), file("d/f", "")}},
			do: func(g *ground) {
				g.ok(unix.Mkdir(g.p("d/3"), 0o755), "mkdir")
				g.ok(unix.Rmdir(g.p("d/1")), "rmdir")
				if n := g.lstat("d").Nlink; n != 1 && n != 4 {
					g.failf("nlink %d, want 1 or 4", n)
				}
			}},
		// rename/24 of pjdfstest.
		{about: "4.10 the count of a new directory follows those in it", layers: one(dir("low")),
			do: func(g *ground) {
				var counts []uint64
				count := func(err error, what string) {
					g.ok(err, "%s", what)
					counts = append(counts, uint64(g.lstat("a").Nlink), uint64(g.lstat("b").Nlink))
				}
				g.ok(unix.Mkdir(g.p("a"), 0o755), "mkdir a")
				count(unix.Mkdir(g.p("b"), 0o755), "mkdir b")
				count(unix.Mkdir(g.p("a/d"), 0o755), "mkdir a/d")
				count(unix.Rename(g.p("a/d"), g.p("b/d")), "rename a/d")
				count(unix.Rename(g.p("low"), g.p("a/low")), "rename low")
				count(unix.Rmdir(g.p("b/d")), "rmdir b/d")
				g.eq("counts of a and b", counts, []uint64{2, 2, 3, 2, 2, 3, 3, 3, 3, 2})
			}},
		// generic/426 of xfstests.
		{about: "4.12 a file handle that is given opens the file, and with nothing in memory", alone: true, layers: one(dir("d"), file("d/a", "text")),
			do: func(g *ground) {
				handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, g.p("d/a"), 0)
				if err != nil {
					g.fails(err, "name_to_handle_at", unix.EOPNOTSUPP)
					return
				}
				g.remounted()
				fd, err := unix.OpenByHandleAt(g.fd(".", unix.O_RDONLY), handle, unix.O_RDONLY)
				g.ok(err, "open_by_handle_at")
				g.later(fd)
			}},
		{about: "4.12 a file handle never opens another file", layers: one(file("a", "text")),
			do: func(g *ground) {
				handle, mount, err := unix.NameToHandleAt(unix.AT_FDCWD, g.p("a"), 0)
				if err != nil {
					g.fails(err, "name_to_handle_at", unix.EOPNOTSUPP)
					return
				}
				_ = mount
				g.ok(unix.Unlink(g.p("a")), "unlink")
				g.write("b", "other")
				fd, err := unix.OpenByHandleAt(g.fd(".", unix.O_RDONLY), handle, unix.O_RDONLY)
				if err == nil {
					g.later(fd)
					g.eq("text", g.pread(fd, 9, 0), "text")
				}
			}},
	}
}

func procFD(fd int) string { return fmt.Sprint("/proc/self/fd/", fd) }
