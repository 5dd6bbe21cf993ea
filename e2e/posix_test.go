package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
	"golang.org/x/sys/unix"
)

// wrongPosix are tests of posixtest that hold of no filesystem.
var wrongPosix = map[string]string{
	"FcntlFlockLocksFile": "POSIX locks of one process never conflict with each other",
}

// oneDevice are tests of posixtest that hold only where the directory and
// /etc/passwd are on different filesystems, as a mount is.
var oneDevice = map[string]string{
	"OpenSymlinkRace": "a link to /etc/passwd that the kernel has followed is told from one that a server has by its device",
}

// TestPosix runs go-fuse's suite on a writable mount.
func TestPosix(t *testing.T) {
	for _, f := range flavours() {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			u := newUnion(t, f, []entry{dir("lower")})
			for _, name := range slices.Sorted(maps.Keys(posixtest.All)) {
				t.Run(name, func(t *testing.T) {
					if why := wrongPosix[name]; why != "" {
						t.Log(why)
						return
					}
					if why := oneDevice[name]; why != "" && device(t, u.dir) == device(t, "/etc/passwd") {
						t.Log(why)
						return
					}
					sub := filepath.Join(u.dir, "lower", name)
					if err := os.Mkdir(sub, 0o755); err != nil {
						t.Fatal(err)
					}
					posixtest.All[name](t, sub)
				})
			}
		})
	}
}

func device(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Dev
}
