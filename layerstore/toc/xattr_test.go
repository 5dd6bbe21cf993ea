package toc

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestXattrs(t *testing.T) {
	attr := func(name, value string) Xattr { return Xattr{name, []byte(value)} }
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	file, dir := tarFile("f", ""), tarDir("d")
	for _, tt := range []struct {
		about string
		parts [][]byte // before the entry, then the entry
		want  []Xattr
		noted int
	}{
		{
			about: "sorted, bytes as they are",
			parts: [][]byte{tarPAX("SCHILY.xattr.user.b", "\x00=\n\xff", "SCHILY.xattr.user.a", "1", "SCHILY.xattr.security.capability", capability), file},
			want:  []Xattr{attr("security.capability", capability), attr("user.a", "1"), attr("user.b", "\x00=\n\xff")},
		},
		{
			about: "empty value: an empty attribute",
			parts: [][]byte{tarPAX("SCHILY.xattr.user.a", ""), file},
			want:  []Xattr{attr("user.a", "")},
		},
		{
			about: "twice: the last one",
			parts: [][]byte{tarPAX("SCHILY.xattr.user.a", "1", "SCHILY.xattr.user.a", "2"), file},
			want:  []Xattr{attr("user.a", "2")},
		},
		{
			about: "markers of overlayfs go, what looks like one stays",
			parts: [][]byte{tarPAX(
				"SCHILY.xattr.trusted.overlay.opaque", "y", "SCHILY.xattr.user.overlay.origin", "", "SCHILY.xattr.trusted.overlay.overlay.opaque", "y",
				"SCHILY.xattr.trusted.overlayx", "1", "SCHILY.xattr.trusted.md5", "2"), dir},
			want: []Xattr{attr("trusted.md5", "2"), attr("trusted.overlayx", "1")},
		},
		{
			about: "what no filesystem of Linux has",
			parts: [][]byte{tarPAX(
				"SCHILY.xattr.com.apple.provenance", "x", "SCHILY.xattr.system.nfs4_acl", "x", "SCHILY.xattr.user.", "x", "SCHILY.xattr.user", "x", "SCHILY.xattr.", "x",
				"SCHILY.dev", "1", "SCHILY.ino", "2", "SCHILY.nlink", "3"), file},
		},
		{
			about: "libarchive: name and value encoded",
			parts: [][]byte{tarPAX("LIBARCHIVE.xattr.user.a%3Db%25", "AAEC/w", "LIBARCHIVE.xattr.user.padded", "AAE="), file},
			want:  []Xattr{attr("user.a=b%", "\x00\x01\x02\xff"), attr("user.padded", "\x00\x01")},
		},
		{
			about: "libarchive writes both: SCHILY's counts, before or after",
			parts: [][]byte{tarPAX("LIBARCHIVE.xattr.user.a", "AAEC", "SCHILY.xattr.user.a", "raw", "SCHILY.xattr.user.b", "raw", "LIBARCHIVE.xattr.user.b", "AAEC"), file},
			want:  []Xattr{attr("user.a", "raw"), attr("user.b", "raw")},
		},
		{
			about: "libarchive, broken: left out",
			parts: [][]byte{tarPAX("LIBARCHIVE.xattr.user.a%", "AAEC", "LIBARCHIVE.xattr.user.b", "!", "LIBARCHIVE.xattr.user.%00", "AAEC"), file},
			noted: 3,
		},
		{
			about: "global, with one of its own that goes before",
			parts: [][]byte{tarGlobal("SCHILY.xattr.user.a", "1", "SCHILY.xattr.user.b", "1"), tarGlobal("SCHILY.xattr.user.b", "2"), tarPAX("LIBARCHIVE.xattr.user.a", "b3du"), file},
			want:  []Xattr{attr("user.a", "own"), attr("user.b", "2")},
		},
		{
			about: "user attributes of a symlink",
			parts: [][]byte{tarPAX("SCHILY.xattr.user.a", "1", "SCHILY.xattr.trusted.a", "1", "SCHILY.acl.access", "u::rwx,u:1:rwx,g::r,m::rwx,o::r"), tarLink(flagSymlink, "l", "t")},
			want:  []Xattr{attr("trusted.a", "1")},
		},
		{
			about: "access control lists; the default one is for directories",
			parts: [][]byte{tarPAX("SCHILY.acl.access", "user::rw-,user:1000:r--,group::r--,mask::r--,other::---", "SCHILY.acl.default", "user::rwx,group::r-x,other::---"), file},
			want:  []Xattr{attr("system.posix_acl_access", "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\xe8\x03\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff\x10\x00\x04\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff")},
		},
		{
			about: "default list of a directory",
			parts: [][]byte{tarPAX("SCHILY.acl.default", "user::rwx,group::r-x,other::---"), dir},
			want:  []Xattr{attr("system.posix_acl_default", "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x04\x00\x05\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff")},
		},
		{
			about: "a list of names whose numbers are not told; a list that is none",
			parts: [][]byte{tarPAX("SCHILY.acl.access", "user::rw-,user:lisa:r--,group::r--,mask::r--,other::---", "SCHILY.acl.default", "hello"), dir},
			noted: 2,
		},
		{
			about: "a list as the kernel has it, whole and broken",
			parts: [][]byte{tarPAX("SCHILY.xattr.system.posix_acl_access", "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x04\x00\x05\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff", "SCHILY.xattr.system.posix_acl_default", "junk"), dir},
			noted: 1, // and the other says what the mode says
		},
		{
			about: "a list as the kernel has it, with a mask",
			parts: [][]byte{tarPAX("SCHILY.xattr.system.posix_acl_access", "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x04\x00\x05\x00\xff\xff\xff\xff\x10\x00\x05\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff"), dir},
			want:  []Xattr{attr("system.posix_acl_access", "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x04\x00\x05\x00\xff\xff\xff\xff\x10\x00\x05\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff")},
		},
		{
			about: "as large as Linux can hold",
			parts: [][]byte{tarPAX("SCHILY.xattr.user."+strings.Repeat("n", 250), strings.Repeat("v", 64<<10)), file},
			want:  []Xattr{attr("user."+strings.Repeat("n", 250), strings.Repeat("v", 64<<10))},
		},
	} {
		got, sum, err := scanAll(tarOf(bytes.Join(tt.parts, nil), tarZero))
		if err != nil || len(got) != 2 || sum.Noted != tt.noted {
			t.Errorf("%s: %d entries, notes %v, error %v", tt.about, len(got), sum.Notes, err)
			continue
		}
		if d := cmp.Diff(tt.want, got[0].Xattrs); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.about, d)
		}
	}
}

func TestXattrLimits(t *testing.T) {
	var many, global []string
	for i := range 6000 {
		many = append(many, fmt.Sprintf("SCHILY.xattr.user.%06d", i), "")
	}
	for i := range maxGlobalXattrs + 1 {
		global = append(global, fmt.Sprintf("SCHILY.xattr.user.%d", i), "")
	}
	for _, tt := range []struct {
		about string
		layer []byte
		err   string
	}{
		{"name too long", tarOf(tarPAX("SCHILY.xattr.user."+strings.Repeat("n", 251), "v"), tarZero), "beyond what Linux can hold"},
		{"value too long", tarOf(tarPAX("SCHILY.xattr.user.a", strings.Repeat("v", 64<<10+1)), tarZero), "beyond what Linux can hold"},
		{"too many names", tarOf(tarPAX(many...), tarZero), "beyond what Linux can hold"},
		{"too many global ones", tarOf(tarGlobal(global...), tarZero), "more than 64 extended attributes"},
		{"too large global ones", tarOf(tarGlobal("SCHILY.xattr.user.a", strings.Repeat("v", 4000)), tarGlobal("SCHILY.xattr.user.b", strings.Repeat("v", 100))), "or 4096 bytes"},
	} {
		if _, _, err := scanAll(tt.layer); !isFormatError(err) || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, want a *FormatError with %q", tt.about, err, tt.err)
		}
	}
}
