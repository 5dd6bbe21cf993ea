package toc

import (
	"path"
	"strings"
	"testing"
)

func TestCleanPath(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"a", "a"},
		{"./a", "a"},
		{"/a", "a"},
		{"///a", "a"},
		{"a/", "a"},
		{"a//b", "a/b"},
		{"a/./b", "a/b"},
		{"a/../b", "b"},
		{"a/b/../../c", "c"},
		{"a/..", ""},
		{"a/../", ""},
		{"", ""},
		{".", ""},
		{"./", ""},
		{"/", ""},
		{"...", "..."},
		{"a/..b/c..", "a/..b/c.."},
		{".hidden/.", ".hidden"},
		{"line\nbreak/\xff\xfe", "line\nbreak/\xff\xfe"},
	} {
		got, err := cleanPath([]byte(tt.name))
		if err != nil || string(got) != tt.want {
			t.Errorf("cleanPath(%q) = %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
	for _, name := range []string{"..", "../x", "/..", "a/../..", "a/../../a", "./../x"} {
		if got, err := cleanPath([]byte(name)); err != errEscapes {
			t.Errorf("cleanPath(%q) = %q, %v; want %v", name, got, err, errEscapes)
		}
	}
}

func FuzzCleanPath(f *testing.F) {
	for _, name := range []string{"./usr/share", "a/../../b", "a//b/./..", "/"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		raw := []byte(name)
		got, err := cleanPath(raw)
		if string(raw) != name {
			t.Fatalf("cleanPath changed %q to %q", name, raw)
		}
		want := path.Clean("./" + strings.TrimLeft(name, "/"))
		if escapes := want == ".." || strings.HasPrefix(want, "../"); escapes != (err != nil) {
			t.Fatalf("cleanPath(%q) = %q, %v; path.Clean gives %q", name, got, err, want)
		}
		if want == "." {
			want = ""
		}
		if err == nil && string(got) != want {
			t.Errorf("cleanPath(%q) = %q, want %q", name, got, want)
		}
	})
}

func TestTooLong(t *testing.T) {
	name := strings.Repeat("n", maxName)
	for _, tt := range []struct {
		about, path string
		want        bool
	}{
		{"empty", "", false},
		{"longest name", name, false},
		{"name too long", name + "n", true},
		{"long names", name + "/" + name + "/" + name, false},
		{"name too long in front", name + "n/" + name, true},
		{"name too long in the middle", "a/" + name + "n/b", true},
		{"name too long at the end", "a/" + name + "/" + name + "n", true},
		{"longest path", strings.Repeat("a/", maxPath/2) + "a", false},
		{"path too long", strings.Repeat("a/", maxPath/2) + "aa", true},
	} {
		if got := tooLong([]byte(tt.path)); got != tt.want {
			t.Errorf("%s: tooLong = %v, want %v", tt.about, got, tt.want)
		}
	}
}
