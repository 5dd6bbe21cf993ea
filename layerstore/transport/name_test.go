package transport

import (
	"errors"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/google/go-cmp/cmp"
)

const sha = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// names are references with the verdict of distribution/reference: the full
// form, or the rule that they break.
var names = []struct{ in, full, fault string }{
	{in: "alpine", full: "docker.io/library/alpine:latest"},
	{in: "alpine:3.21", full: "docker.io/library/alpine:3.21"},
	{in: "library/alpine", full: "docker.io/library/alpine:latest"},
	{in: "docker.io/alpine", full: "docker.io/library/alpine:latest"},
	{in: "index.docker.io/library/alpine", full: "docker.io/library/alpine:latest"},
	{in: "a/b", full: "docker.io/a/b:latest"},
	{in: "a/b/c", full: "docker.io/a/b/c:latest"},
	{in: "ghcr.io/a/b:1", full: "ghcr.io/a/b:1"},
	{in: "localhost/a", full: "localhost/a:latest"},
	{in: "localhost:5000/a:1", full: "localhost:5000/a:1"},
	{in: "localhost", full: "docker.io/library/localhost:latest"},
	{in: "localhost:5000", full: "docker.io/library/localhost:5000"},
	{in: "host:5000/a", full: "host:5000/a:latest"},
	{in: "host:5000/a:1@" + sha, full: "host:5000/a:1@" + sha},
	{in: "192.168.1.1/a", full: "192.168.1.1/a:latest"},
	{in: "[::1]:5000/a", full: "[::1]:5000/a:latest"},
	{in: "HOST.example/a", full: "HOST.example/a:latest"},
	{in: "Host/a", full: "Host/a:latest"},
	{in: "a.b", full: "docker.io/library/a.b:latest"},
	{in: "a_b", full: "docker.io/library/a_b:latest"},
	{in: "a__b", full: "docker.io/library/a__b:latest"},
	{in: "a---b", full: "docker.io/library/a---b:latest"},
	{in: "alpine@" + sha, full: "docker.io/library/alpine@" + sha},
	{in: "alpine:3@" + sha, full: "docker.io/library/alpine:3@" + sha},
	{in: "x:A.b_c-1", full: "docker.io/library/x:A.b_c-1"},
	{in: "x:_1", full: "docker.io/library/x:_1"},
	{in: "x:" + strings.Repeat("t", 128), full: "docker.io/library/x:" + strings.Repeat("t", 128)},
	{in: sha, full: "docker.io/library/" + sha},
	{in: "3bd6", full: "docker.io/library/3bd6:latest"},
	{in: "x/" + sha[7:], full: "docker.io/x/" + sha[7:] + ":latest"},
	{in: strings.Repeat("a", 200), full: "docker.io/library/" + strings.Repeat("a", 200) + ":latest"},

	{in: "", fault: "it is empty"},
	{in: sha[7:], fault: "64 hexadecimal digits"},
	{in: "Alpine", fault: "lower case"},
	{in: "Alpine:3", fault: "lower case"},
	{in: "ghcr.io/A/b:1", fault: "lower case"},
	{in: "a/B@" + sha, fault: "lower case"},
	{in: strings.Repeat("a", 256), fault: "longer than 255"},
	{in: "x:-bad", fault: `"-bad" is no tag`},
	{in: "x:.bad", fault: `".bad" is no tag`},
	{in: "x:", fault: `"" is no tag`},
	{in: "x:a b", fault: `"a b" is no tag`},
	{in: "x:a+b", fault: `"a+b" is no tag`},
	{in: "x:" + strings.Repeat("t", 129), fault: "is no tag"},
	{in: "host:5000/a:", fault: `"" is no tag`},
	{in: "x@", fault: `"" is no digest`},
	{in: "x@sha256", fault: `"sha256" is no digest`},
	{in: "x@sha256:12", fault: `"sha256:12" is no digest`},
	{in: "x@" + sha + "@" + sha, fault: "is no digest"},
	{in: "/srv/oci", fault: "a name is"},
	{in: "./a", fault: "a name is"},
	{in: "a//b", fault: "a name is"},
	{in: "a/", fault: "a name is"},
	{in: "/a", fault: "a name is"},
	{in: "-a", fault: "a name is"},
	{in: "a-", fault: "a name is"},
	{in: "a..b", fault: "a name is"},
	{in: "a___b", fault: "a name is"},
	{in: "a b", fault: "a name is"},
	{in: "_a", fault: "a name is"},
	{in: "ä", fault: "a name is"},
	{in: "a:1:2", fault: "a name is"},
	{in: "oci:/srv/x:1", fault: "a name is"},
	{in: "docker://alpine", fault: "a name is"},
	{in: "a\nb", fault: "a name is"},
}

func TestParseName(t *testing.T) {
	for _, tt := range names {
		named, err := parseName(tt.in)
		if _, oracle := reference.ParseNormalizedNamed(tt.in); (oracle == nil) != (tt.full != "") {
			t.Errorf("the table is wrong of %q: the library says %v", tt.in, oracle)
		}
		var refused *ReferenceError
		switch {
		case tt.full != "" && (err != nil || named.String() != tt.full):
			t.Errorf("parseName(%q) = %v, %v; want %s", tt.in, named, err, tt.full)
		case tt.full == "" && (!errors.As(err, &refused) || !strings.Contains(refused.Reason, tt.fault)):
			t.Errorf("parseName(%q) = %v, %v; want an error about %s", tt.in, named, err, tt.fault)
		}
	}
}

func TestUnknownName(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, tt := range []struct{ ref, text, code, hint string }{
		{"Alpine:3", `invalid reference "Alpine:3": repository names are lower case`, "bad-ref", `did you mean "alpine:3"?`},
		{"images/foo", `no image "images/foo" here and no registry "images"`, "not-found", "for a file or directory write ./images/foo"},
		{"debian:12", `no image "debian:12" here`, "not-found", "fetch it: mica pull debian:12"},
		{"ghcr.io/a/b:1", `no image "ghcr.io/a/b:1" here`, "not-found", "fetch it: mica pull ghcr.io/a/b:1"},
		{"./images:1", `./images: no such file or directory`, "not-found", ""},
		{"/nowhere/x.tar", `no such file or directory`, "not-found", ""},
		{"oci:nowhere:1", `nowhere: no such file or directory`, "not-found", ""},
		{"docker://debian:12", "only images in files and directories are read, none of registries or of other tools' stores", "remote",
			"copy it: skopeo copy docker://debian:12 oci:DIR:TAG"},
		{"", `invalid reference "": it is empty`, "bad-ref", ""},
	} {
		wantFailure(t, tt.ref, Options{}, tt.text, tt.code, tt.hint)
	}
}

func TestSimilar(t *testing.T) {
	for _, tt := range []struct {
		about, name string
		from, want  []string
	}{
		{about: "swapped letters", name: "debain", from: []string{"alpine", "debian", "fedora"}, want: []string{"debian"}},
		{about: "the nearest first", name: "3.21", from: []string{"3.2", "3.21-slim", "3.22", "4"}, want: []string{"3.2", "3.22"}},
		{about: "no more than three", name: "aaa", from: []string{"aab", "aac", "aad", "aae"}, want: []string{"aab", "aac", "aad"}},
		{about: "another word", name: "web", from: []string{"database", "db"}},
		{about: "nothing there", name: "web"},
	} {
		if diff := cmp.Diff(tt.want, similar(tt.name, tt.from)); diff != "" {
			t.Errorf("%s: similar(%q) (-want +got):\n%s", tt.about, tt.name, diff)
		}
	}
}
