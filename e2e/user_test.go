package e2e

import (
	"encoding/gob"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// wantEnv names a file with the tree that TestForms is to find, for a run that
// may not unpack images as they are: only root can make any owner's files.
const wantEnv = "MICA_TEST_WANT"

// TestOrdinaryUser runs the tests that make sense for an ordinary user once
// more as one, who mounts by fusermount3.
func TestOrdinaryUser(t *testing.T) {
	needRoot(t)
	needTool(t, "fusermount3")
	mica, err := program()
	if err != nil {
		t.Fatal(err)
	}
	dir := newDir(t)
	im := nasty()
	if _, err := im.writeOCI(filepath.Join(dir, "oci"), gzipped); err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(dir, "want")
	if err := writeGob(want, unpack(t, filepath.Join(dir, "oci"), "latest")); err != nil {
		t.Fatal(err)
	}
	// A copy: the checkout may lie where others may not go.
	if err := os.CopyFS(filepath.Join(dir, "testdata"), os.DirFS("testdata")); err != nil {
		t.Fatal(err)
	}
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(tmp, ordinary, ordinary); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^(TestScripts|TestForms|TestKilledMount)$", "-test.timeout=4m")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, programEnv+"="+mica, wantEnv+"="+want)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ordinary, Gid: ordinary}}
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "no tests to run") {
		t.Errorf("as uid %d: %v\n%s", ordinary, err, out)
	}
}

// oracle gives the tree that umoci unpacks of a layout's image latest, or what
// root has found it to be.
func oracle(t *testing.T, layout string) tree {
	t.Helper()
	path := os.Getenv(wantEnv)
	if path == "" {
		return unpack(t, layout, "latest")
	}
	want := tree{}
	if err := readGob(path, &want); err != nil {
		t.Fatal(err)
	}
	for p, n := range want {
		n.Xattrs = seenByUser(n.Xattrs)
		want[p] = n
	}
	return want
}

// seenByUser takes away the xattrs that the kernel shows to root alone.
func seenByUser(xattrs string) string {
	var seen strings.Builder
	for line := range strings.Lines(xattrs) {
		if !strings.HasPrefix(line, "trusted.") {
			seen.WriteString(line)
		}
	}
	return seen.String()
}

func writeGob(path string, v any) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return gob.NewEncoder(f).Encode(v)
}

func readGob(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return gob.NewDecoder(f).Decode(v)
}
