package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// TestContainerKills kills one process of those that belong to a container at a
// random moment: mica, the supervisor, the server of its root or its holder, the
// runtime, the command. ps tells the truth afterwards, rm removes it, the name can
// be had again, nothing is left. MICA_TEST_KILLS is how many.
func TestContainerKills(t *testing.T) {
	b := newBoxes(t, v1.ImageConfig{Env: []string{"PATH=/bin"}})
	kills, _ := strconv.Atoi(os.Getenv("MICA_TEST_KILLS"))
	kills = max(kills, 10)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	b.run(b.image, "true")
	before := b.traces()
	for i := range kills {
		name := fmt.Sprintf("kill%d", i)
		args := []string{"run", "--name", name, b.image, "sh", "-c", "echo x >/srv/x; sleep " + fmt.Sprint(random.IntN(3)*10)}
		if random.IntN(3) == 0 {
			args = slices.Insert(args, 1, "--rm")
		}
		if random.IntN(3) == 0 {
			args = slices.Insert(args, 1, "-d")
		}
		cmd := b.command(args...)
		must(cmd.Start())
		time.Sleep(time.Duration(random.IntN(250)) * time.Millisecond)
		victim := ""
		if all := b.processesOf(name); len(all) > 0 {
			p := all[random.IntN(len(all))]
			victim = p.line
			_ = unix.Kill(p.pid, unix.SIGKILL) // it may have ended
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		b.truth(name, victim)
		if r := b.try("rm", "-f", name); r.status != 0 && !strings.Contains(r.stderr, "no such container") {
			t.Errorf("rm -f after the kill of %q: %+v", victim, r)
		}
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Errorf("mica %v goes on after the kill of %q", args, victim)
			_ = cmd.Process.Kill()
		}
		// One that was killed before it had made the container may not have begun to.
		if r := b.try("rm", "-f", name); r.status != 0 && !strings.Contains(r.stderr, "no such container") {
			t.Errorf("rm -f, again, after the kill of %q: %+v", victim, r)
		}
		if r := b.try("run", "--rm", "--name", name, b.image, "echo", "again"); r.stdout != "again\n" {
			t.Errorf("run after the kill of %q: %+v", victim, r)
		}
		if t.Failed() {
			t.Logf("mica %v", args)
			break
		}
	}
	if !waitFor(func() bool { return slices.Equal(b.traces(), before) }) {
		t.Errorf("left: %q", b.traces())
	}
}

// truth compares what ps says of a container with the processes that are there.
func (b *boxes) truth(name, victim string) {
	b.t.Helper()
	r := b.try("ps", "-a", "--filter", "name="+name, "--format", "json")
	var rows []struct{ State, Status string }
	if err := json.Unmarshal([]byte(r.stdout), &rows); err != nil || r.status != 0 {
		b.t.Errorf("ps after the kill of %q: %+v", victim, r)
		return
	}
	if len(rows) == 0 || rows[0].State != "running" {
		return
	}
	pid := strings.TrimSpace(b.try("inspect", "-f", "{{.State.Pid}} {{.State.Running}}", name).stdout)
	number, running, _ := strings.Cut(pid, " ")
	if _, err := os.Stat("/proc/" + number); err != nil && running == "true" {
		b.t.Errorf("after the kill of %q it is said to run as %s, which is not there", victim, pid)
	}
}

// A running is a process with its command line.
type runningProcess struct {
	pid  int
	line string
}

// processesOf gives the processes that have to do with a container.
func (b *boxes) processesOf(name string) (all []runningProcess) {
	id := ""
	states, _ := filepath.Glob(filepath.Join(b.dir, "store", "containers", "*", "container.json"))
	for _, s := range states {
		if c, err := os.ReadFile(s); err == nil && strings.Contains(string(c), `"Name": "`+name+`"`) {
			id = filepath.Base(filepath.Dir(s))
		}
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(err)
	for _, l := range lines {
		raw, err := os.ReadFile(l)
		line := strings.ReplaceAll(string(raw), "\x00", " ")
		if err != nil || strings.Contains(line, "e2e.test") || line == "" {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(l)))
		must(err)
		if strings.Contains(line, " "+name+" ") || id != "" && (strings.Contains(line, id[:12]) || b.inGroup(pid, id)) {
			all = append(all, runningProcess{pid, line})
		}
	}
	return all
}

// inGroup reports whether a process is in the control group of a container.
func (b *boxes) inGroup(pid int, id string) bool {
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	return err == nil && strings.Contains(string(groups), id)
}
