package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestIndexedOnce has two processes mount one new image at once: what they
// read of the blobs, by their own count, is little more than once all of it.
func TestIndexedOnce(t *testing.T) {
	needFUSE(t)
	h := newHost(t)
	layout := filepath.Join(h.dir, "oci")
	im := nasty()
	m, err := im.writeOCI(layout, gzipped)
	if err != nil {
		t.Fatal(err)
	}
	var blobs int64
	for _, l := range m.Layers {
		blobs += l.Size
	}
	var pids []int
	var dirs []string
	for i := range 2 {
		dir := filepath.Join(h.dir, strconv.Itoa(i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := h.command("mount", "--foreground", layout, dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Wait() })
		pids, dirs = append(pids, cmd.Process.Pid), append(dirs, dir)
	}
	until(t, "both are mounted", func() bool {
		mounts, err := mountsBelow(h.dir)
		return err == nil && len(mounts) == 2
	})
	var read int64
	for _, pid := range pids {
		read += bytesRead(t, pid)
	}
	t.Logf("%d bytes read for blobs of %d", read, blobs)
	if read > blobs*3/2 {
		t.Errorf("%d bytes read for blobs of %d: indexed twice?", read, blobs)
	}
	sameTree(t, mustReadTree(t, dirs[0]), mustReadTree(t, dirs[1]))
	for _, dir := range dirs {
		h.umount(dir)
	}
}

// bytesRead is what a process has read by system calls (proc(5), rchar).
func bytesRead(t *testing.T, pid int) int64 {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), "rchar: "); ok {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no rchar")
	return 0
}

// TestInterrupted ends a mount that is still indexing, by Ctrl-C and by
// kill -9: nothing is mounted, and the next mount is right. Ctrl-C leaves no
// half-made file behind.
func TestInterrupted(t *testing.T) {
	needFUSE(t)
	// Half a second of inflating, in which it is caught.
	im := image{layerOf(file("zeros", strings.Repeat("\x00", 300<<20)), file("last", "last"))}
	layout := filepath.Join(newDir(t), "oci")
	if _, err := im.writeOCI(layout, gzipped); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		about  string
		flags  []string
		sig    syscall.Signal
		status int // of the process; -1 if it died of the signal
	}{
		{"Ctrl-C", nil, unix.SIGINT, 130},
		{"Ctrl-C in the foreground", []string{"--foreground"}, unix.SIGINT, 130},
		{"kill -9", []string{"--foreground"}, unix.SIGKILL, -1},
	} {
		t.Run(tt.about, func(t *testing.T) {
			h := newHost(t)
			dir := filepath.Join(h.dir, "mnt")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := h.command(append(append([]string{"mount"}, tt.flags...), layout, dir)...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			until(t, "it has begun to write", func() bool { return len(unfinished(t, h)) > 0 })
			if err := cmd.Process.Signal(tt.sig); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != tt.status {
				t.Errorf("exit status %d, want %d; it said %q", got, tt.status, stderr.String())
			}
			if mounts, err := mountsBelow(h.dir); err != nil || len(mounts) > 0 {
				t.Errorf("mounted: %v, %v", mounts, err)
			}
			if left := unfinished(t, h); tt.sig == unix.SIGINT && len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			again := h.mount(layout)
			if b, err := os.ReadFile(filepath.Join(again, "last")); string(b) != "last" || err != nil {
				t.Errorf("read after another mount: %q, %v", b, err)
			}
			h.umount(again)
			if left := unfinished(t, h); len(left) > 0 {
				t.Errorf("left behind after another mount: %v", left)
			}
		})
	}
}

// unfinished are the files of the store that are not whole yet.
func unfinished(t *testing.T, h *host) []string {
	t.Helper()
	temps, err := filepath.Glob(filepath.Join(h.dir, "store", "index", "*", ".tmp-*"))
	if err != nil {
		t.Fatal(err)
	}
	return temps
}
