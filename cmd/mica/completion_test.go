package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// demoLayout makes the demonstration image, in a store of the test's own, and
// gives the directory of its layout.
func demoLayout(t *testing.T) string {
	t.Helper()
	t.Setenv("MICA_ROOT", filepath.Join(t.TempDir(), "store"))
	dir := filepath.Join(t.TempDir(), "image")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := writeDemoImage(dir, strings.NewReader("#!/bin/true\n")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestComplete(t *testing.T) {
	image := demoLayout(t)
	for _, tt := range []struct {
		about string
		args  []string
		want  string // a candidate a line, and the directive
	}{
		{"a command", []string{"mou"}, "mount\nmounts\n:4"},
		{"a choice", []string{"layers", "--format", "j"}, "table\njson\n:4"},
		{"the image of a layout", []string{"mount", image + ":l"}, image + ":latest\n:4"},
		{"with a scheme", []string{"mount", "oci:" + image + ":"}, "oci:" + image + ":latest\n:4"},
		{"a path after a scheme", []string{"layers", "oci:" + image + "/bl"}, "oci:" + image + "/blobs/\n:6"},
		{"a file after a scheme", []string{"layers", "oci:" + image + "/ind"}, "oci:" + image + "/index.json\n:4"},
		{"a path, which the shell completes", []string{"layers", image + "/bl"}, ":0"},
		{"nothing after the only image", []string{"layers", image, ""}, ":4"},
		{"the directory to mount at", []string{"mount", image, "m"}, ":16"},
		{"a directory in the image", []string{"ls", image, "/et"}, "/etc/\n:6"},
		{"a file in the image, relative to its root", []string{"cat", image, "etc/mo"}, "etc/motd\n:4"},
		{"nothing there", []string{"cat", image, "/nowhere/x"}, ":4"},
		{"no image", []string{"cat", image + "x", "/"}, ":4"},
		{"a shell", []string{"completion", "z"}, "zsh\n:4"},
	} {
		got := mica(t, append([]string{"__complete"}, tt.args...)...)
		var lines []string
		for line := range strings.Lines(got.stdout) {
			candidate, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			lines = append(lines, candidate)
		}
		if diff := cmp.Diff(tt.want, strings.Join(lines, "\n")); diff != "" || got.status != 0 {
			t.Errorf("%s: mica __complete %q: status %d, -want +got\n%s", tt.about, tt.args, got.status, diff)
		}
	}
}

// TestBashCompletion runs the script as bash does, with words broken at the
// characters where bash breaks them.
func TestBashCompletion(t *testing.T) {
	needProgram(t, "bash")
	dir := t.TempDir()
	script := filepath.Join(dir, "completion.bash")
	if err := os.WriteFile(script, []byte(mica(t, "completion", "bash").stdout), 0o644); err != nil {
		t.Fatal(err)
	}
	// A mica that answers whatever it is asked with what it was asked, and the
	// lines of $ANSWER.
	answer := "#!/bin/sh\nshift\nprintf '%s|' \"$@\" >" + dir + "/asked\nprintf \"$ANSWER\"\n"
	if err := os.WriteFile(filepath.Join(dir, "mica"), []byte(answer), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		about, line string
		words       []string // of line, as bash breaks it
		answer      string
		asked, want string
	}{
		{"a command", "mica mou", []string{"mica", "mou"}, `mount\tMounts\nmounts\tLists\n:4\n`, "mou|", "mount mounts"},
		{"a reference", "mica ls oci:/i:b", []string{"mica", "ls", "oci", ":", "/i", ":", "b"}, `oci:/i:busy\n:4\n`, "ls|oci:/i:b|", "busy"},
		{"after a colon", "mica ls i:", []string{"mica", "ls", "i", ":"}, `i:a\ni:b\n:4\n`, "ls|i:|", "a b"},
		{"a flag's value", "mica layers --format=j", []string{"mica", "layers", "--format", "=", "j"}, `table\njson\n:4\n`, "layers|--format=j|", "json"},
		{"a new word", "mica cat i ", []string{"mica", "cat", "i", ""}, `/etc/\n/bin/\n:6\n`, "cat|i||", "/etc/ /bin/"},
		{"in the middle of a word", "mica cat i /e", []string{"mica", "cat", "i", "/etc"}, `/etc/\n:6\n`, "cat|i|/e|", "/etc/"},
		{"a space in a name", "mica cat i /a", []string{"mica", "cat", "i", "/a"}, `/a b\n:4\n`, "cat|i|/a|", `/a\ b`},
		{"an error", "mica x", []string{"mica", "x"}, `:1\n`, "x|", ""},
		{"no answer", "mica x", []string{"mica", "x"}, ``, "x|", ""},
	} {
		cmd := exec.Command("bash", append([]string{"--norc", "-c", `
			source ` + script + `
			compopt() { :; } # wants to be called by readline
			COMP_LINE=$1 COMP_POINT=${#1}; shift
			COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
			_mica
			echo "${COMPREPLY[*]}"`, "bash", tt.line}, tt.words...)...)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "ANSWER="+tt.answer)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", tt.about, err, out)
		}
		asked, err := os.ReadFile(filepath.Join(dir, "asked"))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(out)); got != tt.want || string(asked) != tt.asked {
			t.Errorf("%s: %q asks for %q and offers %q; want %q and %q", tt.about, tt.line, asked, got, tt.asked, tt.want)
		}
	}
}
