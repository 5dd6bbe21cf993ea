package inflate

import "unsafe"

// How much the fast loop may look at past where it stands, in bytes: of input
// three words, each begun at most 8 bytes after the one before; of output
// three literals and the longest match, written by 32 bytes.
const (
	inSlack  = 3 * 8
	outSlack = 3 + 258 + 32
)

// fastLoop is plainLoop for the most common: while there is input and output in
// plenty, symbols that are literals, or matches that lie within out or hist. It
// stops before any other symbol, for plainLoop to decode it. A match that it does not
// copy it returns; a distance of 0 means that there is none. The output may pass
// bound by a match.
func (r *Reader) fastLoop(bound int) (length, distance int, err error) {
	inEnd := len(r.bits.buf) - inSlack
	outEnd := min(bound, len(r.out)-outSlack)
	if r.bits.pos > inEnd || r.pos >= outEnd {
		return 0, 0, nil
	}
	in, out := unsafe.Pointer(unsafe.SliceData(r.bits.buf)), unsafe.Pointer(unsafe.SliceData(r.out))
	ip, op := uintptr(r.bits.pos), uintptr(r.pos)
	lo := max(r.floor, 0)
	if r.points.isOpen {
		lo = max(lo, int(r.points.open.Out-r.before))
	}
	bits, n := r.bits.bits, uint64(r.bits.n)
	lit, dist := r.lit, r.dist

	bits |= *(*uint64)(unsafe.Add(in, ip)) << (n & 63)
	ip += uintptr((63 - n) >> 3)
	n |= 56

	e := lit[bits&(1<<litWidth-1)]
	for ip <= uintptr(inEnd) && op < uintptr(outEnd) {
		if e&(isSpecial|isMatch) == 0 {
			*(*byte)(unsafe.Add(out, op)) = byte(e >> 16)
			op++
			bits >>= e & 63
			n -= uint64(e & 63)
			e = lit[bits&(1<<litWidth-1)]
			if e&(isSpecial|isMatch) == 0 {
				*(*byte)(unsafe.Add(out, op)) = byte(e >> 16)
				op++
				bits >>= e & 63
				n -= uint64(e & 63)
				e = lit[bits&(1<<litWidth-1)]
				if e&(isSpecial|isMatch) == 0 {
					*(*byte)(unsafe.Add(out, op)) = byte(e >> 16)
					op++
					bits >>= e & 63
					n -= uint64(e & 63)
					bits |= *(*uint64)(unsafe.Add(in, ip)) << (n & 63)
					ip += uintptr((63 - n) >> 3)
					n |= 56
					e = lit[bits&(1<<litWidth-1)]
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
				bits |= *(*uint64)(unsafe.Add(in, ip)) << (n & 63)
				ip += uintptr((63 - n) >> 3)
				n |= 56
				e = lit[bits&(1<<litWidth-1)]
				continue
			}
			if e&isSpecial != 0 {
				break
			}
		}
		size := uintptr(e>>16) + uintptr(bits&(1<<(e&63)-1)>>(e>>8&63))
		bits >>= e & 63
		n -= uint64(e & 63)
		bits |= *(*uint64)(unsafe.Add(in, ip)) << (n & 63)
		ip += uintptr((63 - n) >> 3)
		n |= 56

		e = dist[bits&(1<<distWidth-1)]
		if e&isSpecial != 0 {
			if e&isLink != 0 {
				e = dist[(uint64(e>>16)+bits>>distWidth&(1<<(e&63)-1))&(distTableSize-1)]
			}
			if e&isSpecial != 0 {
				err = r.corrupt("invalid distance code")
				break
			}
		}
		d := uintptr(e>>16) + uintptr(bits&(1<<(e&63)-1)>>(e>>8&63))
		bits >>= e & 63
		n -= uint64(e & 63)

		var from unsafe.Pointer
		if int(op-d) >= lo {
			from = unsafe.Add(out, op-d)
		} else {
			if r.points.isOpen || int(op-d) < r.floor || int(op-d+size) > 0 {
				length, distance = int(size), int(d)
				break
			}
			from = unsafe.Add(unsafe.Pointer(&r.hist), windowSize+op-d)
		}

		bits |= *(*uint64)(unsafe.Add(in, ip)) << (n & 63)
		ip += uintptr((63 - n) >> 3)
		n |= 56

		e = lit[bits&(1<<litWidth-1)]

		to := unsafe.Add(out, op)
		op += size
		switch {
		case d >= 16:
			*(*[16]byte)(to) = *(*[16]byte)(from)
			*(*[16]byte)(unsafe.Add(to, 16)) = *(*[16]byte)(unsafe.Add(from, 16))
			for size > 32 {
				to, from = unsafe.Add(to, 32), unsafe.Add(from, 32)
				size -= 32
				*(*[16]byte)(to) = *(*[16]byte)(from)
				*(*[16]byte)(unsafe.Add(to, 16)) = *(*[16]byte)(unsafe.Add(from, 16))
			}
		case d >= 8:
			*(*uint64)(to) = *(*uint64)(from)
			for size > 8 {
				to, from = unsafe.Add(to, 8), unsafe.Add(from, 8)
				size -= 8
				*(*uint64)(to) = *(*uint64)(from)
			}
		case d == 1:
			v := uint64(*(*byte)(from)) * 0x0101010101010101
			*(*uint64)(to) = v
			for size > 8 {
				to = unsafe.Add(to, 8)
				size -= 8
				*(*uint64)(to) = v
			}
		default:
			// Each step makes d more bytes right, and some garbage after them.
			*(*uint64)(to) = *(*uint64)(from)
			for size > d {
				to, from = unsafe.Add(to, d), unsafe.Add(from, d)
				size -= d
				*(*uint64)(to) = *(*uint64)(from)
			}
		}
	}

	r.bits.pos, r.pos = int(ip), int(op)
	r.bits.bits, r.bits.n = bits&(1<<n-1), uint(n)
	return length, distance, err
}
