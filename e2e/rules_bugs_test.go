package e2e

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// bugRules are section 12: what other filesystems have got wrong, as far as no
// rule before it is about the same.
func bugRules() []rule {
	return []rule{
		{about: "12.1 small writes all over a file that was copied up (fuse-overlayfs #475)", layers: one(file("db", string(noise(4<<20)))),
			do: func(g *ground) {
				want := noise(4 << 20)
				r := rand.New(rand.NewPCG(475, 1))
				fd := g.fd("db", unix.O_RDWR)
				for i := range 2000 {
					off, size := r.IntN(len(want)-4096), 1+r.IntN(4096)
					for j := range size {
						want[off+j] = byte(i + j)
					}
					g.pwrite(fd, string(want[off:off+size]), int64(off))
					if i%500 == 0 {
						g.ok(unix.Fsync(fd), "fsync")
					}
				}
				b, err := os.ReadFile(g.p("db"))
				g.ok(err, "read")
				g.eq("as written", bytes.Equal(b, want), true)
			}},
		{about: "12.5 cp of a 0444 file by a user (fuse-overlayfs #399)", layers: one(dir("d").mode(0o777), file("f", "text").mode(0o444)),
			do: func(g *ground) {
				g.user(func() {
					to, err := unix.Open(g.p("d/f"), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o444)
					g.ok(err, "create")
					_, err = copyRange(g.fd("f", unix.O_RDONLY), to, 4)
					g.ok(err, "copy_file_range")
					g.ok(unix.Close(to), "close")
				})
				g.eq("text", g.read("d/f"), "text")
			}},
		{about: "12.6 whiteouts inside opaque directories are not listed (fuse-overlayfs #306)", alone: true, layers: one(dir("d"), file("d/f", "")),
			do: func(g *ground) {
				g.ok(os.RemoveAll(g.p("d")), "remove all")
				g.ok(unix.Mkdir(g.p("d"), 0o755), "mkdir")
				g.write("d/f", "")
				g.ok(unix.Unlink(g.p("d/f")), "unlink")
				if g.flavour != plainDir {
					entries, err := os.ReadDir(g.up("d"))
					g.ok(err, "readdir of the upper")
					g.eq("entries in the upper", len(entries), 0)
				}
				g.remounted()
				g.eq("names", g.names("d"), []string{})
			}},
		{about: "12.8 rm -rf a, mv bak a (fuse-overlayfs #271, #273)", layers: one(dir("a"), file("a/f", ""), dir("bak"), file("bak/g", "")),
			do: func(g *ground) {
				g.ok(os.RemoveAll(g.p("a")), "remove all")
				g.rename("bak", "a")
				g.eq("names", g.names("a"), []string{"g"})
				g.ok(os.RemoveAll(g.p("a")), "remove all")
				g.ok(unix.Mkdir(g.p("bak"), 0o755), "mkdir")
				g.rename("bak", "a")
				g.eq("names", g.names("a"), []string{})
			}},
		{about: "12.14 files of mode 0444, 0555 and 0000 (fuse-overlayfs #307, #414, #265)", layers: one(dir("d").mode(0o777).own(alice, alice), file("d/f", "text").mode(0o444).own(alice, alice),
			dir("d/r").mode(0o555).own(alice, alice), file("d/r/x", ""), file("d/zero", "text").mode(0).own(alice, alice)),
			do: func(g *ground) {
				g.as(alice, alice, nil, func() {
					_, err := unix.Open(g.p("d/f"), unix.O_WRONLY, 0)
					g.fails(err, "open of 0444", unix.EACCES)
					g.ok(unix.Chmod(g.p("d/f"), 0o644), "chmod")
					g.pwrite(g.fd("d/f", unix.O_WRONLY), "T", 0)
					g.rename("d/zero", "d/nil")
					g.ok(unix.Link(g.p("d/nil"), g.p("d/nil2")), "link")
					_, err = unix.Open(g.p("d/nil"), unix.O_RDONLY, 0)
					g.fails(err, "open of 0000", unix.EACCES)
					fd, err := unix.Open(g.p("d/new"), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0)
					g.ok(err, "create with 0000")
					g.later(fd)
					g.pwrite(fd, "written", 0)
					g.fails(unix.Unlink(g.p("d/r/x")), "unlink in 0555", unix.EACCES)
					g.ok(unix.Chmod(g.p("d/r"), 0o755), "chmod")
				})
				g.eq("new", g.read("d/new"), "written")
				g.eq("nil", g.read("d/nil2"), "text")
			}},
		{about: "12.16 rm -rf of a deep tree of several layers (fuse-overlayfs #93)", layers: [][]entry{
			{dir("a"), dir("a/b"), dir("a/b/c"), file("a/b/c/1", ""), symlink("a/b/l", "c")}, {dir("a"), dir("a/b"), dir("a/b/c"), file("a/b/c/2", "")}, {deleted("a/b/c/1")}},
			do: func(g *ground) {
				g.write("a/b/c/3", "")
				g.ok(os.RemoveAll(g.p("a")), "remove all")
				g.eq("names", g.names("."), []string{})
			}},
		{about: "12.23 a name is moved over an older one again and again, as dpkg does (fuse-overlayfs #476)", layers: one(dir("d"), file("d/status", "0"), file("d/status-old", "")),
			do: func(g *ground) {
				for i := range 20 {
					g.ok(unix.Unlink(g.p("d/status-old")), "unlink")
					g.ok(unix.Link(g.p("d/status"), g.p("d/status-old")), "link")
					g.write("d/status-new", strings.Repeat("x", i))
					g.rename("d/status-new", "d/status")
					g.eq("status", len(g.read("d/status")), i)
				}
				g.eq("names", g.names("d"), []string{"status", "status-old"})
			}},
		{about: "12.27 lookups race with unlinks and renames (go-fuse #99, #372)", layers: one(dir("d"), file("d/0", ""), file("d/1", ""), file("d/2", "")),
			do: func(g *ground) {
				done := make(chan error)
				for w := range 4 {
					go func() {
						done <- attempt(func() {
							r := rand.New(rand.NewPCG(27, uint64(w)))
							for range 300 {
								a, b := string(rune('0'+r.IntN(5))), string(rune('0'+r.IntN(5)))
								var st unix.Stat_t
								var err error
								switch r.IntN(5) {
								case 0:
									err = unix.Lstat(g.p("d/"+a), &st)
								case 1:
									err = unix.Unlink(g.p("d/" + a))
								case 2:
									err = unix.Rename(g.p("d/"+a), g.p("d/"+b))
								case 3:
									_, err = os.ReadFile(g.p("d/" + a))
								case 4:
									err = os.WriteFile(g.p("d/"+a), []byte(b), 0o644)
								}
								if err != nil {
									g.fails(err, "one of many", unix.ENOENT)
								}
							}
						})
					}()
				}
				for range 4 {
					if err := <-done; err != nil {
						g.mu.Lock()
						defer g.mu.Unlock()
						g.failf("%w", err)
					}
				}
			}},
		{about: "12.32 a descriptor to read and one to write, opened before copy-up (moby #13511)", layers: one(file("db", strings.Repeat("p", 8192))),
			do: func(g *ground) {
				ro, rw := g.fd("db", unix.O_RDONLY), g.fd("db", unix.O_RDWR)
				g.eq("before", g.pread(ro, 4, 4096), "pppp")
				g.pwrite(rw, "PAGE", 4096)
				g.eq("after", g.pread(ro, 4, 4096), "PAGE")
				g.eq("inode", g.fstat(ro).Ino, g.fstat(rw).Ino)
			}},
		{about: "12.34 an odd path in each of two directories, exchanged and removed", layers: one(dir("a"), file(filepath.Join("a", "new\nline"), "1"), dir("b"), file("b/\xff\xfe", "2")),
			do: func(g *ground) {
				g.ok(g.rename2("a/new\nline", "b/\xff\xfe", unix.RENAME_EXCHANGE), "exchange")
				g.eq("a", g.read("a/new\nline"), "2")
				g.ok(unix.Unlink(g.p("b/\xff\xfe")), "unlink")
				g.ok(unix.Rmdir(g.p("b")), "rmdir")
			}},
	}
}
