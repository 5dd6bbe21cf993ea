package toc

import "encoding/binary"

// Codec says how the bytes of a layer are to be had from the file that the
// spans point into.
type Codec uint8

const (
	Plain Codec = iota + 1 // the blob is the tar itself; spans are PlainSpan long
	Gzip                   // points of package inflate
	Zstd                   // points of package unzstd
	// EStargz and ZstdChunked are layers that are read by the table of contents
	// that they carry: spans are runs of chunks.
	EStargz
	ZstdChunked
)

func (c Codec) String() string {
	switch c {
	case Plain:
		return "tar"
	case Gzip:
		return "gzip"
	case Zstd:
		return "zstd"
	case EStargz:
		return "estargz"
	case ZstdChunked:
		return "zstd:chunked"
	}
	return "unknown"
}

// PlainSpan is the length in bytes of the spans of a layer that is not
// compressed.
const PlainSpan = 256 << 10

// Info is what an index says of its layer as a whole.
type Info struct {
	Codec     Codec
	BlobSize  int64  // bytes as stored
	LayerSize int64  // bytes uncompressed, to the end of the stream
	Digest    string // of the bytes as stored, "sha256:…"
	DiffID    string // of the uncompressed bytes, "sha256:…"
	Entries   int64  // markers not counted
	Markers   int64
	// Notes are the scan's, as text: what of the layer was left out.
	Notes []string
	// Table is, for a layer with chunks, what the manifest says of the table:
	// its digests. Digest and DiffID are then what the manifest says and have not
	// been checked; the table says what the layer holds, and has a digest of
	// each chunk.
	Table string
}

func putInfo(i *Info) []byte {
	var b []byte
	b = append(b, byte(i.Codec))
	for _, n := range []int64{i.BlobSize, i.LayerSize, i.Entries, i.Markers} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	b = putString(b, i.Digest)
	b = putString(b, i.DiffID)
	notes := i.Notes[:min(len(i.Notes), maxNotes)]
	b = binary.AppendUvarint(b, uint64(len(notes)))
	for _, n := range notes {
		b = putString(b, n)
	}
	if i.Codec.Chunked() {
		b = putString(b, i.Table)
	}
	return b
}

func getInfo(b []byte) (i Info, ok bool) {
	c := cursor{b: b}
	if k := c.bytes(1); k != nil {
		i.Codec = Codec(k[0])
	}
	for _, p := range []*int64{&i.BlobSize, &i.LayerSize, &i.Entries, &i.Markers} {
		v := c.uvarint()
		*p = int64(v)
		c.bad = c.bad || *p < 0
	}
	i.Digest, i.DiffID = c.string(), c.string()
	n := c.uvarint()
	if n > maxNotes {
		return i, false
	}
	for range n {
		i.Notes = append(i.Notes, c.string())
	}
	if i.Codec.Chunked() {
		i.Table = c.string()
	}
	return i, !c.bad && i.Codec >= Plain && i.Codec <= ZstdChunked
}
