package e2e

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// Other identities than ordinary.
const (
	alice, bob  = 1000, 1001
	staff, team = 2000, 2001
)

// accessRules are of who may do what, and of attributes.
func accessRules() []rule {
	return []rule{
		{about: "8.1 the same answer before and after copy-up", layers: one(file("f", "text").mode(0o640).own(alice, staff), dir("d").mode(0o700).own(alice, staff), file("d/f", "")),
			do: func(g *ground) {
				for range 2 {
					g.as(bob, bob, nil, func() {
						_, err := unix.Open(g.p("f"), unix.O_RDONLY, 0)
						g.fails(err, "read", unix.EACCES)
						g.fails(unix.Access(g.p("d/f"), unix.F_OK), "through d", unix.EACCES)
						g.fails(unix.Chmod(g.p("f"), 0o666), "chmod", unix.EPERM)
						g.fails(unix.Lchown(g.p("f"), bob, bob), "chown", unix.EPERM)
						g.fails(unix.Unlink(g.p("f")), "unlink", unix.EACCES)
						g.fails(unix.UtimesNano(g.p("f"), someTimes), "utimes", unix.EPERM, unix.EACCES)
					})
					g.as(bob, staff, nil, func() {
						g.eq("text", g.read("f")[1:], "ext")
						_, err := unix.Open(g.p("f"), unix.O_WRONLY, 0)
						g.fails(err, "write", unix.EACCES)
						_, err = unix.Open(g.p("f"), unix.O_RDONLY|unix.O_TRUNC, 0)
						g.fails(err, "truncate", unix.EACCES)
						g.fails(unix.Truncate(g.p("f"), 0), "truncate", unix.EACCES)
					})
					g.as(alice, alice, nil, func() { g.pwrite(g.fd("f", unix.O_WRONLY), "T", 0) })
					g.ok(unix.Setxattr(g.p("d"), "user.x", []byte("1"), 0), "setxattr")
				}
			}},
		{about: "8.1 ACLs decide", layers: one(file("f", "text").mode(0o600).own(alice, alice), dir("d").mode(0o755)),
			do: func(g *ground) {
				g.as(1000, 1000, nil, func() {
					g.ok(unix.Setxattr(g.p("f"), "system.posix_acl_access", []byte(acl), 0), "setxattr")
				})
				g.eq("mode", g.lstat("f").Mode&0o777, uint32(0o664))
				g.ok(unix.Lchown(g.p("f"), bob, bob), "chown")
				g.as(1000, 1000, nil, func() { g.pwrite(g.fd("f", unix.O_RDWR), "T", 0) })
				g.as(1002, 1002, nil, func() {
					_, err := unix.Open(g.p("f"), unix.O_WRONLY, 0)
					g.fails(err, "write", unix.EACCES)
				})
				g.ok(unix.Chmod(g.p("f"), 0o614), "chmod")
				g.as(1000, 1000, nil, func() {
					_, err := unix.Open(g.p("f"), unix.O_RDONLY, 0)
					g.fails(err, "read with a mask of x", unix.EACCES)
				})
			}},
		// generic/375 of xfstests.
		{about: "8.1 an ACL of an owner who is not of the file's group takes setgid away", layers: one(file("f", "").mode(0o2755).own(alice, 12345), dir("d").mode(0o2755).own(alice, 12345), file("mine", "").mode(0o2755).own(alice, alice)),
			do: func(g *ground) {
				for name, want := range map[string]uint32{"f": 0, "d": 0, "mine": unix.S_ISGID} {
					g.as(alice, alice, nil, func() {
						g.ok(unix.Setxattr(g.p(name), "system.posix_acl_access", []byte(acl), 0), "setxattr")
					})
					g.eq("setgid of "+name, g.lstat(name).Mode&unix.S_ISGID, want)
				}
			}},
		{about: "8.1 a default ACL is handed down, without the umask", layers: one(dir("d").mode(0o755)),
			do: func(g *ground) {
				g.ok(unix.Setxattr(g.p("d"), "system.posix_acl_default", []byte(acl), 0), "setxattr")
				g.write("d/f", "")
				g.eq("mode", g.lstat("d/f").Mode&0o777, uint32(0o644))
				g.ok(unix.Mkdir(g.p("d/s"), 0o777), "mkdir")
				g.eq("mode of a directory", g.lstat("d/s").Mode&0o777, uint32(0o664))
				g.eq("default of a directory", g.getxattr("d/s", "system.posix_acl_default"), acl)
				fd, err := unix.Open(g.p("d/g"), unix.O_CREAT|unix.O_WRONLY, 0o666)
				g.ok(err, "create")
				g.later(fd)
				g.eq("mode with 0666", g.lstat("d/g").Mode&0o777, uint32(0o664))
			}},
		{about: "8.2 supplementary groups count", layers: one(file("f", "text").mode(0o660).own(0, team), dir("d").mode(0o770).own(0, team)),
			do: func(g *ground) {
				g.as(alice, alice, []int{staff, team}, func() {
					g.pwrite(g.fd("f", unix.O_RDWR), "T", 0)
					g.write("d/new", "x")
					g.ok(unix.Lchown(g.p("d/new"), -1, team), "chgrp to one of one's own groups")
					g.fails(unix.Lchown(g.p("d/new"), -1, 3000), "chgrp to another", unix.EPERM)
				})
				g.as(alice, alice, []int{staff}, func() {
					_, err := unix.Open(g.p("f"), unix.O_RDONLY, 0)
					g.fails(err, "read", unix.EACCES)
				})
			}},
		{about: "8.3 sticky directories protect", layers: one(dir("t").mode(0o1777), file("t/f", "text").mode(0o666).own(alice, alice)),
			do: func(g *ground) {
				g.as(bob, bob, nil, func() {
					g.fails(unix.Unlink(g.p("t/f")), "unlink", unix.EPERM)
					g.fails(unix.Rename(g.p("t/f"), g.p("t/g")), "rename", unix.EPERM)
					g.write("t/mine", "x")
					g.fails(unix.Rename(g.p("t/mine"), g.p("t/f")), "rename over", unix.EPERM)
					g.ok(unix.Unlink(g.p("t/mine")), "unlink")
				})
				g.as(alice, alice, nil, func() { g.ok(unix.Unlink(g.p("t/f")), "unlink") })
			}},
		{about: "8.3 setgid directories hand down their group", layers: one(dir("d").mode(0o2777).own(0, team)),
			do: func(g *ground) {
				g.as(alice, alice, nil, func() {
					g.write("d/f", "")
					g.ok(unix.Mkdir(g.p("d/s"), 0o755), "mkdir")
					g.ok(unix.Symlink("x", g.p("d/l")), "symlink")
					g.later(g.fdUnkept("d", unix.O_TMPFILE|unix.O_RDWR))
				})
				for name, mode := range map[string]uint32{"f": 0o644, "s": 0o2755, "l": 0o777} {
					st := g.lstat("d/" + name)
					g.eq("owner of "+name, []uint32{st.Uid, st.Gid}, []uint32{alice, team})
					g.eq("mode of "+name, st.Mode&0o7777, mode)
				}
			}},
		{about: "8.3 create keeps setuid, and takes the umask away once", layers: one(dir("d")),
			do: func(g *ground) {
				fd, err := unix.Open(g.p("d/f"), unix.O_CREAT|unix.O_WRONLY, 0o4777)
				g.ok(err, "create")
				g.later(fd)
				g.eq("mode", g.fstat(fd).Mode&0o7777, uint32(0o4755))
				g.ok(unix.Mkdir(g.p("d/s"), 0o1777), "mkdir")
				g.eq("mode of a directory", g.lstat("d/s").Mode&0o7777, uint32(0o1755))
				g.ok(unix.Mknod(g.p("d/p"), unix.S_IFIFO|0o666, 0), "mknod")
				g.eq("mode of a fifo", g.lstat("d/p").Mode&0o7777, uint32(0o644))
			}},
		{about: "8.4 writes and chown by users clear setuid", layers: one(file("w", "x").mode(0o6777), file("t", "x").mode(0o6777), file("c", "x").mode(0o6775).own(alice, alice), file("x", "x").mode(0o2767),
			file("p", "x").mode(0o6777), file("r", "x").mode(0o6777)),
			do: func(g *ground) {
				g.as(alice, alice, []int{staff}, func() {
					g.pwrite(g.fd("w", unix.O_WRONLY), "y", 0)
					g.eq("mode after a write", g.lstat("w").Mode&0o7777, uint32(0o777))
					g.ok(unix.Truncate(g.p("t"), 0), "truncate")
					g.eq("mode after truncate", g.lstat("t").Mode&0o7777, uint32(0o777))
					g.ok(unix.Fallocate(g.fd("p", unix.O_WRONLY), 0, 0, 100), "fallocate")
					g.eq("mode after fallocate", g.lstat("p").Mode&0o7777, uint32(0o777))
					_, err := unix.CopyFileRange(g.fd("w", unix.O_RDONLY), nil, g.fd("r", unix.O_WRONLY), nil, 1, 0)
					g.ok(err, "copy_file_range")
					g.eq("mode after copy_file_range", g.lstat("r").Mode&0o7777, uint32(0o777))
					g.ok(unix.Lchown(g.p("c"), -1, staff), "chgrp")
					g.eq("mode after chgrp", g.lstat("c").Mode&0o7777, uint32(0o775))
				})
			}},
		{about: "8.4 root's writes keep setuid and clear capabilities", layers: one(file("f", "x").mode(0o4755).xattr("security.capability", capNetRaw), file("c", "x").mode(0o755).xattr("security.capability", capNetRaw)),
			do: func(g *ground) {
				g.pwrite(g.fd("f", unix.O_WRONLY), "y", 0)
				g.eq("mode", g.lstat("f").Mode&0o7777, uint32(0o4755))
				g.ok(unix.Fallocate(g.fd("f", unix.O_WRONLY), 0, 0, 100), "fallocate")
				g.eq("mode after fallocate", g.lstat("f").Mode&0o7777, uint32(0o4755))
				_, err := unix.Lgetxattr(g.p("f"), "security.capability", nil)
				g.fails(err, "capability after a write", unix.ENODATA)
				g.ok(unix.Lchown(g.p("c"), alice, alice), "chown")
				_, err = unix.Lgetxattr(g.p("c"), "security.capability", nil)
				g.fails(err, "capability after chown", unix.ENODATA)
			}},
		{about: "8.4 setuid set after a write stays", layers: one(file("f", "x")),
			do: func(g *ground) {
				fd := g.fd("f", unix.O_WRONLY)
				g.pwrite(fd, "y", 0)
				g.ok(unix.Fchmod(fd, 0o4755), "fchmod")
				g.closeAll()
				g.eq("mode", g.lstat("f").Mode&0o7777, uint32(0o4755))
			}},
		{about: "8.5 setuid programs and device nodes work", layers: one(file("id", machineProgram("id")).mode(0o4755), char("null", 1, 3).mode(0o666)),
			do: func(g *ground) {
				for range 2 {
					cmd := exec.Command(g.p("id"), "-u")
					cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: alice, Gid: alice}}
					out, err := cmd.Output()
					g.ok(err, "id")
					g.eq("user", string(out), "0\n")
					g.user(func() { g.pwrite(g.fd("null", unix.O_WRONLY), "x", 0) })
					g.ok(unix.UtimesNano(g.p("id"), someTimes), "utimes")
					g.ok(unix.UtimesNano(g.p("null"), someTimes), "utimes")
				}
			}},
		{about: "8.6 attributes: flags, sizes, absence", layers: one(file("f", "").xattr("user.low", "value"), dir("d").xattr("user.d", "1"), symlink("l", "f")),
			do: func(g *ground) {
				f := g.p("f")
				g.fails(unix.Setxattr(f, "user.low", []byte("x"), unix.XATTR_CREATE), "CREATE of one that is", unix.EEXIST)
				g.fails(unix.Setxattr(f, "user.none", []byte("x"), unix.XATTR_REPLACE), "REPLACE of none", unix.ENODATA)
				g.fails(unix.Removexattr(f, "user.none"), "remove none", unix.ENODATA)
				_, err := unix.Getxattr(f, "user.low", make([]byte, 2))
				g.fails(err, "get with little space", unix.ERANGE)
				_, err = unix.Listxattr(f, make([]byte, 2))
				g.fails(err, "list with little space", unix.ERANGE)
				n, err := unix.Getxattr(f, "user.low", nil)
				g.ok(err, "get the size")
				g.eq("size", n, 5)
				g.ok(unix.Setxattr(f, "user.low", []byte("new"), unix.XATTR_REPLACE), "REPLACE")
				g.ok(unix.Setxattr(f, "user.empty", nil, unix.XATTR_CREATE), "CREATE")
				g.eq("names", g.listxattr("f"), []string{"user.empty", "user.low"})
				g.eq("value", g.getxattr("f", "user.low"), "new")
				g.ok(unix.Removexattr(f, "user.low"), "remove")
				g.eq("names", g.listxattr("f"), []string{"user.empty"})
				g.fails(unix.Lsetxattr(g.p("l"), "user.x", []byte("1"), 0), "user.* of a symlink", unix.EPERM)
				g.ok(unix.Removexattr(g.p("d"), "user.d"), "remove")
				g.eq("names", g.listxattr("d"), []string{})
			}},
		{about: "8.6 trusted attributes are root's, and the marks of overlays show nowhere", alone: true,
			layers: [][]entry{{dir("d"), file("d/low", "")}, {dir("d").xattr("trusted.mine", "1"), file("f", "")}},
			do: func(g *ground) {
				g.ok(unix.Chmod(g.p("d"), 0o777), "chmod")
				g.ok(unix.Setxattr(g.p("f"), "trusted.b", []byte("1"), 0), "setxattr")
				g.as(alice, alice, nil, func() {
					g.eq("names", g.listxattr("d"), []string{})
					g.fails(unix.Setxattr(g.p("d"), "trusted.x", []byte("1"), 0), "set", unix.EPERM)
				})
				g.eq("names", g.listxattr("d"), []string{"trusted.mine"})
				g.ok(unix.Unlink(g.p("d/low")), "unlink")
				g.ok(unix.Rmdir(g.p("d")), "rmdir")
				g.ok(unix.Mkdir(g.p("d"), 0o755), "mkdir")
				g.eq("names of an opaque directory", g.listxattr("d"), []string{})
				g.write("up", "")
				for _, name := range []string{"f", "up"} {
					// Refused, or an attribute like others; never a mark.
					for _, attr := range []string{"trusted.overlay.opaque", "trusted.overlay.whiteout", "trusted.overlay.redirect", "user.overlay.opaque"} {
						if unix.Setxattr(g.p(name), attr, []byte("y"), 0) == nil {
							g.eq("value of "+attr, g.getxattr(name, attr), "y")
						}
					}
				}
				g.ok(unix.Mkdir(g.p("e"), 0o755), "mkdir")
				unix.Setxattr(g.p("e"), "trusted.overlay.redirect", []byte("/d"), 0)
				unix.Setxattr(g.p("."), "trusted.overlay.opaque", []byte("y"), 0)
				g.remounted()
				g.eq("names", g.names("."), []string{"d", "e", "f", "up"})
				g.eq("names in e", g.names("e"), []string{})
				g.eq("names in d", g.names("d"), []string{})
			}},
		{about: "8.7 times to the nanosecond, of all ages", alone: true, layers: one(file("f", ""), dir("d"), symlink("l", "f")),
			do: func(g *ground) {
				set := func(name string, ts ...unix.Timespec) {
					g.ok(unix.UtimesNanoAt(unix.AT_FDCWD, g.p(name), ts, unix.AT_SYMLINK_NOFOLLOW), "utimes of %s", name)
				}
				old, late := unix.Timespec{Sec: -86_401, Nsec: 123_456_789}, unix.Timespec{Sec: 4_000_000_000, Nsec: 999_999_999}
				set("f", old, late)
				set("d", late, old)
				set("l", late, late)
				g.eq("atime", g.lstat("f").Atim, old)
				g.remounted()
				g.eq("mtime of f", g.lstat("f").Mtim, late)
				g.eq("mtime of d", g.lstat("d").Mtim, old)
				g.eq("mtime of l", g.lstat("l").Mtim, late)
				set("f", unix.Timespec{Nsec: unix.UTIME_OMIT}, unix.Timespec{Nsec: unix.UTIME_NOW})
				st := g.lstat("f")
				if st.Mtim.Sec < epoch.Unix() || st.Mtim == late {
					g.failf("mtime %v is not now", st.Mtim)
				}
				before := st.Mtim
				set("f", unix.Timespec{Nsec: unix.UTIME_NOW}, unix.Timespec{Nsec: unix.UTIME_OMIT})
				g.eq("omitted", g.lstat("f").Mtim, before)
			}},
		{about: "8.7 ctime moves on chmod, link, rename, unlink and setxattr", layers: one(file("f", "")),
			do: func(g *ground) {
				g.ok(unix.Chmod(g.p("f"), 0o600), "chmod")
				name := "f"
				for _, change := range []struct {
					about string
					do    func() error
				}{
					{"chmod", func() error { return unix.Chmod(g.p("f"), 0o640) }},
					{"link", func() error { return unix.Link(g.p("f"), g.p("g")) }},
					{"unlink", func() error { return unix.Unlink(g.p("g")) }},
					{"rename", func() error { return unix.Rename(g.p("f"), g.p("h")) }},
					{"rename back", func() error { return unix.Rename(g.p("h"), g.p("f")) }},
					{"setxattr", func() error { return unix.Setxattr(g.p("f"), "user.x", []byte("1"), 0) }},
				} {
					before := g.lstat(name).Ctim
					newerThan(before)
					g.ok(change.do(), "%s", change.about)
					name = "f"
					if change.about == "rename" {
						name = "h"
					}
					if after := g.lstat(name).Ctim; after.Nano() <= before.Nano() {
						g.failf("ctime %v after %s, %v before", after, change.about, before)
					}
				}
			}},
		{about: "8.7 a directory's times move with its names", layers: one(dir("d"), file("d/f", ""), dir("e")),
			do: func(g *ground) {
				for _, change := range []func() error{
					func() error { return unix.Unlink(g.p("d/f")) },
					func() error { return unix.Mkdir(g.p("d/s"), 0o755) },
					func() error { return unix.Rename(g.p("d/s"), g.p("e/s")) },
					func() error { return unix.Symlink("x", g.p("d/l")) },
				} {
					before := g.lstat("d").Mtim
					newerThan(before)
					g.ok(change(), "change")
					if after := g.lstat("d").Mtim; after.Nano() <= before.Nano() {
						g.failf("mtime %v, before %v", after, before)
					}
				}
				if g.lstat("e").Mtim.Sec == epoch.Unix() {
					g.failf("the mtime of e has not moved")
				}
			}},
		{about: "8.9 owners up to 2^32-2", alone: true, layers: one(file("f", "").own(4_294_967_294, 4_000_000_000).pax(), file("g", "")),
			do: func(g *ground) {
				g.ok(unix.Chmod(g.p("f"), 0o600), "chmod")
				g.ok(unix.Lchown(g.p("g"), 4_294_967_294, 65536), "chown")
				g.remounted()
				st := g.lstat("f")
				g.eq("owner", []uint32{st.Uid, st.Gid}, []uint32{4_294_967_294, 4_000_000_000})
				st = g.lstat("g")
				g.eq("owner", []uint32{st.Uid, st.Gid}, []uint32{4_294_967_294, 65536})
			}},
		{about: "8.10 statfs is that of the upper", layers: one(),
			do: func(g *ground) {
				var st, up unix.Statfs_t
				g.ok(unix.Statfs(g.p("."), &st), "statfs")
				g.eq("length of names", st.Namelen, int64(255))
				g.eq("read-only", st.Flags&unix.ST_RDONLY, int64(0))
				g.ok(unix.Statfs(g.h.dir, &up), "statfs of the upper")
				g.eq("bytes", st.Blocks*uint64(st.Bsize), up.Blocks*uint64(up.Bsize))
			}},
		{about: "8.11 chattr +i is refused or honoured", layers: one(file("f", "text")),
			do: func(g *ground) {
				const immutable = 0x10
				fd := g.fd("f", unix.O_RDONLY)
				if err := unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, immutable); err != nil {
					g.fails(err, "FS_IOC_SETFLAGS", unix.ENOTTY, unix.EOPNOTSUPP, unix.EPERM)
					return
				}
				defer unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, 0)
				g.fails(unix.Unlink(g.p("f")), "unlink", unix.EPERM)
			}},
	}
}
