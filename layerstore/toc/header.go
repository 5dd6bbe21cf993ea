package toc

import (
	"bytes"
	"encoding/binary"
)

const blockSize = 512

// A block is a header of a tar stream (POSIX.1-1988 "ustar", GNU tar's
// header, and V7's, of which both are extensions) or 512 bytes of its data.
type block [blockSize]byte

// Type flags. Those of POSIX first; '\x00' is the regular file of V7.
const (
	flagRegular    = '0'
	flagRegularV7  = 0
	flagHardlink   = '1'
	flagSymlink    = '2'
	flagChar       = '3'
	flagBlock      = '4'
	flagDir        = '5'
	flagFifo       = '6'
	flagContiguous = '7' // a regular file, everywhere
	flagPAX        = 'x'
	flagPAXSolaris = 'X' // 'x' from before the standard
	flagPAXGlobal  = 'g'
	flagGNUName    = 'L'
	flagGNULink    = 'K'
	flagGNUSparse  = 'S'
)

// Fields that all formats have.
func (b *block) name() []byte  { return cString(b[0:100]) }
func (b *block) mode() []byte  { return b[100:108] }
func (b *block) uid() []byte   { return b[108:116] }
func (b *block) gid() []byte   { return b[116:124] }
func (b *block) size() []byte  { return b[124:136] }
func (b *block) mtime() []byte { return b[136:148] }
func (b *block) flag() byte    { return b[156] }
func (b *block) link() []byte  { return cString(b[157:257]) }

// Fields of ustar and GNU.
func (b *block) major() []byte { return b[329:337] }
func (b *block) minor() []byte { return b[337:345] }

// Fields of the old GNU format; see sparse.go for those of sparse files.
func (b *block) gnuAtime() []byte { return b[345:357] }
func (b *block) gnuCtime() []byte { return b[357:369] }

// cString is f up to its first NUL, or all of it.
func cString(f []byte) []byte {
	if i := bytes.IndexByte(f, 0); i >= 0 {
		return f[:i]
	}
	return f
}

// format says which fields follow those of V7.
type format uint8

const (
	formatV7    format = iota
	formatUSTAR        // POSIX, with PAX records or without
	formatSTAR         // star: ustar with a shorter prefix, then times
	formatGNU
)

func (b *block) format() format {
	switch magic := string(b[257:265]); {
	case magic[:6] == "ustar\x00" && string(b[508:512]) == "tar\x00":
		return formatSTAR
	case magic[:6] == "ustar\x00":
		return formatUSTAR
	case magic == "ustar  \x00":
		return formatGNU
	}
	return formatV7
}

// prefix is what comes before the name, with a "/" between; mostly empty.
func (b *block) prefix() []byte {
	switch b.format() {
	case formatUSTAR:
		return cString(b[345:500])
	case formatSTAR:
		return cString(b[345:476])
	case formatGNU:
		// GNU has times where ustar has the prefix. The tar package of Go
		// before 1.8 wrote a prefix there nevertheless, and so did docker in
		// those days (go.dev/issue/12594): what is no time is a prefix.
		if isTime(b.gnuAtime()) && isTime(b.gnuCtime()) {
			return nil
		}
		if p := cString(b[345:500]); isASCII(p) {
			return p
		}
	}
	return nil
}

func isTime(f []byte) bool {
	_, ok := parseNumber(f)
	return f[0] == 0 || ok
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// check tells a header from other bytes by its checksum, and the zeros of an
// end mark from both.
func (b *block) check() (header, zero bool) {
	sum := b.sum()
	if sum == 0 {
		return false, true
	}
	want, ok := parseNumber(b[148:156])
	if !ok {
		return false, false
	}
	// The field itself counts as eight spaces.
	for _, c := range b[148:156] {
		sum -= int64(c)
	}
	sum += 8 * ' '
	return sum == want || b.signedSum() == want, false
}

// sum adds up the bytes of b: eight at a time, in four lanes of 16 bits that
// hold 64 × 2 × 255 without a carry. (One at a time it was half of Scan's time.)
func (b *block) sum() int64 {
	const lanes = 0x00ff00ff00ff00ff
	var sum uint64
	for i := 0; i < blockSize; i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		sum += w&lanes + w>>8&lanes
	}
	return int64(sum&0xffff + sum>>16&0xffff + sum>>32&0xffff + sum>>48)
}

// signedSum is the checksum that old tars made, with bytes from -128 to 127.
func (b *block) signedSum() int64 {
	sum := int64(8 * ' ')
	for i, c := range b {
		if i < 148 || i >= 156 {
			sum += int64(int8(c))
		}
	}
	return sum
}
