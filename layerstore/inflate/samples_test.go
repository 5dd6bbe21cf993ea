package inflate

import (
	"bytes"
	stdgzip "compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
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

// A text is contents of some nature.
type text struct {
	name  string
	plain []byte
}

// texts makes one text of each nature, of n bytes.
func texts(n int) []text {
	rng := rand.New(rand.NewPCG(1, 2))
	fill := func(f func() []byte) []byte {
		var b []byte
		for len(b) < n {
			b = append(b, f()...)
		}
		return b[:n]
	}
	words := strings.Fields("the of a usr lib share include python error static const void return int if func package 0x7f import != nil 2024 .so libc root:x:0:0 ")
	noise := fill(func() []byte { return []byte{byte(rng.Uint32())} })
	return []text{
		{"words", fill(func() []byte { return []byte(words[rng.IntN(len(words))] + " ") })},
		{"noise", noise},
		{"zeros", make([]byte, n)},
		{"skewed", fill(func() []byte { return []byte{byte(rng.ExpFloat64() * 9)} })},
		{"short periods", fill(func() []byte {
			return bytes.Repeat([]byte("abcdefghijklmnopqrstu")[rng.IntN(5):][:1+rng.IntN(16)], 1+rng.IntN(40))
		})},
		{"far matches", fill(func() []byte {
			at := rng.IntN(max(1, min(n, windowSize)-300))
			return noise[at:min(n, at+3+rng.IntN(280))]
		})},
		{"mixed", fill(func() []byte {
			switch rng.IntN(4) {
			case 0:
				return bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(600))
			case 1:
				return noise[:min(n, rng.IntN(700))]
			case 2:
				return []byte(words[rng.IntN(len(words))])
			}
			b := make([]byte, rng.IntN(200))
			for i := range b {
				b[i] = byte(rng.Uint32() & 0x3f)
			}
			return b
		})},
	}
}

// gzipped compresses by the standard library's or klauspost's writer.
func gzipped(plain []byte, level int, klauspost bool) []byte {
	var b bytes.Buffer
	var w io.WriteCloser
	if klauspost {
		w, _ = gzip.NewWriterLevel(&b, level)
	} else {
		w, _ = stdgzip.NewWriterLevel(&b, level)
	}
	w.Write(plain)
	w.Close()
	return b.Bytes()
}

// wrap makes a gzip member of a deflate stream that means plain.
func wrap(raw, plain []byte) []byte {
	b := slices.Concat([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), raw)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(plain))
	return binary.LittleEndian.AppendUint32(b, uint32(len(plain)))
}

// samples are streams of many writers, of contents of n bytes each.
func samples(tb testing.TB, n int) []sample {
	var all []sample
	for _, t := range texts(n) {
		add := func(about string, gz []byte) {
			all = append(all, sample{t.name + ", " + about, gz, t.plain})
		}
		for _, level := range []int{stdgzip.HuffmanOnly, 0, 1, 9} {
			add(fmt.Sprintf("compress/gzip %d", level), gzipped(t.plain, level, false))
		}
		add("klauspost 1", gzipped(t.plain, 1, true))

		var many, flushed bytes.Buffer
		w := stdgzip.NewWriter(&flushed)
		for part := range slices.Chunk(t.plain, 1+n/7) {
			many.Write(gzipped(part, 6, false))
			many.Write(gzipped(nil, 6, false))
			w.Write(part)
			w.Flush()
		}
		w.Close()
		add("many members", many.Bytes())
		add("flushed", flushed.Bytes())
	}
	return all
}

// toolSamples are streams of those command line tools that are there.
func toolSamples(tb testing.TB, n int) []sample {
	var all []sample
	for _, t := range texts(n) {
		for _, command := range []string{"gzip --rsyncable", "pigz -b 128", "pigz -i -b 128", "bgzip", "igzip -0", "igzip -3"} {
			words := strings.Fields(command)
			if _, err := exec.LookPath(words[0]); err != nil {
				continue
			}
			cmd := exec.Command(words[0], append(words[1:], "-c")...)
			cmd.Stdin = bytes.NewReader(t.plain)
			gz, err := cmd.Output()
			if err != nil {
				tb.Fatalf("%s: %v", command, err)
			}
			all = append(all, sample{t.name + ", " + command, gz, t.plain})
		}
	}
	return all
}

// bitWriter writes deflate streams by hand, low bit first.
type bitWriter struct {
	b []byte
	n uint
}

func (w *bitWriter) put(v, n uint) {
	for i := range n {
		if w.n%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[len(w.b)-1] |= byte(v>>i&1) << (w.n % 8)
		w.n++
	}
}
