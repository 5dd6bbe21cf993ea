package diff

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// writeTree makes files of a directory: names that end in "@" are symlinks, in
// "*" executables.
func writeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, data := range files {
		at := filepath.Join(root, strings.TrimRight(name, "@*"))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if strings.HasSuffix(name, "*") {
			mode = 0o755
		}
		var err error
		if strings.HasSuffix(name, "@") {
			err = os.Symlink(data, at)
		} else {
			// The second time whatever the umask.
			err = errors.Join(os.WriteFile(at, []byte(data), mode), os.Chmod(at, mode))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// needTool skips a test that needs a program which is not there, or fails it
// where nothing may be skipped.
func needTool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("MICA_TEST_STRICT") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

func patches(t *testing.T, from, to string) string {
	t.Helper()
	a, b := Directory(from), Directory(to)
	changes, err := Compare(context.Background(), a, b, "", Mtime)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for i := range changes {
		if err := WritePatch(context.Background(), &out, a, b, &changes[i]); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

func TestWritePatch(t *testing.T) {
	long := ""
	for i := range 40 {
		long += fmt.Sprintln("line", i)
	}
	from := writeTree(t, map[string]string{
		"changed": "a\nb\nc\n", "deleted": "x\n", "end": "no newline", "link@": "one", "mode": "m\n", "binary": "a\x00b", "kind": "k\n", "two hunks": long,
	})
	to := writeTree(t, map[string]string{
		"changed": "a\nB\nc\n", "added*": "y\n", "end": "a newline\n", "link@": "two", "mode*": "m\n", "binary": "a\x00c", "kind@": "k", "empty": "",
		"two hunks": strings.Replace(strings.Replace(long, "line 5\n", "", 1), "line 20\n", "new\nnew\n", 1),
	})
	want := `diff --git a/added b/added
new file mode 100755
--- /dev/null
+++ b/added
@@ -0,0 +1 @@
+y
diff --git a/binary b/binary
Binary files a/binary and b/binary differ
diff --git a/changed b/changed
--- a/changed
+++ b/changed
@@ -1,3 +1,3 @@
 a
-b
+B
 c
diff --git a/deleted b/deleted
deleted file mode 100644
--- a/deleted
+++ /dev/null
@@ -1 +0,0 @@
-x
diff --git a/empty b/empty
new file mode 100644
diff --git a/end b/end
--- a/end
+++ b/end
@@ -1 +1 @@
-no newline
\ No newline at end of file
+a newline
diff --git a/kind b/kind
deleted file mode 100644
--- a/kind
+++ /dev/null
@@ -1 +0,0 @@
-k
diff --git a/kind b/kind
new file mode 120000
--- /dev/null
+++ b/kind
@@ -0,0 +1 @@
+k
\ No newline at end of file
diff --git a/link b/link
--- a/link
+++ b/link
@@ -1 +1 @@
-one
\ No newline at end of file
+two
\ No newline at end of file
diff --git a/mode b/mode
old mode 100644
new mode 100755
diff --git a/two hunks b/two hunks
--- a/two hunks	
+++ b/two hunks	
@@ -3,7 +3,6 @@
 line 2
 line 3
 line 4
-line 5
 line 6
 line 7
 line 8
@@ -18,7 +17,8 @@
 line 17
 line 18
 line 19
-line 20
+new
+new
 line 21
 line 22
 line 23
`
	if d := cmp.Diff(want, patches(t, from, to)); d != "" {
		t.Errorf("patches (-want +got):\n%s", d)
	}
}

// What is written is a patch: git makes the second tree of the first by it.
func TestPatchesApply(t *testing.T) {
	needTool(t, "git")
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		first := map[string]string{"was file": "x\n", "was dir/file": "y\n"}
		second := map[string]string{"was file/now": "x\n", "was dir": "y\n"}
		for i := range 25 {
			name := []string{"plain", "with space", "qu\"ote", "back\\slash", "new\nline", "tab\t", "ümlaut", "dir/deep"}[r.IntN(8)] + fmt.Sprint(i)
			kind := []string{"", "", "", "*", "@"}
			for _, files := range []map[string]string{first, second} {
				if r.IntN(5) > 0 {
					files[name+kind[r.IntN(len(kind))]] = randomText(r)
				}
			}
		}
		// A symlink has a target.
		for _, files := range []map[string]string{first, second} {
			for name := range files {
				if strings.HasSuffix(name, "@") {
					files[name] = "to" + fmt.Sprint(r.IntN(2))
				}
			}
		}
		from, to := writeTree(t, first), writeTree(t, second)
		patch := patches(t, from, to)
		git := exec.Command("git", "apply", "--whitespace=nowarn", "-")
		git.Dir, git.Stdin = from, strings.NewReader(patch)
		git.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(from))
		if out, err := git.CombinedOutput(); err != nil {
			t.Fatalf("seed %d: git apply: %v\n%s\n%s", seed, err, out, patch)
		}
		// Git keeps no empty directories.
		changes, err := Compare(context.Background(), Directory(from), Directory(to), "", Mtime)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			if c.Path != "dir" {
				t.Errorf("seed %d: after the patch: %q\n%s", seed, lines(changes), patch)
			}
		}
	}
}

// randomText gives a few lines, of few kinds, perhaps without a newline at the end.
func randomText(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(25) {
		fmt.Fprintf(&b, "%d\n", r.IntN(6))
	}
	if r.IntN(4) == 0 {
		b.WriteString("end")
	}
	return b.String()
}
