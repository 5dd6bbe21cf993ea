package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"time"
	"unicode/utf8"

	"mica/overlay"
)

// A fileJSON is a file of an image as ls, stat and find tell programs of it.
type fileJSON struct {
	Path    string  `json:"path"`
	RawPath []byte  `json:"rawPath,omitempty"` // base64; only where the path is not UTF-8
	Type    string  `json:"type"`
	Mode    string  `json:"mode"` // permissions, octal: "0755"
	UID     uint32  `json:"uid"`
	GID     uint32  `json:"gid"`
	User    string  `json:"user,omitempty"` // as /etc/passwd and /etc/group of the image have them
	Group   string  `json:"group,omitempty"`
	Size    int64   `json:"size"`
	MTime   string  `json:"mtime"` // RFC 3339, UTC, in nanoseconds
	Inode   uint64  `json:"inode"`
	Nlink   uint32  `json:"nlink"`
	Major   *uint32 `json:"major,omitempty"` // of devices
	Minor   *uint32 `json:"minor,omitempty"`
	Target  *string `json:"target,omitempty"` // of symlinks
	// RawTarget is base64, only where the target is not UTF-8.
	RawTarget []byte `json:"rawTarget,omitempty"`
	Layer     int    `json:"layer"` // that it comes from, 1 is the lowest
}

func newFileJSON(v *overlay.View, path string, a overlay.Attr, names owners) (fileJSON, error) {
	f := fileJSON{
		Path: path, Type: typeWord(a.Mode), Mode: octal(a.Mode), UID: a.UID, GID: a.GID,
		User: names.users[a.UID], Group: names.groups[a.GID], Size: a.Size,
		MTime: a.Mtime.Time().Format(time.RFC3339Nano), Inode: uint64(a.ID), Nlink: a.Nlink,
	}
	if !utf8.ValidString(path) {
		f.RawPath = []byte(path)
	}
	if isDevice(a) {
		major, minor := a.Device()
		f.Major, f.Minor = &major, &minor
	}
	if isSymlink(a) {
		target, err := v.Readlink(a.ID)
		if err != nil {
			return f, err
		}
		f.Target = &target
		if !utf8.ValidString(target) {
			f.RawTarget = []byte(target)
		}
	}
	layer, err := v.Layer(a.ID)
	f.Layer = layer + 1
	return f, err
}

// A jsonList writes an array one object at a time: what it lists may be large.
type jsonList struct {
	w     *bufio.Writer
	began bool
}

func newJSONList(w io.Writer) *jsonList { return &jsonList{w: bufio.NewWriter(w)} }

func (l *jsonList) add(v any) error {
	between := ",\n "
	if !l.began {
		l.began, between = true, "[\n "
	}
	if _, err := l.w.WriteString(between); err != nil {
		return err
	}
	b, err := marshalPlain(v)
	if err != nil {
		return err
	}
	_, err = l.w.Write(b)
	return err
}

func (l *jsonList) close() error {
	end := "\n]\n"
	if !l.began {
		end = "[]\n"
	}
	// What a write has failed with comes again from Flush.
	l.w.WriteString(end)
	return l.w.Flush()
}

// marshalPlain is json.Marshal without the escapes that HTML would need.
func marshalPlain(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
