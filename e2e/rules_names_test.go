package e2e

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// nameRules are of names that come, go and move.
func nameRules() []rule {
	long := strings.Repeat("n", 255)
	return []rule{
		{about: "5.1 rmdir of a merged directory, then the name made anew", layers: [][]entry{{dir("d"), file("d/1", "")}, {dir("d"), file("d/2", ""), dir("empty")}}, alone: true,
			do: func(g *ground) {
				g.fails(unix.Rmdir(g.p("d")), "rmdir", unix.ENOTEMPTY)
				g.ok(unix.Unlink(g.p("d/1")), "unlink")
				g.fails(unix.Rmdir(g.p("d")), "rmdir", unix.ENOTEMPTY)
				g.ok(unix.Unlink(g.p("d/2")), "unlink")
				g.eq("names", g.names("d"), []string{})
				g.ok(unix.Rmdir(g.p("d")), "rmdir")
				g.absent("d")
				g.ok(unix.Mkdir(g.p("d"), 0o755), "mkdir")
				g.eq("names", g.names("d"), []string{})
				g.absent("d/1")
				g.remounted()
				g.eq("names after a remount", g.names("d"), []string{})
			}},
		{about: "5.1 rm -rf and the same again", layers: [][]entry{{dir("d"), dir("d/s"), file("d/s/1", "")}, {dir("d"), dir("d/s"), file("d/s/2", "")}},
			do: func(g *ground) {
				for range 3 {
					g.ok(os.RemoveAll(g.p("d")), "remove all")
					g.absent("d")
					g.ok(os.MkdirAll(g.p("d/s"), 0o755), "mkdir")
					g.eq("names", g.names("d/s"), []string{})
					g.write("d/s/1", "new")
				}
			}},
		{about: "5.2 every type over a whiteout", alone: true, layers: one(dir("d"), file("d/f", "old"), dir("d/dir"), file("d/dir/x", ""), symlink("d/l", "old"), file("d/p", ""), file("d/c", ""), file("d/s", "")),
			do: func(g *ground) {
				g.ok(os.RemoveAll(g.p("d/dir")), "remove all")
				for _, name := range []string{"f", "l", "p", "c", "s"} {
					g.ok(unix.Unlink(g.p("d/"+name)), "unlink %s", name)
				}
				g.eq("names", g.names("d"), []string{})
				g.ok(unix.Mkdir(g.p("d/f"), 0o755), "mkdir")
				g.write("d/dir", "file")
				g.ok(unix.Symlink("new", g.p("d/l")), "symlink")
				g.ok(unix.Mkfifo(g.p("d/p"), 0o644), "mkfifo")
				g.ok(unix.Mknod(g.p("d/c"), unix.S_IFCHR|0o644, int(unix.Mkdev(1, 3))), "mknod")
				g.ok(unix.Mknod(g.p("d/s"), unix.S_IFSOCK|0o644, 0), "mknod")
				for range 2 {
					g.eq("f", g.lstat("d/f").Mode&unix.S_IFMT, uint32(unix.S_IFDIR))
					g.eq("f", g.names("d/f"), []string{})
					g.eq("dir", g.read("d/dir"), "file")
					g.eq("c", g.lstat("d/c").Rdev, unix.Mkdev(1, 3))
					target, err := os.Readlink(g.p("d/l"))
					g.ok(err, "readlink")
					g.eq("target", target, "new")
					g.eq("names", g.names("d"), []string{"c", "dir", "f", "l", "p", "s"})
					g.remounted()
				}
			}},
		{about: "5.3 rename leaves a whiteout where a lower has the name, and none else", layers: one(file("low", "low"), file("low2", "low2")),
			do: func(g *ground) {
				g.write("up", "up")
				g.rename("low", "moved")
				g.rename("up", "up2")
				g.eq("names", g.names("."), []string{"low2", "moved", "up2"})
				g.copied("low", true) // its whiteout
				g.copied("up", false)
				g.rename("moved", "low")
				g.copied("moved", false)
				g.ok(unix.Unlink(g.p("up2")), "unlink")
				g.copied("up2", false)
				g.eq("low", g.read("low"), "low")
			}},
		{about: "5.4 rename over targets of the lower, of the upper and merged", layers: [][]entry{{file("f", "f"), file("t1", ""), dir("d"), file("d/x", ""), dir("full"), file("full/y", ""), dir("e"), hardlink("f2", "f")}, {dir("full")}},
			do: func(g *ground) {
				g.write("t2", "upper")
				g.fails(unix.Rename(g.p("f"), g.p("d")), "file to directory", unix.EISDIR)
				g.fails(unix.Rename(g.p("d"), g.p("f")), "directory to file", unix.ENOTDIR)
				g.fails(unix.Rename(g.p("d"), g.p("full")), "to a full directory", unix.ENOTEMPTY, unix.EEXIST)
				g.fails(unix.Rename(g.p("d"), g.p("d/in")), "into itself", unix.EINVAL)
				g.fails(unix.Rename(g.p("none"), g.p("f")), "of nothing", unix.ENOENT)
				g.rename("f", "f2") // one file: nothing happens
				g.eq("f", g.read("f"), "f")
				g.rename("f", "t1")
				g.rename("t1", "t2")
				g.rename("d", "e")
				g.eq("names", g.names("."), []string{"e", "f2", "full", "t2"})
				g.eq("t2", g.read("t2"), "f")
				g.eq("e", g.names("e"), []string{"x"})
			}},
		{about: "5.4 an upper directory over an emptied lower one, renamed on", layers: one(dir("a"), file("a/x", "")),
			do: func(g *ground) {
				g.ok(unix.Unlink(g.p("a/x")), "unlink")
				g.ok(unix.Mkdir(g.p("b"), 0o755), "mkdir")
				g.write("b/y", "y")
				g.rename("b", "a")
				g.rename("a", "c")
				g.eq("names", g.names("."), []string{"c"})
				g.eq("c", g.names("c"), []string{"y"})
				g.absent("a")
				g.ok(unix.Mkdir(g.p("a"), 0o755), "mkdir")
				g.eq("a", g.names("a"), []string{})
			}},
		{about: "5.5 rename of lower and merged directories", alone: true, layers: [][]entry{{dir("low"), dir("low/s"), file("low/s/f", "f"), dir("m"), file("m/1", "1")}, {dir("m"), file("m/2", "2")}},
			do: func(g *ground) {
				g.write("m/3", "3")
				g.rename("low", "low2")
				g.rename("m", "low2/m2")
				g.rename("low2/s", "s2")
				for range 2 {
					g.eq("names", g.names("."), []string{"low2", "s2"})
					g.eq("low2", g.names("low2"), []string{"m2"})
					g.eq("m2", g.names("low2/m2"), []string{"1", "2", "3"})
					g.eq("s2/f", g.read("s2/f"), "f")
					g.remounted()
				}
				g.write("low2/m2/1", "changed")
				g.ok(unix.Mkdir(g.p("m"), 0o755), "mkdir")
				g.eq("m", g.names("m"), []string{})
				g.rename("low2", "low")
				g.remounted()
				g.eq("low/m2/1", g.read("low/m2/1"), "changed")
				g.eq("low/m2/2", g.read("low/m2/2"), "2")
				g.eq("low", g.names("low"), []string{"m2"})
			}},
		{about: "5.6 RENAME_NOREPLACE", layers: one(file("a", "a"), file("b", "b"), file("gone", ""), dir("d"), dir("e")),
			do: func(g *ground) {
				g.fails(g.rename2("a", "b", unix.RENAME_NOREPLACE), "over a lower file", unix.EEXIST)
				g.fails(g.rename2("d", "e", unix.RENAME_NOREPLACE), "over a lower directory", unix.EEXIST)
				g.ok(unix.Unlink(g.p("gone")), "unlink")
				g.ok(g.rename2("a", "gone", unix.RENAME_NOREPLACE), "over a whiteout")
				g.eq("gone", g.read("gone"), "a")
				g.absent("a")
				g.eq("names", g.names("."), []string{"b", "d", "e", "gone"})
			}},
		{about: "5.6 RENAME_EXCHANGE", alone: true, layers: one(file("a", "a"), file("b", "b"), dir("d"), file("d/x", ""), dir("e")),
			do: func(g *ground) {
				g.write("new", "new")
				g.ok(g.rename2("a", "b", unix.RENAME_EXCHANGE), "two lower files")
				g.ok(g.rename2("d", "e", unix.RENAME_EXCHANGE), "two lower directories")
				g.ok(g.rename2("a", "e", unix.RENAME_EXCHANGE), "file and directory")
				g.ok(g.rename2("b", "new", unix.RENAME_EXCHANGE), "lower and upper")
				g.fails(g.rename2("b", "none", unix.RENAME_EXCHANGE), "with nothing", unix.ENOENT)
				g.fails(g.rename2("b", "d", unix.RENAME_EXCHANGE|unix.RENAME_NOREPLACE), "flags that exclude each other", unix.EINVAL)
				for range 2 {
					g.eq("names", g.names("."), []string{"a", "b", "d", "e", "new"})
					g.eq("a", g.names("a"), []string{"x"})
					g.eq("d", g.names("d"), []string{})
					g.eq("e", g.read("e"), "b")
					g.eq("b", g.read("b"), "new")
					g.eq("new", g.read("new"), "a")
					g.remounted()
				}
			}},
		{about: "5.6 RENAME_WHITEOUT is not for users", layers: one(dir("d").mode(0o777), file("d/a", "a").own(ordinary, ordinary)),
			do: func(g *ground) {
				g.user(func() {
					err := g.rename2("d/a", "d/b", unix.RENAME_WHITEOUT)
					g.fails(err, "as a user", unix.EINVAL, unix.EPERM)
				})
				g.eq("a", g.read("d/a"), "a")
			}, not: map[flavour]string{plainDir: "ext4 makes a device 0/0, as any user may (mknod(2))"}},
		{about: "5.7 names of 255 bytes", layers: one(dir("d"), file("d/"+long, "long"), file("d/"+long[:254]+"m", "other"), dir("d/"+long[:254]+"o")),
			do: func(g *ground) {
				g.ok(unix.Unlink(g.p("d/"+long)), "unlink")
				g.rename("d/"+long[:254]+"m", "d/"+long[:254]+"p")
				g.ok(unix.Rmdir(g.p("d/"+long[:254]+"o")), "rmdir")
				g.write("d/"+long, "new")
				g.eq("names", g.names("d"), []string{long, long[:254] + "p"})
				g.fails(unix.Mkdir(g.p("d/"+long+"n"), 0o755), "256 bytes", unix.ENAMETOOLONG)
				g.rename("d/"+long, "d/short")
				g.eq("short", g.read("d/short"), "new")
			}},
		{about: "5.8 names that begin with .wh. are ordinary", alone: true, layers: one(dir("d"), file("d/f", "f")),
			do: func(g *ground) {
				g.write("d/.wh.f", "not a mark")
				g.write("d/.wh..wh..opq", "nor this")
				g.ok(unix.Mkdir(g.p("d/.wh.d"), 0o755), "mkdir")
				g.rename("d/.wh.f", "d/.wh.g")
				for range 2 {
					g.eq("names", g.names("d"), []string{".wh..wh..opq", ".wh.d", ".wh.g", "f"})
					g.eq("text", g.read("d/.wh.g"), "not a mark")
					g.remounted()
				}
			}},
		{about: "5.9 metadata of what would mislead or block", layers: one(symlink("l", "/"), fifo("p"), char("c", 1, 3)),
			do: func(g *ground) {
				g.ok(unix.Symlink(g.p("p"), g.p("into")), "symlink")
				for _, name := range []string{"l", "into", "p", "c"} {
					g.ok(unix.Lsetxattr(g.p(name), "trusted.x", []byte("1"), 0), "setxattr of %s", name)
					g.eq("trusted.x of "+name, g.getxattr(name, "trusted.x"), "1")
					g.ok(unix.Lchown(g.p(name), 5, 6), "lchown of %s", name)
					g.ok(unix.UtimesNanoAt(unix.AT_FDCWD, g.p(name), someTimes, unix.AT_SYMLINK_NOFOLLOW), "utimes of %s", name)
					g.eq("mtime of "+name, g.lstat(name).Mtim, someTimes[1])
					g.fails(unix.Lremovexattr(g.p(name), "trusted.y"), "removexattr", unix.ENODATA)
				}
			}},
		{about: "5.10 an open file that is deleted goes on", layers: one(file("low", "text"), file("ro", "text"), file("over", "over"), dir("d")),
			do: func(g *ground) {
				g.write("up", "text")
				for _, name := range []string{"low", "up"} {
					fd := g.fd(name, unix.O_RDWR)
					g.ok(unix.Unlink(g.p(name)), "unlink")
					g.deletedFile(fd)
				}
				fd := g.fd("over", unix.O_RDWR)
				g.write("new", "new")
				g.rename("new", "over")
				g.pwrite(fd, "text", 0)
				g.deletedFile(fd)
				g.eq("over", g.read("over"), "new")
			}},
		{about: "5.10 a deleted lower file that is open to read only has no links", layers: one(file("f", "text")),
			not: map[flavour]string{kernel: "its descriptor is the lower file's"},
			do: func(g *ground) {
				fd := g.fd("f", unix.O_RDONLY)
				g.ok(unix.Unlink(g.p("f")), "unlink")
				g.eq("nlink", g.fstat(fd).Nlink, uint64(0))
				g.eq("text", g.pread(fd, 9, 0), "text")
			}},
		{about: "5.11 a removed directory that is somebody's own", layers: one(dir("d")),
			do: func(g *ground) {
				for _, name := range []string{"d", "e"} {
					if name == "e" {
						g.ok(unix.Mkdir(g.p("e"), 0o755), "mkdir")
					}
					fd := g.fd(name, unix.O_RDONLY|unix.O_DIRECTORY)
					g.ok(unix.Rmdir(g.p(name)), "rmdir")
					_, err := unix.Openat(fd, "f", unix.O_CREAT|unix.O_WRONLY, 0o644)
					g.fails(err, "create", unix.ENOENT)
					g.fails(unix.Mkdirat(fd, "s", 0o755), "mkdir", unix.ENOENT)
					g.fails(unix.Symlinkat("x", fd, "l"), "symlink", unix.ENOENT)
					n, err := unix.ReadDirent(fd, make([]byte, 4096))
					g.eq("entries read", max(n, 0), 0)
					if err != nil {
						g.fails(err, "readdir", unix.ENOENT)
					}
				}
			}},
		{about: "5.12 O_TMPFILE by a user, and one that may not be linked", layers: one(dir("d").mode(0o777)),
			do: func(g *ground) {
				g.user(func() {
					fd := g.fd("d", unix.O_TMPFILE|unix.O_RDWR)
					g.pwrite(fd, "temporary", 0)
					g.ok(unix.Linkat(unix.AT_FDCWD, procFD(fd), unix.AT_FDCWD, g.p("d/t"), unix.AT_SYMLINK_FOLLOW), "link")
					st := g.lstat("d/t")
					g.eq("owner", st.Uid, uint32(ordinary))
					fd = g.fd("d", unix.O_TMPFILE|unix.O_RDWR|unix.O_EXCL)
					g.fails(unix.Linkat(unix.AT_FDCWD, procFD(fd), unix.AT_FDCWD, g.p("d/u"), unix.AT_SYMLINK_FOLLOW), "link with O_EXCL", unix.ENOENT)
				})
				g.eq("names", g.names("d"), []string{"t"})
			}},
		{about: "5.13 paths beyond PATH_MAX", layers: one(dir("d")),
			do: func(g *ground) {
				fd := g.fd("d", unix.O_RDONLY|unix.O_DIRECTORY)
				component := strings.Repeat("p", 200)
				for range 30 {
					g.ok(unix.Mkdirat(fd, component, 0o755), "mkdir")
					next, err := unix.Openat(fd, component, unix.O_RDONLY|unix.O_DIRECTORY, 0)
					g.ok(err, "open")
					g.later(next)
					fd = next
				}
				f, err := unix.Openat(fd, "f", unix.O_CREAT|unix.O_RDWR, 0o644)
				g.ok(err, "create")
				g.later(f)
				g.pwrite(f, "deep", 0)
				g.ok(unix.Fchmod(f, 0o600), "chmod")
				g.ok(unix.Renameat(fd, "f", fd, "g"), "rename")
				g.ok(unix.Linkat(fd, "g", fd, "h", 0), "link")
				g.ok(unix.Unlinkat(fd, "g", 0), "unlink")
				g.eq("text", g.pread(f, 9, 0), "deep")
			}},
		{about: "5.14 mknod of a device 0/0 makes no whiteout", layers: one(file("f", "f")),
			not: map[flavour]string{},
			do: func(g *ground) {
				err := unix.Mknod(g.p("c"), unix.S_IFCHR|0o644, 0)
				if err != nil {
					g.fails(err, "mknod", unix.EPERM)
					g.absent("c")
					return
				}
				g.eq("type", g.lstat("c").Mode&unix.S_IFMT, uint32(unix.S_IFCHR))
				g.eq("names", g.names("."), []string{"c", "f"})
				g.ok(unix.Unlink(g.p("c")), "unlink")
			}},
	}
}

// deletedFile does all that can be done with a deleted file that holds "text".
func (g *ground) deletedFile(fd int) {
	g.eq("nlink", g.fstat(fd).Nlink, uint64(0))
	g.eq("text", g.pread(fd, 9, 0), "text")
	g.pwrite(fd, "TEXT and more", 0)
	g.ok(unix.Ftruncate(fd, 8), "ftruncate")
	g.eq("text", g.pread(fd, 20, 0), "TEXT and")
	g.ok(unix.Fchmod(fd, 0o4711), "fchmod")
	g.ok(unix.Fchown(fd, 3, 4), "fchown")
	g.ok(unix.Fchmod(fd, 0o711), "fchmod")
	g.ok(unix.Fsetxattr(fd, "user.x", []byte("1"), 0), "fsetxattr")
	b := make([]byte, 9)
	n, err := unix.Fgetxattr(fd, "user.x", b)
	g.ok(err, "fgetxattr")
	g.eq("attribute", string(b[:n]), "1")
	g.ok(unix.UtimesNanoAt(unix.AT_FDCWD, procFD(fd), someTimes, 0), "utimes")
	g.ok(unix.Fsync(fd), "fsync")
	st := g.fstat(fd)
	g.eq("mode", st.Mode&0o7777, uint32(0o711))
	g.eq("owner", []uint32{st.Uid, st.Gid}, []uint32{3, 4})
	g.eq("mtime", st.Mtim, someTimes[1])
	g.eq("size", st.Size, int64(8))
	m := g.mmap(fd, 8, unix.PROT_READ|unix.PROT_WRITE)
	m[0] = 't'
	g.ok(unix.Munmap(m), "munmap")
	g.eq("text", g.pread(fd, 20, 0), "tEXT and")
	again, err := unix.Open(procFD(fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	g.ok(err, "open by /proc")
	g.later(again)
	g.eq("text", g.pread(again, 4, 0), "tEXT")
	to := g.fd("copy", unix.O_CREAT|unix.O_RDWR|unix.O_TRUNC)
	n, err = copyRange(fd, to, 8)
	g.ok(err, "copy_file_range")
	g.eq("copied", g.pread(to, 20, 0), "tEXT and")
	_ = n
	err = unix.Linkat(unix.AT_FDCWD, procFD(fd), unix.AT_FDCWD, g.p("again"), unix.AT_SYMLINK_FOLLOW)
	g.fails(err, "link", unix.ENOENT)
	g.ok(unix.Unlink(g.p("copy")), "unlink")
}

// copyRange copies by copy_file_range(2), or as who calls it has to go on where
// there is none.
func copyRange(from, to, n int) (int, error) {
	var fromOff, toOff int64
	done := 0
	for done < n {
		c, err := unix.CopyFileRange(from, &fromOff, to, &toOff, n-done, 0)
		if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
			b := make([]byte, n)
			c, err = unix.Pread(from, b, 0)
			if err == nil {
				_, err = unix.Pwrite(to, b[:c], 0)
			}
			return c, err
		}
		if err != nil || c == 0 {
			return done, err
		}
		done += c
	}
	return done, nil
}
