package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// aligned is memory that O_DIRECT takes.
func aligned(n int) []byte {
	const page = 4096
	b := make([]byte, n+page)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (page - 1)
	return b[skip : skip+n]
}

// dataRules are of contents.
func dataRules() []rule {
	text := strings.Repeat("0123456789abcdef", 16<<10) // 256 KiB
	return []rule{
		{about: "7.1 O_APPEND is atomic", layers: one(file("f", "start\n")),
			do: func(g *ground) {
				var wait sync.WaitGroup
				for i := range 4 {
					fd := g.fd("f", unix.O_WRONLY|unix.O_APPEND)
					wait.Go(func() {
						for j := range 200 {
							unix.Write(fd, fmt.Appendf(nil, "writer %d, line %03d\n", i, j))
						}
					})
				}
				wait.Wait()
				lines := strings.Split(g.read("f"), "\n")
				g.eq("lines", len(lines), 802)
				for _, l := range lines[1:801] {
					g.eq("length of "+l, len(l), len("writer 0, line 000"))
				}
			}},
		{about: "7.1 O_APPEND by processes", layers: one(file("f", "")),
			do: func(g *ground) {
				var wait sync.WaitGroup
				for range 4 {
					wait.Go(func() {
						exec.Command("sh", "-c", `for i in 0 1 2 3 4 5 6 7 8 9; do echo line >>"$0"; done`, g.p("f")).Run()
					})
				}
				wait.Wait()
				g.eq("text", g.read("f"), strings.Repeat("line\n", 40))
			}},
		{about: "7.2 O_DIRECT", layers: one(file("f", text)),
			do: func(g *ground) {
				fd, err := unix.Open(g.p("f"), unix.O_RDWR|unix.O_DIRECT, 0)
				if err != nil {
					g.fails(err, "open", unix.EINVAL)
					return
				}
				g.later(fd)
				b := aligned(8192)
				n, err := unix.Pread(fd, b, 4096)
				g.ok(err, "pread")
				g.eq("read", string(b[:n]), text[:8192])
				copy(b, "direct")
				_, err = unix.Pwrite(fd, b[:4096], 8192)
				g.ok(err, "pwrite")
				buffered := g.fd("f", unix.O_RDWR)
				g.eq("read without it", g.pread(buffered, 10, 8192), "direct6789")
				g.pwrite(buffered, "buffered", 0)
				_, err = unix.Pread(fd, b[:4096], 0)
				g.ok(err, "pread")
				g.eq("read", string(b[:10]), "buffered89")
			}},
		{about: "7.2 O_SYNC and O_DSYNC", layers: one(file("f", "text")),
			do: func(g *ground) {
				for i, flag := range []int{unix.O_SYNC, unix.O_DSYNC} {
					g.pwrite(g.fd("f", unix.O_RDWR|flag), fmt.Sprint("sync", i), 0)
					if g.flavour != plainDir {
						b, err := os.ReadFile(g.up("f"))
						g.ok(err, "read the upper")
						g.eq("in the upper", string(b), fmt.Sprint("sync", i))
					}
				}
			}},
		{about: "7.3 fallocate", layers: one(file("f", text), file("g", text), file("z", text), file("k", "text")),
			do: func(g *ground) {
				fd := g.fd("k", unix.O_RDWR)
				g.ok(unix.Fallocate(fd, 0, 0, 10_000), "fallocate")
				g.eq("size", g.fstat(fd).Size, int64(10_000))
				g.ok(unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, 20_000), "fallocate, keep size")
				g.eq("size", g.fstat(fd).Size, int64(10_000))
				g.eq("text", g.pread(fd, 5, 0), "text\x00")
				fd = g.fd("f", unix.O_RDWR)
				g.ok(unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 4096, 8192), "punch a hole")
				g.eq("hole", g.pread(fd, 8200, 4094), text[14:16]+strings.Repeat("\x00", 8192)+text[:6])
				g.eq("size", g.fstat(fd).Size, int64(len(text)))
				for name, flag := range map[string]uint32{"z": unix.FALLOC_FL_ZERO_RANGE, "g": unix.FALLOC_FL_COLLAPSE_RANGE} {
					fd := g.fd(name, unix.O_RDWR)
					err := unix.Fallocate(fd, flag, 4096, 4096)
					if err != nil {
						g.fails(err, "fallocate", unix.EOPNOTSUPP)
						g.eq("text", g.pread(fd, 16, 4096), text[:16])
					} else if name == "z" {
						g.eq("zeros", g.pread(fd, 4097, 4096), strings.Repeat("\x00", 4096)+"0")
					} else {
						g.eq("size", g.fstat(fd).Size, int64(len(text)-4096))
					}
				}
			}},
		{about: "7.4 SEEK_DATA and SEEK_HOLE", raw: func(root string) []entry {
			return []entry{sparse(root+"/f", 4<<20, segment{1 << 20, strings.Repeat("d", 4096)})}
		}, layers: one(file("g", "text")),
			do: func(g *ground) {
				for range 2 {
					fd := g.fd("f", unix.O_RDWR)
					off, err := unix.Seek(fd, 0, unix.SEEK_DATA)
					g.ok(err, "SEEK_DATA")
					if off < 0 || off > 1<<20 {
						g.failf("data at %d, want at most %d", off, 1<<20)
					}
					off, err = unix.Seek(fd, 1<<20, unix.SEEK_HOLE)
					g.ok(err, "SEEK_HOLE")
					if off < 1<<20+4096 || off > 4<<20 {
						g.failf("hole at %d", off)
					}
					for _, whence := range []int{unix.SEEK_DATA, unix.SEEK_HOLE} {
						for _, off := range []int64{4 << 20, 5 << 20} {
							_, err = unix.Seek(fd, off, whence)
							g.fails(err, "at and past the end", unix.ENXIO)
						}
					}
					g.pwrite(fd, "x", 3<<20)
					off, err = unix.Seek(fd, 2<<20, unix.SEEK_DATA)
					g.ok(err, "SEEK_DATA of what was just written")
					if off < 2<<20 || off > 3<<20 {
						g.failf("what was just written at %d is found at %d", 3<<20, off)
					}
				}
				off, err := unix.Seek(g.fd("g", unix.O_RDONLY), 0, unix.SEEK_HOLE)
				g.ok(err, "SEEK_HOLE")
				g.eq("the hole at the end", off, int64(4))
			}},
		{about: "7.4 st_blocks are of 512 bytes", layers: one(file("f", text)),
			do: func(g *ground) {
				for range 2 {
					if b := g.lstat("f").Blocks; b < 512 || b > 512+64 {
						g.failf("%d blocks, want about 512", b)
					}
					fd := g.fd("f", unix.O_RDWR)
					g.pwrite(fd, "x", 0)
					g.ok(unix.Fsync(fd), "fsync")
				}
			}},
		{about: "7.5 copy_file_range, from a lower file, to one made 0444", layers: one(file("f", text)),
			do: func(g *ground) {
				to, err := unix.Open(g.p("g"), unix.O_CREAT|unix.O_RDWR|unix.O_EXCL, 0o444)
				g.ok(err, "create")
				g.later(to)
				n, err := copyRange(g.fd("f", unix.O_RDONLY), to, len(text))
				g.ok(err, "copy_file_range")
				g.eq("copied", n, len(text))
				g.eq("text", g.read("g"), text)
				to = g.fd("h", unix.O_CREAT|unix.O_RDWR)
				_, err = copyRange(g.fd("g", unix.O_RDONLY), to, len(text))
				g.ok(err, "copy_file_range")
				g.eq("text", g.read("h"), text)
				err = unix.IoctlFileClone(to, g.fd("f", unix.O_RDONLY))
				if err != nil {
					g.fails(err, "FICLONE", unix.EOPNOTSUPP, unix.ENOTTY, unix.EXDEV, unix.EINVAL)
				}
				g.eq("text", g.read("h"), text)
			}},
		{about: "7.5 sendfile and splice", layers: one(file("f", text)),
			do: func(g *ground) {
				to := g.fd("g", unix.O_CREAT|unix.O_RDWR)
				from := g.fd("f", unix.O_RDONLY)
				for done := 0; done < len(text); {
					n, err := unix.Sendfile(to, from, nil, len(text)-done)
					g.ok(err, "sendfile")
					if n == 0 {
						g.failf("sendfile ends after %d", done)
					}
					done += n
				}
				g.eq("text", g.read("g"), text)
				var pipe [2]int
				g.ok(unix.Pipe2(pipe[:], unix.O_CLOEXEC), "pipe")
				g.later(pipe[0])
				g.later(pipe[1])
				off := int64(16)
				n, err := unix.Splice(from, &off, pipe[1], nil, 4096, 0)
				g.ok(err, "splice")
				off = 5
				_, err = unix.Splice(pipe[0], nil, to, &off, int(n), 0)
				g.ok(err, "splice")
				g.eq("text", g.pread(to, 21, 0), "0123401234567"+"89abcdef")
			}},
		{about: "7.6 reads of nothing and past the end, offsets beyond 4 GiB", layers: one(file("f", "text")),
			do: func(g *ground) {
				fd := g.fd("f", unix.O_RDWR)
				g.eq("0 bytes", g.pread(fd, 0, 0), "")
				g.eq("at the end", g.pread(fd, 9, 4), "")
				g.eq("past it", g.pread(fd, 9, 1<<40), "")
				g.pwrite(fd, "far", 5<<30)
				g.eq("far", g.pread(fd, 9, 5<<30), "far")
				g.eq("between", g.pread(fd, 4, 5<<30-4), "\x00\x00\x00\x00")
				g.eq("size", g.fstat(fd).Size, int64(5<<30+3))
				g.ok(unix.Ftruncate(fd, 4), "ftruncate")
				g.eq("text", g.read("f"), "text")
			}},
		{about: "7.6 a hole by truncate reads as zeros", layers: one(file("f", text)),
			do: func(g *ground) {
				g.ok(unix.Truncate(g.p("f"), 10), "truncate")
				g.ok(unix.Truncate(g.p("f"), 20), "truncate")
				g.eq("text", g.read("f"), "0123456789"+strings.Repeat("\x00", 10))
				fd := g.fd("f", unix.O_RDWR)
				g.pwrite(fd, "end", 100)
				g.eq("text", g.pread(fd, 200, 15), strings.Repeat("\x00", 85)+"end")
			}},
		{about: "7.7 fsync and its kin, by any descriptor", layers: one(file("f", "text"), dir("d")),
			do: func(g *ground) {
				ro, rw, d := g.fd("f", unix.O_RDONLY), g.fd("f", unix.O_RDWR), g.fd("d", unix.O_RDONLY)
				g.ok(unix.Fsync(ro), "fsync of a lower file")
				g.pwrite(rw, "sync", 0)
				g.ok(unix.Fsync(ro), "fsync by a descriptor to read")
				if g.flavour != plainDir {
					b, err := os.ReadFile(g.up("f"))
					g.ok(err, "read the upper")
					g.eq("in the upper", string(b), "sync")
				}
				g.ok(unix.Fdatasync(rw), "fdatasync")
				g.write("d/new", "x")
				g.ok(unix.Fsync(d), "fsync of a directory")
				g.ok(unix.Syncfs(d), "syncfs")
			}},
		{about: "7.8 times after a write: stat, disk and remount agree", alone: true, layers: one(file("f", "text"), file("g", "text")),
			do: func(g *ground) {
				fd := g.fd("f", unix.O_RDWR)
				before := g.fstat(fd)
				g.pwrite(fd, "more", 4)
				st := g.fstat(fd)
				if st.Mtim.Nano() <= before.Mtim.Nano() {
					g.failf("mtime %v after a write, %v before it", st.Mtim, before.Mtim)
				}
				g.write("new", "new")
				names := []string{"f", "new", "."}
				var stats []unix.Stat_t
				for _, name := range names {
					stats = append(stats, g.lstat(name))
				}
				g.closeAll()
				g.remounted()
				for i, name := range names {
					st := g.lstat(name)
					g.eq("mtime of "+name, st.Mtim, stats[i].Mtim)
					g.eq("size of "+name, st.Size, stats[i].Size)
				}
			}},
		// Found by fsstress: at once, before the clock that stat tells has ticked.
		{about: "7.8 times after direct writes, fallocate and copy_file_range survive a remount", alone: true, layers: one(file("f", "text")),
			do: func(g *ground) {
				const names = 30
				stats := map[string]unix.Timespec{}
				from := g.fd("from", unix.O_RDWR|unix.O_CREAT)
				g.pwrite(from, strings.Repeat("x", 8192), 0)
				for i := range names {
					name := fmt.Sprint("new", i)
					fd := g.fd(name, unix.O_RDWR|unix.O_CREAT|unix.O_DIRECT)
					switch i % 3 {
					case 0:
						_, err := unix.Pwrite(fd, aligned(4096), 0)
						g.ok(err, "direct write")
					case 1:
						g.ok(unix.Fallocate(fd, 0, 0, 8192), "fallocate")
					case 2:
						_, err := unix.CopyFileRange(from, nil, fd, nil, 4096, 0)
						g.ok(err, "copy_file_range")
					}
					g.ok(unix.Fsync(fd), "fsync")
					stats[name] = g.fstat(fd).Mtim
				}
				g.closeAll()
				g.remounted()
				for name, mtime := range stats {
					g.eq("mtime of "+name, g.lstat(name).Mtim, mtime)
				}
			}},
		{about: "7.8 a time that was set survives the writes before it", layers: one(file("f", "text")), alone: true,
			do: func(g *ground) {
				fd := g.fd("f", unix.O_RDWR)
				g.pwrite(fd, "more", 4)
				g.ok(unix.UtimesNano(g.p("f"), someTimes), "utimes")
				g.eq("mtime", g.lstat("f").Mtim, someTimes[1])
				g.closeAll()
				g.eq("mtime after close", g.lstat("f").Mtim, someTimes[1])
				g.remounted()
				g.eq("mtime after a remount", g.lstat("f").Mtim, someTimes[1])
			}},
		{about: "7.9 a running program is not written, and goes on when replaced", layers: one(file("sleep", machineProgram("sleep")).mode(0o755)),
			do: func(g *ground) {
				for range 2 {
					cmd := exec.Command(g.p("sleep"), "60")
					g.ok(cmd.Start(), "start")
					_, err := unix.Open(g.p("sleep"), unix.O_WRONLY, 0)
					werr := attempt(func() { g.fails(err, "open to write", unix.ETXTBSY) })
					g.write("new", machineProgram("sleep"))
					g.ok(unix.Chmod(g.p("new"), 0o755), "chmod")
					g.rename("new", "sleep")
					var st unix.Stat_t
					g.ok(unix.Stat(fmt.Sprintf("/proc/%d/exe", cmd.Process.Pid), &st), "stat of the running program")
					g.eq("nlink", st.Nlink, uint64(0))
					cmd.Process.Kill()
					cmd.Wait()
					g.ok(werr, "while it runs")
				}
			}, not: map[flavour]string{kernel: "nlink of a deleted lower file stays 1"}},
		{about: "7.10 programs and scripts, of the lower and after copy-up", layers: one(file("true", machineProgram("true")).mode(0o755), file("script", "#!/bin/sh\necho said\n").mode(0o755)),
			do: func(g *ground) {
				for range 2 {
					g.ok(exec.Command(g.p("true")).Run(), "run")
					out, err := exec.Command(g.p("script")).Output()
					g.ok(err, "run a script")
					g.eq("output", string(out), "said\n")
					for _, name := range []string{"true", "script"} {
						g.ok(unix.Chmod(g.p(name), 0o700), "chmod")
						fd, err := unix.Open(g.p(name), unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC, 0)
						g.ok(err, "open")
						_, err = unix.Write(fd, []byte("\n"))
						g.ok(err, "write")
						g.ok(unix.Close(fd), "close")
					}
				}
				g.write("made", "#!/bin/sh\necho made\n")
				g.ok(unix.Chmod(g.p("made"), 0o755), "chmod")
				out, err := exec.Command(g.p("made")).Output()
				g.ok(err, "run")
				g.eq("output", string(out), "made\n")
			}},
		{about: "7 a private mapping does not reach the file", layers: one(file("f", "text")),
			do: func(g *ground) {
				m, err := unix.Mmap(g.fd("f", unix.O_RDONLY), 0, 4, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
				g.ok(err, "mmap")
				m[0] = 'T'
				g.ok(unix.Munmap(m), "munmap")
				g.eq("text", g.read("f"), "text")
				g.copied("f", false)
			}},
		{about: "7 writes over page borders, small and large, read back by all ways", layers: one(file("f", text)),
			do: func(g *ground) {
				want := []byte(text)
				fd := g.fd("f", unix.O_RDWR)
				for i, size := range []int{1, 4095, 4096, 4097, 70_000, 3} {
					off := i*40_000 + 4090
					b := bytes.Repeat([]byte{byte('A' + i)}, size)
					want = append(want, make([]byte, max(0, off+size-len(want)))...)
					copy(want[off:], b)
					g.pwrite(fd, string(b), int64(off))
				}
				m := g.mmap(fd, len(want), unix.PROT_READ)
				defer unix.Munmap(m)
				g.eq("mapping", string(m), string(want))
				g.eq("read", g.read("f"), string(want))
			}},
	}
}

// machineProgram is a program of the machine's that needs no other file than its libraries.
func machineProgram(name string) string {
	path, err := exec.LookPath(name)
	must(err)
	path, err = filepath.EvalSymlinks(path)
	must(err)
	b, err := os.ReadFile(path)
	must(err)
	return string(b)
}
