package e2e

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// getdents reads once, at most n bytes.
func (g *ground) getdents(fd, n int) []dirent {
	b := make([]byte, n)
	n, err := unix.Getdents(fd, b)
	g.ok(err, "getdents64")
	return parseDirents(b[:n])
}

// allDirents reads the rest of a directory by reads of at most n bytes.
func (g *ground) allDirents(fd, n int) (all []dirent) {
	for {
		some := g.getdents(fd, n)
		if len(some) == 0 {
			return all
		}
		all = append(all, some...)
	}
}

// dirents are all entries of a directory but "." and "..".
func (g *ground) dirents(name string) (entries []dirent) {
	return slices.DeleteFunc(g.allDirents(g.fd(name, unix.O_RDONLY|unix.O_DIRECTORY), 4096), func(d dirent) bool { return d.name == "." || d.name == ".." })
}

func dirNames(entries []dirent) (names []string) {
	for _, e := range entries {
		names = append(names, e.name)
	}
	slices.Sort(names)
	return names
}

// directoryRules are section 6, in the order of its sentences.
func directoryRules() []rule {
	many := []entry{dir("d")}
	for i := range 500 {
		many = append(many, file(fmt.Sprintf("d/low%03d", i), ""))
	}
	return []rule{
		{about: "6 entries that stay appear once while others come and go", layers: one(many...),
			do: func(g *ground) {
				fd := g.fd("d", unix.O_RDONLY|unix.O_DIRECTORY)
				seen := map[string]int{}
				for i := 0; ; i++ {
					some := g.getdents(fd, 1024)
					if len(some) == 0 {
						break
					}
					for _, e := range some {
						seen[e.name]++
					}
					g.write(fmt.Sprintf("d/new%03d", i), "")
					g.ok(unix.Unlink(g.p(fmt.Sprintf("d/low%03d", i*7%500))), "unlink")
				}
				for i := range 500 {
					name := fmt.Sprintf("low%03d", i)
					var st unix.Stat_t
					if unix.Lstat(g.p("d/"+name), &st) == nil {
						g.eq("times that "+name+" appears", seen[name], 1)
					}
				}
				g.eq("of .", seen["."], 1)
				g.eq("of ..", seen[".."], 1)
			}},
		{about: "6 rm in a loop over readdir removes all", layers: one(many...),
			do: func(g *ground) {
				fd := g.fd("d", unix.O_RDONLY|unix.O_DIRECTORY)
				for {
					some := g.getdents(fd, 512)
					if len(some) == 0 {
						break
					}
					for _, e := range some {
						if e.name != "." && e.name != ".." {
							g.ok(unix.Unlinkat(fd, e.name, 0), "unlink %s", e.name)
						}
					}
				}
				g.ok(unix.Rmdir(g.p("d")), "rmdir")
			}},
		{about: "6 cookies lead back to where they were given", layers: [][]entry{many, {dir("d"), file("d/top", "")}},
			do: func(g *ground) {
				g.write("d/upper", "")
				fd := g.fd("d", unix.O_RDONLY|unix.O_DIRECTORY)
				all := g.allDirents(fd, 700)
				g.eq("entries", len(all), 504)
				offs := map[int64]bool{}
				for i, e := range all {
					if e.next <= 0 || offs[e.next] {
						g.failf("cookie %d of %s is not positive, or given twice", e.next, e.name)
					}
					offs[e.next] = true
					if i%50 == 0 && i+1 < len(all) {
						_, err := unix.Seek(fd, e.next, unix.SEEK_SET)
						g.ok(err, "lseek")
						g.eq("the entry after "+e.name, g.getdents(fd, 700)[0].name, all[i+1].name)
					}
				}
			}},
		{about: "6 rewinddir reads anew", layers: one(dir("d"), file("d/a", ""), file("d/b", "")),
			do: func(g *ground) {
				fd := g.fd("d", unix.O_RDONLY|unix.O_DIRECTORY)
				g.allDirents(fd, 4096)
				g.write("d/c", "")
				g.ok(unix.Unlink(g.p("d/a")), "unlink")
				_, err := unix.Seek(fd, 0, unix.SEEK_SET)
				g.ok(err, "lseek")
				g.eq("names", dirNames(g.allDirents(fd, 4096)), []string{".", "..", "b", "c"})
			}},
		{about: "6 small and large reads give the same", layers: one(many...),
			do: func(g *ground) {
				for i := range 100 {
					g.write(fmt.Sprintf("d/new%03d", i), "")
				}
				var want []string
				for _, n := range []int{4096, 300, 1 << 20} {
					got := dirNames(g.allDirents(g.fd("d", unix.O_RDONLY|unix.O_DIRECTORY), n))
					if want == nil {
						want = got
					}
					g.eq(fmt.Sprint("names by ", n), got, want)
				}
				g.eq("names", len(want), 602)
				for _, name := range want {
					g.lstat("d/" + name)
				}
			}},
		{about: "6 twenty thousand entries", layers: one(dir("d")),
			do: func(g *ground) {
				const n = 20_000
				fd := g.fd("d", unix.O_RDONLY|unix.O_DIRECTORY)
				for i := range n {
					g.ok(unix.Mknodat(fd, fmt.Sprint(i), unix.S_IFREG|0o644, 0), "mknod")
				}
				g.eq("names", len(g.dirents("d")), n)
			}},
	}
}
