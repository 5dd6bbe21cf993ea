package toc

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestCheckHeader(t *testing.T) {
	file := tarHeader(flagRegular, "d/f", 3)
	told := Entry{Path: "d/f", Type: Regular, Mode: 0o644, Size: 3}
	timed := func(sec int64) Entry {
		e := told
		e.Mtime.Sec = sec
		return e
	}
	with := func(xs ...Xattr) Entry {
		e := told
		e.Xattrs = xs
		return e
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	const acl = "user::rwx,group::r-x,other::r--"
	for _, tt := range []struct {
		about   string
		headers []byte
		told    Entry
		err     string // "" is none
	}{
		{"the header alone", file, told, ""},
		{"others before it", join(tarDir("d/"), tarLink(flagSymlink, "l", "x"), tarFile("empty", ""), file), told, ""},
		{"the name in another way", join(tarPAX("path", "./d//f"), tarHeader(flagRegular, "x", 3)), told, ""},
		{"a long name", join(tarLong(flagGNUName, "d/f"), tarHeader(flagRegular, "x", 3, gnu)), told, ""},
		{"a fraction of a second, cut off", join(tarPAX("mtime", "7.25"), file), timed(7), ""},
		{"rounded", join(tarPAX("mtime", "7.75"), file), timed(8), ""},
		{"before 1970", join(tarPAX("mtime", "-7.75"), file), timed(-8), ""},
		{"a list that the table has not", join(tarPAX("SCHILY.acl.access", acl), file), told, ""},
		{"an attribute without a value", join(tarPAX("SCHILY.xattr.user.a", ""), file), told, ""},
		{"an attribute", join(tarPAX("SCHILY.xattr.user.a", "b"), file), with(Xattr{"user.a", []byte("b")}), ""},

		{"another second", join(tarPAX("mtime", "7.25"), file), timed(9), "not what the table"},
		{"the second before", file, timed(-1), "not what the table"},
		{"no attribute", file, with(Xattr{"user.a", []byte("b")}), "not what the table"},
		{"an attribute of another value", join(tarPAX("SCHILY.xattr.user.a", "c"), file), with(Xattr{"user.a", []byte("b")}), "not what the table"},
		{"an attribute that the table has not", join(tarPAX("SCHILY.xattr.user.a", "c"), file), told, "not what the table"},
		{"another size", tarHeader(flagRegular, "d/f", 4), told, `"d/f" is not what the table`},
		{"another name", tarHeader(flagRegular, "d/g", 3), told, `"d/g" is not what the table`},
		{"the right one, and another", join(file, make([]byte, 512), file), told, "contents that the table"},
		{"a header behind it", join(tarFile("d/f", ""), tarDir("d/")), told, `"d" is not what the table`},
		{"nothing", nil, told, "no tar header"},
		{"zeros", make([]byte, 1024), told, "no tar header"},
		{"no header", []byte(strings.Repeat("x", 512)), told, "no tar header"},
		{"half a header", file[:300], told, "no tar header"},
		{"a PAX header alone", tarPAX("path", "d/f"), told, "no tar header"},
		{"a landmark", tarHeader(flagRegular, ".prefetch.landmark", 1), told, "no tar header"},
		{"a path out of the root", tarHeader(flagRegular, "../f", 3), told, "leads out of the root"},
		{"a sparse file whose map is in its data", join(tarPAX("GNU.sparse.major", "1", "GNU.sparse.minor", "0"), file), told, "no tar header"},
	} {
		for _, r := range []io.Reader{bytes.NewReader(tt.headers), iotest.OneByteReader(bytes.NewReader(tt.headers)), iotest.DataErrReader(bytes.NewReader(tt.headers))} {
			err := CheckHeader(r, headerSum(&tt.told))
			if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: CheckHeader = %v, want %q", tt.about, err, tt.err)
			}
		}
	}
	broken := errors.New("broken")
	for _, n := range []int{0, 100, 512} {
		r := io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(broken))
		if err := CheckHeader(r, headerSum(&told)); err != broken {
			t.Errorf("read error after %d bytes: CheckHeader = %v, want it", n, err)
		}
	}
}
