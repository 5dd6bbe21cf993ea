package e2e

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"
)

// A tarPitfall is what layers do in a directory of their own, and what is to
// be seen of it: a line a name, as lines gives it.
type tarPitfall struct {
	about  string
	layers [][]entry
	want   []string
}

// tarPitfalls are rows about tars (FORMATS 2) and what layers of them add up
// to (SEMANTICS 2, whose numbers are given).
func tarPitfalls() []tarPitfall {
	long := strings.Repeat("n", 256)
	one := func(entries ...entry) [][]entry { return [][]entry{entries} }
	return []tarPitfall{
		{"V7 directory: a slash at the end and no type", one(raw(v7("d/", ""), ""), raw(v7("d/f", "v7"), "v7")), []string{"d/ mode 644", "d/f: v7"}},
		{"type 7 is a file", one(file("f", "contiguous").typed('7')), []string{"f: contiguous"}},
		{"vendor types are left out, with their contents", one(file("D", "x").typed('D'), file("M", "x").typed('M'), file("V", "x").typed('V'), file("N", "x").typed('N'), file("s", "x").typed('s'), file("f", "f")), []string{"f: f"}},
		{"GNU long name and link stacked with PAX", one(
			raw(rawHeader('L', "././@LongLink", 300), long[:150]+"/"+long[:149]),
			pax("mtime", "5.5"),
			raw(rawHeader('0', "short", 1), "x")),
			[]string{long[:150] + "/", long[:150] + "/" + long[:149] + ": x @5.500000000"}},
		{"a global header sets times until the next", one(global("mtime", "77"), file("a", "1").ustar(), global("mtime", ""), file("b", "2").ustar()), []string{"a: 1 @77", "b: 2"}},
		{"git archive's global comment", one(global("comment", "4b825dc642cb6eb9a060e54bf8d69288fbee4904"), file("a", "1")), []string{"a: 1"}},
		{"PAX values with =, newline and NUL", one(file("f", "x").xattr("user.v", "a=b\nc\x00d")), []string{`f: x user.v="a=b\nc\x00d"`}},
		{"an empty xattr", one(pax("SCHILY.xattr.user.e", ""), raw(rawHeader('0', "f", 0), "")), []string{`f: user.e=""`}},
		{"overlayfs markers of a layer are none", one(
			dir("d").xattr("trusted.overlay.opaque", "y").xattr("user.overlay.opaque", "y"), file("f", "x").xattr("user.overlay.origin", "").xattr("user.overlay.whiteout", "y")),
			[]string{"d/", "f: x"}},
		{"libarchive's xattrs", one(file("f", "x").record("LIBARCHIVE.xattr.user.a%20b", "dmFsdWU=")), []string{`f: x user.a b="value"`}},
		{"capabilities of version 3, with a root id", one(file("f", "x").xattr("security.capability", capability(3))), []string{fmt.Sprintf("f: x security.capability=%q", capability(3))}},
		{"times before 1970, after 2038 and 2106", one(file("a", "").at(-5, 5e8), file("b", "").at(1<<31, 1), file("c", "").at(1<<33-1, 999999999)),
			[]string{"a: @-5.500000000", "b: @2147483648.000000001", "c: @8589934591.999999999"}},
		{"owners beyond 2^31", one(file("a", "").own(1<<32-2, 1<<31).pax()), []string{"a: own 4294967294:2147483648"}},
		{"modes: setuid, setgid, sticky, none", one(file("a", "").mode(0o4755), file("b", "").mode(0o2711), dir("c").mode(0o1777), file("d", "").mode(0)),
			[]string{"a: mode 4755", "b: mode 2711", "c/ mode 1777", "d: mode 0"}},
		{"odd spellings of one name", one(file("./a", "1"), file("a//b/../b", "2"), dir("./d/"), file("d/./e", "3")), []string{"a/", "a/b: 2", "d/", "d/e: 3"}},
		{"newlines and bytes that are no UTF-8", one(file("new\nline", "1"), file("\xff\xfe", "2"), symlink("l", "\xe4\n")), []string{`l -> \xe4\n`, `new\nline: 1`, `\xff\xfe: 2`}},
		{"a name of 256 bytes is left out", one(file(long, "x"), file(long[1:], "y"), file("d/"+long+"/f", "x")), []string{"" + long[1:] + ": y"}},
		{"2.7 missing parents", one(file("a/b/c", "x")), []string{"a/", "a/b/", "a/b/c: x"}},
		{"2.7 missing parents that a lower layer has", [][]entry{{dir("a").mode(0o700)}, {file("a/b", "x")}}, []string{"a/ mode 700", "a/b: x"}},
		{"2.1 duplicates: the last wins", one(file("f", "1"), file("f", "2"), file("f", "3")), []string{"f: 3"}},
		{"2.18 a directory twice: the last metadata, all children", one(dir("d").mode(0o700), file("d/a", "1"), dir("d").mode(0o711), file("d/b", "2")), []string{"d/ mode 711", "d/a: 1", "d/b: 2"}},
		{"2.18 file, directory, file", one(file("x", "1"), dir("x"), file("x/in", "2"), file("x", "3")), []string{"x: 3"}},
		{"2.8 a parent that is a symlink of the layer", one(symlink("lib", "usr/lib"), file("lib/f", "x")), []string{"lib -> usr/lib", "usr/", "usr/lib/", "usr/lib/f: x"}},
		{"2.8 a parent that is a symlink of a lower layer: a directory hides it", [][]entry{{dir("usr"), symlink("lib", "usr")}, {file("lib/f", "x")}}, []string{"lib/", "lib/f: x", "usr/"}},
		{"2.10 hard link to a later entry", one(hardlink("a", "b"), file("b", "x")), []string{"a: x links 2", "b: = a"}},
		{"2.10 hard link into a lower layer", [][]entry{{file("a", "x")}, {hardlink("b", "a")}}, []string{"a: x links 2", "b: = a"}},
		{"2.10 the first name is deleted, the second stays", [][]entry{{file("a", "x"), hardlink("b", "a")}, {deleted("a")}}, []string{"b: x"}},
		{"2.10 a chain of links, in any order", one(hardlink("c", "b"), hardlink("b", "a"), file("a", "x"), hardlink("d", "c")), []string{"a: x links 4", "b: = a", "c: = a", "d: = a"}},
		{"2.10 hard link to a symlink", one(symlink("s", "nowhere"), hardlink("h", "s")), []string{"h -> nowhere links 2", "s -> = h"}},
		{"2.10 hard link to itself", one(file("a", "x"), hardlink("a", "a")), []string{"a: x"}},
		{"2.10 hard link with a size and with contents, as cpio's", one(file("a", "x"), raw(linkHeader("b", "a", 600)+padded(strings.Repeat("body", 150)), ""), file("c", "y")),
			[]string{"a: x links 2", "b: = a", "c: y"}},
		{"2.10 hard link with a size and without contents", one(file("a", "x"), raw(linkHeader("b", "a", 600), ""), file("c", "y")), []string{"a: x links 2", "b: = a", "c: y"}},
		{"2.2 a whiteout spares its own layer, before and after", [][]entry{{file("a", "1"), file("b", "1")}, {deleted("a"), file("a", "2"), file("b", "2"), deleted("b")}}, []string{"a: 2", "b: 2"}},
		{"2.3 an opaque mark after its siblings", [][]entry{{file("d/a", "1")}, {dir("d"), file("d/b", "2"), opaque("d")}}, []string{"d/", "d/b: 2"}},
		{"2.4 a whiteout, then entries below it", [][]entry{{dir("x").mode(0o700), file("x/a", "1")}, {deleted("x"), file("x/b", "2")}}, []string{"x/", "x/b: 2"}},
		{"2.5 aufs's own files", one(file(".wh..wh.aufs", ""), dir(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", "x"), dir(".wh..wh.orph"), file("f", "x")), []string{"f: x"}},
		{"2.5 a whiteout that is a directory, a link, a device", [][]entry{{file("a", "1"), file("b", "1"), file("c", "1"), file("t", "1")}, {dir(".wh.a"), file(".wh.a/in", "x"), hardlink(".wh.b", "t"), char(".wh.c", 1, 3)}},
			[]string{"t: 1"}},
		{"2.5 children of what is deleted are deleted too", [][]entry{{file("d/a", "1"), file("d/b", "1")}, {deleted("d"), deleted("d/a"), deleted("d/b")}}, nil},
		{"2.6 an opaque mark where the lower is a symlink", [][]entry{{dir("t"), file("t/a", "1"), symlink("d", "t")}, {dir("d"), opaque("d"), file("d/b", "2")}}, []string{"d/", "d/b: 2", "t/", "t/a: 1"}},
		{"2.14 a device 0:0 is a whiteout", [][]entry{{file("a", "1")}, {char("a", 0, 0)}}, nil},
		{"devices, fifos", one(char("c", 4095, 1<<20-1), block("b", 8, 0), fifo("p")), []string{"b: block 8,0", "c: char 4095,1048575", "p: fifo"}},
		{"a file of a hole alone", one(sparse("s", 5<<20+3)), []string{"s: 5242883 bytes, data"}},
		{"sparse, PAX 1.0", one(sparse("s", 1<<20, segment{8192, "first"}, segment{512 << 10, "second"})), []string{"s: 1048576 bytes, data 8192+5 524288+6"}},
		{"sparse, PAX 0.1", one(sparse01("s", 1<<20, segment{8192, "first"}, segment{512 << 10, "second"})), []string{"s: 1048576 bytes, data 8192+5 524288+6"}},
		{"sparse, PAX 0.0", one(sparse00("s", 1<<20, segment{8192, "first"}, segment{512 << 10, "second"})), []string{"s: 1048576 bytes, data 8192+5 524288+6"}},
		{"sparse, GNU's old form with more maps", one(sparseGNU("s", 1<<20, segment{8192, "1"}, segment{16384, "2"}, segment{24576, "3"}, segment{32768, "4"}, segment{40960, "5"}, segment{49152, "6"})),
			[]string{"s: 1048576 bytes, data 8192+1 16384+1 24576+1 32768+1 40960+1 49152+1"}},
		{"an empty file", one(file("e", "")), []string{"e:"}},
	}
}

// TestPitfallsTar mounts an image of each row.
func TestPitfallsTar(t *testing.T) {
	needFUSE(t)
	needRoot(t) // to see trusted.* and security.*
	for _, row := range tarPitfalls() {
		t.Run(row.about, func(t *testing.T) {
			t.Parallel()
			var im image
			for _, entries := range row.layers {
				im = append(im, layerOf(entries...))
			}
			h := newHost(t)
			layout := filepath.Join(h.dir, "oci")
			if _, err := im.writeOCI(layout, gzipped); err != nil {
				t.Fatal(err)
			}
			mnt := h.mount(layout)
			if d := cmp.Diff(row.want, lines(t, mnt)); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			h.umount(mnt)
		})
	}
}

// lines tells of a directory tree what is not as with file and dir, a line a name.
func lines(t *testing.T, root string) (all []string) {
	t.Helper()
	tr := mustReadTree(t, root)
	paths := make([]string, 0, len(tr))
	for p := range tr {
		if p != "." {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	for _, p := range paths {
		all = append(all, line(t, root, p, tr[p]))
	}
	return all
}

func line(t *testing.T, root, p string, n node) string {
	t.Helper()
	var says []string
	add := func(format string, args ...any) { says = append(says, fmt.Sprintf(format, args...)) }
	mode := n.Mode &^ unix.S_IFMT
	usual := uint32(0o644)
	sep := ": "
	switch n.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		usual, sep = 0o755, "/ "
	case unix.S_IFLNK:
		usual, sep = 0o777, " -> "
	case unix.S_IFCHR:
		usual = 0o620
	case unix.S_IFBLK:
		usual = 0o620
	}
	name := strings.Trim(fmt.Sprintf("%+q", p), `"`)
	if n.Group != "" && n.Group != p {
		return name + sep + "= " + n.Group
	}
	switch n.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if contents := fileLine(t, filepath.Join(root, p), n.Size); contents != "" {
			add("%s", contents)
		}
	case unix.S_IFLNK:
		add("%s", strings.Trim(fmt.Sprintf("%+q", n.Target), `"`))
	case unix.S_IFCHR:
		add("char %d,%d", unix.Major(n.Rdev), unix.Minor(n.Rdev))
	case unix.S_IFBLK:
		add("block %d,%d", unix.Major(n.Rdev), unix.Minor(n.Rdev))
	case unix.S_IFIFO:
		add("fifo")
	}
	if mode != usual {
		add("mode %o", mode)
	}
	if n.UID != 0 || n.GID != 0 {
		add("own %d:%d", n.UID, n.GID)
	}
	if n.Nlink > 1 {
		add("links %d", n.Nlink)
	}
	switch {
	case n.Mtime.Sec == epoch.Unix() && n.Mtime.Nsec == 0 || n.Mode&unix.S_IFMT == unix.S_IFDIR:
	case n.Mtime.Nsec == 0:
		add("@%d", n.Mtime.Sec)
	default:
		add("@%d.%09d", n.Mtime.Sec, n.Mtime.Nsec)
	}
	for _, x := range strings.Fields(strings.ReplaceAll(n.Xattrs, " ", "\x00")) {
		add("%s", strings.ReplaceAll(x, "\x00", " "))
	}
	return strings.TrimSuffix(name+sep+strings.Join(says, " "), " ")
}

// fileLine is the contents of a small file, or where a large one has data and
// how much of it.
func fileLine(t *testing.T, p string, size int64) string {
	t.Helper()
	f, err := os.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if size < 4096 {
		b := make([]byte, size)
		if _, err := f.ReadAt(b, 0); err != nil && size > 0 {
			t.Fatal(err)
		}
		return string(b)
	}
	var data []string
	for off := int64(0); ; {
		start, err := f.Seek(off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if off, err = f.Seek(start, unix.SEEK_HOLE); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, off-start)
		if _, err := f.ReadAt(b, start); err != nil || bytes.IndexByte(b, 0) >= 0 {
			t.Errorf("%s: at %d: %q, %v", p, start, b, err)
		}
		data = append(data, fmt.Sprintf("%d+%d", start, len(b)))
	}
	// Holes are zeros, and all that is no hole has just been seen.
	whole, err := os.ReadFile(p)
	if err != nil || int64(len(whole)) != size {
		t.Errorf("%s: %d bytes, %v; want %d", p, len(whole), err, size)
	}
	return strings.Join(append([]string{fmt.Sprintf("%d bytes, data", size)}, data...), " ")
}

func setField(field []byte, s string) {
	clear(field)
	copy(field, s)
}

// checksummed sets the checksum of a header.
func checksummed(h []byte) []byte {
	copy(h[148:], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00", sum))
	return h
}

// raw is an entry as its bytes stand in the tar.
func raw(header, data string) entry { return entry{raw: []byte(header + padded(data))} }

// typed gives the entry another type, which archive/tar would not write.
func (e entry) typed(typ byte) entry {
	h := []byte(rawHeader(typ, e.h.Name, len(e.data)))
	return raw(string(h), e.data)
}

// ustar has the entry's own time left out, so that a global one counts.
func (e entry) ustar() entry { return e.typed(tar.TypeReg) }

// v7 is a header of the seventh edition: no magic, and no type of a file.
func v7(name, data string) string {
	h := []byte(rawHeader(0, name, len(data)))
	clear(h[257:])
	return string(checksummed(h))
}

func linkHeader(name, target string, size int) string {
	h := []byte(rawHeader(tar.TypeLink, name, size))
	setField(h[157:257], target)
	return string(checksummed(h))
}

// pax is a header with one record for the entry that follows, global one for
// all of those.
func pax(key, val string) entry {
	return raw(rawHeader('x', "PaxHeaders/f", len(paxRecord(key, val))), paxRecord(key, val))
}

func global(key, val string) entry {
	return raw(rawHeader('g', "pax_global_header", len(paxRecord(key, val))), paxRecord(key, val))
}

// capability is a security.capability of that version (linux/capability.h).
func capability(version byte) string {
	b := []byte{1, 0, 0, version}
	b = binary.LittleEndian.AppendUint32(b, 1<<10) // permitted: net_bind_service
	b = append(b, make([]byte, 12)...)
	if version == 3 {
		b = binary.LittleEndian.AppendUint32(b, 100_000) // the root of its user namespace
	}
	return string(b)
}

// sparse00 and sparse01 are the older PAX forms of a sparse file.
func sparse00(name string, size int64, segments ...segment) entry {
	records := paxRecord("GNU.sparse.size", fmt.Sprint(size)) + paxRecord("GNU.sparse.numblocks", fmt.Sprint(len(segments)))
	data := ""
	for _, s := range segments {
		records += paxRecord("GNU.sparse.offset", fmt.Sprint(s.off)) + paxRecord("GNU.sparse.numbytes", fmt.Sprint(len(s.data)))
		data += s.data
	}
	return raw(rawHeader('x', "x", len(records))+padded(records)+rawHeader('0', name, len(data)), data)
}

func sparse01(name string, size int64, segments ...segment) entry {
	var numbers []string
	data := ""
	for _, s := range segments {
		numbers = append(numbers, fmt.Sprint(s.off), fmt.Sprint(len(s.data)))
		data += s.data
	}
	records := paxRecord("GNU.sparse.size", fmt.Sprint(size)) + paxRecord("GNU.sparse.numblocks", fmt.Sprint(len(segments))) +
		paxRecord("GNU.sparse.name", name) + paxRecord("GNU.sparse.map", strings.Join(numbers, ","))
	return raw(rawHeader('x', "x", len(records))+padded(records)+rawHeader('0', name, len(data)), data)
}

// sparseGNU is the form of old GNU tar: four segments in the header, 21 in each
// block behind it.
func sparseGNU(name string, size int64, segments ...segment) entry {
	data := ""
	for _, s := range segments {
		data += s.data
	}
	h := []byte(rawHeader('S', name, len(data)))
	copy(h[257:], "ustar  \x00")
	copy(h[483:], fmt.Sprintf("%011o\x00", size))
	put := func(field []byte, s segment) {
		copy(field, fmt.Sprintf("%011o\x00%011o\x00", s.off, len(s.data)))
	}
	for i, s := range segments[:min(4, len(segments))] {
		put(h[386+24*i:], s)
	}
	more := segments[min(4, len(segments)):]
	if len(more) > 0 {
		h[482] = 1
	}
	out := checksummed(h)
	for part := range slices.Chunk(more, 21) {
		block := make([]byte, 512)
		for i, s := range part {
			put(block[24*i:], s)
		}
		if more = more[len(part):]; len(more) > 0 {
			block[504] = 1
		}
		out = append(out, block...)
	}
	return raw(string(out), data)
}
