package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// TestContainerLife goes with one container through all that can become of it.
func TestContainerLife(t *testing.T) {
	b := newBoxes(t, v1.ImageConfig{Env: []string{"PATH=/bin"}, StopSignal: "USR1"})
	status := func() string {
		return strings.TrimSpace(b.mica("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "box"))
	}
	want := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	id := strings.TrimSpace(b.mica("create", "--name", "box", b.image, "sh", "-c", `trap 'echo usr1; exit 4' USR1; echo begin >&2; touch /srv/$(ls /srv | wc -l); while :; do sleep 0.05; done`))
	want("created", status(), "created 0")
	want("ps", b.mica("ps", "-q"), "")
	want("ps -aq", b.mica("ps", "-aq", "--no-trunc"), id+"\n")
	b.mica("start", "box")
	want("started", status(), "running 0")
	until(t, "it writes", func() bool { return b.try("logs", "box").stderr == "begin\n" })
	b.mica("pause", "box")
	want("paused", status(), "paused 0")
	want("ps", b.mica("ps", "--filter", "status=paused", "--format", "{{.Names}}"), "box\n")
	b.mica("unpause", "box")
	b.mica("rename", "box", "other")
	b.mica("rename", "other", "box")
	if r := b.try("create", "--name", "box", b.image, "true"); r.status != 1 || !strings.Contains(r.stderr, `the name "box" is in use by container `+id[:12]) {
		t.Errorf("a name twice: %+v", r)
	}
	want("exec", b.mica("exec", "-u", "ada", "box", "sh", "-c", "id -un; cat /proc/1/comm"), "ada\nsh\n")
	if r := b.try("rm", "box"); r.status != 1 || !strings.Contains(r.stderr, "is running") {
		t.Errorf("rm of one that runs: %+v", r)
	}
	b.mica("stop", "box")
	want("stopped by its own signal", status(), "exited 4")
	want("logs", b.mica("logs", "box"), "usr1\n")
	b.mica("restart", "box")
	until(t, "it writes again", func() bool { return strings.Count(b.try("logs", "box").stderr, "begin\n") == 2 })
	before := strings.Fields(b.mica("exec", "box", "ls", "/srv"))
	b.mica("kill", "box")
	until(t, "it has ended", func() bool { return status() == "exited 137" })
	want("wait", b.mica("wait", "box"), "137\n")
	// What it has written stays, and can be had without it.
	must(os.WriteFile(filepath.Join(b.dir, "in"), []byte("copied\n"), 0o644))
	b.mica("cp", "in", "box:/srv/in")
	b.mica("cp", "box:/srv", "out")
	names, err := os.ReadDir(filepath.Join(b.dir, "out"))
	if err != nil || len(names) != len(before)+1 {
		t.Errorf("copied out: %v, %v; inside there were %v", names, err, before)
	}
	if out := b.mica("export", "box"); !strings.Contains(out, "srv/in") {
		t.Error("the export lacks what was copied in")
	}
	b.mica("rm", "box")
	want("removed", b.mica("ps", "-aq"), "")
	if left, err := mountsBelow(b.dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestContainerStreams: streams are whole and in order, signals arrive.
func TestContainerStreams(t *testing.T) {
	b := newBoxes(t, v1.ImageConfig{Env: []string{"PATH=/bin"}})
	long := strings.Repeat("0123456789abcde\n", 1<<20)
	if r := b.tryWith(long, "run", "--rm", "-i", b.image, "cat"); r.stdout != long {
		t.Errorf("16 MiB through cat: %d bytes came, %s", len(r.stdout), r.stderr)
	}
	if r := b.tryWith("x", "run", "--rm", b.image, "cat"); r.stdout != "" {
		t.Errorf("without -i: %q", r.stdout)
	}
	if r := b.tryWith("abc", "run", "--rm", "-i", b.image, "sh", "-c", "head -c1; exit 9"); r.stdout != "a" || r.status != 9 {
		t.Errorf("input that is not read to its end: %+v", r)
	}
	r := b.try("run", "--rm", b.image, "sh", "-c", "for i in $(seq 2000); do echo $i; echo $i >&2; done")
	if lines := strings.Fields(r.stdout); len(lines) != 2000 || lines[1999] != "2000" || r.stdout != r.stderr {
		t.Errorf("2000 lines: %d and %d bytes", len(r.stdout), len(r.stderr))
	}
	cmd := b.command("run", "--rm", "--name", "sig", b.image, "sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.02; done")
	must(cmd.Start())
	until(t, "it runs", func() bool { return b.try("exec", "sig", "true").status == 0 })
	must(cmd.Process.Signal(unix.SIGTERM))
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("after a signal: %v, want exit status 5", err)
	}
}

// TestContainerLogs: what is kept of output, and how it is told.
func TestContainerLogs(t *testing.T) {
	b := newBoxes(t, v1.ImageConfig{Env: []string{"PATH=/bin"}})
	b.mica("run", "--name", "talk", b.image, "sh", "-c", "for i in 1 2 3; do echo out $i; done; echo err >&2; printf 'no end'")
	r := b.try("logs", "talk")
	if r.stdout != "out 1\nout 2\nout 3\nno end" || r.stderr != "err\n" {
		t.Errorf("logs: %+v", r)
	}
	if r := b.try("logs", "--tail", "2", "talk"); !strings.HasSuffix(r.stdout, "no end") || strings.Contains(r.stdout, "out 1") {
		t.Errorf("--tail 2: %+v", r)
	}
	if r := b.try("logs", "-t", "talk"); !strings.HasPrefix(r.stdout, time.Now().UTC().Format("2006-01-02T")) {
		t.Errorf("-t: %+v", r)
	}
	if r := b.try("logs", "--since", "1h", "--until", "30m", "talk"); r.stdout != "" {
		t.Errorf("of another time: %+v", r)
	}
	// So much that it is rotated often, followed all the while.
	b.mica("run", "-d", "--name", "much", "--log-opt", "max-size=200k", "--log-opt", "max-file=3", b.image, "sh", "-c", "sleep 0.3; seq 40000")
	follow := b.try("logs", "-f", "much")
	lines := strings.Fields(follow.stdout)
	if len(lines) == 0 || lines[len(lines)-1] != "40000" {
		t.Errorf("followed: %d lines, the last %q", len(lines), lines[max(0, len(lines)-1):])
	}
	id := strings.TrimSpace(b.mica("inspect", "-f", "{{.ID}}", "much"))
	files, err := filepath.Glob(filepath.Join(b.dir, "store", "containers", id, "log.json*"))
	if err != nil || len(files) != 3 {
		t.Errorf("log files: %v", files)
	}
	for _, f := range files {
		if st, err := os.Stat(f); err != nil || st.Size() > 200<<10 {
			t.Errorf("%s: %v, %v", f, st.Size(), err)
		}
	}
	if last := b.mica("logs", "--tail", "1", "much"); last != "40000\n" {
		t.Errorf("the last line: %q", last)
	}
	b.mica("run", "--name", "silent", "--log-driver", "none", b.image, "echo", "x")
	if r := b.try("logs", "silent"); r.status != 1 {
		t.Errorf("of one that keeps no log: %+v", r)
	}
}

// TestContainerRestart: what policies start again.
func TestContainerRestart(t *testing.T) {
	b := newBoxes(t, v1.ImageConfig{Env: []string{"PATH=/bin"}})
	count := func(name string) int { return strings.Count(b.try("logs", name).stdout, "run\n") }
	b.mica("run", "-d", "--name", "three", "--restart", "on-failure:2", b.image, "sh", "-c", "echo run; exit 3")
	until(t, "it has failed three times", func() bool {
		return strings.TrimSpace(b.mica("ps", "-a", "--filter", "name=three", "--format", "{{.State}}")) == "exited"
	})
	if n := count("three"); n != 3 {
		t.Errorf("on-failure:2 ran %d times, want 3", n)
	}
	b.mica("run", "-d", "--name", "fine", "--restart", "on-failure", b.image, "echo", "run")
	b.mica("wait", "fine")
	if n := count("fine"); n != 1 {
		t.Errorf("one that ends well ran %d times", n)
	}
	b.mica("run", "-d", "--name", "always", "--restart", "always", b.image, "sh", "-c", "echo run; sleep 0.05")
	until(t, "it has run again", func() bool { return count("always") > 2 })
	b.mica("stop", "-t", "0", "always")
	n := count("always")
	time.Sleep(300 * time.Millisecond)
	if count("always") != n || strings.TrimSpace(b.mica("inspect", "-f", "{{.State.Status}}", "always")) != "exited" {
		t.Error("one that was stopped was started again")
	}
}

// TestContainerLimits: memory, processes and processor time.
func TestContainerLimits(t *testing.T) {
	b := newBoxes(t, v1.ImageConfig{Env: []string{"PATH=/bin"}})
	r := b.try("run", "--name", "fat", "-m", "16m", b.image, "sh", "-c", "dd if=/dev/zero of=/dev/null bs=64M count=1")
	if oom := strings.TrimSpace(b.mica("inspect", "-f", "{{.State.OOMKilled}}", "fat")); r.status != 137 || oom != "true" {
		t.Errorf("64 MB in 16: status %d, OOMKilled %s; want 137, true", r.status, oom)
	}
	out := b.try("run", "--rm", "--pids-limit", "8", b.image, "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 5 & done; echo done; kill %1")
	if !strings.Contains(out.stderr, "fork") {
		t.Errorf("10 processes of 8: %+v", out)
	}
	start := time.Now()
	b.mica("run", "-d", "--name", "slow", "--cpus", "0.1", b.image, "sh", "-c", "while :; do :; done")
	time.Sleep(2 * time.Second)
	if got := b.mica("stats", "--format", "json", "slow"); !strings.Contains(got, `"PIDs": "1"`) {
		t.Errorf("stats: %s", got)
	}
	pid := strings.TrimSpace(b.mica("inspect", "-f", "{{.State.Pid}}", "slow"))
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	must(err)
	fields := strings.Fields(string(stat))
	ticks, _ := strconv.Atoi(fields[13])
	if spent := time.Duration(ticks) * 10 * time.Millisecond; spent > time.Since(start)/4 {
		t.Errorf("a tenth of a processor: %v in %v", spent, time.Since(start))
	}
	b.mica("update", "--pids-limit", "5", "slow")
	b.mica("rm", "-f", "slow")
}

// TestContainerCycles has several go through create, start, stop and rm side by
// side, and looks for what is left. MICA_TEST_CYCLES is how many times.
func TestContainerCycles(t *testing.T) {
	b := newBoxes(t, v1.ImageConfig{Env: []string{"PATH=/bin"}})
	cycles, _ := strconv.Atoi(os.Getenv("MICA_TEST_CYCLES"))
	cycles = max(cycles, 12)
	b.run(b.image, "true")
	before := b.traces()
	next := make(chan int)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for i := range next {
				name := fmt.Sprint("cycle", i)
				for _, args := range [][]string{
					{"create", "--name", name, b.image, "sh", "-c", "trap 'exit 0' TERM; echo x >/srv/x; while :; do sleep 0.02; done"},
					{"start", name}, {"exec", name, "true"}, {"stop", name}, {"rm", name},
				} {
					if r := b.try(args...); r.status != 0 {
						t.Errorf("%v: %+v", args, r)
					}
				}
			}
		})
	}
	for i := range cycles {
		next <- i
	}
	close(next)
	group.Wait()
	until(t, "all is as before", func() bool { return slices.Equal(b.traces(), before) })
}

// traces are what containers could leave: mounts, processes, control groups,
// files.
func (b *boxes) traces() (all []string) {
	mounts, err := mountsBelow(b.dir)
	must(err)
	all = append(all, mounts...)
	for _, pattern := range []string{
		filepath.Join(b.dir, "store", "containers", "*"), filepath.Join(b.dir, "store", "volumes", "*"), filepath.Join(b.dir, "store", "scratch", "*"),
	} {
		files, err := filepath.Glob(pattern)
		must(err)
		all = append(all, files...)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(err)
	for _, p := range processes {
		if line, err := os.ReadFile(p); err == nil && strings.Contains(string(line), b.dir) && !strings.Contains(string(line), "e2e.test") {
			all = append(all, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return all
}
