package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFind(t *testing.T) {
	image := filesImage(t)
	for _, tt := range []struct {
		args           []string
		stdout, stderr string
		status         int
	}{
		{args: []string{"/usr", "-type", "f"}, stdout: "/usr/bin/big\n/usr/bin/su\n"},
		{args: []string{"-user", "su", "-o", "-group", "disk"}, stdout: "/dev/sda\n/usr/bin/big\n"},
		{args: []string{"etc", "dev", "-name", "[gn]*", "-print0"}, stdout: "etc/group\x00dev/null\x00"},
		{args: []string{"-name", "new*"}, stdout: "/new\nline\x1b[31m\n"}, // not on a terminal: as it is
		{args: []string{"-perm", "-4000"}, stdout: "/bad\xff\n/usr/bin/su\n"},
		{args: []string{"none", "etc", "-name", "motd"}, stdout: "etc/motd\n", stderr: "mica: find IMAGE: none: no such file or directory\n", status: 3},
		{args: []string{"-nmae", "x"}, stderr: "mica: find: unknown predicate \"-nmae\"\nhint: mica find --help\n", status: 2},
		{args: []string{"-newer", "/none"}, stderr: "mica: find IMAGE: -newer /none: no such file or directory\n", status: 3},
		{args: []string{"-newer", "/etc/group", "-type", "d"}, stdout: "/tmp\n"},
	} {
		got := mica(t, append([]string{"find", image}, tt.args...)...)
		want := result{tt.stdout, tt.stderr, tt.status}
		got.stderr = strings.ReplaceAll(got.stderr, image, "IMAGE")
		if got != want {
			t.Errorf("find %q = %+v, want %+v", tt.args, got, want)
		}
	}
	if got := mica(t, "find", image, "/etc", "--help"); !strings.Contains(got.stdout, "-newer PATH") || got.status != 0 {
		t.Errorf("--help after IMAGE: %+v", got)
	}
}

// TestFindList compares with find -ls, but for inodes and blocks.
func TestFindList(t *testing.T) {
	image := filesImage(t)
	dir := onDisk(t, image)
	rest := func(s string) (lines []string) {
		for line := range strings.Lines(s) {
			// Owners have names where only the image, or only this machine, knows them.
			if f := strings.Fields(line); len(f) > 5 && f[4] == "root" && f[5] == "root" {
				lines = append(lines, line[strings.IndexAny(line, "bcdlp-"):])
			}
		}
		return lines
	}
	want := tool(t, dir, "find", "./bin", "./dev", "./broken", "./tmp", "./usr/bin/su", "-ls")
	got := mica(t, "find", image, "./bin", "./dev", "./broken", "./tmp", "./usr/bin/su", "-ls").stdout
	// The order in a directory is that of the disk.
	if d := cmp.Diff(sorted(rest(want)), sorted(rest(got))); d != "" || len(rest(got)) < 6 {
		t.Errorf("find -ls (-find(1) +ours):\n%s", d)
	}
}
