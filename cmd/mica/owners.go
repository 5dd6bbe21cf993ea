package main

import (
	"bytes"
	"context"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mica/overlay"
)

// owners are the names of an image's users and groups. The zero value knows
// none.
type owners struct {
	users, groups map[uint32]string
}

// owners reads them from the image's own /etc/passwd and /etc/group. What is
// not there, or makes no sense, leaves numbers; so do bytes that cannot be
// had, which are told of.
func (p *pathErrors) owners(ctx context.Context, v *overlay.View) (o owners, err error) {
	for _, file := range []struct {
		path string
		ids  *map[uint32]string
	}{{"/etc/passwd", &o.users}, {"/etc/group", &o.groups}} {
		if *file.ids, err = readIDs(ctx, v, file.path); err != nil {
			if err = p.failed(ctx, file.path, err); err != nil {
				return o, err
			}
		}
	}
	return o, nil
}

func (o owners) user(uid uint32) string  { return nameOrNumber(o.users, uid) }
func (o owners) group(gid uint32) string { return nameOrNumber(o.groups, gid) }

func nameOrNumber(names map[uint32]string, id uint32) string {
	if name, ok := names[id]; ok {
		return name
	}
	return strconv.FormatUint(uint64(id), 10)
}

// maxIDFile bounds what is read of a passwd or group file.
const maxIDFile = 4 << 20

// readIDs reads a file of lines "name:password:id:…" (passwd(5), group(5)).
// Of several names for an id the first counts.
func readIDs(ctx context.Context, v *overlay.View, path string) (map[uint32]string, error) {
	a, err := v.Stat(path)
	if err != nil || a.Mode&unix.S_IFMT != unix.S_IFREG || a.Size > maxIDFile {
		return nil, nil
	}
	var b bytes.Buffer
	if _, err := v.WriteContents(ctx, &b, a.ID); err != nil {
		return nil, err
	}
	names := map[uint32]string{}
	for line := range strings.Lines(b.String()) {
		name, rest, _ := strings.Cut(line, ":")
		_, rest, ok := strings.Cut(rest, ":")
		number, _, _ := strings.Cut(strings.TrimSpace(rest), ":")
		id, err := strconv.ParseUint(number, 10, 32)
		if !ok || err != nil || name == "" || printable(name) != name || strings.ContainsRune(name, ' ') {
			continue
		}
		if _, ok := names[uint32(id)]; !ok {
			names[uint32(id)] = name
		}
	}
	return names, nil
}

func (o owners) uid(name string) (uint32, bool) { return number(o.users, name) }
func (o owners) gid(name string) (uint32, bool) { return number(o.groups, name) }

// number gives the least id of a name.
func number(names map[uint32]string, name string) (least uint32, ok bool) {
	for id, n := range names {
		if n == name && (!ok || id < least) {
			least, ok = id, true
		}
	}
	return least, ok
}
