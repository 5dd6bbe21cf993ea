package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// An entry is one file of a layer, to be changed by its methods:
//
//	file("bin/su", "…").mode(0o4755).own(0, 42)
type entry struct {
	h    *tar.Header
	data string
	raw  []byte // whole and ready, in place of all else
}

// epoch is the time of what is given no other.
var epoch = time.Unix(1_000_000_000, 0)

func newEntry(typ byte, name string, mode int64) entry {
	return entry{h: &tar.Header{Typeflag: typ, Name: name, Mode: mode, ModTime: epoch}}
}

func dir(name string) entry     { return newEntry(tar.TypeDir, strings.TrimSuffix(name, "/")+"/", 0o755) }
func fifo(name string) entry    { return newEntry(tar.TypeFifo, name, 0o644) }
func deleted(path string) entry { return file(whiteoutPath(path), "") }
func opaque(path string) entry  { return file(path+"/.wh..wh..opq", "") }

func file(name, data string) entry {
	e := newEntry(tar.TypeReg, name, 0o644)
	e.data, e.h.Size = data, int64(len(data))
	return e
}

func symlink(name, target string) entry {
	e := newEntry(tar.TypeSymlink, name, 0o777)
	e.h.Linkname = target
	return e
}

func hardlink(name, target string) entry {
	e := newEntry(tar.TypeLink, name, 0o644)
	e.h.Linkname = target
	return e
}

func char(name string, major, minor int64) entry {
	e := newEntry(tar.TypeChar, name, 0o620)
	e.h.Devmajor, e.h.Devminor = major, minor
	return e
}

func block(name string, major, minor int64) entry {
	e := char(name, major, minor)
	e.h.Typeflag = tar.TypeBlock
	return e
}

func whiteoutPath(path string) string {
	i := strings.LastIndexByte(path, '/') + 1
	return path[:i] + ".wh." + path[i:]
}

func (e entry) mode(m int64) entry           { e.h.Mode = m; return e }
func (e entry) own(uid, gid int) entry       { e.h.Uid, e.h.Gid = uid, gid; return e }
func (e entry) at(sec, nsec int64) entry     { e.h.ModTime = time.Unix(sec, nsec); return e.pax() }
func (e entry) pax() entry                   { e.h.Format = tar.FormatPAX; return e }
func (e entry) gnu() entry                   { e.h.Format = tar.FormatGNU; return e }
func (e entry) xattr(name, val string) entry { return e.record("SCHILY.xattr."+name, val) }
func (e entry) record(key, val string) entry {
	if e.h.PAXRecords == nil {
		e.h.PAXRecords = map[string]string{}
	}
	e.h.PAXRecords[key] = val
	return e.pax()
}

// A segment is a piece of a sparse file that holds data.
type segment struct {
	off  int64
	data string
}

// sparse is a file in GNU's PAX format 1.0, whose data begin with the map of
// the segments. archive/tar reads this but does not write it.
func sparse(name string, size int64, segments ...segment) entry {
	var mapped, data strings.Builder
	fmt.Fprintf(&mapped, "%d\n", len(segments))
	for _, s := range segments {
		fmt.Fprintf(&mapped, "%d\n%d\n", s.off, len(s.data))
		data.WriteString(s.data)
	}
	body := padded(mapped.String()) + data.String()
	var records strings.Builder
	for _, kv := range [][2]string{
		{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"},
		{"GNU.sparse.name", name}, {"GNU.sparse.realsize", fmt.Sprint(size)},
	} {
		records.WriteString(paxRecord(kv[0], kv[1]))
	}
	return entry{raw: []byte(rawHeader('x', "PaxHeaders/"+name, records.Len()) + padded(records.String()) +
		rawHeader(tar.TypeReg, "GNUSparseFile.0/"+name, len(body)) + padded(body))}
}

// paxRecord is "LENGTH KEY=VALUE\n", LENGTH counting itself.
func paxRecord(key, val string) string {
	rest := " " + key + "=" + val + "\n"
	n := len(rest)
	for len(fmt.Sprint(n))+len(rest) != n {
		n = len(fmt.Sprint(n)) + len(rest)
	}
	return fmt.Sprint(n) + rest
}

// rawHeader is a ustar header block (POSIX.1 pax), mode 0644 and owned by root.
func rawHeader(typ byte, name string, size int) string {
	var h [512]byte
	for off, field := range map[int]string{
		0:   name,
		100: "0000644\x000000000\x000000000\x00", // mode, uid, gid
		124: fmt.Sprintf("%011o\x00%011o\x00", size, epoch.Unix()),
		148: "        ", // the checksum, counted as spaces
		156: string(rune(typ)),
		257: "ustar\x0000",
	} {
		copy(h[off:], field)
	}
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00", sum))
	return string(h[:])
}

// padded fills s with zeros to whole blocks.
func padded(s string) string { return s + strings.Repeat("\x00", -len(s)&511) }

// A layer is a tar stream, not compressed.
type layer []byte

// layerOf writes entries as they stand, in this order.
func layerOf(entries ...entry) layer {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if e.raw != nil {
			must(w.Flush())
			must(b.Write(e.raw))
			continue
		}
		if err := w.WriteHeader(e.h); err != nil {
			panic(fmt.Sprintf("entry %q: %v", e.h.Name, err))
		}
		must(w.Write([]byte(e.data)))
	}
	must(w.Close())
	return b.Bytes()
}

// A codec is how a stream is compressed.
type codec string

const (
	plain    codec = "plain"
	gzipped  codec = "gzip"
	zstdFast codec = "zstd"
)

func (c codec) pack(b []byte) []byte {
	var out bytes.Buffer
	switch c {
	case plain:
		return b
	case gzipped:
		w := gzip.NewWriter(&out)
		must(w.Write(b))
		must(w.Close())
	case zstdFast:
		w, err := zstd.NewWriter(&out)
		must(err)
		must(w.Write(b))
		must(w.Close())
	default:
		panic("codec " + c)
	}
	return out.Bytes()
}

// must panics if the last of results is an error: what the tests write into
// memory does not fail.
func must(results ...any) {
	if err, ok := results[len(results)-1].(error); ok {
		panic(err)
	}
}
