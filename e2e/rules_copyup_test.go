package e2e

import (
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// acl is a POSIX ACL, as the kernel has it in an attribute: user::rw-,
// user:1000:rw-, group::r--, mask::rw-, other::r--.
const acl = "\x02\x00\x00\x00" +
	"\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x06\x00\xe8\x03\x00\x00" + "\x04\x00\x04\x00\xff\xff\xff\xff" +
	"\x10\x00\x06\x00\xff\xff\xff\xff" + "\x20\x00\x04\x00\xff\xff\xff\xff"

// capNetRaw is a file capability of version 2: cap_net_raw=ep.
const capNetRaw = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

var someTimes = []unix.Timespec{{Sec: 1_111_111_111, Nsec: 1}, {Sec: 1_222_222_222, Nsec: 2}}

// copyUpRules are of what brings a lower file to the upper, and how it looks there.
func copyUpRules() []rule {
	rules := []rule{
		{about: "3.1 reads copy nothing up", layers: one(dir("d"), file("d/f", "text").xattr("user.a", "1"), symlink("d/l", "f")),
			do: func(g *ground) {
				g.names("d")
				g.read("d/f")
				g.read("d/l")
				g.getxattr("d/f", "user.a")
				g.ok(unix.Access(g.p("d/f"), unix.W_OK), "access")
				g.fd("d/f", unix.O_PATH)
				g.fd("d/f", unix.O_RDONLY|unix.O_NOATIME)
				g.copied("d", false)
			}},
		// unionmount-testsuite --verify.
		{about: "3.1 an open to write copies up, before anything is written", layers: one(file("f", "text").own(7, 8), file("t", "text"), file("r", "text")),
			do: func(g *ground) {
				g.fd("r", unix.O_RDONLY)
				g.fd("f", unix.O_WRONLY)
				g.fd("t", unix.O_RDWR|unix.O_TRUNC)
				g.copied("r", false)
				g.copied("f", true)
				g.copied("t", true)
				g.eq("f", g.read("f"), "text")
				g.eq("t", g.read("t"), "")
			}, not: map[flavour]string{overImage: "copies up at the first write"}},
		{about: "3.1 O_TRUNC and truncate", layers: one(file("f", "text"), file("g", "text"), file("h", "text")),
			do: func(g *ground) {
				unix.Close(g.fdUnkept("f", unix.O_WRONLY|unix.O_TRUNC))
				g.ok(unix.Truncate(g.p("g"), 2), "truncate")
				g.ok(unix.Truncate(g.p("h"), 9), "truncate")
				g.eq("f", g.read("f"), "")
				g.eq("g", g.read("g"), "te")
				g.eq("h", g.read("h"), "text\x00\x00\x00\x00\x00")
				g.copied("f", true)
			}},
		{about: "3.2 chmod keeps contents, owner, times and attributes",
			layers: one(file("f", "text").mode(0o4755).own(7, 8).at(1_333_333_333, 123_456_789).
				xattr("user.a", "u\x00\xff").xattr("trusted.b", "t").xattr("security.capability", capNetRaw)),
			do: func(g *ground) {
				g.ok(unix.Chmod(g.p("f"), 0o6711), "chmod")
				st := g.lstat("f")
				g.eq("mode", st.Mode, uint32(unix.S_IFREG|0o6711))
				g.eq("owner", []uint32{st.Uid, st.Gid}, []uint32{7, 8})
				g.eq("mtime", st.Mtim, unix.Timespec{Sec: 1_333_333_333, Nsec: 123_456_789})
				g.eq("user.a", g.getxattr("f", "user.a"), "u\x00\xff")
				g.eq("trusted.b", g.getxattr("f", "trusted.b"), "t")
				g.eq("capability", g.getxattr("f", "security.capability"), capNetRaw)
				g.eq("text", g.read("f"), "text")
				g.eq("attributes", g.listxattr("f"), []string{"security.capability", "trusted.b", "user.a"})
			}},
		{about: "3.2 a write keeps mode, owner and attributes", layers: one(file("f", "text").mode(0o640).own(7, 8).xattr("user.a", "1")),
			do: func(g *ground) {
				g.pwrite(g.fd("f", unix.O_WRONLY), "T", 0)
				st := g.lstat("f")
				g.eq("mode", st.Mode, uint32(unix.S_IFREG|0o640))
				g.eq("owner", []uint32{st.Uid, st.Gid}, []uint32{7, 8})
				g.eq("user.a", g.getxattr("f", "user.a"), "1")
				g.eq("text", g.read("f"), "Text")
			}},
		{about: "3.2 an ACL is kept", layers: one(file("f", "text").mode(0o664).xattr("system.posix_acl_access", acl)),
			do: func(g *ground) {
				g.eq("before", g.getxattr("f", "system.posix_acl_access"), acl)
				g.ok(unix.Setxattr(g.p("f"), "user.x", []byte("1"), 0), "setxattr")
				g.eq("after", g.getxattr("f", "system.posix_acl_access"), acl)
				g.as(1000, 1000, nil, func() { g.pwrite(g.fd("f", unix.O_WRONLY), "T", 0) })
			}},
		{about: "3.3 inode and device number stay, by name and by descriptor", layers: one(file("f", "text"), dir("d"), symlink("l", "f")),
			do: func(g *ground) {
				fd := g.fd("f", unix.O_RDONLY)
				before := g.lstat("f")
				g.write("f", "new")
				for about, st := range map[string]unix.Stat_t{"by name": g.lstat("f"), "by descriptor": g.fstat(fd)} {
					g.eq(about, []uint64{st.Dev, st.Ino}, []uint64{before.Dev, before.Ino})
					g.eq("size "+about, st.Size, int64(3))
				}
				for _, name := range []string{"d", "l"} {
					before := g.lstat(name).Ino
					g.ok(unix.Lchown(g.p(name), 1, 1), "lchown")
					g.eq("inode of "+name, g.lstat(name).Ino, before)
				}
			}},
		{about: "3.3 inode numbers stay over a remount", alone: true, layers: one(file("f", "text"), file("untouched", ""), dir("d"), file("d/x", "")),
			do: func(g *ground) {
				g.write("new", "")
				names := []string{"f", "untouched", "d", "d/x", "new"}
				var before []uint64
				for _, name := range names {
					before = append(before, g.lstat(name).Ino)
				}
				g.write("f", "changed")
				g.ok(unix.Chmod(g.p("d"), 0o700), "chmod")
				g.remounted()
				for i, name := range names {
					g.eq("inode of "+name, g.lstat(name).Ino, before[i])
				}
			}},
		{about: "3.4 a file in a directory that its user may not write", layers: one(dir("d").at(1_333_333_333, 5), dir("d/e").at(1_333_333_334, 6), file("d/e/f", "text").mode(0o666)),
			do: func(g *ground) {
				g.user(func() { g.pwrite(g.fd("d/e/f", unix.O_WRONLY), "T", 0) })
				g.eq("text", g.read("d/e/f"), "Text")
				g.eq("owner", g.lstat("d/e/f").Uid, uint32(0))
				g.eq("mtime of d", g.lstat("d").Mtim, unix.Timespec{Sec: 1_333_333_333, Nsec: 5})
				g.eq("mtime of d/e", g.lstat("d/e").Mtim, unix.Timespec{Sec: 1_333_333_334, Nsec: 6})
			}},
		{about: "3.5 nothing is left in the work directory", layers: one(file("f", strings.Repeat("text", 100_000))), alone: true,
			do: func(g *ground) {
				g.write("f", "new")
				g.ok(unix.Unlink(g.p("f")), "unlink")
				g.ok(g.umount(), "umount")
				if g.flavour == plainDir || g.flavour.isKernel() {
					return // K keeps work/work and work/index
				}
				entries, err := os.ReadDir(g.work)
				g.ok(err, "readdir")
				for _, e := range entries {
					inside, err := os.ReadDir(g.work + "/" + e.Name())
					if err != nil || len(inside) > 0 {
						g.failf("the work directory holds %v with %v", e, inside)
					}
				}
			}},
		{about: "3.7 many writers cause one copy-up and none loses a write", layers: one(file("f", strings.Repeat("-", 1<<20))),
			do: func(g *ground) {
				var wait sync.WaitGroup
				errs := make([]error, 16)
				for i := range errs {
					wait.Go(func() {
						errs[i] = attempt(func() { g.pwrite(g.fd("f", unix.O_RDWR), "written", int64(i)*50_000) })
					})
				}
				wait.Wait()
				for i, err := range errs {
					g.ok(err, "writer %d", i)
				}
				text := g.read("f")
				g.eq("size", len(text), 1<<20)
				for i := range errs {
					g.eq("text", text[i*50_000:i*50_000+8], "written-")
				}
			}},
		{about: "3.8 what is sparse stays so", raw: func(root string) []entry {
			return []entry{sparse(root+"/f", 64<<20, segment{1 << 20, "one MiB in"}, segment{32 << 20, "half"})}
		},
			do: func(g *ground) {
				fd := g.fd("f", unix.O_RDWR)
				g.pwrite(fd, "x", 5)
				g.ok(unix.Fsync(fd), "fsync")
				g.eq("text", g.pread(fd, 10, 1<<20), "one MiB in")
				g.eq("size", g.fstat(fd).Size, int64(64<<20))
				if blocks := g.fstat(fd).Blocks; blocks*512 > 4<<20 {
					g.failf("%d KiB on disk", blocks/2)
				}
			}},
		{about: "3.9 a descriptor opened before copy-up sees later writes", layers: one(file("f", "text")),
			do: func(g *ground) {
				fd := g.fd("f", unix.O_RDONLY)
				g.eq("before", g.pread(fd, 9, 0), "text")
				g.pwrite(g.fd("f", unix.O_WRONLY), "longer text", 0)
				g.eq("after", g.pread(fd, 20, 0), "longer text")
				g.ok(unix.Truncate(g.p("f"), 3), "truncate")
				g.eq("truncated", g.pread(fd, 20, 0), "lon")
			}},
		{about: "3.10 a mapping made before copy-up sees later writes", layers: one(file("f", "text")),
			not: map[flavour]string{kernel: "the mapping stays the lower file's (overlayfs.rst, Non-standard behavior)"},
			do: func(g *ground) {
				m := g.mmap(g.fd("f", unix.O_RDONLY), 4, unix.PROT_READ)
				defer unix.Munmap(m)
				g.eq("before", string(m), "text")
				g.pwrite(g.fd("f", unix.O_WRONLY), "TEXT", 0)
				g.eq("after", string(m), "TEXT")
			}},
		{about: "3.11 a writable mapping of a lower file", layers: one(file("f", strings.Repeat("text", 5000))), alone: true,
			do: func(g *ground) {
				fd := g.fd("f", unix.O_RDWR)
				m := g.mmap(fd, 20_000, unix.PROT_READ|unix.PROT_WRITE)
				m[0], m[19_999] = 'T', 'T'
				g.eq("read(2)", g.pread(fd, 4, 0), "Text")
				g.ok(unix.Msync(m, unix.MS_SYNC), "msync")
				m[1] = 'E'
				g.ok(unix.Munmap(m), "munmap")
				g.closeAll()
				g.remounted()
				text := g.read("f")
				g.eq("start", text[:4], "TExt")
				g.eq("end", text[19_996:], "texT")
			}},
		{about: "3.12 a copy of a large file holds up no other", layers: one(file("large", strings.Repeat("0123456789abcdef", 2<<20)), file("f", "text")),
			do: func(g *ground) {
				done := make(chan error, 1)
				go func() { done <- attempt(func() { g.pwrite(g.fd("large", unix.O_WRONLY), "X", 7) }) }()
				for range 100 {
					g.eq("f", g.read("f"), "text")
					g.write("g", "x")
				}
				g.ok(<-done, "write")
				g.eq("text", g.pread(g.fd("large", unix.O_RDONLY), 16, 0), "0123456X89abcdef")
			}},
	}
	for about, change := range map[string]func(g *ground, path string) error{
		"chmod":       func(_ *ground, p string) error { return unix.Chmod(p, 0o600) },
		"chown":       func(_ *ground, p string) error { return unix.Lchown(p, 1, 2) },
		"utimes":      func(_ *ground, p string) error { return unix.UtimesNano(p, someTimes) },
		"setxattr":    func(_ *ground, p string) error { return unix.Setxattr(p, "user.b", []byte("1"), 0) },
		"removexattr": func(_ *ground, p string) error { return unix.Removexattr(p, "user.a") },
		"an ACL":      func(_ *ground, p string) error { return unix.Setxattr(p, "system.posix_acl_access", []byte(acl), 0) },
		"link":        func(_ *ground, p string) error { return unix.Link(p, p+"2") },
		"rename":      func(_ *ground, p string) error { return unix.Rename(p, p+"2") },
	} {
		rules = append(rules, rule{about: "3.1 " + about + " alone keeps what it does not change", alone: about == "utimes",
			layers: one(file("f", "some text").own(3, 4).at(1_333_333_333, 9).xattr("user.a", "1")),
			do: func(g *ground) {
				before := g.lstat("f")
				g.ok(change(g, g.p("f")), "%s", about)
				name := "f"
				if about == "rename" {
					name = "f2"
					g.absent("f")
				}
				st := g.lstat(name)
				g.eq("inode", st.Ino, before.Ino)
				g.eq("text", g.read(name), "some text")
				if about != "utimes" {
					g.eq("mtime", st.Mtim, before.Mtim)
				} else {
					g.eq("mtime", st.Mtim, someTimes[1])
					g.remounted()
					g.eq("mtime after a remount", g.lstat(name).Mtim, someTimes[1])
				}
				if about != "chown" {
					g.eq("owner", st.Uid, before.Uid)
				}
			}})
	}
	return rules
}

// newerThan waits until the clock that files are stamped by has moved on: it
// ticks with the scheduler.
func newerThan(ts unix.Timespec) {
	for {
		var now unix.Timespec
		if unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now) != nil || now.Nano() > ts.Nano() {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
