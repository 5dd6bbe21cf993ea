package transport

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestLocate(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"img", "img:1", "a:b@c", "oci", "debian"} {
		if err := os.MkdirAll(filepath.Join(name, "sub"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		about, ref string
		want       location
	}{
		{about: "a path", ref: "./img", want: location{path: "./img"}},
		{about: "a name that is there", ref: "debian", want: location{path: "debian"}},
		{about: "the same with a tag", ref: "debian:12", want: location{path: "debian", sel: selector{name: "12"}}},
		{about: "an existing path wins", ref: "img:1", want: location{path: "img:1"}},
		{about: "and takes a tag of its own", ref: "img:1:2", want: location{path: "img:1", sel: selector{name: "2"}}},
		{about: "what is not there is a tag", ref: "img:3", want: location{path: "img", sel: selector{name: "3"}}},
		{about: "colon and at in a path", ref: "a:b@c/sub:t", want: location{path: "a:b@c/sub", sel: selector{name: "t"}}},
		{about: "a full name", ref: "img:docker.io/library/a:2", want: location{path: "img", sel: selector{name: "docker.io/library/a:2"}}},
		{about: "a digest", ref: "img@" + sha, want: location{path: "img", sel: selector{digest: sha}}},
		{about: "tag and digest", ref: "img:a:2@" + sha, want: location{path: "img", sel: selector{name: "a:2", digest: sha}}},
		{about: "a number", ref: "img:@2", want: location{path: "img", sel: selector{number: 3}}},
		{about: "a form", ref: "oci:img:3", want: location{scheme: "oci", path: "img", sel: selector{name: "3"}}},
		{about: "a form wins over a path", ref: "oci:debian", want: location{scheme: "oci", path: "debian"}},
		{about: "a path where the form's is not there", ref: "oci:sub", want: location{path: "oci", sel: selector{name: "sub"}}},
		{about: "a directory named as a form", ref: "./oci:3", want: location{path: "./oci", sel: selector{name: "3"}}},
		{about: "the working directory", ref: ".", want: location{path: "."}},
	} {
		tt.want.typed = tt.ref
		got, err := locate(tt.ref)
		if wantErr := tt.want.path == ""; (err != nil) != wantErr || !wantErr && got != tt.want {
			t.Errorf("%s: locate(%q) = %+v, %v; want %+v", tt.about, tt.ref, got, err, tt.want)
		}
	}
	for ref, reason := range map[string]string{
		"img:":           "nothing follows the colon",
		"img:@x":         `"x" is not the number of an image`,
		"img:@-1":        `"-1" is not the number of an image`,
		"img@sha256:12":  "is no digest",
		"img:t@md5:1234": "is no digest",
		"img@":           "is no digest",
	} {
		var refused *ReferenceError
		if _, err := locate(ref); !errors.As(err, &refused) || !strings.Contains(refused.Reason, reason) {
			t.Errorf("locate(%q) = %v, want an error about %s", ref, err, reason)
		}
	}
}

// TestPermissionDenied makes the error that root never gets.
func TestPermissionDenied(t *testing.T) {
	path := writeFile(t, "a.tar", nil)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	denied := &iofs.PathError{Op: "open", Path: path, Err: syscall.EACCES}
	err := location{typed: path}.pathError(denied)
	want := fmt.Sprintf("open %s: permission denied (mode 0640 %s:%s; you are uid %d)",
		path, userName(uint32(os.Geteuid())), groupName(uint32(os.Getegid())), os.Geteuid())
	if err.Error() != want || !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// FuzzLocate: whatever is typed is a path, a selector of it, or an error of
// this package; and what is put together again is the same.
func FuzzLocate(f *testing.F) {
	for _, tt := range names {
		f.Add(tt.in)
	}
	for _, s := range []string{"oci:.:1", ".@" + sha, ".:@3", "docker-archive:.:a/b:1@" + sha, "./x:y"} {
		f.Add(s)
	}
	f.Chdir(f.TempDir())
	f.Fuzz(func(t *testing.T, s string) {
		at, err := locate(s)
		if err != nil {
			// What is neither is of the system, as that a NUL is in a path.
			if _, ours := err.(interface{ Code() string }); ours && (err.Error() == "" || strings.ContainsAny(err.Error(), "\n\x1b\x00")) {
				t.Errorf("locate(%q) = %q", s, err)
			}
			return
		}
		rest := strings.TrimPrefix(s, at.scheme+":")
		if at.scheme == "" {
			rest = s
		}
		if tail, ok := strings.CutPrefix(rest, at.path); !ok || tail != "" && tail[0] != ':' && tail[0] != '@' {
			t.Errorf("locate(%q): path %q", s, at.path)
		}
		if at.sel.digest != "" && at.sel.digest.Validate() != nil {
			t.Errorf("locate(%q): digest %q", s, at.sel.digest)
		}
	})
}
