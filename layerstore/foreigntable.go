package layerstore

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"mica/layerstore/toc"
)

// A tableEntry is one row of a table of contents, in both formats' words.
type tableEntry struct {
	Name        string            `json:"name"`
	Type        string            `json:"type"`
	Size        int64             `json:"size"`
	ModTime     string            `json:"modtime"`
	LinkName    string            `json:"linkName"`
	Mode        int64             `json:"mode"`
	UID         int64             `json:"uid"`
	GID         int64             `json:"gid"`
	DevMajor    int64             `json:"devMajor"`
	DevMinor    int64             `json:"devMinor"`
	Xattrs      map[string][]byte `json:"xattrs"`
	Digest      string            `json:"digest"`
	Offset      int64             `json:"offset"`
	InnerOffset int64             `json:"innerOffset"`
	EndOffset   int64             `json:"endOffset"`
	ChunkOffset int64             `json:"chunkOffset"`
	ChunkSize   int64             `json:"chunkSize"`
	ChunkDigest string            `json:"chunkDigest"`
	ChunkType   string            `json:"chunkType"`
}

// Bounds of a table.
const (
	maxTableEntries = 1 << 19
	maxTableEntry   = 4 << 20 // bytes
)

// tarBlock is the length in bytes that all parts of a tar are multiples of.
const tarBlock = 512

// A tableReader puts what a table says into an index, and refuses what does
// not fit together: where contents lie must rise from row to row.
type tableReader struct {
	w     *toc.Writer
	codec toc.Codec
	end   int64 // of the blob's part that holds contents

	describer toc.Describer
	rows      int
	size      int64 // of all chunks so far
	file      tableEntry
	chunks    []tableChunk // of file, a regular file whose rows are still coming
	// Where the chunk before ends, and where the headers begin that follow the
	// file before.
	last     toc.Chunk
	headIn   int64
	headSkip int64
}

// A tableChunk is what a row says of a part of a file.
type tableChunk struct {
	in, skip, off, size int64
	digest              string
	// hole says that the chunk is zeros which are not worth reading. Short ones
	// are read like data: their frames are there, and the tar has no holes.
	hole bool
}

var errLossy = errors.New("a name in it may have been altered to fit JSON")

// read takes in the JSON of a table.
func (t *tableReader) read(src io.Reader) error {
	bounded := &boundedReader{src, maxTableEntry}
	dec := json.NewDecoder(bounded)
	if err := expect(dec, json.Delim('{')); err != nil {
		return err
	}
	version := false
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		switch key {
		case "version":
			if err := expect(dec, float64(1)); err != nil {
				return err
			}
			version = true
		case "entries":
			if err := t.readEntries(dec, bounded); err != nil {
				return err
			}
		default:
			if err := dec.Decode(new(json.RawMessage)); err != nil {
				return err
			}
		}
	}
	if err := expect(dec, json.Delim('}')); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("something follows it: %v", err)
	}
	if !version || t.rows == 0 {
		return errors.New("no version, or no entries")
	}
	return nil
}

func expect(dec *json.Decoder, want json.Token) error {
	got, err := dec.Token()
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%v in place of %v", got, want)
	}
	return nil
}

func (t *tableReader) readEntries(dec *json.Decoder, bounded *boundedReader) error {
	if t.rows > 0 {
		return errors.New("two lists of entries")
	}
	if err := expect(dec, json.Delim('[')); err != nil {
		return err
	}
	for dec.More() {
		bounded.left = maxTableEntry
		var row tableEntry
		if err := dec.Decode(&row); err != nil {
			return err
		}
		if t.rows++; t.rows > maxTableEntries {
			return toc.OverLimit("more than %d entries", maxTableEntries)
		}
		if err := t.add(&row); err != nil {
			return err
		}
	}
	if err := t.finishFile(); err != nil {
		return err
	}
	return expect(dec, json.Delim(']'))
}

// A boundedReader fails when more is read than is allowed in one go.
type boundedReader struct {
	r    io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p[:min(len(p), 64<<10)])
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("an entry of more than %d bytes", maxTableEntry)
	}
	return n, err
}

// add takes in one row.
func (t *tableReader) add(row *tableEntry) error {
	if row.Type == "chunk" {
		if len(t.chunks) == 0 || row.Name != t.file.Name {
			return fmt.Errorf("%.256q: a chunk of no file", row.Name)
		}
		return t.addChunk(row)
	}
	if err := t.finishFile(); err != nil {
		return err
	}
	if row.Type == "reg" && row.Size != 0 {
		t.file = *row
		return t.addChunk(row)
	}
	e, err := t.describe(row)
	if err != nil {
		return fmt.Errorf("%.256q: %w", row.Name, err)
	}
	if e == nil {
		return nil
	}
	e.Off = t.start()
	return t.w.Add(e)
}

func (t *tableReader) addChunk(row *tableEntry) error {
	c := tableChunk{in: row.Offset, skip: row.InnerOffset, off: row.ChunkOffset, size: row.ChunkSize, digest: row.ChunkDigest}
	switch row.ChunkType {
	case "":
	case "zeros":
		c.hole = c.size > toc.MaxChunk
	default:
		return fmt.Errorf("%.256q: chunk of type %q", row.Name, row.ChunkType)
	}
	t.chunks = append(t.chunks, c)
	return nil
}

// start is where the next chunk begins in the layer.
func (t *tableReader) start() int64 {
	info := toc.Info{Codec: t.codec, LayerSize: t.size}
	return info.End()
}

var tableTypes = map[string]toc.Type{
	"reg": toc.Regular, "dir": toc.Dir, "symlink": toc.Symlink, "hardlink": toc.Hardlink,
	"char": toc.Char, "block": toc.Block, "fifo": toc.Fifo,
}

// describe makes an entry of a row, nil for one that is not to be shown.
func (t *tableReader) describe(row *tableEntry) (*toc.Entry, error) {
	d := toc.Description{
		Name: row.Name, Link: row.LinkName, Type: tableTypes[row.Type], Mode: row.Mode, UID: row.UID, GID: row.GID,
		Size: row.Size, Major: row.DevMajor, Minor: row.DevMinor, Xattrs: row.Xattrs,
	}
	if d.Type == 0 {
		return nil, fmt.Errorf("an entry of type %q", row.Type)
	}
	if lossy(row.Name) || lossy(row.LinkName) {
		return nil, errLossy
	}
	for name := range row.Xattrs {
		if lossy(name) {
			return nil, errLossy
		}
	}
	if row.ModTime != "" {
		m, err := time.Parse(time.RFC3339Nano, row.ModTime)
		if err != nil {
			return nil, err
		}
		d.Mtime = toc.Time{Sec: m.Unix(), Nsec: uint32(m.Nanosecond())}
	}
	return t.describer.Entry(&d)
}

// lossy says whether s may have had bytes that are no UTF-8: what writes or
// reads JSON puts U+FFFD in their place.
func lossy(s string) bool { return strings.ContainsRune(s, utf8.RuneError) }

// finishFile takes in the regular file whose rows are all there, if there is
// one.
func (t *tableReader) finishFile() error {
	if len(t.chunks) == 0 {
		return nil
	}
	if err := t.placeFile(); err != nil {
		return fmt.Errorf("%.256q: %w", t.file.Name, err)
	}
	t.chunks = t.chunks[:0]
	return nil
}

func (t *tableReader) placeFile() error {
	if err := t.fitChunks(); err != nil {
		return err
	}
	e, err := t.describe(&t.file)
	if err != nil {
		return err
	}
	file := toc.NoFile
	if e != nil {
		e.Off = t.start()
		e.Sparse = t.extents()
		if err := t.w.Add(e); err != nil {
			return err
		}
	}
	if e != nil {
		h := toc.Header{In: t.headIn, Skip: t.headSkip, End: t.chunks[0].in, EndAt: t.chunks[0].skip}
		file = t.w.AddHeader(h, e)
	}
	for _, c := range t.chunks {
		if err := t.placeChunk(c, file); err != nil {
			return err
		}
	}
	return t.endFile()
}

// fitChunks completes what rows may leave out, and checks that the chunks of
// the file are all of it.
func (t *tableReader) fitChunks() error {
	at := int64(0)
	for i := range t.chunks {
		c := &t.chunks[i]
		if c.size == 0 {
			c.size = t.file.Size - c.off
			if i+1 < len(t.chunks) {
				c.size = t.chunks[i+1].off - c.off
			}
		}
		if c.digest == "" && len(t.chunks) == 1 {
			c.digest = t.file.Digest
		}
		if c.off != at || c.size <= 0 || c.size > t.file.Size-at {
			return fmt.Errorf("chunk of %d bytes at %d of %d, want one at %d", c.size, c.off, t.file.Size, at)
		}
		at += c.size
	}
	if at != t.file.Size {
		return fmt.Errorf("chunks of %d bytes, the file has %d", at, t.file.Size)
	}
	return nil
}

// extents gives where the data of a file with holes lies, nil for one without.
func (t *tableReader) extents() []toc.Extent {
	data, holes := []toc.Extent{}, false
	end := int64(-1)
	for _, c := range t.chunks {
		switch {
		case c.hole:
			holes = true
		case c.off == end:
			data[len(data)-1].Len += c.size
			end += c.size
		default:
			data = append(data, toc.Extent{Off: c.off, Len: c.size})
			end = c.off + c.size
		}
	}
	if !holes {
		return nil
	}
	return data
}

func (t *tableReader) placeChunk(c tableChunk, file int) error {
	if !c.hole && c.size > toc.MaxChunk || c.skip < 0 || c.skip > toc.MaxSkip {
		return fmt.Errorf("chunk of %d bytes behind %d", c.size, c.skip)
	}
	// In one member or frame, the header of the file comes between.
	if c.in < t.last.In || c.in < t.headIn || c.in >= t.end || c.off == 0 && c.in > t.headIn && c.skip > 0 ||
		c.in == t.last.In && c.skip < t.last.Skip+t.last.Len || c.in == t.headIn && c.skip < t.headSkip+tarBlock {
		return fmt.Errorf("chunk at %d, %d: not behind the one before, or beyond %d", c.in, c.skip, t.end)
	}
	if c.hole {
		t.last = toc.Chunk{In: c.in, Skip: c.skip}
		return nil
	}
	hexSum, ok := strings.CutPrefix(c.digest, "sha256:")
	sum, err := hex.DecodeString(hexSum)
	if !ok || err != nil || len(sum) != 32 {
		return fmt.Errorf("chunk with the digest %.80q", c.digest)
	}
	t.last = toc.Chunk{In: c.in, Skip: c.skip, Len: c.size, File: file, Sum: [32]byte(sum)}
	t.w.AddChunk(t.last)
	t.size += c.size
	return nil
}

// endFile says where the headers begin that follow the file: in
// containers/storage's format a frame begins there, else they go on behind
// the last chunk. In the tar the
// file is padded to whole blocks.
func (t *tableReader) endFile() error {
	padding := -t.file.Size & (tarBlock - 1)
	switch end := t.file.EndOffset; {
	case end > t.last.In && end <= t.end:
		t.headIn, t.headSkip = end, padding
	case end == 0 && !t.chunks[len(t.chunks)-1].hole:
		t.headIn, t.headSkip = t.last.In, t.last.Skip+t.last.Len+padding
	default:
		return fmt.Errorf("ends at %d", end)
	}
	return nil
}
