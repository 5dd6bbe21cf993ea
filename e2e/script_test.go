package e2e

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write what the programs print into the scripts' golden files")

// TestScripts runs testdata/script/*.txtar, one behaviour of the command line
// each. Beside testscript's own commands they have
//
//	oci-layout [-plain|-zstd] LAYOUT[:TAG] DIR...  adds an image of these layers, with a tag, to a layout
//	docker-archive [-new] [-gzip|-zstd] FILE NAME DIR...  the layers plain, the archive compressed
//	tar FILE DIR                   one layer, as it is
//	tree-equal A B                 two directory trees are the same in all respects
//	wait-mount DIR                 waits until something is mounted there
//	wait-gone DIR                  waits until nothing is
//	wait-file FILE                 waits until there is such a file
//	wait-exit PID                  waits until a process has ended
//	status N COMMAND...            runs and exits with that status
//	server DIR VAR                 the process that serves a mount, into an environment variable
//	kill-server DIR                kills it, as kill -9 does, and waits until another one serves
//	kill-mount DIR                 kills it and its holder, and waits until they are gone
//	flip FILE OFFSET               inverts the bits of a byte; an offset below zero counts from the end
//	as-user COMMAND...             runs as an ordinary user with a home of its own
//
// and the conditions [root] and [fuse].
func TestScripts(t *testing.T) {
	if _, err := program(); err != nil {
		t.Fatal(err)
	}
	testscript.RunT(scriptT{t}, testscript.Params{
		Dir:                 "testdata/script",
		WorkdirRoot:         newDir(t),
		Deadline:            time.Now().Add(2 * time.Minute), // so that one that hangs is killed and shown
		UpdateScripts:       *update,
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup:               setupScript,
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return isRoot(), nil
			case "fuse":
				return haveFUSE(), nil
			}
			return false, fmt.Errorf("no such condition: %s", cond)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"oci-layout":     ociLayout,
			"docker-archive": dockerArchive,
			"tar":            tarFile,
			"tree-equal":     treeEqual,
			"wait-mount":     waitMount,
			"wait-gone":      waitGone,
			"wait-file":      waitFile,
			"wait-exit":      waitExit,
			"status":         status,
			"server":         serverOf,
			"kill-server":    killServer,
			"kill-mount":     killMount,
			"flip":           flip,
			"as-user":        asUser,
		},
	})
}

// A scriptT is a test in which a skip fails where nothing may be skipped.
type scriptT struct{ *testing.T }

func (t scriptT) Run(name string, f func(testscript.T)) {
	t.T.Run(name, func(t *testing.T) { f(scriptT{t}) })
}

func (t scriptT) Skip(args ...any) {
	if strict() {
		t.Fatal(args...)
	}
	t.T.Skip(args...)
}

func (t scriptT) Verbose() bool { return testing.Verbose() }

func setupScript(e *testscript.Env) error {
	for _, kv := range hostEnv(e.WorkDir) {
		name, value, _ := strings.Cut(kv, "=")
		e.Setenv(name, value)
	}
	e.Setenv("MICA", filepath.Join(binDir(), "mica")) // for scripts without a PATH
	user := filepath.Join(e.WorkDir, "user")
	if err := os.Mkdir(user, 0o755); err != nil {
		return err
	}
	if isRoot() {
		return os.Chown(user, ordinary, ordinary)
	}
	return nil
}

// ordinary is the user, and the group, that has no rights at all: nobody.
const ordinary = 65534

// asUser runs a program as an ordinary user, whose home is $WORK/user. Started
// by one, it is just another home.
func asUser(ts *testscript.TestScript, neg bool, args []string) {
	argv := append([]string{"env"}, hostEnv(ts.MkAbs(ts.Getenv("WORK")+"/user"))...)
	if isRoot() {
		id := strconv.Itoa(ordinary)
		argv = append([]string{"setpriv", "--reuid=" + id, "--regid=" + id, "--clear-groups"}, argv...)
	}
	argv = append(argv, args...)
	err := ts.Exec(argv[0], argv[1:]...)
	if (err != nil) != neg {
		ts.Fatalf("as-user %s: %v", strings.Join(args, " "), err)
	}
}

// cutFlags takes leading flags of a script's command off its arguments.
func cutFlags(args []string) (flags map[string]bool, rest []string) {
	flags = map[string]bool{}
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		flags[args[0]] = true
		args = args[1:]
	}
	return flags, args
}

func codecOf(flags map[string]bool, otherwise codec) codec {
	switch {
	case flags["-plain"]:
		return plain
	case flags["-gzip"]:
		return gzipped
	case flags["-zstd"]:
		return zstdFast
	}
	return otherwise
}

func imageFromDirs(ts *testscript.TestScript, dirs []string) image {
	im := image{}
	for _, d := range dirs {
		l, err := layerFromDir(ts.MkAbs(d))
		ts.Check(err)
		im = append(im, l)
	}
	return im
}

func ociLayout(ts *testscript.TestScript, neg bool, args []string) {
	flags, args := cutFlags(args)
	if neg || len(args) < 1 {
		ts.Fatalf("usage: oci-layout [-plain|-zstd] LAYOUT[:TAG] DIR...")
	}
	dir, tag, ok := strings.Cut(args[0], ":")
	if !ok {
		tag = "latest"
	}
	dir = ts.MkAbs(dir)
	lo, err := readLayout(dir)
	ts.Check(err)
	lo.add(imageFromDirs(ts, args[1:]), tag, codecOf(flags, gzipped))
	ts.Check(lo.write(dir))
}

func dockerArchive(ts *testscript.TestScript, neg bool, args []string) {
	flags, args := cutFlags(args)
	if neg || len(args) < 2 {
		ts.Fatalf("usage: docker-archive [-new] [-gzip|-zstd] FILE NAME DIR...")
	}
	im := imageFromDirs(ts, args[2:])
	b := im.dockerArchive(args[1], plain)
	if flags["-new"] {
		b = im.newDockerArchive(args[1], plain)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), codecOf(flags, plain).pack(b), 0o644))
}

func tarFile(ts *testscript.TestScript, neg bool, args []string) {
	flags, args := cutFlags(args)
	if neg || len(args) != 2 {
		ts.Fatalf("usage: tar [-gzip|-zstd] FILE DIR")
	}
	l, err := layerFromDir(ts.MkAbs(args[1]))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), codecOf(flags, plain).pack(l), 0o644))
}

func treeEqual(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: tree-equal A B")
	}
	a, err := readTree(ts.MkAbs(args[0]))
	ts.Check(err)
	b, err := readTree(ts.MkAbs(args[1]))
	ts.Check(err)
	switch err := compare(a, b); {
	case neg && err == nil:
		ts.Fatalf("%s and %s are the same", args[0], args[1])
	case !neg && err != nil:
		ts.Fatalf("%s and %s: %v", args[0], args[1], err)
	}
}

func waitMount(ts *testscript.TestScript, neg bool, args []string) {
	waitScript(ts, args[0]+" is mounted", func() bool { return isMounted(ts, args[0]) })
}

func waitGone(ts *testscript.TestScript, neg bool, args []string) {
	waitScript(ts, args[0]+" is not mounted", func() bool { return !isMounted(ts, args[0]) })
}

func waitFile(ts *testscript.TestScript, neg bool, args []string) {
	waitScript(ts, args[0]+" is there", func() bool {
		_, err := os.Stat(ts.MkAbs(args[0]))
		return err == nil
	})
}

func waitExit(ts *testscript.TestScript, neg bool, args []string) {
	pid, err := strconv.Atoi(args[0])
	ts.Check(err)
	waitScript(ts, "process "+args[0]+" ends", func() bool { return ended(pid) })
}

func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND...")
	}
	got := 0
	err := ts.Exec(args[1], args[2:]...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if want, err := strconv.Atoi(args[0]); got != want || err != nil {
		ts.Fatalf("%s: exit status %d, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

func waitScript(ts *testscript.TestScript, what string, cond func() bool) {
	if !waitFor(cond) {
		ts.Fatalf("waited in vain until %s", what)
	}
}

func isMounted(ts *testscript.TestScript, dir string) bool {
	dir = ts.MkAbs(dir)
	mounts, err := mountsBelow(filepath.Dir(dir))
	ts.Check(err)
	for _, m := range mounts {
		if m == dir {
			return true
		}
	}
	return false
}

func serverOf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: server DIR VAR")
	}
	ts.Setenv(args[1], strconv.Itoa(scriptProcesses(ts, args[0]).Server))
}

func killServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: kill-server DIR")
	}
	p := scriptProcesses(ts, args[0])
	ts.Check(unix.Kill(p.Server, unix.SIGKILL))
	waitScript(ts, "another server serves", func() bool {
		now := scriptProcesses(ts, args[0])
		return now.Server != p.Server && now.Holder == p.Holder
	})
}

func killMount(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: kill-mount DIR")
	}
	ts.Check(scriptProcesses(ts, args[0]).kill())
}

func scriptProcesses(ts *testscript.TestScript, dir string) processes {
	cmd := exec.Command(filepath.Join(binDir(), "mica"), "mounts", "--format", "json")
	cmd.Env = append(os.Environ(), hostEnv(ts.Getenv("HOME"))...)
	out, err := output(cmd)
	ts.Check(err)
	p, err := processesIn(out, ts.MkAbs(dir))
	ts.Check(err)
	return p
}

func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip FILE OFFSET")
	}
	off, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(flipByte(ts.MkAbs(args[0]), off))
}

// flipByte inverts the bits of one byte of a file. An offset below zero counts
// from the end.
func flipByte(path string, off int64) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if off < 0 {
		off += int64(len(b))
	}
	if off < 0 || off >= int64(len(b)) {
		return fmt.Errorf("%s has %d bytes, no byte %d", path, len(b), off)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte{^b[off]}, off)
	return errors.Join(err, f.Close())
}
