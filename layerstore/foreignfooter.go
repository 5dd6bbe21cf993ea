package layerstore

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"

	"mica/layerstore/blob"
	"mica/layerstore/inflate"
	"mica/layerstore/toc"
	"mica/layerstore/unzstd"
)

// maxTable bounds a table of contents in bytes, compressed or not: 300,000
// files and more. A layer whose table is longer is indexed like any other.
const maxTable = 128 << 20

// A tablePlace is where in a blob its table of contents lies.
type tablePlace struct {
	codec     toc.Codec
	off, size int64 // of the compressed table
	plain     int64 // its length uncompressed; 0 is not known yet
	dataEnd   int64 // where what the table tells of ends
}

// Lengths of footers in bytes.
const (
	stargzFooter   = 51
	legacyFooter   = 47
	externalFooter = 46
)

var (
	errNoFooter = errors.New("no footer")
	errExternal = errors.New("it is in another image")
)

// findTable reads the footer of a blob.
func findTable(src blob.Source) (tablePlace, error) {
	head := make([]byte, blob.SniffLen)
	n, err := src.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return tablePlace{}, err
	}
	tail := make([]byte, min(src.Size(), chunkedFooters[0]+8))
	if _, err := src.ReadAt(tail, src.Size()-int64(len(tail))); err != nil && err != io.EOF {
		return tablePlace{}, err
	}
	var p tablePlace
	switch c := blob.Sniff(head[:n]); c {
	case blob.Gzip:
		p, err = parseStargzFooter(tail, src.Size())
	case blob.Zstd:
		p, err = parseChunkedFooter(tail, src.Size())
	default:
		return p, fmt.Errorf("it cannot be in a blob of %v", c)
	}
	if err == nil && (p.size > maxTable || p.plain > maxTable) {
		err = fmt.Errorf("it has %d bytes", max(p.size, p.plain))
	}
	return p, err
}

// parseStargzFooter reads the end of a blob of size bytes: an empty gzip
// member, in whose extra field is where the table begins.
func parseStargzFooter(tail []byte, size int64) (tablePlace, error) {
	for _, kind := range []struct {
		n     int    // bytes of the footer
		extra string // the extra field, %s stands for the offset
	}{
		{stargzFooter, "\x1a\x00SG\x16\x00%sSTARGZ"},
		{legacyFooter, "\x16\x00%sSTARGZ"},
		{externalFooter, "\x15\x00SG\x11\x00STARGZEXTERNALTOC"},
	} {
		if len(tail) < kind.n {
			continue
		}
		b := tail[len(tail)-kind.n:]
		before, after, offset := bytes.Cut([]byte(kind.extra), []byte("%s"))
		extra, ok := bytes.CutPrefix(b, append([]byte("\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff"), before...))
		if !ok {
			continue
		}
		extra, ok = bytes.CutSuffix(extra, append(after, "\x01\x00\x00\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00"...))
		if !ok {
			continue
		}
		if !offset {
			return tablePlace{}, errExternal
		}
		end := size - int64(kind.n)
		off, err := strconv.ParseUint(string(extra), 16, 63)
		if err != nil || int64(off) >= end {
			return tablePlace{}, fmt.Errorf("footer: offset %q in %d bytes", extra, end)
		}
		return tablePlace{codec: toc.EStargz, off: int64(off), size: end - int64(off), dataEnd: int64(off)}, nil
	}
	return tablePlace{}, errNoFooter
}

// chunkedFooters are the lengths of what the last frame of a zstd:chunked blob
// can hold: that of containers/storage, and that of stargz-snapshotter and of
// containers/storage before it had a tar-split.
var chunkedFooters = []int64{64, 40}

// parseChunkedFooter reads the end of a blob of size bytes: a skippable frame
// with numbers of 8 bytes and a magic.
func parseChunkedFooter(tail []byte, size int64) (tablePlace, error) {
	le := binary.LittleEndian
	for _, n := range chunkedFooters {
		if int64(len(tail)) < 8+n {
			continue
		}
		b := tail[int64(len(tail))-8-n:]
		magic := string(b[n:])
		if le.Uint32(b) != skippable || int64(le.Uint32(b[4:])) != n || magic != "GNUlInUx" && magic != "GnUlInUx" {
			continue
		}
		off, packed, plain, kind := le.Uint64(b[8:]), le.Uint64(b[16:]), le.Uint64(b[24:]), le.Uint64(b[32:])
		end := uint64(size - 8 - n)
		if kind != 1 {
			return tablePlace{}, fmt.Errorf("footer: table of type %d", kind)
		}
		if off < 8 || off > end || packed > end-off || plain > 1<<62 {
			return tablePlace{}, fmt.Errorf("footer: %d bytes at %d in %d", packed, off, end)
		}
		// The table is a skippable frame, its header not counted.
		return tablePlace{codec: toc.ZstdChunked, off: int64(off), size: int64(packed), plain: int64(plain), dataEnd: int64(off) - 8}, nil
	}
	return tablePlace{}, errNoFooter
}

// skippable is the magic of the skippable frames that zstd:chunked uses.
const skippable = 0x184d2a50

// open gives the text of the table out of its compressed bytes.
func (p *tablePlace) open(src io.Reader) (io.Reader, error) {
	if p.codec == toc.ZstdChunked {
		return &exactReader{unzstd.NewReader(src, unzstd.Options{MaxWindow: 32 << 20}), p.plain}, nil
	}
	archive := tar.NewReader(inflate.NewReader(src, inflate.Options{}))
	h, err := archive.Next()
	if err != nil {
		return nil, err
	}
	if h.Name != "stargz.index.json" || h.Typeflag != tar.TypeReg || h.Size > maxTable {
		return nil, fmt.Errorf("%q of %d bytes is in its place", h.Name, h.Size)
	}
	return archive, nil
}

// An exactReader fails unless there are as many bytes as there should be.
type exactReader struct {
	r    io.Reader
	left int64
}

func (e *exactReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.left -= int64(n)
	if e.left < 0 || e.left > 0 && err == io.EOF {
		return 0, errors.New("it is not as long as the footer says")
	}
	return n, err
}
