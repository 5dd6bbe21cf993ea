package main

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestStackTree(t *testing.T) {
	image := func(name, layers string) imageRow {
		r := imageRow{Reference: name}
		for _, l := range strings.Fields(layers) {
			r.stack = append(r.stack, stackLayer{digest.FromString(l), int64(len(l))})
		}
		return r
	}
	l := &imageLister{std: streams{out: &strings.Builder{}}}
	l.format.how.word = "table"
	err := l.tree([]imageRow{
		image("web", "os22 tools web"),
		image("debian", "os22"),
		image("latest", "os22"),
		image("db", "os22 tools db db2"),
		image("tools", "os22 tools"),
		image("alone", "x"),
		image("left", "both1 both2 left"),
		image("right", "both1 both2 right"),
		image("nothing", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	got := l.std.out.(*strings.Builder).String()
	for i, want := range []string{
		"IMAGE ID ROLE LAYERS ADDED SIZE",
		"debian, latest base 1 4B 4B",
		"└─ tools intermediate 1 5B 9B",
		"├─ web final 1 3B 12B",
		"└─ db final 2 5B 14B",
		"alone final 1 1B 1B",
		"(2 layers) " + digest.FromString("both2").Encoded()[:12] + " shared 2 10B 10B",
		"├─ left final 1 4B 14B",
		"└─ right final 1 5B 15B",
		"nothing final 0 0B 0B",
	} {
		lines := strings.Split(got, "\n")
		if line := strings.Join(strings.Fields(lines[min(i, len(lines)-1)]), " "); line != want {
			t.Errorf("line %d: %q, want %q", i, line, want)
		}
	}
	if t.Failed() {
		t.Log("\n" + got)
	}
}
