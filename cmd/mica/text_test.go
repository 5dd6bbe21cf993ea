package main

import (
	"slices"
	"strings"
	"testing"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain":         "plain",
		"zwölf · …":     "zwölf · …",
		"a\nb\tc":       `a\nb\tc`,
		"\x1b[31mred":   `\x1b[31mred`,
		"bad\xff\xfe":   `bad\xff\xfe`,
		"\u202etxt.exe": `\u202etxt.exe`, // turns the direction of text
		"it's":          "it's",
		"real \uFFFD":   "real \uFFFD",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		room int
		text string
		want string // lines with / between
	}{
		{10, "", ""},
		{10, "one two three", "one two/three"},
		{7, "one two three", "one two/three"},
		{6, "one two three", "one/two/three"},
		{2, "longer than that", "longer/than/that"},
		{80, "a\nb   c", "a b c"},
	} {
		if got := wrap(tt.text, tt.room); !slices.Equal(got, strings.Split(tt.want, "/")) {
			t.Errorf("wrap(%q, %d) = %q, want %s", tt.text, tt.room, got, tt.want)
		}
	}
}
