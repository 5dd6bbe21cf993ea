package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// TestRacingProcesses has sixteen processes at a time pull, load, tag, remove,
// prune, save, mount and read the same images in one store; some are killed. Nothing
// that is named may be missing afterwards, and what is not named goes.
func TestRacingProcesses(t *testing.T) {
	needFUSE(t)
	r, h := newRegistry(t, ""), newHost(t)
	names := make([]string, 3)
	shared := layerOf(file("shared", random(7, 300000)))
	for i := range names {
		names[i] = fmt.Sprintf("%s/e2e/race:%d", r.addr, i)
		r.push(fmt.Sprintf("e2e/race:%d", i), image{shared, layerOf(file("own", random(int64(i), 200000)))})
	}
	h.mica("pull", names[0])
	archive := filepath.Join(h.dir, "race.tar")
	h.mica("save", "-o", archive, names[0])
	took := 10 * time.Second
	if testing.Short() {
		took = 2 * time.Second
	}
	if s := os.Getenv("MICA_TEST_RACING"); s != "" {
		var err error
		took, err = time.ParseDuration(s)
		must(err)
	}
	end := time.Now().Add(took)
	var all sync.WaitGroup
	for who := range 16 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(17, uint64(who)))
			for time.Now().Before(end) {
				name := names[rng.IntN(len(names))]
				args := [][]string{
					{"pull", "-q", name}, {"pull", "-q", name}, {"pull", "-q", "-a", r.addr + "/e2e/race"},
					{"load", "-q", "-i", archive}, {"tag", name, fmt.Sprintf("e2e/tag:%d", rng.IntN(4))},
					{"rmi", name}, {"rmi", "-f", fmt.Sprintf("e2e/tag:%d", rng.IntN(4))}, {"prune"}, {"images"},
					{"cat", "--pull=always", name, "/own"}, {"save", "-o", filepath.Join(h.dir, fmt.Sprintf("out%d.tar", who)), name},
					{"mount", "--mkdir", name, filepath.Join(h.dir, fmt.Sprint("mnt", who))},
				}[rng.IntN(12)]
				// A mount that is killed in the middle has nobody who serves it.
				if whole := raced(t, h.command(args...), rng); args[0] == "mount" && whole {
					racedMount(t, h, args[3], rng)
				}
			}
		})
	}
	all.Wait()
	for _, m := range mountsOf(h) {
		h.umount(m)
	}
	h.wantBlobs()
	for line := range strings.Lines(h.mica("images", "--no-trunc", "-n", "--format", "table")) {
		if f := strings.Fields(line); f[0] != "<none>" {
			h.mica("verify", "--pull=never", f[0]+":"+f[1])
		}
	}
	h.mica("prune", "--all")
	for _, left := range []string{"images/blobs/sha256/*", "partial/*", "leases/*", "index/sha256/*"} {
		if files, err := filepath.Glob(filepath.Join(h.dir, "store", left)); err != nil || len(files) > 0 {
			t.Errorf("after prune --all: %v, %v", files, err)
		}
	}
	h.mica("pull", "-q", names[1])
	if got := h.mica("cat", names[1], "/own"); digest.FromString(got) != digest.FromString(random(1, 200000)) {
		t.Error("afterwards: /own is not what it was")
	}
}

// racedMount reads what has been mounted, if it has, and unmounts it. A mount
// has its files open, so that nothing that others do is seen in it.
func racedMount(t *testing.T, h *host, dir string, rng *rand.Rand) {
	if !slices.Contains(mountsOf(h), dir) {
		return
	}
	b, err := os.ReadFile(filepath.Join(dir, "shared"))
	if err != nil || string(b) != random(7, 300000) {
		t.Errorf("%s: %d bytes, %v; want those of the image", dir, len(b), err)
	}
	raced(t, h.command("umount", dir), rng)
}

// mountsOf are the directories below a host's that something is mounted at.
func mountsOf(h *host) []string {
	b, err := os.ReadFile("/proc/self/mounts")
	must(err)
	var dirs []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); strings.HasPrefix(f[1], h.dir+"/") {
			dirs = append(dirs, f[1])
		}
	}
	return dirs
}

// raced runs a command, or kills one in five in the middle. It may find that
// what it wants is not there or has just gone, but nothing damaged. It
// is false for one that was killed.
func raced(t *testing.T, cmd *exec.Cmd, rng *rand.Rand) (whole bool) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return false
	}
	if rng.IntN(5) == 0 {
		time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
		return false
	}
	err := cmd.Wait()
	if err == nil {
		return true
	}
	for _, fine := range []string{"no image", "names:", "no such file or directory", "mounted at", "already holds", "not a mount of mica's"} {
		if strings.Contains(stderr.String(), fine) {
			return true
		}
	}
	t.Errorf("%s: %v\n%s", strings.Join(cmd.Args[1:], " "), err, stderr.String())
	return true
}
