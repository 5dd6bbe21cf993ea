package tarball

import (
	"archive/tar"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"mica/layerstore/toc"
)

// archive/tar reads sparse files but cannot write them, so what stands for one
// is put together here: a PAX header, then a ustar header, then as its data the
// map and the bytes that are no hole (GNU tar manual, "Storing Sparse Files",
// format 1.0).

const tarBlock = 512

// addSparse writes a file with holes.
func (w *Writer) addSparse(h *tar.Header, e *toc.Entry, contents Contents) error {
	// Ends what archive/tar has begun; it takes no notice of what comes between.
	if err := w.tar.Flush(); err != nil {
		return err
	}
	extents, layout := storedExtents(e.Sparse, e.Size)
	stored := int64(len(layout))
	for _, x := range extents {
		stored += x.Len
	}
	records := map[string]string{
		"GNU.sparse.major": "1", "GNU.sparse.minor": "0",
		"GNU.sparse.name": h.Name, "GNU.sparse.realsize": strconv.FormatInt(e.Size, 10),
		"mtime": paxTime(e.Mtime),
		"uid":   strconv.Itoa(h.Uid), "gid": strconv.Itoa(h.Gid),
		"size": strconv.FormatInt(stored, 10),
	}
	maps.Copy(records, h.PAXRecords)
	pax := paxRecords(records)
	// The names are for readers that know nothing of PAX.
	w.w.Write(ustarHeader("PaxHeaders/GNUSparseFile", tar.TypeXHeader, 0o644, int64(len(pax))))
	w.w.Write(padded(pax))
	w.w.Write(ustarHeader("GNUSparseFile.0", tar.TypeReg, h.Mode, stored))
	if _, err := w.w.Write(layout); err != nil { // as those before
		return err
	}
	for _, x := range extents {
		if err := contents(w.w, x.Off, x.Len); err != nil {
			return err
		}
	}
	_, err := w.w.Write(make([]byte, -stored&(tarBlock-1)))
	return err
}

// maxMap is how long a map archive/tar reads.
const maxMap = 1 << 20

// storedExtents gives the extents that a file is stored as, and their map.
// There are no more holes than a map may have.
func storedExtents(data []toc.Extent, size int64) (extents []toc.Extent, layout []byte) {
	for block := int64(tarBlock); ; block *= 2 {
		extents = wholeBlocks(data, size, block)
		if layout = padded(sparseMap(extents, size)); len(layout) <= maxMap {
			return extents, layout
		}
	}
}

// wholeBlocks gives the extents of a file, grown to blocks. The format has them
// one after the other, but GNU tar begins to read each at a block of the
// archive; so that readers agree, all but the last end there.
func wholeBlocks(data []toc.Extent, size, block int64) []toc.Extent {
	var extents []toc.Extent
	for _, x := range data {
		start := x.Off &^ (block - 1)
		end := size
		if left := size - x.Off - x.Len; left >= block {
			end = (x.Off + x.Len + block - 1) &^ (block - 1)
		}
		if n := len(extents); n > 0 && extents[n-1].Off+extents[n-1].Len >= start {
			extents[n-1].Len = end - extents[n-1].Off
			continue
		}
		extents = append(extents, toc.Extent{Off: start, Len: end - start})
	}
	return extents
}

// sparseMap gives the count of extents, then of each offset and length, a
// line a number. An empty one at the end stands for a hole there.
func sparseMap(extents []toc.Extent, size int64) []byte {
	end := int64(0)
	if n := len(extents); n > 0 {
		end = extents[n-1].Off + extents[n-1].Len
	}
	if end < size {
		extents = append(slices.Clip(extents), toc.Extent{Off: size})
	}
	b := fmt.Appendln(nil, len(extents))
	for _, x := range extents {
		b = fmt.Appendf(b, "%d\n%d\n", x.Off, x.Len)
	}
	return b
}

// paxTime gives a time in seconds, with a fraction if it has one.
func paxTime(t toc.Time) string {
	sec, nsec := t.Sec, int64(t.Nsec)
	sign := ""
	if sec < 0 && nsec > 0 { // -1.25 is -2 and .75
		sec, nsec = sec+1, 1e9-nsec
		if sec == 0 {
			sign = "-"
		}
	}
	s := sign + strconv.FormatInt(sec, 10)
	if nsec > 0 {
		s += strings.TrimRight(fmt.Sprintf(".%09d", nsec), "0")
	}
	return s
}

// paxRecords gives records in the order of their keywords.
func paxRecords(records map[string]string) []byte {
	var b []byte
	for _, key := range slices.Sorted(maps.Keys(records)) {
		rest := " " + key + "=" + records[key] + "\n"
		// The length counts its own digits.
		n := len(rest) + 1
		for n != len(rest)+len(strconv.Itoa(n)) {
			n = len(rest) + len(strconv.Itoa(n))
		}
		b = append(strconv.AppendInt(b, int64(n), 10), rest...)
	}
	return b
}

// ustarHeader gives the header of a member whose numbers, but for the mode,
// are in the PAX header before it.
func ustarHeader(name string, kind byte, mode, size int64) []byte {
	b := make([]byte, tarBlock)
	copy(b[0:100], name)
	octal := func(field []byte, n int64) {
		if digits := fmt.Sprintf("%0*o", len(field)-1, n); len(digits) < len(field) {
			copy(field, digits)
		} else { // more than fits: PAX tells
			copy(field, strings.Repeat("0", len(field)-1))
		}
	}
	octal(b[100:108], mode)
	octal(b[108:116], 0) // owner
	octal(b[116:124], 0) // group
	octal(b[124:136], size)
	octal(b[136:148], 0) // time
	copy(b[148:156], "        ")
	b[156] = kind
	copy(b[257:265], "ustar\x0000")
	sum := int64(0)
	for _, c := range b {
		sum += int64(c)
	}
	octal(b[148:155], sum)
	b[154] = 0
	return b
}

// padded fills up to a whole block with zeros.
func padded(b []byte) []byte {
	return append(b, make([]byte, -len(b)&(tarBlock-1))...)
}
