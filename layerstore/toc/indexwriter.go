package toc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/klauspost/compress/zstd"

	"mica/layerstore/inflate"
	"mica/layerstore/unzstd"
)

// A Writer makes an index file. Entries go to the file as they come; the other
// sections are spooled until Finish. It is not safe for concurrent use.
type Writer struct {
	f       *os.File
	entries *zstd.Encoder
	count   counter // of the entries section, bytes written to f
	enc     entryEncoder
	nEntry  int64

	markers   *zstd.Encoder
	marked    spool
	markerEnc entryEncoder
	nMarker   int64
	windowEnc *zstd.Encoder
	window    []byte // of one point
	windows   spool
	points    spool
	sums      spool
	row       []byte
	chunks    []byte // of a layer with a table of contents; there are not many
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
	w := &Writer{f: f, count: counter{w: f}, windows: spoolBeside(f), marked: spoolBeside(f), points: spoolBeside(f), sums: spoolBeside(f)}
	if _, err := f.Write(make([]byte, headerLen)); err != nil {
		return nil, err
	}
	var err error
	for _, e := range []struct {
		enc **zstd.Encoder
		to  io.Writer
	}{{&w.entries, &w.count}, {&w.markers, &w.marked}, {&w.windowEnc, nil}} {
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
	w.row = r.put(w.row[:0])
	w.points.add(w.row)
	w.windows.add(window)
	return nil
}

// AddSum appends the checksum of the next block.
func (w *Writer) AddSum(sum uint32) {
	w.row = binary.LittleEndian.AppendUint32(w.row[:0], sum)
	w.sums.add(w.row)
}

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
	parts := [numSections]*spool{secMarkers: &w.marked, secPoints: &w.points, secWindows: &w.windows, secSums: &w.sums}
	for i, part := range parts {
		at, n := off, int64(0)
		var sum uint32
		switch i {
		case secInfo:
			b := putInfo(&info)
			n, sum = int64(len(b)), Checksum(b)
			_, err = w.f.Write(b)
		case secEntries:
			at, n = headerLen, w.count.n
			sum, err = checksumRange(w.f, at, n)
		default:
			n = part.n
			sum, err = part.copyTo(w.f)
		}
		if err != nil {
			return err
		}
		if i != secEntries {
			off += n
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
func (w *Writer) Close() error {
	return errors.Join(w.windows.close(), w.marked.close(), w.points.close(), w.sums.close())
}

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
