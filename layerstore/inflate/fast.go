package inflate

import "unsafe"

// How much the fast loop may look at past where it stands, in bytes: of input
// three words, each begun at most 8 bytes after the one before; of output
// three pairs of literals and the longest match, written by 16 bytes.
const (
	inSlack  = 3 * 8
	outSlack = 6 + 258 + 16
)

// fastLoop is plainLoop for the most common: while there is input and output in
// plenty, symbols that are literals, or matches that lie within out or hist. It
// stops before anything else, which is for plainLoop. The output may pass bound by a match.
func (r *Reader) fastLoop(bound int) {
	inEnd := len(r.bits.buf) - inSlack
	outEnd := min(bound, len(r.out)-outSlack)
	if r.bits.pos > inEnd || r.pos >= outEnd {
		return
	}
	in, out := unsafe.Pointer(unsafe.SliceData(r.bits.buf)), unsafe.Pointer(unsafe.SliceData(r.out))
	ip, op := uintptr(r.bits.pos), uintptr(r.pos)
	lo := max(r.floor, 0)
	if r.points.isOpen {
		lo = max(lo, int(r.points.open.Out-r.before))
	}
	bits, n := r.bits.bits, uint64(r.bits.n)
	lit, dist := r.lit, r.dist

	for ip <= uintptr(inEnd) && op < uintptr(outEnd) {
		bits |= *(*uint64)(unsafe.Add(in, ip)) << (n & 63)
		ip += uintptr((63 - n) >> 3)
		n |= 56

		e := lit[bits&(1<<litWidth-1)]
		if e&(isSpecial|isMatch) == 0 {
			*(*uint16)(unsafe.Add(out, op)) = uint16(e >> 16)
			op += uintptr(uint16(e) >> 12)
			bits >>= e & 63
			n -= uint64(e & 63)
			e = lit[bits&(1<<litWidth-1)]
			if e&(isSpecial|isMatch) == 0 {
				*(*uint16)(unsafe.Add(out, op)) = uint16(e >> 16)
				op += uintptr(uint16(e) >> 12)
				bits >>= e & 63
				n -= uint64(e & 63)
				e = lit[bits&(1<<litWidth-1)]
				if e&(isSpecial|isMatch) == 0 {
					*(*uint16)(unsafe.Add(out, op)) = uint16(e >> 16)
					op += uintptr(uint16(e) >> 12)
					bits >>= e & 63
					n -= uint64(e & 63)
					continue
				}
			}
		}
		if e&isSpecial != 0 {
			if e&isLink == 0 {
				break
			}
			e = lit[(uint64(e>>16)+bits>>litWidth&(1<<(e&63)-1))&(litTableSize-1)]
			if e&(isSpecial|isMatch) == 0 {
				*(*byte)(unsafe.Add(out, op)) = byte(e >> 16)
				op++
				bits >>= e & 63
				n -= uint64(e & 63)
				continue
			}
			if e&isSpecial != 0 {
				break
			}
		}
		length := uintptr(e>>16) + uintptr(bits&(1<<(e&63)-1)>>(e>>8&15))
		// Bits and n are put back where the match turns out to be none for this loop.
		bits0, n0, ip0 := bits, n, ip
		bits >>= e & 63
		n -= uint64(e & 63)
		bits |= *(*uint64)(unsafe.Add(in, ip)) << (n & 63)
		ip += uintptr((63 - n) >> 3)
		n |= 56

		e = dist[bits&(1<<distWidth-1)]
		if e&isSpecial != 0 {
			if e&isLink == 0 {
				bits, n, ip = bits0, n0, ip0
				break
			}
			e = dist[(uint64(e>>16)+bits>>distWidth&(1<<(e&63)-1))&(distTableSize-1)]
			if e&isSpecial != 0 {
				bits, n, ip = bits0, n0, ip0
				break
			}
		}
		d := uintptr(e>>16) + uintptr(bits&(1<<(e&63)-1)>>(e>>8&15))
		var from unsafe.Pointer
		if int(op-d) >= lo {
			from = unsafe.Add(out, op-d)
		} else {
			if r.points.isOpen || int(op-d) < r.floor || int(op-d+length) > 0 {
				bits, n, ip = bits0, n0, ip0
				break
			}
			from = unsafe.Add(unsafe.Pointer(&r.hist), windowSize+op-d)
		}
		bits >>= e & 63
		n -= uint64(e & 63)

		to := unsafe.Add(out, op)
		op += length
		switch {
		case d >= 16:
			*(*[16]byte)(to) = *(*[16]byte)(from)
			for length > 16 {
				to, from = unsafe.Add(to, 16), unsafe.Add(from, 16)
				length -= 16
				*(*[16]byte)(to) = *(*[16]byte)(from)
			}
		case d >= 8:
			*(*uint64)(to) = *(*uint64)(from)
			for length > 8 {
				to, from = unsafe.Add(to, 8), unsafe.Add(from, 8)
				length -= 8
				*(*uint64)(to) = *(*uint64)(from)
			}
		case d == 1:
			v := uint64(*(*byte)(from)) * 0x0101010101010101
			*(*uint64)(to) = v
			for length > 8 {
				to = unsafe.Add(to, 8)
				length -= 8
				*(*uint64)(to) = v
			}
		default:
			// Each step makes d more bytes right, and some garbage after them.
			*(*uint64)(to) = *(*uint64)(from)
			for length > d {
				to, from = unsafe.Add(to, d), unsafe.Add(from, d)
				length -= d
				*(*uint64)(to) = *(*uint64)(from)
			}
		}
	}

	r.bits.pos, r.pos = int(ip), int(op)
	r.bits.bits, r.bits.n = bits&(1<<n-1), uint(n)
}
