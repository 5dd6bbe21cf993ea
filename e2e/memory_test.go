package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// mostMemory is what indexing and serving may take, in bytes.
const mostMemory = 128 << 20

// TestMemory has an image of 300 MB and 30,000 files indexed and read whole by
// one process, and looks at the most memory that it ever had.
func TestMemory(t *testing.T) {
	needFUSE(t)
	r := rand.New(rand.NewPCG(7, 8))
	// Half noise, half text: compresses about as programs do.
	chunk := func(n int) string {
		b := make([]byte, n/2)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return string(b) + strings.Repeat(strconv.Itoa(n)+" lines of text\n", n)[:n/2]
	}
	var entries []entry
	for i := range 130 {
		entries = append(entries, file(fmt.Sprintf("large/%d", i), chunk(1<<20)))
	}
	lower := layerOf(entries...)
	entries = []entry{file("one", chunk(100<<20))}
	for i := range 30_000 {
		entries = append(entries, file(fmt.Sprintf("small/%d/a name of ordinary length %d", i%100, i), chunk(2000)))
	}
	im := image{lower, layerOf(entries...)}
	for _, c := range []codec{gzipped, zstdFast} {
		t.Run(string(c), func(t *testing.T) {
			h := newHost(t)
			layout := filepath.Join(h.dir, "oci")
			if _, err := im.writeOCI(layout, c); err != nil {
				t.Fatal(err)
			}
			cmd, dir, stderr, done := h.foreground(layout)
			until(t, "it is mounted", func() bool {
				mounts, err := mountsBelow(h.dir)
				return err == nil && len(mounts) > 0 || ended(cmd.Process.Pid)
			})
			indexed := peak(t, cmd.Process.Pid)
			run(t, dir, "sh", "-c", "tar -cf - . | wc -c")
			served := peak(t, cmd.Process.Pid)
			t.Logf("most resident memory: %d MB once indexed, %d MB after reading all", indexed>>20, served>>20)
			if served > mostMemory {
				t.Errorf("%d MB, want at most %d", served>>20, mostMemory>>20)
			}
			h.mica("umount", dir)
			if err := <-done; err != nil {
				t.Errorf("server: %v\n%s", err, stderr.String())
			}
		})
	}
}

// peak gives the most memory in bytes that a process has had resident.
func peak(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(kb), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatalf("/proc/%d/status: no VmHWM", pid)
	return 0
}
