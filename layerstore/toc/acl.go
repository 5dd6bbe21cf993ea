package toc

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Tags of an access control list (linux/posix_acl.h), in the order in which
// the kernel wants them.
const (
	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20
)

// noID stands for the id where a tag has none.
const noID = 0xffffffff

// An aclEntry is one line of an access control list.
type aclEntry struct {
	tag, perm uint16
	id        uint32
}

// parseACL turns the text of a SCHILY.acl record into the value of the
// attribute that the kernel keeps lists in (linux/posix_acl_xattr.h: version
// 2, then eight bytes an entry, little-endian). The text is that of acl(5),
// with commas or newlines between; star adds the number behind a name:
//
//	user::rwx,user:lisa:r-x:502,group::r-x,mask::r-x,other::r--
//
// A name without a number is an error: whose it is, only the image knows. That
// the list makes sense is for checkACL.
func parseACL(text []byte) ([]byte, error) {
	var list []aclEntry
	for line := range strings.FieldsFuncSeq(string(text), func(r rune) bool { return r == ',' || r == '\n' }) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		e, err := parseACLEntry(line)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	slices.SortStableFunc(list, func(a, b aclEntry) int { return cmp.Or(int(a.tag)-int(b.tag), cmp.Compare(a.id, b.id)) })
	value := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range list {
		value = binary.LittleEndian.AppendUint16(value, e.tag)
		value = binary.LittleEndian.AppendUint16(value, e.perm)
		value = binary.LittleEndian.AppendUint32(value, e.id)
	}
	return value, nil
}

func parseACLEntry(line string) (aclEntry, error) {
	f := strings.Split(line, ":")
	if len(f) == 2 { // "mask:rwx", as Solaris writes it
		f = []string{f[0], "", f[1]}
	}
	if len(f) < 3 || len(f) > 4 {
		return aclEntry{}, fmt.Errorf("access control list: %.80q is no entry", line)
	}
	e := aclEntry{id: noID}
	switch f[0] {
	case "user", "u":
		e.tag = aclUserObj
	case "group", "g":
		e.tag = aclGroupObj
	case "mask", "m":
		e.tag = aclMask
	case "other", "o":
		e.tag = aclOther
	default:
		return aclEntry{}, fmt.Errorf("access control list: %.80q is no entry", line)
	}
	for _, c := range f[2] {
		switch c {
		case 'r':
			e.perm |= 4
		case 'w':
			e.perm |= 2
		case 'x':
			e.perm |= 1
		case '-':
		default:
			return aclEntry{}, fmt.Errorf("access control list: %.80q has no such permissions", line)
		}
	}
	if f[1] == "" {
		return e, nil
	}
	id, ok := parseDecimal([]byte(f[len(f)-1]))
	if len(f) == 3 {
		id, ok = parseDecimal([]byte(f[1]))
	}
	if !ok || id < 0 || id >= noID || e.tag != aclUserObj && e.tag != aclGroupObj {
		return aclEntry{}, fmt.Errorf("access control list: %.80q has no number", line)
	}
	e.tag <<= 1
	e.id = uint32(id)
	return e, nil
}

// plainACL is how long an access control list is that says no more than the
// mode does. A disk keeps none then, and GNU tar writes one for each directory
// with defaults for what is made in it.
const plainACL = 4 + 3*8

var errACL = errors.New("access control list: not one that Linux takes")

// checkACL holds value against the kernel's rules (posix_acl_valid): the tags
// in order; the three of the mode once, the mask at most once, and once if a
// user or group has an entry of its own.
func checkACL(value []byte) error {
	if len(value) < 4 || len(value)%8 != 4 || !bytes.Equal(value[:4], []byte{2, 0, 0, 0}) {
		return errACL
	}
	var seen, last uint16
	for e := value[4:]; len(e) > 0; e = e[8:] {
		tag, perm := binary.LittleEndian.Uint16(e), binary.LittleEndian.Uint16(e[2:])
		id := binary.LittleEndian.Uint32(e[4:])
		named := tag == aclUser || tag == aclGroup
		switch {
		case perm > 7 || tag < last || named && id == noID:
			return errACL
		case tag == last && !named:
			return errACL
		}
		seen, last = seen|tag, tag
	}
	const mode = aclUserObj | aclGroupObj | aclOther
	if seen&mode != mode || seen&^(mode|aclUser|aclGroup|aclMask) != 0 {
		return errACL
	}
	if seen&(aclUser|aclGroup) != 0 && seen&aclMask == 0 {
		return errACL
	}
	return nil
}
