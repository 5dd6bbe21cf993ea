package toc

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// gnuSparse is the header of the old format with the first four extents; more
// says that a block with others follows.
func gnuSparse(name string, stored, size int, extents []Extent, more bool) []byte {
	return tarHeader(flagGNUSparse, name, stored, gnu, func(b *block) {
		copy(b[386:482], gnuExtents(extents))
		copy(b[483:495], fmt.Sprintf("%011o\x00", size))
		if more {
			b[482] = 1
		}
	})
}

func gnuExtents(extents []Extent) string {
	var s strings.Builder
	for _, x := range extents {
		fmt.Fprintf(&s, "%011o\x00%011o\x00", x.Off, x.Len)
	}
	return s.String()
}

// gnuMore is a block of further extents.
func gnuMore(extents []Extent, more bool) []byte {
	b := make([]byte, blockSize)
	copy(b, gnuExtents(extents))
	if more {
		b[504] = 1
	}
	return b
}

// every is n extents of one byte at each second one, from 1 on.
func every(n int) []Extent {
	xs := make([]Extent, n)
	for i := range xs {
		xs[i] = Extent{int64(2*i + 1), 1}
	}
	return xs
}

func sparseFile(size, off int64, extents ...Extent) Entry {
	return Entry{Path: "s", Type: Regular, Mode: 0o644, Size: size, Off: off, Sparse: extents}
}

func oneHole(size, off int64) Entry {
	e := sparseFile(size, off)
	e.Sparse = []Extent{}
	return e
}

// sparse10 are the records of the newest form; its last value follows.
var sparse10 = []string{"GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "s", "GNU.sparse.realsize"}

var sparseTests = []struct {
	about string
	layer []byte
	want  []Entry
}{
	{
		about: "old GNU: map in the header",
		layer: tarOf(gnuSparse("s", 3, 9000, []Extent{{10, 1}, {4096, 2}, {9000, 0}}, false), tarData("abc"), tarZero),
		want:  []Entry{sparseFile(9000, 512, Extent{10, 1}, Extent{4096, 2}), after(1024)},
	},
	{
		about: "old GNU: two blocks of further extents, the last one with an empty field before its end",
		layer: tarOf(gnuSparse("s", 30, 100, every(4), true), gnuMore(every(25)[4:], true), gnuMore(every(30)[25:], false), tarData(strings.Repeat("x", 30)), tarZero),
		want:  []Entry{sparseFile(100, 1536, every(30)...), after(2048)},
	},
	{
		about: "old GNU: further extents though the first block has room",
		layer: tarOf(gnuSparse("s", 2, 9, []Extent{{1, 1}}, true), gnuMore([]Extent{{3, 1}}, false), tarData("ab"), tarZero),
		want:  []Entry{sparseFile(9, 1024, Extent{1, 1}, Extent{3, 1}), after(1536)},
	},
	{
		about: "old GNU: one hole",
		layer: tarOf(gnuSparse("s", 0, 1<<30, []Extent{{1 << 30, 0}}, false), tarZero),
		want:  []Entry{oneHole(1<<30, 512), after(512)},
	},
	{
		about: "old GNU: no holes, in two extents",
		layer: tarOf(gnuSparse("s", 3, 3, []Extent{{0, 1}, {1, 0}, {1, 2}}, false), tarData("abc")),
		want:  []Entry{sparseFile(3, 512)},
	},
	{
		about: "PAX 0.0",
		layer: tarOf(tarPAX("GNU.sparse.size", "20", "GNU.sparse.numblocks", "2", "GNU.sparse.offset", "5", "GNU.sparse.numbytes", "2", "GNU.sparse.offset", "10", "GNU.sparse.numbytes", "1"), tarFile("s", "abc"), tarZero),
		want:  []Entry{sparseFile(20, 1536, Extent{5, 2}, Extent{10, 1}), after(2048)},
	},
	{
		about: "PAX 0.1",
		layer: tarOf(tarPAX("GNU.sparse.size", "20", "GNU.sparse.numblocks", "2", "GNU.sparse.name", "s", "GNU.sparse.map", "5,2,10,1"), tarFile("GNUSparseFile.1/s", "abc"), tarZero),
		want:  []Entry{sparseFile(20, 1536, Extent{5, 2}, Extent{10, 1}), after(2048)},
	},
	{
		about: "PAX 0.1 with its number",
		layer: tarOf(tarPAX("GNU.sparse.major", "0", "GNU.sparse.minor", "1", "GNU.sparse.size", "20", "GNU.sparse.numblocks", "0", "GNU.sparse.map", ""), tarFile("s", ""), tarZero),
		want:  []Entry{oneHole(20, 1536), after(1536)},
	},
	{
		about: "PAX 1.0",
		layer: tarOf(tarPAX(append(sparse10, "20")...), tarFile("GNUSparseFile.1/s", string(tarData("2\n5\n2\n10\n1\n"))+"abc"), tarZero),
		want:  []Entry{sparseFile(20, 2048, Extent{5, 2}, Extent{10, 1}), after(2560)},
	},
	{
		about: "PAX 1.0: a map of several blocks, a number across two",
		layer: tarOf(tarPAX(append(sparse10, "1000")...), tarFile("x", string(tarData(map10(every(300))))+strings.Repeat("x", 300)), tarZero),
		want:  []Entry{sparseFile(1000, int64(1536+len(tarData(map10(every(300))))), every(300)...), after(int64(2048 + len(tarData(map10(every(300))))))},
	},
	{
		about: "PAX 1.0: one hole",
		layer: tarOf(tarPAX(append(sparse10, "1048576")...), tarFile("x", string(tarData("0\n"))), tarZero),
		want:  []Entry{oneHole(1<<20, 2048), after(2048)},
	},
	{
		about: "PAX size of what is stored",
		layer: tarOf(tarPAX(append(sparse10, "20", "size", "515")...), tarHeader(flagRegular, "x", 0), tarData("2\n5\n2\n10\n1\n"), tarData("abc"), tarZero),
		want:  []Entry{sparseFile(20, 2048, Extent{5, 2}, Extent{10, 1}), after(2560)},
	},
}

func map10(extents []Extent) string {
	s := fmt.Appendln(nil, len(extents))
	for _, x := range extents {
		s = fmt.Appendf(s, "%d\n%d\n", x.Off, x.Len)
	}
	return string(s)
}

func TestSparse(t *testing.T) {
	for _, tt := range sparseTests {
		got, _, err := scanAll(tt.layer)
		if d := cmp.Diff(tt.want, got); err != nil || d != "" {
			t.Errorf("%s: error %v, entries (-want +got):\n%s", tt.about, err, d)
		}
	}
}

func TestSparseRefuses(t *testing.T) {
	pax01 := func(size, m string) []byte {
		return tarOf(tarPAX("GNU.sparse.size", size, "GNU.sparse.map", m), tarFile("s", "abc"))
	}
	pax10 := func(m string) []byte {
		return tarOf(tarPAX(append(sparse10, "20")...), tarFile("s", m+"abc"), tarZero)
	}
	gnuMany := gnuSparse("s", 0, 9, nil, true)
	for range maxExtents/21 + 1 {
		gnuMany = append(gnuMany, gnuMore(make([]Extent, 21), true)...)
	}
	for _, tt := range []struct {
		about string
		layer []byte
		err   string
	}{
		{"old GNU: too many", gnuMany, "more than 262144 extents"},
		{"falling", pax01("20", "10,1,5,2"), "out of order"},
		{"overlapping", pax01("20", "5,2,6,1"), "out of order"},
		{"beyond the end", pax01("20", "5,2,20,1"), "beyond the 20 bytes"},
		{"overflow", pax01("20", "5,2,9223372036854775807,1"), "beyond the 20 bytes"},
		{"negative offset", pax01("20", "-5,3"), "out of order"},
		{"negative length", pax01("20", "5,4,10,-1"), "out of order"},
		{"half an extent", pax01("20", "5,3,6"), "not a list of numbers"},
		{"no number", pax01("20", "5,x"), "not a list of numbers"},
		{"negative size", pax01("-20", "0,3"), "-20 bytes"},
		{"size no number", pax01("many", "0,3"), `size "many" is no number`},
		{"less stored than in the map", pax01("20", "5,4"), "3 bytes of data, its map tells of 4"},
		{"more stored than in the map", pax01("20", "5,2"), "3 bytes of data, its map tells of 2"},
		{"wrong count", tarOf(tarPAX("GNU.sparse.size", "20", "GNU.sparse.numblocks", "2", "GNU.sparse.map", "5,3"), tarFile("s", "abc")), `"2" extents announced, 1 found`},
		{"0.0: two offsets", tarOf(tarPAX("GNU.sparse.offset", "1", "GNU.sparse.offset", "2"), tarZero), "not a list"},
		{"0.0: two lengths", tarOf(tarPAX("GNU.sparse.numbytes", "1", "GNU.sparse.offset", "2"), tarZero), "not a list"},
		{"0.0: last length missing", tarOf(tarPAX("GNU.sparse.offset", "1", "GNU.sparse.numbytes", "1", "GNU.sparse.offset", "2"), tarFile("s", "x")), "not a list"},
		{"unknown version", tarOf(tarPAX("GNU.sparse.major", "2", "GNU.sparse.minor", "0"), tarFile("s", "")), `unknown format "2.0"`},
		{"a directory", tarOf(tarPAX(append(sparse10, "20")...), tarDir("s"), tarData("0\n")), "not a regular file"},
		{"1.0: no count", pax10("\n" + strings.Repeat("\n", 511)), "not a list"},
		{"1.0: negative count", pax10(string(tarData("-1\n"))), "not a list"},
		{"1.0: letters", pax10(string(tarData("1\nx\n1\n"))), "not a list"},
		{"1.0: letters in an offset", pax10(string(tarData("1\n1x\n1\n"))), "not a list"},
		{"0.0: no number", tarOf(tarPAX("GNU.sparse.offset", "x", "GNU.sparse.numbytes", "1"), tarZero), "not a list"},
		{"1.0: endless number", pax10(strings.Repeat("0", 512)), "not a list"},
		{"1.0: a count beyond what is there", pax10(string(tarData("1000000\n1\n1\n"))), "not a list"},
		{"1.0: too many", tarOf(tarPAX(append(sparse10, "20")...), tarFile("s", fmt.Sprintln(maxExtents+1)+strings.Repeat("0\n", 2*(maxExtents+1)))), "more than 262144 extents"},
		{"1.0: data shorter than the map", tarOf(tarPAX(append(sparse10, "20")...), tarFile("s", "1\n5\n3\n")), "its map tells of 515"},
		{"old GNU in a ustar header", tarOf(tarHeader(flagGNUSparse, "s", 0)), "of a tar other than GNU"},
		{"old GNU: no number", tarOf(tarHeader(flagGNUSparse, "s", 0, gnu, set(386, "x"))), "not a list"},
		{"old GNU: size no number", tarOf(tarHeader(flagGNUSparse, "s", 0, gnu, set(483, "x"))), "not a list"},
		{"old GNU: cut off in the map", gnuSparse("s", 0, 9, nil, true), "unexpected EOF"},
	} {
		got, _, err := scanAll(tt.layer)
		if !isFormatError(err) || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, error %v; want a *FormatError with %q", tt.about, got, err, tt.err)
		}
	}
}
