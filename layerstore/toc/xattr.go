package toc

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Linux's limits (linux/limits.h): what is larger can be on no filesystem.
const (
	maxXattrName  = 255
	maxXattrValue = 64 << 10
	maxXattrNames = 64 << 10 // of one file, each with a NUL
)

// An xattrRecord is an extended attribute out of a PAX header.
type xattrRecord struct {
	name  string
	value []byte
	rank  uint8 // of records of one name, the highest counts, then the last
}

const (
	rankLibarchive = iota
	rankACL
	rankSchily // what docker and containerd read
	rankLocal  // added if it is of this entry alone
)

// maxGlobalXattrs and maxGlobalBytes, of names and values, bound what one
// header can add to each of many entries.
const (
	maxGlobalXattrs = 64
	maxGlobalBytes  = 4 << 10
)

// Names of access control lists, as the kernel has them.
const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

// addXattr takes in a record of r if it is about an extended attribute.
func (s *scanner) addXattr(r *records, key, value []byte) error {
	x, err := parseXattr(key, value)
	if err != nil {
		s.note(nil, err.Error())
		return nil
	}
	if !keepXattr(x.name) {
		return nil
	}
	x.value = bytes.Clone(x.value) // s has one buffer for all headers
	if r == &s.local {
		x.rank += rankLocal
	} else {
		r.xattrs = slices.DeleteFunc(r.xattrs, func(old xattrRecord) bool {
			return old.name == x.name && old.rank == x.rank
		})
		size := len(x.name) + len(x.value)
		for _, old := range r.xattrs {
			size += len(old.name) + len(old.value)
		}
		if len(r.xattrs) == maxGlobalXattrs || size > maxGlobalBytes {
			return fmt.Errorf("global PAX headers set more than %d extended attributes or %d bytes of them", maxGlobalXattrs, maxGlobalBytes)
		}
	}
	r.xattrs = append(r.xattrs, x)
	return nil
}

// parseXattr reads one record; the name is empty if it is about something
// else. An attribute may be empty: it does not take back that of a global header.
func parseXattr(key, value []byte) (x xattrRecord, err error) {
	if name, ok := bytes.CutPrefix(key, []byte("SCHILY.xattr.")); ok {
		x = xattrRecord{string(name), value, rankSchily}
	} else if name, ok := bytes.CutPrefix(key, []byte("LIBARCHIVE.xattr.")); ok {
		x, err = parseLibarchive(string(name), string(value))
	} else if string(key) == "SCHILY.acl.access" {
		x = xattrRecord{name: aclAccess, rank: rankACL}
		x.value, err = parseACL(value)
	} else if string(key) == "SCHILY.acl.default" {
		x = xattrRecord{name: aclDefault, rank: rankACL}
		x.value, err = parseACL(value)
	}
	if err == nil && (x.name == aclAccess || x.name == aclDefault) {
		// The kernel parses it each time it asks for permission: a broken
		// one would be an error then.
		err = checkACL(x.value)
	}
	if err == nil && x.name == aclAccess && len(x.value) == plainACL {
		return xattrRecord{}, nil
	}
	if err != nil {
		return x, fmt.Errorf("PAX record %.100q: %w: left out", key, err)
	}
	return x, nil
}

// parseLibarchive reads an attribute whose name is encoded as in URLs and
// whose value is in base64, as a rule without padding.
func parseLibarchive(name, value string) (xattrRecord, error) {
	plain, err := url.PathUnescape(name)
	raw, err2 := base64.RawStdEncoding.DecodeString(strings.TrimRight(value, "="))
	if err != nil || err2 != nil || strings.Contains(plain, "\x00") {
		return xattrRecord{}, errors.New("not encoded as libarchive does it")
	}
	return xattrRecord{plain, raw, rankLibarchive}, nil
}

// keepXattr leaves out what a filesystem on disk would not take, such as
// "com.apple.provenance", and what would be a marker of overlayfs, kernel's
// or FUSE's: a layer has markers of its own (SEMANTICS.md 2.11).
func keepXattr(name string) bool {
	space, rest, ok := strings.Cut(name, ".")
	if !ok || rest == "" {
		return false
	}
	switch space {
	case "user", "trusted":
		return !strings.HasPrefix(rest, "overlay.")
	case "security":
		return true
	case "system":
		return name == aclAccess || name == aclDefault
	}
	return false
}

// xattrs are the extended attributes of the entry at hand, of type t.
func (s *scanner) xattrs(t Type) ([]Xattr, error) {
	if len(s.local.xattrs) == 0 && len(s.global.xattrs) == 0 {
		return nil, nil
	}
	all := slices.Concat(s.global.xattrs, s.local.xattrs)
	slices.SortStableFunc(all, func(a, b xattrRecord) int {
		return cmp.Or(strings.Compare(a.name, b.name), int(a.rank)-int(b.rank))
	})
	var xs []Xattr
	names := 0
	for i, x := range all {
		if i+1 < len(all) && all[i+1].name == x.name || !canHave(t, x.name) {
			continue
		}
		names += len(x.name) + 1
		if len(x.name) > maxXattrName || len(x.value) > maxXattrValue || names > maxXattrNames {
			return nil, fmt.Errorf("extended attribute %.40q of %d bytes: beyond what Linux can hold", x.name, len(x.value))
		}
		xs = append(xs, Xattr{Name: x.name, Value: x.value})
	}
	return xs, nil
}

// canHave tells whether a filesystem on disk would take the attribute name
// for a file of type t; see xattr(7) and acl(5).
func canHave(t Type, name string) bool {
	switch {
	case name == aclDefault:
		return t == Dir
	case name == aclAccess:
		return t != Symlink
	case strings.HasPrefix(name, "user."):
		return t == Regular || t == Dir || t == Hardlink
	}
	return true
}
