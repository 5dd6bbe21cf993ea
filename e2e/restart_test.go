package e2e

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestKilledAtOnce kills servers while they get their first requests, into
// memory that may not be there yet: a request that the kernel cannot hand over
// to a dying process fails for good, unlike one that was handed over.
func TestKilledAtOnce(t *testing.T) {
	h := newHost(t)
	layout := filepath.Join(h.dir, "oci")
	writeDamaged(t, layout, gzipped)
	for range 10 {
		dir := h.mount(layout)
		pid := h.server(dir)
		var readers sync.WaitGroup
		for _, name := range []string{"etc/motd", "noise", "text", "more"} {
			readers.Go(func() {
				if _, err := os.ReadFile(filepath.Join(dir, name)); err != nil {
					t.Error(err)
				}
			})
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		h.waitReaders(dir, &readers)
		h.umount(dir)
	}
}
