package toc

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseACL(t *testing.T) {
	base := func(named ...aclEntry) []aclEntry {
		return append(append([]aclEntry{{aclUserObj, 7, noID}}, named...), aclEntry{aclGroupObj, 5, noID}, aclEntry{aclMask, 7, noID}, aclEntry{aclOther, 4, noID})
	}
	for _, tt := range []struct {
		about, text string
		want        []aclEntry // nil: an error
	}{
		{"star: the number behind the name", "user::rwx,user:lisa:r-x:502,group::r-x,mask::rwx,other::r--", base(aclEntry{aclUser, 5, 502})},
		{"GNU tar: lines, numbers", "user::rwx\nuser:502:r-x\ngroup::r-x\nmask::rwx\nother::r--\n", base(aclEntry{aclUser, 5, 502})},
		{"short tags, spaces, comments", " u::rwx , u:502:r-x\t#effective:r-x\n#comment\ng::r-x,m::rwx,o::r--", base(aclEntry{aclUser, 5, 502})},
		{"Solaris: no empty field", "user::rwx,user:502:r-x,group::r-x,mask:rwx,other:r--", base(aclEntry{aclUser, 5, 502})},
		{"any order, several users", "other::r--,mask::rwx,user:9:---,user:5:x,group::r-x,user::rwx", base(aclEntry{aclUser, 1, 5}, aclEntry{aclUser, 0, 9})},
		{"uid of the largest number", "user::rwx,user:4294967294:r,group::r-x,mask::rwx,other::r--", base(aclEntry{aclUser, 4, noID - 1})},
		{"no number", "user::rwx,user:lisa:r-x,group::r-x,mask::rwx,other::r--", nil},
		{"number too large", "user::rwx,user:4294967295:r,group::r-x,mask::rwx,other::r--", nil},
		{"a mask of somebody", "user::rwx,group::r-x,mask:5:rwx,other::r--", nil},
		{"permission unknown", "user::rwX,group::r-x,other::r--", nil},
		{"tag unknown", "owner::rwx,group::r-x,other::r--", nil},
		{"too few fields", "user", nil},
		{"too many fields", "user:a:rwx:1:2", nil},
		{"empty", "", nil},
		{"no other", "user::rwx,group::r-x", nil},
		{"two owners", "user::rwx,user::rwx,group::r-x,other::r--", nil},
		{"a user, but no mask", "user::rwx,user:5:rwx,group::r-x,other::r--", nil},
	} {
		value, err := parseACL([]byte(tt.text))
		if err == nil {
			err = checkACL(value)
		}
		if tt.want == nil {
			if err == nil {
				t.Errorf("%s: parseACL(%q) = %x, want an error", tt.about, tt.text, value)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: parseACL(%q): %v", tt.about, tt.text, err)
			continue
		}
		if d := cmp.Diff(tt.want, decodeACL(value), cmp.AllowUnexported(aclEntry{})); d != "" {
			t.Errorf("%s: parseACL(%q) (-want +got):\n%s", tt.about, tt.text, d)
		}
	}
}

func decodeACL(value []byte) (list []aclEntry) {
	for b := value[4:]; len(b) > 0; b = b[8:] {
		list = append(list, aclEntry{binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])})
	}
	return list
}

func TestCheckACL(t *testing.T) {
	good, err := parseACL([]byte("user::rwx,user:5:rwx,group::r-x,group:6:r,mask::rwx,other::r--"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		about string
		value []byte
	}{
		{"empty", nil},
		{"head alone", good[:4]},
		{"cut off", good[:len(good)-1]},
		{"version 1", append([]byte{1}, good[1:]...)},
		{"the last entry missing", good[:len(good)-8]},
		{"the first entry missing", append(good[:4:4], good[12:]...)},
		{"out of order", append(append(good[:4:4], good[12:]...), good[4:12]...)},
		{"unknown tag", append(good[:len(good):len(good)], 0x40, 0, 0, 0, 0xff, 0xff, 0xff, 0xff)},
		{"permission of four bits", append(append(good[:6:6], 8), good[7:]...)},
		{"user without a number", append(append(good[:16:16], 0xff, 0xff, 0xff, 0xff), good[20:]...)},
	} {
		if checkACL(tt.value) == nil {
			t.Errorf("%s: checkACL(%x) accepts it", tt.about, tt.value)
		}
	}
}
