package inflate

import (
	"bytes"
	stdflate "compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// readAll reads with buffers of the given sizes in turn, and gives nil for io.EOF.
func readAll(r io.Reader, sizes ...int) ([]byte, error) {
	var all []byte
	for i := 0; ; i++ {
		// Used again and again: what was read before must be kept elsewhere.
		buf := make([]byte, sizes[i%len(sizes)])
		n, err := r.Read(buf)
		all = append(all, buf[:n]...)
		for i := range buf {
			buf[i] = 0xcc
		}
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

func TestRead(t *testing.T) {
	for _, s := range append(samples(t, 150_000), toolSamples(t, 150_000)...) {
		for _, sizes := range [][]int{{1 << 20}, {100_003, 7, smallRead, smallRead + 1}, {4096}} {
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

func TestReadSources(t *testing.T) {
	plain := texts(30_000)[0].plain
	gz := gzipped(plain, 6, false)
	broken := errors.New("broken pipe")
	for _, tt := range []struct {
		about string
		src   io.Reader
		want  error
	}{
		{"a byte at a time", iotest.OneByteReader(bytes.NewReader(gz)), nil},
		{"the end with the last bytes", iotest.DataErrReader(bytes.NewReader(gz)), nil},
		{"an error", io.MultiReader(bytes.NewReader(gz[:len(gz)/2]), iotest.ErrReader(broken)), broken},
		{"an error in place of the trailer", io.MultiReader(bytes.NewReader(gz[:len(gz)-8]), iotest.ErrReader(broken)), broken},
		{"an error in place of the end", io.MultiReader(bytes.NewReader(gz), iotest.ErrReader(broken)), broken},
		{"no progress", readerFunc(func([]byte) (int, error) { return 0, nil }), io.ErrNoProgress},
		{"nothing", strings.NewReader(""), io.ErrUnexpectedEOF},
	} {
		r := NewReader(tt.src, Options{})
		got, err := readAll(r, 1<<20)
		if !errors.Is(err, tt.want) || !bytes.HasPrefix(plain, got) || err == nil && len(got) < len(plain) {
			t.Errorf("%s: %d bytes, %v; want %v", tt.about, len(got), err, tt.want)
		}
		if _, again := r.Read(make([]byte, 1)); err != nil && again != err {
			t.Errorf("%s: Read says %v, then %v", tt.about, err, again)
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestResetReuses(t *testing.T) {
	plain := texts(100_000)[6].plain
	gz := gzipped(plain, 6, false)
	var r Reader
	var src bytes.Reader
	buf := make([]byte, len(plain))
	allocs := testing.AllocsPerRun(10, func() {
		src.Reset(gz)
		r.Reset(&src, Options{})
		if n, err := io.ReadFull(&r, buf); err != nil || !bytes.Equal(buf, plain) {
			t.Fatalf("%d bytes, %v", n, err)
		}
	})
	if allocs > 0 {
		t.Errorf("Reset and Read: %v allocations, want 0", allocs)
	}
}

// judge holds our verdict on deflate streams against the standard library's.
type judge struct {
	r     Reader
	std   io.Reader
	plain Reader
	buf   []byte // what we made of the last one
}

// maxJudged bounds the output that a judge looks at, in bytes.
const maxJudged = 256 << 10

// decode makes all output of a stream, at most maxJudged bytes, by calls of
// r.decode for at most step bytes.
func (j *judge) decode(r *Reader, gz []byte, buf []byte, step int) ([]byte, error) {
	r.Reset(bytes.NewReader(gz), Options{})
	n := 0
	for r.err == nil && n < len(buf) {
		n += r.decode(buf[n:min(len(buf), n+step)])
	}
	if r.err == io.EOF {
		return buf[:n], nil
	}
	return buf[:n], r.err
}

// compare gives the same stream to both. They must agree on each byte and on
// whether there is an error, but that compress/flate wants as many bits
// for the last symbols of cut input as the end of the block has.
func (j *judge) compare(raw []byte) error {
	src := bytes.NewReader(raw)
	if j.std == nil {
		j.std = stdflate.NewReader(src)
		j.buf = make([]byte, maxJudged)
	}
	j.std.(stdflate.Resetter).Reset(src, nil)
	want, wantErr := io.ReadAll(io.LimitReader(j.std, maxJudged))
	gz := wrap(raw[:len(raw)-src.Len()], want)
	if wantErr != nil || len(want) == maxJudged {
		gz = gz[:len(gz)-8] // the trailer might complete what is cut
	}
	got, err := j.decode(&j.r, gz, j.buf, maxJudged)
	wasCut := errors.Is(wantErr, io.ErrUnexpectedEOF)
	if !bytes.Equal(got, want) && !(wasCut && bytes.HasPrefix(got, want)) {
		return fmt.Errorf("%d bytes, %v; compress/flate gives %d, %v", len(got), err, len(want), wantErr)
	}
	if len(want) < maxJudged && (err == nil) != (wantErr == nil) {
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
	for _, s := range samples(t, 160) {
		if strings.Contains(s.about, "many") {
			continue // judge takes single members
		}
		raw := s.gz[10 : len(s.gz)-8]
		for n := range raw {
			if err := j.compare(raw[:n]); err != nil {
				t.Fatalf("%s, cut at %d: %v", s.about, n, err)
			}
			if got := j.buf[:j.r.OutputOffset()]; !bytes.HasPrefix(s.plain, got) {
				t.Fatalf("%s, cut at %d: %q, not what the original begins with", s.about, n, got)
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

// TestRandomCodes tries blocks whose codes are of all kinds that a header can
// describe: complete and not, empty, of one symbol, with too many symbols.
func TestRandomCodes(t *testing.T) {
	var j judge
	rng := rand.New(rand.NewPCG(3, 4))
	accepted := 0
	for i := range 5000 {
		raw := randomBlock(rng)
		if err := j.compare(raw); err != nil {
			t.Fatalf("block %d, %x: %v", i, raw, err)
		}
		if j.r.state == inHuffman {
			accepted++
		}
	}
	if accepted < 500 {
		t.Errorf("only %d headers were accepted", accepted)
	}
}

// randomBlock makes a final block with codes that are mostly sound, and random symbols.
func randomBlock(rng *rand.Rand) []byte {
	var w bitWriter
	nLit, nDist := 257+rng.IntN(30), 1+rng.IntN(30)
	if rng.IntN(50) == 0 {
		nLit, nDist = 257+rng.IntN(32), 1+rng.IntN(32)
	}
	w.put(1|2<<1, 3)
	w.put(uint(nLit-257), 5)
	w.put(uint(nDist-1), 5)
	w.put(numLens-4, 4)
	// The 16 plain code lengths have codes of 4 bits: their own numbers.
	for _, sym := range lensOrder {
		n := uint(4)
		if sym > 15 {
			n = 0
		}
		w.put(n, 3)
	}
	for _, n := range []int{nLit, nDist} {
		for _, l := range randomLens(rng, n) {
			w.put(uint(reverse(int(l), 4)), 4)
		}
	}
	for range 40 {
		w.put(uint(rng.Uint32()), 32)
	}
	return w.b
}

// randomLens gives n symbols code lengths: a code is grown from the empty one by splitting
// codes, and some symbols get none; at times, one length is wrong.
func randomLens(rng *rand.Rand, n int) []uint8 {
	lens := make([]uint8, n)
	var leaves []uint8
	if rng.IntN(20) > 0 {
		leaves = []uint8{0}
	}
	for want := 1 + rng.IntN(n); len(leaves) > 0 && len(leaves) < want; {
		i := rng.IntN(len(leaves))
		if rng.IntN(3) > 0 {
			i = len(leaves) - 1 // make it deep
		}
		if leaves[i] == maxCodeLen {
			if leaves[0] == maxCodeLen {
				break
			}
			i = 0
		}
		leaves[i]++
		leaves = append(leaves, leaves[i])
	}
	for i, at := range rng.Perm(n)[:len(leaves)] {
		lens[at] = leaves[i]
	}
	if len(leaves) == 1 {
		lens[rng.IntN(n)] = 1
	}
	if rng.IntN(10) == 0 {
		lens[rng.IntN(n)] = uint8(rng.IntN(maxCodeLen + 1))
	}
	return lens
}
