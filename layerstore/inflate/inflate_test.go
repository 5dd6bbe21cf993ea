package inflate

import (
	"bytes"
	stdflate "compress/flate"
	stdgzip "compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
)

// A sample is a gzip stream and what it means.
type sample struct {
	about string
	gz    []byte
	plain []byte
}

// texts are contents of several natures, each of about n bytes.
func texts(n int) map[string][]byte {
	rng := rand.New(rand.NewPCG(1, 2))
	fill := func(f func() []byte) []byte {
		var b []byte
		for len(b) < n {
			b = append(b, f()...)
		}
		return b[:n]
	}
	words := strings.Fields("the of a usr lib share include python error static const void return int if func package 0x7f import != nil 2024 .so libc root:x:0:0 ")
	old := fill(func() []byte { return []byte{byte(rng.Uint32())} })
	return map[string][]byte{
		"words":  fill(func() []byte { return []byte(words[rng.IntN(len(words))] + " ") }),
		"noise":  fill(func() []byte { return []byte{byte(rng.Uint32())} }),
		"zeros":  make([]byte, n),
		"skewed": fill(func() []byte { return []byte{byte(rng.ExpFloat64() * 9)} }),
		"period": fill(func() []byte { return []byte("abcdefg"[:1+rng.IntN(7)]) }),
		"far": fill(func() []byte {
			at := rng.IntN(max(1, min(n, windowSize)-300))
			return old[at:min(len(old), at+3+rng.IntN(280))]
		}),
		"mixed": fill(func() []byte {
			switch rng.IntN(4) {
			case 0:
				return bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(600))
			case 1:
				return old[:min(len(old), rng.IntN(700))]
			case 2:
				return []byte(words[rng.IntN(len(words))])
			}
			b := make([]byte, rng.IntN(200))
			for i := range b {
				b[i] = byte(rng.Uint32() & 0x3f)
			}
			return b
		}),
	}
}

// gzipLevel compresses by the standard library, or, for levels above 100, by klauspost's encoders.
func gzipLevel(plain []byte, level int) []byte {
	var b bytes.Buffer
	var w io.WriteCloser
	if level > 100 {
		w, _ = gzip.NewWriterLevel(&b, level-100)
	} else {
		w, _ = stdgzip.NewWriterLevel(&b, level)
	}
	w.Write(plain)
	w.Close()
	return b.Bytes()
}

// member wraps a deflate stream.
func member(raw, plain []byte) []byte {
	b := append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), raw...)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(plain))
	return binary.LittleEndian.AppendUint32(b, uint32(len(plain)))
}

// samples are streams of many makes, of contents of about n bytes each.
func samples(tb testing.TB, n int) []sample {
	var all []sample
	for name, plain := range texts(n) {
		for _, level := range []int{stdgzip.HuffmanOnly, 0, 1, 6, 9, 101, 106} {
			all = append(all, sample{fmt.Sprintf("%s, level %d", name, level), gzipLevel(plain, level), plain})
		}
		var many, flushed bytes.Buffer
		w, _ := stdgzip.NewWriterLevel(&flushed, 6)
		for i := 0; i < n; {
			end := min(n, i+1+n/7+i%513)
			many.Write(gzipLevel(plain[i:end], 6))
			many.Write(gzipLevel(nil, 6))
			w.Write(plain[i:end])
			w.Flush()
			i = end
		}
		w.Close()
		all = append(all, sample{name + ", many members", many.Bytes(), plain},
			sample{name + ", flushed", flushed.Bytes(), plain})
		for _, command := range []string{"gzip --rsyncable", "pigz -b 128", "pigz -i -b 128", "pigz -11 -I 1", "bgzip", "igzip -0", "igzip -3"} {
			words := strings.Fields(command)
			if _, err := exec.LookPath(words[0]); err != nil || n < 1000 {
				continue
			}
			cmd := exec.Command(words[0], append(words[1:], "-c")...)
			cmd.Stdin = bytes.NewReader(plain)
			gz, err := cmd.Output()
			if err != nil {
				tb.Fatalf("%s: %v", command, err)
			}
			all = append(all, sample{name + ", " + command, gz, plain})
		}
	}
	return all
}

// readAll reads with buffers of the given sizes in turn.
func readAll(r io.Reader, sizes ...int) ([]byte, error) {
	var all []byte
	for i := 0; ; i++ {
		buf := make([]byte, sizes[i%len(sizes)])
		n, err := r.Read(buf)
		all = append(all, buf[:n]...)
		// What is there later must not come from what Read's caller does.
		for i := range buf {
			buf[i] = 0xcc
		}
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return all, err
		}
	}
}

func TestRead(t *testing.T) {
	for _, s := range samples(t, 300_000) {
		for _, sizes := range [][]int{{1 << 20}, {smallRead}, {100_003, 7, 65_536, 70_001}, {4096}} {
			r := NewReader(bytes.NewReader(s.gz), Options{})
			got, err := readAll(r, sizes...)
			if err != nil || !bytes.Equal(got, s.plain) {
				t.Fatalf("%s, buffers %v: %d bytes, %v; want the %d of the original", s.about, sizes, len(got), err, len(s.plain))
			}
			if in, out := r.InputOffset(), r.OutputOffset(); in != int64(len(s.gz)) || out != int64(len(s.plain)) || r.Trailing() != 0 {
				t.Errorf("%s: offsets at the end %d, %d, trailing %d; want %d, %d, 0", s.about, in, out, r.Trailing(), len(s.gz), len(s.plain))
			}
		}
	}
}

func TestResume(t *testing.T) {
	var r Reader
	kinds := map[PointKind]int{}
	for _, s := range samples(t, 300_000) {
		for _, spacing := range []int64{1, 64 << 10} {
			var points []Point
			got, err := readAll(NewReader(bytes.NewReader(s.gz), Options{Spacing: spacing, OnPoint: func(p Point) { points = append(points, p) }}), 100_001)
			if err != nil || !bytes.Equal(got, s.plain) {
				t.Fatalf("%s, spacing %d: %d bytes, %v; want the %d of the original", s.about, spacing, len(got), err, len(s.plain))
			}
			if p := points[0]; p.Out != 0 || p.Kind != AtMember {
				t.Errorf("%s: first point %+v, want one at the start", s.about, p)
			}
			for i, p := range points {
				kinds[p.Kind]++
				end, next := int64(len(s.gz)), int64(len(s.plain))
				if i+1 < len(points) {
					end, next = points[i+1].End(), points[i+1].Out
				}
				if next < p.Out || next-p.Out > 2*max(spacing, 32<<10)+64<<10 {
					t.Errorf("%s: spacing %d: points at %d and %d", s.about, spacing, p.Out, next)
				}
				if err := r.Resume(bytes.NewReader(s.gz), p, end); err != nil {
					t.Fatalf("%s: %v", s.about, err)
				}
				got := make([]byte, next-p.Out)
				if n, err := r.Read(got); n < len(got) || !bytes.Equal(got, s.plain[p.Out:next]) {
					t.Fatalf("%s: resumed at %d.%d → %d, kind %d: %d bytes, %v; want the %d of the original",
						s.about, p.In, p.Bit, p.Out, p.Kind, n, err, len(got))
				}
				if r.OutputOffset() != next {
					t.Errorf("%s: resumed at %d and read %d bytes: offset %d", s.about, p.Out, len(got), r.OutputOffset())
				}
			}
		}
	}
	for _, k := range []PointKind{AtMember, AtBlock, InBlock} {
		if kinds[k] == 0 {
			t.Errorf("no point of kind %d in all samples", k)
		}
	}
}

// judge holds our verdict on deflate streams against the standard library's.
type judge struct {
	r   Reader
	buf []byte
	std io.Reader
}

func (j *judge) decode(gz []byte) ([]byte, error) {
	j.r.Reset(bytes.NewReader(gz), Options{})
	if j.buf == nil {
		j.buf = make([]byte, 1<<20)
	}
	n, err := io.ReadFull(&j.r, j.buf)
	if n > 0 && n < len(j.buf) {
		_, err = j.r.Read(j.buf[n:]) // ReadFull has made it io.ErrUnexpectedEOF
	}
	if err == io.EOF {
		err = nil
	}
	return j.buf[:n], err
}

// compare gives both the same stream, and as much of the output as we and the
// standard library agree on: all, but that compress/flate wants as many bits
// for the last symbols of cut input as the end of the block has.
func (j *judge) compare(raw []byte) error {
	src := bytes.NewReader(raw)
	if j.std == nil {
		j.std = stdflate.NewReader(src)
	}
	j.std.(stdflate.Resetter).Reset(src, nil)
	want, wantErr := io.ReadAll(io.LimitReader(j.std, 1<<20))
	if len(want) == 1<<20 {
		return nil
	}
	gz := member(raw[:len(raw)-src.Len()], want)
	if wantErr != nil {
		gz = gz[:len(gz)-8] // the trailer might complete what is cut
	}
	got, err := j.decode(gz)
	wasCut := errors.Is(wantErr, io.ErrUnexpectedEOF)
	if !bytes.Equal(got, want) && !(wasCut && bytes.HasPrefix(got, want)) {
		return fmt.Errorf("%d bytes, %v; compress/flate gives %d, %v", len(got), err, len(want), wantErr)
	}
	if (err == nil) != (wantErr == nil) {
		return fmt.Errorf("error %v; compress/flate says %v", err, wantErr)
	}
	var bad *FormatError
	if err != nil && !errors.As(err, &bad) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("error %v (%T), want a *FormatError or io.ErrUnexpectedEOF", err, err)
	}
	return nil
}

func TestCutAndFlipped(t *testing.T) {
	var j judge
	for _, s := range samples(t, 200) {
		if strings.Contains(s.about, "many") {
			continue
		}
		raw := s.gz[10 : len(s.gz)-8]
		for n := range raw {
			if err := j.compare(raw[:n]); err != nil {
				t.Fatalf("%s, cut at %d: %v", s.about, n, err)
			}
			if !bytes.HasPrefix(s.plain, j.buf[:j.r.OutputOffset()]) {
				t.Fatalf("%s, cut at %d: %d bytes that are not the original's", s.about, n, j.r.OutputOffset())
			}
		}
		for i := range 8 * len(raw) {
			raw[i/8] ^= 1 << (i % 8)
			if err := j.compare(raw); err != nil {
				t.Fatalf("%s, bit %d flipped: %v", s.about, i, err)
			}
			raw[i/8] ^= 1 << (i % 8)
		}
	}
}
