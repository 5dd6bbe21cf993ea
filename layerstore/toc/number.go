package toc

import (
	"bytes"
	"math"
)

// parseNumber reads a numeric field of a tar header, at most 12 bytes: octal
// digits with spaces or NULs around them, or, when the first bit is set, a
// big-endian two's complement number (GNU's base-256). An empty field is 0.
func parseNumber(f []byte) (int64, bool) {
	if f[0]&0x80 != 0 {
		return parseBase256(f)
	}
	i := 0
	for i < len(f) && (f[i] == ' ' || f[i] == 0) {
		i++
	}
	n := int64(0) // 12 octal digits are 36 bits: no overflow
	for ; i < len(f) && f[i]-'0' <= 7; i++ {
		n = n<<3 | int64(f[i]-'0')
	}
	// A NUL ends the number, whatever follows. Spaces do if nothing follows.
	return n, i == len(f) || f[i] == 0 || len(bytes.Trim(f[i:], " \x00")) == 0
}

// parseBase256 reads f without its first bit, which marks the form; the
// second bit is the sign.
func parseBase256(f []byte) (int64, bool) {
	n := int64(f[0]&0x7f) << 57 >> 57 // extends the sign
	for _, c := range f[1:] {
		if n > math.MaxInt64>>8 || n < math.MinInt64>>8 {
			return 0, false
		}
		n = n<<8 | int64(c)
	}
	return n, true
}

// parseDecimal reads a number of a PAX record: digits, maybe a sign.
func parseDecimal(b []byte) (int64, bool) {
	neg := false
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		neg = b[0] == '-'
		b = b[1:]
	}
	if len(b) == 0 {
		return 0, false
	}
	n := int64(0) // negative: the range is larger by one on that side
	for _, c := range b {
		d := int64(c - '0')
		if c < '0' || c > '9' || n < math.MinInt64/10 || n*10 < math.MinInt64+d {
			return 0, false
		}
		n = n*10 - d
	}
	if neg {
		return n, true
	}
	return -n, n != math.MinInt64
}

// parseTime reads the time of a PAX record: seconds as in parseDecimal, maybe
// a point and a fraction. Digits beyond the ninth are dropped.
func parseTime(b []byte) (Time, bool) {
	whole, frac, _ := bytes.Cut(b, []byte{'.'})
	sec, ok := parseDecimal(whole)
	if !ok {
		return Time{}, false
	}
	nsec := uint32(0)
	for i, unit := 0, uint32(1e8); i < len(frac); i, unit = i+1, unit/10 {
		if frac[i] < '0' || frac[i] > '9' {
			return Time{}, false
		}
		nsec += uint32(frac[i]-'0') * unit
	}
	// The sign goes for the fraction too: -0.5 is half a second before 0.
	if whole[0] == '-' && nsec > 0 {
		if sec == math.MinInt64 {
			return Time{}, false
		}
		return Time{Sec: sec - 1, Nsec: 1e9 - nsec}, true
	}
	return Time{Sec: sec, Nsec: nsec}, true
}
