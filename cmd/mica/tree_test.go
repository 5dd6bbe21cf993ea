package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTree: what tree(1) 2.1.0 prints of the same files, but for how it writes
// a control character (\033) and a byte that is not UTF-8.
func TestTree(t *testing.T) {
	image := filesImage(t)
	for _, tt := range []struct{ args, want string }{
		{"/", `/
├── bad\xff
├── bin -> usr/bin
├── broken -> no/where
├── dev
│   ├── null
│   ├── pipe
│   └── sda
├── etc
│   ├── group
│   ├── motd
│   └── passwd
├── new\nline\x1b[31m
├── tmp
├── usr
│   └── bin
│       ├── big
│       └── su
└── zwölf

7 directories, 12 files
`},
		{"-L 1 -d usr", "usr\n└── bin\n\n2 directories\n"},
		{"-d", "/\n├── bin -> usr/bin\n├── dev\n├── etc\n├── tmp\n└── usr\n    └── bin\n\n7 directories\n"},
		{"-a etc", "etc\n├── .hidden\n│   └── x\n├── group\n├── motd\n└── passwd\n\n2 directories, 4 files\n"},
		{"bin", "bin\n├── big\n└── su\n\n1 directory, 2 files\n"},
		{"/tmp/", "/tmp/\n\n1 directory, 0 files\n"},
		{"-L1 /usr", "/usr\n└── bin\n\n2 directories, 0 files\n"},
	} {
		got := mica(t, append([]string{"tree", image}, strings.Fields(tt.args)...)...)
		want := strings.ReplaceAll(tt.want, "│   ", "│\u00a0\u00a0 ")
		if d := cmp.Diff(want, got.stdout); d != "" || got.status != 0 {
			t.Errorf("tree %s: status %d, %s (-want +got):\n%s", tt.args, got.status, got.stderr, d)
		}
	}
	for _, tt := range []struct {
		args, stderr string
		status       int
	}{
		{"/none", "mica: tree IMAGE: /none: no such file or directory\n", 3},
		{"/etc/motd", "mica: tree IMAGE: /etc/motd: not a directory\n", 1},
		{"-L 0", "mica: tree: --level must be at least 1\nhint: mica tree --help\n", 2},
	} {
		got := mica(t, append([]string{"tree", image}, strings.Fields(tt.args)...)...)
		if stderr := strings.ReplaceAll(got.stderr, image, "IMAGE"); stderr != tt.stderr || got.status != tt.status {
			t.Errorf("tree %s: status %d, want %d (-want +got):\n%s", tt.args, got.status, tt.status, cmp.Diff(tt.stderr, stderr))
		}
	}
}
