package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"mica/fs"
)

// beEnv has the test's program be mica: tests that mount do so in a process of
// its own, as one that touches a mount of its own can wait for itself.
const beEnv = "MICA_TEST_BE"

func TestMain(m *testing.M) {
	if os.Getenv(beEnv) != "" {
		os.Args[0] = "mica"
		main()
	}
	os.Exit(m.Run())
}

// program is mica in a process of its own.
func program(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), beEnv+"=1", "GORACE=atexit_sleep_ms=0")
	return cmd
}

// need skips a test that err says cannot run here, or fails it where nothing
// may be skipped.
func need(t *testing.T, err error) {
	t.Helper()
	if err != nil && os.Getenv("MICA_TEST_STRICT") == "1" {
		t.Fatal(err)
	} else if err != nil {
		t.Skip(err)
	}
}

func needProgram(t *testing.T, name string) {
	t.Helper()
	_, err := exec.LookPath(name)
	need(t, err)
}

// BenchmarkVersion is how long mica takes to start: 10 ms are the limit.
func BenchmarkVersion(b *testing.B) {
	for b.Loop() {
		if err := program("version").Run(); err != nil {
			b.Fatal(err)
		}
	}
}

// TestMountTells: on a terminal one line tells what was mounted and what that
// has cost; a program gets the path alone.
func TestMountTells(t *testing.T) {
	need(t, fs.CheckDevice())
	t.Setenv("TERM", "xterm")
	image, dir := demoLayout(t), t.TempDir()
	t.Chdir(t.TempDir())
	if err := os.Symlink(dir, "m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if out, err := program("umount", "m").CombinedOutput(); err != nil && len(out) > 0 {
			t.Log(string(out))
		}
	})
	path := dir + "\n"
	for _, tt := range []struct {
		about          string
		flags          []string
		umount         bool // before
		stdout, stderr bool // are terminals
		screen, piped  string
	}{
		{about: "the first time", stdout: true, stderr: true,
			screen: `IMAGE (linux/amd64, 3 layers, SIZE) on m · indexed SIZE in TIME · SIZE index · read-only`},
		{about: "mounted already", stdout: true, stderr: true, screen: "IMAGE is on m already"},
		{about: "mounted already, for a program", stderr: true, piped: path},
		{about: "the second time", umount: true, stdout: true, stderr: true, screen: `IMAGE on m · TIME`},
		{about: "for a program", umount: true, stderr: true, piped: path},
		{about: "messages to a file", umount: true, stdout: true, screen: strings.TrimSpace(path)},
		{about: "quiet", umount: true, flags: []string{"-q"}, stdout: true, stderr: true, screen: strings.TrimSpace(path)},
	} {
		if tt.umount {
			if out, err := program("umount", "m").CombinedOutput(); err != nil || len(out) > 0 {
				t.Fatalf("%s: umount: %v\n%s", tt.about, err, out)
			}
		}
		term := newTerminal(t, 200)
		var piped lockedBuffer
		cmd := program(append([]string{"mount", "--progress", "none", image, "m"}, tt.flags...)...)
		cmd.Stdout, cmd.Stderr = &piped, &piped
		if tt.stdout {
			cmd.Stdout = term.File
		}
		if tt.stderr {
			cmd.Stderr = term.File
		}
		if err := cmd.Run(); err != nil {
			t.Errorf("%s: mount: %v", tt.about, err)
		}
		screen := strings.NewReplacer(image, "IMAGE").Replace(strings.TrimSpace(term.text()))
		screen = regexp.MustCompile(`[\d.]+m?s\b`).ReplaceAllString(screen, "TIME")
		screen = regexp.MustCompile(`[\d.]+k?B\b`).ReplaceAllString(screen, "SIZE")
		if screen != tt.screen || piped.String() != tt.piped {
			t.Errorf("%s: on the terminal %q, else %q; want %q, %q", tt.about, screen, piped.String(), tt.screen, tt.piped)
		}
	}
}
