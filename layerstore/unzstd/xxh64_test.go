package unzstd

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// TestXXH64 takes checksums from frames that klauspost/compress has made.
func TestXXH64(t *testing.T) {
	plain := texts(300)["noise"]
	var x xxh64
	for n := 1; n < len(plain); n++ {
		zst := pack(plain[:n], false, zstd.WithEncoderCRC(true), zstd.WithZeroFrames(true))
		want := binary.LittleEndian.Uint32(zst[len(zst)-4:])
		for _, piece := range []int{1, 7, 32, 40, 300} {
			x.reset()
			for b := plain[:n]; len(b) > 0; {
				k := min(piece, len(b))
				x.write(b[:k])
				b = b[k:]
			}
			if got := uint32(x.sum()); got != want {
				t.Fatalf("%d bytes by %d: %08x, want %08x", n, piece, got, want)
			}
		}
	}
	// The specification's own example.
	x.reset()
	if got := x.sum(); got != 0xef46db3751d8e999 {
		t.Errorf("of nothing: %016x, want ef46db3751d8e999", got)
	}
}

func BenchmarkXXH64(b *testing.B) {
	plain := bytes.Repeat([]byte("0123456789abcdef"), maxBlock/16)
	b.SetBytes(maxBlock)
	var x xxh64
	for b.Loop() {
		x.write(plain)
	}
}
