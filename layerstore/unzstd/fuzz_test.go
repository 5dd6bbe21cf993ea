package unzstd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// A judge holds our verdict on streams against klauspost/compress's, and the fast
// loops against their plain twins.
type judge struct {
	fast, plain Reader
	their       *zstd.Decoder
	buf         []byte
}

// judged is how much output is compared, in bytes.
const judged = 1 << 20

func newJudge() *judge {
	their, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(judged), zstd.WithDecoderMaxMemory(judged))
	if err != nil {
		panic(err)
	}
	j := &judge{their: their, buf: make([]byte, judged)}
	j.plain.plain = true
	return j
}

// read reads as much as is compared. There is no error but the one that ends the
// stream.
func read(r io.Reader, buf []byte) ([]byte, error) {
	n, err := io.ReadFull(r, buf)
	if n > 0 && n < len(buf) {
		_, err = r.Read(buf[n:]) // ReadFull has made it io.ErrUnexpectedEOF
	}
	if err == io.EOF {
		err = nil
	}
	return buf[:n], err
}

// differences are the streams of which we and klauspost/compress say different
// things. ours and theirs are the errors.
var differences = []struct {
	why string
	is  func(zst []byte, ours, theirs string) bool
}{
	{"nothing at all is a stream to them; zstd(1) refuses it", func(zst []byte, _, _ string) bool { return len(zst) == 0 }},
	{"they take a distance of 0 for 1; RFC 8878 §3.1.1.5 calls it corrupted", func(_ []byte, ours, _ string) bool {
		return strings.Contains(ours, errBeforeFrame.Error())
	}},
	{"they want the bits of huffman weights to end with a state; RFC 8878 §4.2.1.2 takes missing ones for 0", func(_ []byte, ours, theirs string) bool {
		return ours == "<nil>" && strings.Contains(theirs, "fse decompress returned: unexpected EOF")
	}},
}

// compare gives a stream to all.
func (j *judge) compare(zst []byte) error {
	opt := Options{MaxWindow: judged}
	j.fast.Reset(bytes.NewReader(zst), opt)
	got, err := read(&j.fast, j.buf)
	got = bytes.Clone(got)
	j.plain.Reset(bytes.NewReader(zst), opt)
	twin, twinErr := read(&j.plain, j.buf)
	if !bytes.Equal(got, twin) || fmt.Sprint(err) != fmt.Sprint(twinErr) {
		return fmt.Errorf("fast loops give %d bytes, %v; plain ones %d, %v", len(got), err, len(twin), twinErr)
	}
	var bad *FormatError
	var window *WindowError
	switch {
	case errors.As(err, &window) || len(got) == judged:
		return nil
	case err != nil && !errors.As(err, &bad) && !errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("error %v (%T), want one of ours or io.ErrUnexpectedEOF", err, err)
	}
	if theirErr := j.their.Reset(bytes.NewReader(zst)); theirErr != nil {
		return theirErr
	}
	want, theirErr := read(j.their, j.buf)
	for _, d := range differences {
		if d.is(zst, fmt.Sprint(err), fmt.Sprint(theirErr)) {
			return nil
		}
	}
	if (err == nil) != (theirErr == nil) {
		return fmt.Errorf("error %v; klauspost/compress says %v", err, theirErr)
	}
	if err == nil && !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes; klauspost/compress gives %d, and they differ", len(got), len(want))
	}
	if !bytes.HasPrefix(got, want) && !bytes.HasPrefix(want, got) {
		return fmt.Errorf("%d bytes and %v, klauspost/compress %d and %v, which differ", len(got), err, len(want), theirErr)
	}
	return nil
}

func FuzzUnzstd(f *testing.F) {
	for _, s := range samplesOf(f, 900) {
		f.Add(s.zst)
	}
	j := newJudge()
	f.Fuzz(func(t *testing.T, zst []byte) {
		if err := j.compare(zst); err != nil {
			t.Error(err)
		}
	})
}

// unpackState gives a State as blockState lays it out, and packState makes one of
// that.
func unpackState(state []byte) []byte {
	b, err := io.ReadAll(NewReader(bytes.NewReader(state), Options{}))
	if err != nil {
		panic(err)
	}
	return b
}

func packState(b []byte) []byte {
	return pack(b, false, zstd.WithEncoderCRC(false), zstd.WithEncoderLevel(zstd.SpeedFastest))
}

// FuzzResume forges States. What they give may be anything, but for a panic.
func FuzzResume(f *testing.F) {
	s := sample{"mixed", pack(texts(600_000)["mixed"], true), texts(600_000)["mixed"]}
	points, err := pointsOf(s, 1)
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range points[1:] {
		f.Add(unpackState(p.State), p.In, p.Out, true)
		f.Add(p.State, p.In, p.Out, false)
	}
	var fast, plain Reader
	plain.plain = true
	buf := make([]byte, 200_000)
	f.Fuzz(func(t *testing.T, state []byte, in, out int64, isUnpacked bool) {
		if isUnpacked {
			state = packState(state)
		}
		p := Point{In: in, Out: out, Kind: AtBlock, State: state}
		err := fast.Resume(bytes.NewReader(s.zst), p, int64(len(s.zst)))
		twinErr := plain.Resume(bytes.NewReader(s.zst), p, int64(len(s.zst)))
		if (err == nil) != (twinErr == nil) {
			t.Fatalf("Resume: %v; the second time %v", err, twinErr)
		}
		if err != nil {
			return
		}
		got, err := read(&fast, buf)
		got = bytes.Clone(got)
		twin, twinErr := read(&plain, buf)
		if !bytes.Equal(got, twin) || fmt.Sprint(err) != fmt.Sprint(twinErr) {
			t.Errorf("fast loops give %d bytes, %v; plain ones %d, %v", len(got), err, len(twin), twinErr)
		}
		var bad *FormatError
		if err != nil && !errors.As(err, &bad) && err != io.ErrUnexpectedEOF {
			t.Errorf("error %v (%T), want a *FormatError or %v", err, err, io.ErrUnexpectedEOF)
		}
	})
}
