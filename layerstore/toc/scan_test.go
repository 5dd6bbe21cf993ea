package toc

import (
	"bytes"
	"errors"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tarZero is a file "z" of no bytes, to see that what follows is read right.
var (
	tarZero = tarFile("z", "")
	zero    = Entry{Path: "z", Type: Regular, Mode: 0o644}
)

// after is zero where its header is at off.
func after(off int64) Entry {
	e := zero
	e.Off = off + blockSize
	return e
}

var long = strings.Repeat("directory/", 30) + "file"

var scanTests = []struct {
	about string
	layer []byte
	want  []Entry
	noted int
}{
	// Formats.
	{about: "nothing at all", layer: nil},
	{about: "empty tar", layer: tarOf()},
	{
		about: "V7, where NUL is a regular file",
		layer: tarOf(tarEntry(flagRegularV7, "a", "x", v7)),
		want:  []Entry{{Path: "a", Type: Regular, Mode: 0o644, Size: 1, Off: 512}},
	},
	{
		about: "V7 directory: a trailing slash",
		layer: tarOf(tarHeader(flagRegularV7, "d/", 0, v7, set(100, "0000755")), tarZero),
		want:  []Entry{{Path: "d", Type: Dir, Mode: 0o755}, after(512)},
	},
	{
		about: "a trailing slash on type 0 does not count",
		layer: tarOf(tarFile("f/", "x"), tarZero),
		want:  []Entry{{Path: "f", Type: Regular, Mode: 0o644, Size: 1, Off: 512}, after(1024)},
	},
	{
		about: "V7 has no prefix",
		layer: tarOf(tarFile("a", "", v7, set(345, "prefix"))),
		want:  []Entry{{Path: "a", Type: Regular, Mode: 0o644, Off: 512}},
	},
	{
		about: "name of all 100 bytes, without a NUL",
		layer: tarOf(tarFile(strings.Repeat("n", 100), "")),
		want:  []Entry{{Path: strings.Repeat("n", 100), Type: Regular, Mode: 0o644, Off: 512}},
	},
	{
		about: "ustar prefix",
		layer: tarOf(tarFile("a", "", set(345, "usr/lib"))),
		want:  []Entry{{Path: "usr/lib/a", Type: Regular, Mode: 0o644, Off: 512}},
	},
	{
		about: "star: a shorter prefix, then times",
		layer: tarOf(tarFile("a", "", set(345, strings.Repeat("p", 131)), set(476, "00000000001 00000000002 "), set(508, "tar\x00"))),
		want:  []Entry{{Path: strings.Repeat("p", 131) + "/a", Type: Regular, Mode: 0o644, Off: 512}},
	},
	{
		about: "GNU: times in place of the prefix",
		layer: tarOf(tarFile("a", "", gnu, set(345, "14544261306\x0014544261306\x00"))),
		want:  []Entry{{Path: "a", Type: Regular, Mode: 0o644, Off: 512}},
	},
	{
		about: "GNU: binary times in place of the prefix",
		layer: tarOf(tarFile("a", "", gnu, set(345, "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"))),
		want:  []Entry{{Path: "a", Type: Regular, Mode: 0o644, Off: 512}},
	},
	{
		about: "GNU: a prefix nevertheless (Go before 1.8)",
		layer: tarOf(tarFile("a", "", gnu, set(345, "usr/lib"))),
		want:  []Entry{{Path: "usr/lib/a", Type: Regular, Mode: 0o644, Off: 512}},
	},
	{
		about: "GNU: neither times nor a prefix",
		layer: tarOf(tarFile("a", "", gnu, set(345, "\xe4\xf6\xfc"), set(357, "junk"))),
		want:  []Entry{{Path: "a", Type: Regular, Mode: 0o644, Off: 512}},
	},
	{
		about: "checksum of signed bytes",
		layer: tarOf(signedSum(tarFile("\xe4\xf6\xfc", ""))),
		want:  []Entry{{Path: "\xe4\xf6\xfc", Type: Regular, Mode: 0o644, Off: 512}},
	},

	// Headers before the entry.
	{
		about: "GNU long name",
		layer: tarOf(tarLong(flagGNUName, long), tarFile("cut", "x", gnu), tarZero),
		want:  []Entry{{Path: long, Type: Regular, Mode: 0o644, Size: 1, Off: 1536}, after(2048)},
	},
	{
		about: "GNU long target",
		layer: tarOf(tarLong(flagGNULink, long), tarLink(flagSymlink, "l", "cut", gnu)),
		want:  []Entry{{Path: "l", Type: Symlink, Mode: 0o777, Link: long}},
	},
	{
		about: "GNU long name and target, in the rare order, repeated",
		layer: tarOf(tarLong(flagGNUName, "no"), tarLong(flagGNULink, "no"), tarLong(flagGNUName, long), tarLong(flagGNULink, "t"+long), tarLink(flagSymlink, "cut", "cut", gnu)),
		want:  []Entry{{Path: long, Type: Symlink, Mode: 0o777, Link: "t" + long}},
	},
	{
		about: "GNU long name with bytes behind its NUL",
		layer: tarOf(tarLong(flagGNUName, "name\x00junk"), tarFile("cut", "", gnu)),
		want:  []Entry{{Path: "name", Type: Regular, Mode: 0o644, Off: 1536}},
	},
	{
		about: "GNU long name goes before a PAX path, whichever is first",
		layer: tarOf(tarLong(flagGNUName, "gnu"), tarPAX("path", "pax"), tarFile("a", ""), tarPAX("path", "pax"), tarLong(flagGNUName, "gnu"), tarFile("a", "")),
		want:  []Entry{{Path: "gnu", Type: Regular, Mode: 0o644, Off: 2560}, {Path: "gnu", Type: Regular, Mode: 0o644, Off: 5120}},
	},
	{
		about: "a long name is for one entry",
		layer: tarOf(tarLong(flagGNUName, "gnu"), tarFile("a", ""), tarZero),
		want:  []Entry{{Path: "gnu", Type: Regular, Mode: 0o644, Off: 1536}, after(1536)},
	},
	{
		about: "PAX path, target, owner, time",
		layer: tarOf(tarPAX("path", "p\xff/ä", "linkpath", "t", "uid", "4294967294", "gid", "3000000", "mtime", "-0.5"), tarLink(flagSymlink, "l", "x"), tarZero),
		want:  []Entry{{Path: "p\xff/ä", Type: Symlink, Mode: 0o777, Link: "t", UID: math.MaxUint32 - 1, GID: 3000000, Mtime: Time{-1, 5e8}}, after(1536)},
	},
	{
		about: "PAX header of Solaris",
		layer: tarOf(tarEntry(flagPAXSolaris, "x", paxRecords("path", "p")), tarZero),
		want:  []Entry{{Path: "p", Type: Regular, Mode: 0o644, Off: 1536}},
	},
	{
		about: "PAX size where the field holds another",
		layer: tarOf(tarPAX("size", "3"), tarHeader(flagRegular, "a", 0), tarData("abc"), tarZero),
		want:  []Entry{{Path: "a", Type: Regular, Mode: 0o644, Size: 3, Off: 1536}, after(2048)},
	},
	{
		about: "the last of two PAX headers counts alone, in it the last record",
		layer: tarOf(tarPAX("path", "p", "uid", "7"), tarPAX("uid", "8", "uid", "9"), tarZero),
		want:  []Entry{{Path: "z", Type: Regular, Mode: 0o644, UID: 9, Off: 2560}},
	},
	{
		about: "empty PAX values leave the fields",
		layer: tarOf(tarPAX("path", "", "linkpath", "", "size", "", "uid", "", "mtime", ""), tarFile("z", "x")),
		want:  []Entry{{Path: "z", Type: Regular, Mode: 0o644, Size: 1, Off: 1536}},
	},
	{
		about: "global header: until changed; that of one entry goes before it; empty takes it back",
		layer: tarOf(
			tarGlobal("uid", "5", "mtime", "9", "comment", "git"), tarZero,
			tarPAX("uid", "6"), tarZero,
			tarPAX("uid", ""), tarZero,
			tarGlobal("uid", ""), tarZero,
		),
		want: []Entry{
			{Path: "z", Type: Regular, Mode: 0o644, UID: 5, Mtime: Time{9, 0}, Off: 1536},
			{Path: "z", Type: Regular, Mode: 0o644, UID: 6, Mtime: Time{9, 0}, Off: 3072},
			{Path: "z", Type: Regular, Mode: 0o644, Mtime: Time{9, 0}, Off: 4608},
			{Path: "z", Type: Regular, Mode: 0o644, Mtime: Time{9, 0}, Off: 6144},
		},
	},
	{
		about: "global header that names and sizes: passed over",
		layer: tarOf(tarGlobal("path", "p", "size", "3", "linkpath", "l", "GNU.sparse.major", "1"), tarZero),
		want:  []Entry{{Path: "z", Type: Regular, Mode: 0o644, Off: 1536}},
		noted: 4,
	},
	{
		about: "global header between a header and its entry",
		layer: tarOf(tarPAX("path", "p"), tarLong(flagGNUName, "l"), tarGlobal("comment", "x"), tarZero),
		want:  []Entry{{Path: "z", Type: Regular, Mode: 0o644, Off: 3584}},
	},

	// Numbers.
	{
		about: "base-256 owner and time",
		layer: tarOf(tarFile("z", "", gnu, set(108, "\x80\x00\x00\x00\xff\xff\xff\xfe"), set(116, "\x80\x00\x00\x00\x00\x20\x00\x00"), set(136, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))),
		want:  []Entry{{Path: "z", Type: Regular, Mode: 0o644, UID: math.MaxUint32 - 1, GID: 1 << 21, Mtime: Time{-1, 0}, Off: 512}},
	},
	{
		about: "mode: type bits go, setuid stays",
		layer: tarOf(tarFile("z", "", set(100, "0104755")), tarDir("d", set(100, "0043777"))),
		want:  []Entry{{Path: "z", Type: Regular, Mode: 0o4755, Off: 512}, {Path: "d", Type: Dir, Mode: 0o3777}},
	},

	// Types.
	{
		about: "contiguous file",
		layer: tarOf(tarEntry(flagContiguous, "a", "x")),
		want:  []Entry{{Path: "a", Type: Regular, Mode: 0o644, Size: 1, Off: 512}},
	},
	{
		about: "devices and a fifo",
		layer: tarOf(tarDevice(flagChar, "null", "0000001\x00", "0000003\x00"), tarDevice(flagBlock, "loop", "\x80\x00\x00\x00\x00\x00\x00\x07", "\x80\x00\x00\x00\x00\x0f\xff\xff"), tarHeader(flagFifo, "p", 0)),
		want: []Entry{
			{Path: "null", Type: Char, Mode: 0o644, Major: 1, Minor: 3},
			{Path: "loop", Type: Block, Mode: 0o644, Major: 7, Minor: 1<<20 - 1},
			{Path: "p", Type: Fifo, Mode: 0o644},
		},
	},
	{
		about: "unknown types, with contents",
		layer: tarOf(tarEntry('D', "d/", "dump"), tarEntry('V', "label", ""), tarEntry('M', "rest", strings.Repeat("x", 513)), tarEntry('N', "n", "x"), tarZero),
		want:  []Entry{after(512 * 8)},
		noted: 4,
	},
	{
		about: "hard link with a size, without contents",
		layer: tarOf(tarFile("a", "x"), tarLink(flagHardlink, "b", "./a", set(124, "00000000001")), tarZero),
		want:  []Entry{{Path: "a", Type: Regular, Mode: 0o644, Size: 1, Off: 512}, {Path: "b", Type: Hardlink, Mode: 0o644, Link: "a"}, after(1536)},
	},
	{
		about: "hard link with contents",
		layer: tarOf(tarLink(flagHardlink, "b", "/d//a", set(124, "00000001001")), tarData(strings.Repeat("x", 513)), tarZero),
		want:  []Entry{{Path: "b", Type: Hardlink, Mode: 0o644, Link: "d/a"}, after(1536)},
	},
	{
		about: "hard link with contents of less than a block, at the end",
		layer: tarOf(tarLink(flagHardlink, "b", "a", set(124, "00000000001")), tarData("x")),
		want:  []Entry{{Path: "b", Type: Hardlink, Mode: 0o644, Link: "a"}},
	},
	{
		about: "hard link with a size at the end",
		layer: tarOf(tarLink(flagHardlink, "b", "a", set(124, "00000000001"))),
		want:  []Entry{{Path: "b", Type: Hardlink, Mode: 0o644, Link: "a"}},
	},
	{
		about: "hard link to itself",
		layer: tarOf(tarFile("a", ""), tarLink(flagHardlink, "./a", "a")),
		want:  []Entry{{Path: "a", Type: Regular, Mode: 0o644, Off: 512}},
	},
	{
		about: "hard link to a later file",
		layer: tarOf(tarLink(flagHardlink, "b", "z"), tarZero),
		want:  []Entry{{Path: "b", Type: Hardlink, Mode: 0o644, Link: "z"}, after(512)},
	},
	{
		about: "hard links that lead nowhere: to the root, into aufs's store, by a name too long",
		layer: tarOf(tarLink(flagHardlink, "b", "/"), tarLink(flagHardlink, "b", ".wh..wh.plnk/1.2"), tarLong(flagGNULink, strings.Repeat("n", 256)), tarLink(flagHardlink, "b", ""), tarZero),
		want:  []Entry{after(512 * 5)},
		noted: 3,
	},
	{
		about: "symlink and directory with a size",
		layer: tarOf(tarLink(flagSymlink, "l", "../..//x", set(124, "00000000001")), tarHeader(flagDir, "d", 4096), tarZero),
		want:  []Entry{{Path: "l", Type: Symlink, Mode: 0o777, Link: "../..//x"}, {Path: "d", Type: Dir, Mode: 0o755}, after(1024)},
	},
	{
		about: "symlinks that Linux cannot have",
		layer: tarOf(tarLink(flagSymlink, "l", ""), tarLong(flagGNULink, strings.Repeat("x/", 2048)), tarLink(flagSymlink, "l", ""), tarZero),
		want:  []Entry{after(512 * 12)},
		noted: 2,
	},

	// Names.
	{
		about: "one path in many forms, one entry each",
		layer: tarOf(tarDir("./"), tarDir("/d/"), tarDir("d//e/."), tarDir("d/x/../f"), tarDir("new\nline\xff")),
		want: []Entry{
			{Path: "", Type: Dir, Mode: 0o755},
			{Path: "d", Type: Dir, Mode: 0o755},
			{Path: "d/e", Type: Dir, Mode: 0o755},
			{Path: "d/f", Type: Dir, Mode: 0o755},
			{Path: "new\nline\xff", Type: Dir, Mode: 0o755},
		},
	},
	{
		about: "names too long for Linux",
		layer: tarOf(tarPAX("path", "a/"+strings.Repeat("n", 256)+"/b"), tarFile("cut", "x"), tarPAX("path", strings.Repeat("d/", 2049)), tarDir("cut"), tarZero),
		want:  []Entry{after(512 * 15)},
		noted: 2,
	},
	{
		about: "duplicates in their order",
		layer: tarOf(tarZero, tarZero),
		want:  []Entry{after(0), after(512)},
	},

	// Marks.
	{
		about: "whiteouts and opaque marks, of any type, with contents",
		layer: tarOf(
			tarFile("etc/.wh.motd", "junk", set(108, "0001750")),
			tarLink(flagHardlink, ".wh.b", "etc/.wh.motd"),
			tarDir("d/.wh.e/"), tarFile("d/.wh.e/below", ""),
			tarDevice(flagChar, "gone", "0000000\x00", "0000000\x00"),
			tarDevice(flagChar, "gone2", "", ""),
			tarDevice(flagBlock, "block", "0000000\x00", "0000000\x00"),
			tarFile(".wh..wh..opq", ""), tarFile("d/.wh..wh..opq", "x"),
			tarZero,
		),
		want: []Entry{
			{Path: "etc/motd", Type: Whiteout},
			{Path: "b", Type: Whiteout},
			{Path: "d/e", Type: Whiteout}, {Path: "d/e", Type: Whiteout},
			{Path: "gone", Type: Whiteout},
			{Path: "gone2", Type: Whiteout},
			{Path: "block", Type: Block, Mode: 0o644},
			{Path: "", Type: Opaque}, {Path: "d", Type: Opaque},
			after(512 * 11),
		},
	},
	{
		about: "aufs bookkeeping",
		layer: tarOf(tarFile(".wh..wh.aufs", ""), tarDir(".wh..wh.plnk"), tarFile(".wh..wh.plnk/1.2", "x"), tarDir(".wh..wh.orph"), tarZero),
		want:  []Entry{after(512 * 5)},
	},

	// The end.
	{about: "no end mark", layer: tarZero, want: []Entry{after(0)}},
	{about: "one block of zeros at the end", layer: append(bytes.Clone(tarZero), make([]byte, 512)...), want: []Entry{after(0)}},
	{about: "anything behind the end mark", layer: append(tarOf(tarZero), "garbage"...), want: []Entry{after(0)}},
	{
		about: "no padding behind the last file",
		layer: tarFile("a", "x")[:513],
		want:  []Entry{{Path: "a", Type: Regular, Mode: 0o644, Size: 1, Off: 512}},
	},
}

func TestScan(t *testing.T) {
	for _, tt := range scanTests {
		got, sum, err := scanAll(tt.layer)
		if err != nil {
			t.Errorf("%s: %v", tt.about, err)
			continue
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s: entries (-want +got):\n%s", tt.about, d)
		}
		if sum.Noted != tt.noted || len(sum.Notes) != tt.noted {
			t.Errorf("%s: %d notes %v, want %d", tt.about, sum.Noted, sum.Notes, tt.noted)
		}
	}
}

// signedSum gives a header the checksum that a program with signed chars makes.
func signedSum(header []byte) []byte {
	b := (*block)(header)
	copy(b[148:156], "        ")
	copy(b[148:156], []byte{'0', '0' + byte(b.signedSum()>>12&7), '0' + byte(b.signedSum()>>9&7), '0' + byte(b.signedSum()>>6&7), '0' + byte(b.signedSum()>>3&7), '0' + byte(b.signedSum()&7), 0, ' '})
	return header
}

// Each row is refused, and says so.
func TestScanRefuses(t *testing.T) {
	for _, tt := range []struct {
		about  string
		layer  []byte
		offset int64
		err    string
		stdOK  bool // archive/tar accepts it
	}{
		{about: "no tar", layer: bytes.Repeat([]byte("text"), 256), err: "no tar header, nor the end"},
		{about: "wrong checksum", layer: tarOf(tarZero, flip(tarFile("a", ""), 3)), offset: 512, err: "no tar header, nor the end"},
		{about: "lone block of zeros", layer: tarOf(tarZero, make([]byte, 512), tarZero), offset: 512, err: "a lone block of zeros"},
		{about: "zeros where a file's data should be followed by a header", layer: tarOf(tarFile("a", "x"), tarData("x")), offset: 1024, err: "no tar header"},
		{about: "path out of the root", layer: tarOf(tarFile("../etc/passwd", "x")), err: `"../etc/passwd": leads out of the root`, stdOK: true},
		{about: "path out of the root, in the middle", layer: tarOf(tarFile("a/../../b", "")), err: "leads out", stdOK: true},
		{about: "hard link out of the root", layer: tarOf(tarLink(flagHardlink, "a", "../../etc/shadow")), err: `hard link to "../../etc/shadow": leads out of the root`, stdOK: true},
		{about: "a layer of Windows", layer: bytes.Join([][]byte{tarPAX("MSWINDOWS.fileattr", "16"), tarOf(tarFile("Files/a", ""))}, nil), err: "a layer of Windows (PAX record \"MSWINDOWS.fileattr\")", stdOK: true},
		{about: "whiteout of the root", layer: tarOf(tarFile(".wh..", "")), err: "whiteout", stdOK: true},
		{about: "whiteout of the parent", layer: tarOf(tarFile("a/.wh...", "")), err: "whiteout", stdOK: true},
		{about: "whiteout of nothing", layer: tarOf(tarFile("a/.wh.", "")), err: "whiteout", stdOK: true},
		{about: "root that is a file", layer: tarOf(tarFile("./", "x")), err: "the root is not a directory", stdOK: true},
		{about: "root that is a whiteout", layer: tarOf(tarDevice(flagChar, "/", "", "")), err: "the root is not a directory", stdOK: true},
		{about: "NUL in a path", layer: tarOf(tarPAX("path", "a\x00b"), tarZero), err: "NUL in a path"},
		{about: "NUL in a target", layer: tarOf(tarPAX("linkpath", "a\x00b"), tarZero), err: "NUL in a path"},
		{about: "uid beyond the last", layer: tarOf(tarPAX("uid", "4294967295"), tarZero), offset: 1024, err: `"z": uid 4294967295 is out of range`, stdOK: true},
		{about: "negative gid", layer: tarOf(tarFile("a", "", set(116, "\xff\xff\xff\xff\xff\xff\xff\xff"))), err: "gid -1 is out of range", stdOK: true},
		{about: "uid no number", layer: tarOf(tarFile("a", "", set(108, "root"))), err: "uid is not a number"},
		{about: "mode no number", layer: tarOf(tarFile("a", "", set(100, "rw-r--r"))), err: "mode is not a number"},
		{about: "size no number", layer: tarOf(tarFile("a", "", set(124, "9"))), err: "size is not a number"},
		{about: "time no number", layer: tarOf(tarFile("a", "", set(136, "now"))), err: "mtime is not a number"},
		{about: "PAX size no number", layer: tarOf(tarPAX("size", "many"), tarZero), offset: 1024, err: "size is not a number"},
		{about: "PAX time no number", layer: tarOf(tarPAX("mtime", "1.x"), tarZero), offset: 1024, err: "mtime is not a number"},
		{about: "negative size", layer: tarOf(tarFile("a", "", set(124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))), err: "-1 bytes of data"},
		{about: "size beyond all bounds", layer: tarOf(tarPAX("size", "9223372036854775807"), tarZero), offset: 1024, err: "9223372036854775807 bytes of data"},
		{about: "device number beyond Linux's", layer: tarOf(tarDevice(flagChar, "a", "0010000", "0000000")), err: "device number", stdOK: true},
		{about: "long name of 128 KiB", stdOK: true, layer: tarOf(tarEntry(flagGNUName, "", strings.Repeat("n", 1<<17)), tarZero), err: "131072 bytes for the next entry: at most 65536"},
		{about: "PAX header of a negative size", layer: tarOf(tarHeader(flagPAX, "", 0, set(124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))), err: "header of type 'x'"},
		{about: "attribute beyond 64 KiB", layer: tarOf(tarPAX("SCHILY.xattr.user.a", strings.Repeat("x", 1<<16+1)), tarZero), offset: 512 + 66048, err: `"user.a" of 65537 bytes`, stdOK: true},
		{about: "100 MB of attributes", layer: append(tarHeader(flagPAX, "", 100<<20), make([]byte, 1<<20)...), err: "104857600 bytes for the next entry: at most 4194304"},
	} {
		got, _, err := scanAll(tt.layer)
		var fe *FormatError
		if !errors.As(err, &fe) || !strings.Contains(err.Error(), tt.err) || fe.Offset != tt.offset {
			t.Errorf("%s: %v, error %v; want a *FormatError at %d with %q", tt.about, got, err, tt.offset, tt.err)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v; but it is not cut off", tt.about, err)
		}
		if _, _, err := scanStdlib(tt.layer); (err == nil) != tt.stdOK {
			t.Errorf("%s: archive/tar: %v", tt.about, err)
		}
	}
}

func flip(b []byte, i int) []byte {
	b[i] ^= 1
	return b
}

// Each row is read by Scan, but not by archive/tar. (The other way round:
// TestScanRefuses. Where both read, FuzzScan holds them to the same.)
func TestScanAccepts(t *testing.T) {
	for _, tt := range []struct {
		about string
		layer []byte
		want  []Entry
	}{
		{
			about: "hard link with contents",
			layer: tarOf(tarLink(flagHardlink, "b", "a", set(124, "00000000001")), tarData("x"), tarZero),
			want:  []Entry{{Path: "b", Type: Hardlink, Mode: 0o644, Link: "a"}, after(1024)},
		},
		{
			about: "PAX header of 2 MiB",
			layer: tarOf(tarPAX("comment", strings.Repeat("x", 2<<20)), tarZero),
			want:  []Entry{after(2<<20 + 1024)},
		},
		{
			about: "device numbers of a file are not looked at",
			layer: tarOf(tarFile("z", "", set(329, "junk"))),
			want:  []Entry{after(0)},
		},
		{
			about: "nor are atime and ctime",
			layer: tarOf(tarPAX("atime", "junk", "ctime", ""), tarZero),
			want:  []Entry{after(1024)},
		},
		{
			about: "sparse file whose PAX size is that with holes (aquaproj/aqua#5001)",
			layer: tarOf(
				tarPAX("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "s", "GNU.sparse.realsize", "8192", "size", "8192"),
				tarHeader(flagRegular, "GNUSparseFile.0/s", 1024), tarData("1\n4096\n512\n"), make([]byte, 512), tarZero),
			want: []Entry{{Path: "s", Type: Regular, Mode: 0o644, Size: 8192, Off: 2048, Sparse: []Extent{{4096, 512}}}, after(2560)},
		},
	} {
		got, _, err := scanAll(tt.layer)
		if d := cmp.Diff(tt.want, got); err != nil || d != "" {
			t.Errorf("%s: error %v, entries (-want +got):\n%s", tt.about, err, d)
		}
		if got, _, err := scanStdlib(tt.layer); err == nil && cmp.Equal(got, tt.want) {
			t.Errorf("%s: archive/tar reads it too", tt.about)
		}
	}
}

// A tar cut anywhere gives its first entries, whole; then it either ends or
// is refused as cut off.
func TestScanTruncated(t *testing.T) {
	layer := tarOf(
		tarFile("a", strings.Repeat("x", 600)), tarLong(flagGNUName, "long"), tarFile("cut", "x", gnu),
		tarPAX("path", "p", "SCHILY.xattr.user.a", "x"), tarFile("cut", ""), tarLink(flagHardlink, "b", "a", set(124, "00000001130")), tarDir("d"),
		tarPAX("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.realsize", "8192"), tarFile("s", string(tarData("1\n0\n1\n"))+"x"),
	)
	all, sum, err := scanAll(layer)
	if err != nil || len(all) != 6 || !sum.Marked || sum.End != int64(len(layer)) {
		t.Fatalf("whole: %d entries, %+v, %v", len(all), sum, err)
	}
	for n := range layer {
		got, sum, err := scanAll(layer[:n])
		if !cmp.Equal(got, all[:len(got)]) && len(got) > 0 {
			t.Fatalf("cut to %d: entries %v", n, got)
		}
		if err == nil && sum.End != int64(n) {
			t.Errorf("cut to %d: End = %d", n, sum.End)
		}
		if err == nil && sum.Marked {
			t.Errorf("cut to %d: has an end mark", n)
		}
		if err != nil && (!isFormatError(err) || !errors.Is(err, io.ErrUnexpectedEOF)) {
			t.Errorf("cut to %d: %v, want unexpected EOF", n, err)
		}
		for _, e := range got {
			if e.Off+e.Size > int64(n) && e.Sparse == nil {
				t.Errorf("cut to %d: %q lies in [%d, +%d)", n, e.Path, e.Off, e.Size)
			}
		}
	}
}

func TestScanTruncatedNames(t *testing.T) {
	for _, tt := range []struct {
		layer []byte
		err   string
	}{
		{tarFile("etc/passwd", "root")[:515], `tar: offset 515: "etc/passwd": unexpected EOF`},
		{tarOf(tarPAX(append(sparse10, "20")...), tarHeader(flagRegular, "s", 512))[:1536], `tar: offset 1536: "s": unexpected EOF`},
		{tarPAX("path", "p")[:515], `tar: offset 515: unexpected EOF`},
		{tarPAX("path", "p"), `tar: offset 1024: no entry behind a header for it: unexpected EOF`},
		{tarZero[:100], `tar: offset 100: unexpected EOF`},
	} {
		if _, _, err := scanAll(tt.layer); err == nil || err.Error() != tt.err {
			t.Errorf("error %v, want %s", err, tt.err)
		}
	}
}

// A header that lies about its size takes memory for what is there only.
func TestScanMemory(t *testing.T) {
	for about, layer := range map[string][]byte{
		"PAX header": append(tarHeader(flagPAX, "", maxPAX), make([]byte, 100)...),
		"global":     append(tarHeader(flagPAXGlobal, "", maxPAX), make([]byte, 100)...),
		"sparse map": append(tarPAX(append(sparse10, "20")...), tarFile("s", string(tarData("262144\n")))...),
		"file":       tarHeader(flagRegular, "a", 1<<32),
		"no tar":     bytes.Repeat([]byte("text"), 1<<10),
	} {
		var before, behind runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := scanAll(layer)
		runtime.ReadMemStats(&behind)
		if n := behind.TotalAlloc - before.TotalAlloc; err == nil || n > 1<<19 {
			t.Errorf("%s: took %d bytes for a layer of %d, error %v", about, n, len(layer), err)
		}
	}
}

func TestScanSummary(t *testing.T) {
	layer := tarOf(tarZero)
	_, sum, err := scanAll(append(layer, make([]byte, 9000)...))
	if want := (Summary{End: 1536, Marked: true}); err != nil || !cmp.Equal(sum, want) {
		t.Errorf("padded tar: %+v, %v; want %+v", sum, err, want)
	}
	_, sum, err = scanAll(tarZero)
	if want := (Summary{End: 512}); err != nil || !cmp.Equal(sum, want) {
		t.Errorf("no end mark: %+v, %v; want %+v", sum, err, want)
	}
	_, sum, err = scanAll(tarOf(bytes.Repeat(tarHeader('V', strings.Repeat("n", 99), 0), 1000)))
	if err != nil || sum.Noted != 1000 || len(sum.Notes) != maxNotes {
		t.Errorf("1000 labels: %d noted, %d notes, %v", sum.Noted, len(sum.Notes), err)
	}
	want := Note{Offset: 512, Path: strings.Repeat("n", 99), Text: "unknown type 'V': left out"}
	if sum.Notes[1] != want {
		t.Errorf("second note = %+v, want %+v", sum.Notes[1], want)
	}
}

func TestScanStopsOnError(t *testing.T) {
	stop := errors.New("stop")
	n := 0
	_, err := Scan(NewReaderSource(bytes.NewReader(tarOf(tarZero, tarZero))), func(*Entry) error { n++; return stop })
	if err != stop || n != 1 {
		t.Errorf("error of emit: %v after %d entries, want it as it is after 1", err, n)
	}
	broken := errors.New("broken disk")
	for _, n := range []int{0, 100, 512, 700, 1536, 2000} {
		layer := tarOf(tarFile("a", "x"), tarPAX("path", "p"), tarZero)
		src := NewReaderSource(io.MultiReader(bytes.NewReader(layer[:n]), failing{broken}))
		if _, err := Scan(src, func(*Entry) error { return nil }); err != broken {
			t.Errorf("source that breaks at %d: %v, want its error as it is", n, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// What emit was given may be kept, but for the Entry itself.
func TestScanKeeps(t *testing.T) {
	layer := tarOf(
		tarPAX("path", "first", "SCHILY.xattr.user.a", "1"), tarFile("a", ""),
		tarPAX("path", "other", "SCHILY.xattr.user.a", "2"), tarFile("b", ""),
		tarPAX("GNU.sparse.map", "0,1", "GNU.sparse.size", "9"), tarFile("c", "x"),
		tarPAX("GNU.sparse.map", "1,1", "GNU.sparse.size", "9"), tarFile("d", "x"),
	)
	got, _, err := scanAll(layer)
	want := []Entry{
		{Path: "first", Type: Regular, Mode: 0o644, Off: 1536, Xattrs: []Xattr{{"user.a", []byte("1")}}},
		{Path: "other", Type: Regular, Mode: 0o644, Off: 3072, Xattrs: []Xattr{{"user.a", []byte("2")}}},
		{Path: "c", Type: Regular, Mode: 0o644, Size: 9, Off: 4608, Sparse: []Extent{{0, 1}}},
		{Path: "d", Type: Regular, Mode: 0o644, Size: 9, Off: 6656, Sparse: []Extent{{1, 1}}},
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

// zeros is 1 TiB of them after a head.
type zeros struct{ head []byte }

func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(z.head)) {
		copy(p, z.head[off:])
	}
	return len(p), nil
}

func TestScanLargeFile(t *testing.T) {
	const size = 100 << 30
	for about, layer := range map[string][]byte{
		"base-256": tarHeader(flagRegular, "a", 0, gnu, set(124, "\x80\x00\x00\x00\x00\x00\x00\x19\x00\x00\x00\x00")),
		"PAX":      append(tarPAX("size", "107374182400"), tarHeader(flagRegular, "a", 0)...),
	} {
		var got []Entry
		sum, err := Scan(NewReaderAtSource(zeros{layer}, 1<<40), func(e *Entry) error { got = append(got, *e); return nil })
		want := []Entry{{Path: "a", Type: Regular, Mode: 0o644, Size: size, Off: int64(len(layer))}}
		if !cmp.Equal(got, want) || err != nil || sum.End != int64(len(layer))+size+1024 {
			t.Errorf("%s: %v, %+v, %v", about, got, sum, err)
		}
	}
}
