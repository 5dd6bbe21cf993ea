package e2e

import (
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// specialRules are section 9: locks, events, what is no file, mount points.
func specialRules() []rule {
	return []rule{
		{about: "9 flock, across copy-up", layers: one(file("f", "text")),
			do: func(g *ground) {
				ro, other := g.fd("f", unix.O_RDONLY), g.fd("f", unix.O_RDONLY)
				g.ok(unix.Flock(ro, unix.LOCK_EX|unix.LOCK_NB), "lock")
				g.fails(unix.Flock(other, unix.LOCK_SH|unix.LOCK_NB), "lock again", unix.EWOULDBLOCK)
				rw := g.fd("f", unix.O_RDWR)
				g.pwrite(rw, "T", 0)
				g.fails(unix.Flock(rw, unix.LOCK_EX|unix.LOCK_NB), "lock after copy-up", unix.EWOULDBLOCK)
				g.ok(unix.Flock(ro, unix.LOCK_UN), "unlock")
				g.ok(unix.Flock(rw, unix.LOCK_EX|unix.LOCK_NB), "lock")
			}, not: map[flavour]string{kernel: "a descriptor to read stays the lower file's"}},
		{about: "9 OFD locks by ranges, across copy-up", layers: one(file("f", "text")),
			do: func(g *ground) {
				a, b := g.fd("f", unix.O_RDONLY), g.fd("f", unix.O_RDWR)
				lock := func(fd int, typ int16, start int64) error {
					return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: typ, Start: start, Len: 10})
				}
				g.ok(lock(a, unix.F_RDLCK, 0), "read lock")
				g.fails(lock(b, unix.F_WRLCK, 5), "write lock over it", unix.EAGAIN, unix.EACCES)
				g.ok(lock(b, unix.F_WRLCK, 10), "write lock beside it")
				g.pwrite(b, "T", 0)
				c := g.fd("f", unix.O_RDWR)
				g.fails(lock(c, unix.F_WRLCK, 0), "after copy-up", unix.EAGAIN, unix.EACCES)
				g.fails(lock(c, unix.F_RDLCK, 12), "after copy-up", unix.EAGAIN, unix.EACCES)
			}},
		{about: "9 leases are refused or work", layers: one(file("f", "text")),
			do: func(g *ground) {
				fd := g.fd("f", unix.O_RDONLY)
				if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK); err != nil {
					g.fails(err, "lease", unix.EINVAL, unix.EAGAIN, unix.EOPNOTSUPP, unix.ENOSYS, unix.EACCES)
					return
				}
				_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
				g.ok(err, "give it back")
			}},
		{about: "9 inotify sees a lower file change", layers: one(dir("d"), file("d/f", "text")),
			do: func(g *ground) {
				in, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
				g.ok(err, "inotify")
				g.later(in)
				_, err = unix.InotifyAddWatch(in, g.p("d/f"), unix.IN_MODIFY|unix.IN_ATTRIB)
				g.ok(err, "watch a file")
				_, err = unix.InotifyAddWatch(in, g.p("d"), unix.IN_CREATE|unix.IN_DELETE|unix.IN_MOVE)
				g.ok(err, "watch a directory")
				g.write("d/f", "new")
				g.ok(unix.Chmod(g.p("d/f"), 0o600), "chmod")
				g.write("d/g", "")
				g.rename("d/g", "d/h")
				g.ok(unix.Unlink(g.p("d/h")), "unlink")
				b := make([]byte, 4096)
				var seen uint32
				for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
					n, _ := unix.Read(in, b)
					for e := b[:max(n, 0)]; len(e) >= unix.SizeofInotifyEvent; {
						seen |= binary.NativeEndian.Uint32(e[4:])
						e = e[unix.SizeofInotifyEvent+binary.NativeEndian.Uint32(e[12:]):]
					}
					if n <= 0 {
						break
					}
				}
				want := uint32(unix.IN_MODIFY | unix.IN_ATTRIB | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO)
				g.eq("events", seen&want, want)
			}},
		{about: "9 a fifo of the lower joins two programs", layers: one(fifo("p").mode(0o666)),
			do: func(g *ground) {
				r := g.fd("p", unix.O_RDONLY|unix.O_NONBLOCK)
				w := g.fd("p", unix.O_WRONLY)
				_, err := unix.Write(w, []byte("through"))
				g.ok(err, "write")
				b := make([]byte, 20)
				n, err := unix.Read(r, b)
				g.ok(err, "read")
				g.eq("read", string(b[:n]), "through")
				g.ok(unix.Chmod(g.p("p"), 0o600), "chmod")
				_, err = unix.Write(w, []byte("still"))
				g.ok(err, "write")
			}},
		{about: "9 a socket in a lower directory", layers: one(dir("d")),
			do: func(g *ground) {
				// By a short path: a socket's holds 107 bytes.
				short := filepath.Join("/proc/self/fd", filepath.Base(procFD(g.fd("d", unix.O_PATH|unix.O_DIRECTORY))), "s")
				l, err := net.Listen("unix", short)
				g.ok(err, "listen")
				defer l.Close()
				g.eq("type", g.lstat("d/s").Mode&unix.S_IFMT, uint32(unix.S_IFSOCK))
				c, err := net.Dial("unix", short)
				g.ok(err, "dial")
				defer c.Close()
				s, err := l.Accept()
				g.ok(err, "accept")
				defer s.Close()
				_, err = s.Write([]byte("x"))
				g.ok(err, "write")
				b := make([]byte, 1)
				_, err = c.Read(b)
				g.ok(err, "read")
			}},
		{about: "9 mount points in the mount", layers: one(dir("d"), file("f", "text")), alone: true,
			do: func(g *ground) {
				other := filepath.Join(g.h.dir, "other")
				g.ok(os.WriteFile(other, []byte("other"), 0o644), "write")
				g.ok(unix.Mount(other, g.p("f"), "", unix.MS_BIND, ""), "bind over a lower file")
				defer unix.Unmount(g.p("f"), unix.MNT_DETACH)
				g.ok(unix.Mount("tmpfs", g.p("d"), "tmpfs", 0, ""), "mount over a lower directory")
				defer unix.Unmount(g.p("d"), unix.MNT_DETACH)
				g.write("d/x", "in the tmpfs")
				g.write("new", "x")
				g.eq("f", g.read("f"), "other")
				g.fails(unix.Unlink(g.p("f")), "unlink of a mount point", unix.EBUSY)
				g.ok(unix.Unmount(g.p("f"), 0), "umount")
				g.ok(unix.Unmount(g.p("d"), 0), "umount")
				g.eq("f", g.read("f"), "text")
				g.eq("d", g.names("d"), []string{})
			}},
		{about: "9 umount of a busy mount", layers: one(file("f", "text")), alone: true,
			not: map[flavour]string{plainDir: "it is not mounted"},
			do: func(g *ground) {
				fd := g.fd("f", unix.O_RDWR)
				g.fails(unix.Unmount(g.dir, 0), "umount", unix.EBUSY)
				g.ok(unix.Unmount(g.dir, unix.MNT_DETACH), "lazy umount")
				g.pwrite(fd, "TEXT", 0)
				g.eq("text", g.pread(fd, 9, 0), "TEXT")
			}},
		{about: "9 an overlay over it", layers: one(dir("d"), file("d/f", "text"), file("d/g", "")), alone: true,
			do: func(g *ground) {
				g.write("d/new", "new")
				g.ok(unix.Unlink(g.p("d/g")), "unlink")
				for _, dir := range []string{"u2", "w2", "m2"} {
					g.ok(os.Mkdir(filepath.Join(g.h.dir, dir), 0o755), "mkdir")
				}
				m2 := filepath.Join(g.h.dir, "m2")
				options := strings.NewReplacer("L", g.p("."), "H", g.h.dir).Replace("lowerdir=L,upperdir=H/u2,workdir=H/w2")
				g.ok(unix.Mount("overlay", m2, "overlay", 0, options), "mount an overlay over it")
				defer unix.Unmount(m2, unix.MNT_DETACH)
				for name, want := range map[string]string{"f": "text", "new": "new"} {
					b, err := os.ReadFile(filepath.Join(m2, "d", name))
					g.ok(err, "read")
					g.eq(name, string(b), want)
				}
				g.ok(os.WriteFile(filepath.Join(m2, "d/f"), []byte("changed"), 0o644), "write")
				entries, err := os.ReadDir(filepath.Join(m2, "d"))
				g.ok(err, "readdir")
				g.eq("names", len(entries), 2)
			}},
	}
}
