package toc

import "encoding/binary"

// A Span is a run of a layer's uncompressed bytes that is decoded as one,
// from a checkpoint that needs nothing of the span before it.
type Span struct {
	In, InEnd   int64 // where its bytes lie in the blob
	Out, OutEnd int64 // the bytes of the layer that it gives
	point       pointRecord
	firstSum    int64 // number of its first block's checksum
}

// Len is the span's length in uncompressed bytes.
func (s Span) Len() int64 { return s.OutEnd - s.Out }

// A pointRecord is a checkpoint as the file has it.
type pointRecord struct {
	in, out      int64
	head         int64  // of gzip: the header of the block; of chunks: where the last one ends in the blob
	winOff       int64  // window or state in the windows section; of chunks: the first
	winLen       uint32 // 0: none; of chunks: how many
	winRaw       uint32 // of gzip: bytes of the window, uncompressed
	bit, headBit uint8
	kind         uint8 // an inflate.PointKind or unzstd.PointKind
}

func (p *pointRecord) put(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, uint64(p.in))
	b = le.AppendUint64(b, uint64(p.out))
	b = le.AppendUint64(b, uint64(p.head))
	b = le.AppendUint64(b, uint64(p.winOff))
	b = le.AppendUint32(b, p.winLen)
	b = le.AppendUint32(b, p.winRaw)
	return append(b, p.bit, p.headBit, p.kind, 0)
}

func getPoint(b []byte) pointRecord {
	le := binary.LittleEndian
	return pointRecord{
		in: int64(le.Uint64(b)), out: int64(le.Uint64(b[8:])), head: int64(le.Uint64(b[16:])),
		winOff: int64(le.Uint64(b[24:])), winLen: le.Uint32(b[32:]), winRaw: le.Uint32(b[36:]),
		bit: b[40], headBit: b[41], kind: b[42],
	}
}

// follows says whether a point may come after prev in the layer: rising in
// what they give and in what they are given, of which two may share a byte.
func (p *pointRecord) follows(prev pointRecord, first bool, info *Info) bool {
	if first {
		return p.out == 0
	}
	return p.out > prev.out && p.out < info.LayerSize && p.in >= prev.in
}

// sound says whether a point's numbers are in range.
func (p *pointRecord) sound(info *Info, windows int) bool {
	if p.in < 0 || p.bit > 7 || p.headBit > 7 || p.winRaw > maxWindow || p.winOff < 0 || p.winOff > int64(windows) || int64(p.winLen) > int64(windows)-p.winOff {
		return false
	}
	return p.in <= info.BlobSize && p.head >= 0 && p.head <= p.in
}

// maxWindow is how far back a match may reach, in bytes (RFC 1951 §2).
const maxWindow = 32 << 10
