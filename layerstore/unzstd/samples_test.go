package unzstd

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// A sample is a zstd stream and what it means.
type sample struct {
	about string
	zst   []byte
	plain []byte
}

// texts are contents of several natures, each of n bytes.
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
		"two":    fill(func() []byte { return []byte{byte(rng.ExpFloat64()) & 1} }),
		"period": fill(func() []byte { return []byte("abcdefg"[:1+rng.IntN(7)]) }),
		"far": fill(func() []byte {
			at := rng.IntN(max(1, n-300))
			return old[at:min(len(old), at+4+rng.IntN(280))]
		}),
		"mixed": fill(func() []byte {
			switch rng.IntN(5) {
			case 0:
				return bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(600))
			case 1:
				return old[:min(len(old), rng.IntN(700))]
			case 2:
				return []byte(words[rng.IntN(len(words))])
			case 3:
				at := rng.IntN(max(1, n-300))
				return old[at:min(len(old), at+30)]
			}
			b := make([]byte, rng.IntN(200))
			for i := range b {
				b[i] = byte(rng.Uint32() & 0x3f)
			}
			return b
		}),
	}
}

// pack compresses by klauspost/compress.
func pack(plain []byte, streaming bool, options ...zstd.EOption) []byte {
	options = append([]zstd.EOption{zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1 << 20)}, options...)
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, options...)
	if err != nil {
		panic(err)
	}
	defer w.Close()
	if !streaming {
		return w.EncodeAll(plain, nil)
	}
	w.Write(plain)
	w.Close()
	return b.Bytes()
}

// skippable is a skippable frame.
func skippable(n int) []byte {
	return append([]byte{0x5a, 0x2a, 0x4d, 0x18, byte(n), byte(n >> 8), 0, 0}, make([]byte, n)...)
}

// tools are the commands that compress, as far as they are there.
var tools = []string{
	"zstd -1", "zstd -3", "zstd -19", "zstd --ultra -22 --long=24", "zstd -3 -T2 -B65536", "zstd --fast=7", "zstd --no-check -9",
	"zstd -3 --zstd=wlog=10", "zstd -12 --zstd=wlog=12", "zstd -3 --rsyncable", "pzstd -p 2",
}

// samples are streams of many makes, of contents of n bytes each.
func samples(n int) ([]sample, error) {
	var all []sample
	for name, plain := range texts(n) {
		add := func(about string, zst []byte) { all = append(all, sample{name + ", " + about, zst, plain}) }
		for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBetterCompression, zstd.SpeedBestCompression} {
			add(level.String(), pack(plain, false, zstd.WithEncoderLevel(level)))
		}
		add("streamed", pack(plain, true))
		add("no checksum", pack(plain, true, zstd.WithEncoderCRC(false)))
		add("window of 1 KiB", pack(plain, true, zstd.WithWindowSize(1<<10)))
		add("window of 64 KiB", pack(plain, true, zstd.WithWindowSize(64<<10)))
		add("no entropy coding", pack(plain, true, zstd.WithNoEntropyCompression(true)))
		add("all literals coded", pack(plain, true, zstd.WithAllLitEntropyCompression(true), zstd.WithEncoderLevel(zstd.SpeedFastest)))
		add("many frames", manyFrames(plain))
		add("flushed", flushed(plain))
		if n < 1000 || !strings.Contains("words far mixed noise", name) {
			continue
		}
		for _, command := range tools {
			words := strings.Fields(command)
			if _, err := exec.LookPath(words[0]); err != nil {
				continue
			}
			if words[0] == "zstd" {
				// Else it takes memory as for large input.
				words = append(words, fmt.Sprint("--size-hint=", n))
			}
			cmd := exec.Command(words[0], append(words[1:], "-c")...)
			cmd.Stdin = bytes.NewReader(plain)
			zst, err := cmd.Output()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", command, err)
			}
			add(command, zst)
		}
	}
	return all, nil
}

// manyFrames is a stream of frames of many sizes, with empty and skippable ones
// between.
func manyFrames(plain []byte) []byte {
	empty := pack(nil, true, zstd.WithZeroFrames(true))
	b := append(skippable(5), empty...)
	for i := 0; i < len(plain); {
		end := min(len(plain), i+1+len(plain)/7+i%513)
		b = append(b, pack(plain[i:end], i%2 == 0)...)
		b = append(b, skippable(i%300)...)
		b = append(b, empty...)
		i = end
	}
	return b
}

// flushed is a frame of blocks of many sizes.
func flushed(plain []byte) []byte {
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithLowerEncoderMem(true), zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	for i := 0; i < len(plain); {
		end := min(len(plain), i+1+len(plain)/20+i%513)
		w.Write(plain[i:end])
		w.Flush()
		i = end
	}
	w.Close()
	return b.Bytes()
}

// long are samples of more than two blocks.
var long = sync.OnceValues(func() ([]sample, error) { return samples(300_000) })

// samplesOf are samples of contents of n bytes.
func samplesOf(tb testing.TB, n int) []sample {
	tb.Helper()
	all, err := samples(n)
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// readAll reads with buffers of the given sizes in turn.
func readAll(r io.Reader, sizes ...int) ([]byte, error) {
	all := make([]byte, 0, 1<<20)
	buf := make([]byte, slices.Max(sizes))
	for i := 0; ; i++ {
		n, err := r.Read(buf[:sizes[i%len(sizes)]])
		all = append(all, buf[:n]...)
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return all, err
		}
	}
}

// pointsOf reads all, with Points.
func pointsOf(s sample, spacing int64) ([]Point, error) {
	var points []Point
	var starts []int64
	r := NewReader(bytes.NewReader(s.zst), Options{
		Spacing: spacing,
		OnStart: func(out int64) { starts = append(starts, out) },
		OnPoint: func(p Point) { points = append(points, p) },
	})
	got, err := readAll(r, 100_001)
	if err != nil || !bytes.Equal(got, s.plain) {
		return nil, fmt.Errorf("%d bytes, %v; want the %d of the original", len(got), err, len(s.plain))
	}
	if len(starts) != len(points) {
		return nil, fmt.Errorf("%d starts, but %d points", len(starts), len(points))
	}
	for i, p := range points {
		if starts[i] != p.Out {
			return nil, fmt.Errorf("point %d: OnStart said %d, OnPoint %d", i, starts[i], p.Out)
		}
	}
	return points, nil
}
