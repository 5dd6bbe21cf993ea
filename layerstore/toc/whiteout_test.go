package toc

import "testing"

func TestParseMarker(t *testing.T) {
	for _, tt := range []struct {
		about, elem string // what is special; one element of a path
		want        marker
		hidden      string // the name that a whiteout hides
	}{
		{about: "plain file", elem: "passwd", want: none},
		{about: "almost a prefix", elem: ".whiteout", want: none},
		{about: "prefix in the middle", elem: "a.wh.b", want: none},
		{about: "whiteout", elem: ".wh.motd", want: whiteout, hidden: "motd"},
		{about: "whiteout of a dotfile", elem: ".wh..bashrc", want: whiteout, hidden: ".bashrc"},
		{about: "whiteout of three dots", elem: ".wh....", want: whiteout, hidden: "..."},
		{about: "opaque", elem: ".wh..wh..opq", want: opaque},
		{about: "aufs bookkeeping", elem: ".wh..wh.plnk", want: ignored},
		{about: "aufs bookkeeping", elem: ".wh..wh.aufs", want: ignored},
		{about: "aufs bookkeeping", elem: ".wh..wh.orph", want: ignored},
		{about: "longer than opaque", elem: ".wh..wh..opqx", want: ignored},
		{about: "of nothing", elem: ".wh.", want: invalid},
		{about: "the directory itself", elem: ".wh..", want: invalid},
		{about: "the parent", elem: ".wh...", want: invalid},
	} {
		if got, hidden := parseMarker(tt.elem); got != tt.want || hidden != tt.hidden {
			t.Errorf("%s: parseMarker(%q) = %v, %q; want %v, %q", tt.about, tt.elem, got, hidden, tt.want, tt.hidden)
		}
	}
}

func TestSplitMarker(t *testing.T) {
	for _, tt := range []struct {
		path string
		want marker
		at   string
	}{
		{"", none, ""},
		{"etc/motd", none, ""},
		{"a.wh.b/c.wh.d", none, ""},
		{".wh.motd", whiteout, "motd"},
		{"etc/.wh.motd", whiteout, "etc/motd"},
		{"x.wh.y/.wh.motd", whiteout, "x.wh.y/motd"},
		{".wh..wh..opq", opaque, ""},
		{"etc/.wh..wh..opq", opaque, "etc"},
		{"etc/.wh.d/file", whiteout, "etc/d"},
		{"etc/.wh.d/.wh.e/f", whiteout, "etc/d"},
		{".wh..wh.plnk/12.34", ignored, ""},
		{"a/.wh..", invalid, ""},
	} {
		if got, at := splitMarker(tt.path); got != tt.want || at != tt.at {
			t.Errorf("splitMarker(%q) = %v, %q; want %v, %q", tt.path, got, at, tt.want, tt.at)
		}
	}
}
