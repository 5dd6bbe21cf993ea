package toc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/klauspost/compress/zstd"

	"mica/layerstore/inflate"
	"mica/layerstore/unzstd"
)

// A Writer makes an index file. Entries go to the file as they come; points
// and sums, some 100 bytes for each MiB of the layer, are kept until Finish.
// It is not safe for concurrent use.
type Writer struct {
	f       *os.File
	entries *zstd.Encoder
	count   counter // of the entries section, bytes written to f
	enc     entryEncoder
	nEntry  int64

	markers   *zstd.Encoder
	markerBuf bytes.Buffer
	markerEnc entryEncoder
	nMarker   int64
	windowEnc *zstd.Encoder
	window    []byte // of one point
	windows   spool
	points    []byte
	sums      []byte
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// NewWriter begins an index in f, which is empty and stays the caller's.
func NewWriter(f *os.File) (*Writer, error) {
	w := &Writer{f: f, count: counter{w: f}, windows: spoolBeside(f)}
	if _, err := f.Write(make([]byte, headerLen)); err != nil {
		return nil, err
	}
	var err error
	for _, e := range []struct {
		enc **zstd.Encoder
		to  io.Writer
	}{{&w.entries, &w.count}, {&w.markers, &w.markerBuf}, {&w.windowEnc, nil}} {
		// One goroutine and a small window: an index is small, and memory
		// while indexing is bounded whatever the layer's size.
		*e.enc, err = zstd.NewWriter(e.to, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Add appends an entry.
func (w *Writer) Add(e *Entry) error {
	if e.Marker() {
		w.nMarker++
		_, err := w.markers.Write(w.markerEnc.encode(e))
		return err
	}
	w.nEntry++
	_, err := w.entries.Write(w.enc.encode(e))
	return err
}

// AddPoint appends the checkpoint at which a span of a gzip layer begins. The
// first lies at 0; they rise.
func (w *Writer) AddPoint(p inflate.Point) error {
	r := pointRecord{in: p.In, out: p.Out, head: p.Head, bit: p.Bit, headBit: p.HeadBit, kind: uint8(p.Kind), winRaw: uint32(len(p.Window))}
	w.window = w.window[:0]
	if len(p.Window) > 0 {
		w.window = w.windowEnc.EncodeAll(p.Window, w.window)
	}
	return w.addPoint(r, w.window)
}

// AddZstdPoint is AddPoint for a zstd layer.
func (w *Writer) AddZstdPoint(p unzstd.Point) error {
	r := pointRecord{in: p.In, out: p.Out, kind: uint8(p.Kind)}
	return w.addPoint(r, p.State)
}

// addPoint appends a point with what it needs of the window.
func (w *Writer) addPoint(r pointRecord, window []byte) error {
	if len(window) > math.MaxUint32 {
		return fmt.Errorf("a window of %d bytes", len(window))
	}
	r.winOff, r.winLen = w.windows.n, uint32(len(window))
	w.points = r.put(w.points)
	w.windows.add(window)
	return nil
}

// AddSum appends the checksum of the next block.
func (w *Writer) AddSum(sum uint32) { w.sums = binary.LittleEndian.AppendUint32(w.sums, sum) }

// Finish writes what is left. Entries and Markers of info are filled in here.
// The file is not synced.
func (w *Writer) Finish(info Info) error {
	if err := w.entries.Close(); err != nil {
		return err
	}
	if err := w.markers.Close(); err != nil {
		return err
	}
	info.Entries, info.Markers = w.nEntry, w.nMarker
	header := make([]byte, 0, headerLen)
	header = append(header, indexMagic...)
	header = binary.LittleEndian.AppendUint32(header, indexVersion)
	header = binary.LittleEndian.AppendUint32(header, numSections)
	off := int64(headerLen) + w.count.n
	var err error
	for i, b := range [numSections][]byte{putInfo(&info), w.markerBuf.Bytes(), nil, w.points, nil, w.sums} {
		at, n := off, int64(len(b))
		sum := Checksum(b)
		switch i {
		case secEntries:
			at, n = headerLen, w.count.n
			sum, err = checksumRange(w.f, at, n)
		case secWindows:
			n = w.windows.n
			sum, err = w.windows.copyTo(w.f)
			off += n
		default:
			_, err = w.f.Write(b)
			off += n
		}
		if err != nil {
			return err
		}
		header = binary.LittleEndian.AppendUint64(header, uint64(at))
		header = binary.LittleEndian.AppendUint64(header, uint64(n))
		header = binary.LittleEndian.AppendUint32(header, sum)
	}
	header = binary.LittleEndian.AppendUint32(header, Checksum(header))
	_, err = w.f.WriteAt(header, 0)
	return err
}

// Close lets go of what the Writer has besides the file. It is called when no
// other method is any more, whether the index was finished or not.
func (w *Writer) Close() error { return w.windows.close() }

func checksumRange(f io.ReaderAt, off, n int64) (uint32, error) {
	var sum uint32
	buf := make([]byte, 256<<10)
	for n > 0 {
		k, err := f.ReadAt(buf[:min(n, int64(len(buf)))], off)
		if k == 0 && err != nil {
			return 0, err
		}
		sum = UpdateChecksum(sum, buf[:k])
		off, n = off+int64(k), n-int64(k)
	}
	return sum, nil
}
