package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// scratch is a directory for this run that every user may enter, unlike
// those of t.TempDir: ordinary users find mica and images in it.
var scratch string

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	if dir := os.Getenv(recorderEnv); dir != "" {
		if err := serveRecorder(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	unix.Umask(0o022)
	var err error
	if scratch, err = os.MkdirTemp("", "mica-e2e-"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(scratch)
	if err := os.Chmod(scratch, 0o755); err != nil {
		panic(err)
	}
	if scratch, err = filepath.EvalSymlinks(scratch); err != nil {
		panic(err)
	}
	os.Setenv("PATH", binDir()+":"+os.Getenv("PATH"))
	return m.Run()
}

func binDir() string { return filepath.Join(scratch, "bin") }

// programEnv names a mica that is built already, for a run that cannot build.
const programEnv = "MICA_TEST_PROGRAM"

// program builds mica, or takes the one it is told of, and puts it into PATH.
var program = sync.OnceValues(func() (path string, err error) {
	path = filepath.Join(binDir(), "mica")
	if built := os.Getenv(programEnv); built != "" {
		if err := os.MkdirAll(binDir(), 0o755); err != nil {
			return "", err
		}
		return path, os.Symlink(built, path)
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-o", path, "mica/cmd/mica")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// strict reports that a skip is to be a failure.
func strict() bool { return os.Getenv("MICA_TEST_STRICT") == "1" }

// need skips a test that cannot run here, or fails it where nothing may be skipped.
func need(t *testing.T, ok bool, what string) {
	t.Helper()
	if ok {
		return
	}
	if strict() {
		t.Fatalf("needs %s", what)
	}
	t.Skipf("needs %s", what)
}

func needTool(t *testing.T, name string) {
	t.Helper()
	_, err := exec.LookPath(name)
	need(t, err == nil, name)
}

func needRoot(t *testing.T) {
	t.Helper()
	need(t, isRoot(), "root")
}

func needFUSE(t *testing.T) {
	t.Helper()
	need(t, haveFUSE(), "/dev/fuse, and fusermount3 for ordinary users")
}

func isRoot() bool { return os.Geteuid() == 0 }

// haveFUSE reports whether this user can mount.
func haveFUSE() bool {
	if unix.Access("/dev/fuse", unix.R_OK|unix.W_OK) != nil {
		return false
	}
	_, err := exec.LookPath("fusermount3")
	return isRoot() || err == nil
}
