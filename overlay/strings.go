package overlay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math"

	"mica/layerstore/toc"
)

// A stringPool keeps each string once, after its length: one byte of it for
// names, two for targets. It is the strings section of a tree file in the
// making, and has no pointer for the garbage collector to follow.
type stringPool struct {
	spill *spill
	data  []byte
	slots []uint32 // open addressing; offset plus one; 0 is free
	used  int

	targets int // bytes of symlink targets
}

var poolSeed = maphash.MakeSeed()

// name gives the offset of a name of at most 255 bytes.
func (p *stringPool) name(s string) (uint32, error) {
	if len(s) > 255 {
		return 0, fmt.Errorf("name of %d bytes, a name has at most 255", len(s))
	}
	if (p.used+1)*4 > len(p.slots)*3 {
		p.grow()
	}
	mask := uint64(len(p.slots) - 1)
	i := maphash.String(poolSeed, s) & mask
	for ; p.slots[i] != 0; i = (i + 1) & mask {
		if at := p.slots[i] - 1; p.equal(at, s) {
			return at, nil
		}
	}
	at := uint64(len(p.data))
	if at+256 > math.MaxUint32 {
		return 0, toc.OverLimit("more than 4 GiB of names")
	}
	p.data = append(append(grown(p.spill, p.data, 256), byte(len(s))), s...)
	p.slots[i] = uint32(at) + 1
	p.used++
	return uint32(at), nil
}

func (p *stringPool) grow() {
	old := p.slots
	p.slots = zeroed[uint32](p.spill, max(1024, 2*len(old)))
	mask := uint64(len(p.slots) - 1)
	for _, v := range old {
		if v == 0 {
			continue
		}
		i := maphash.String(poolSeed, p.nameAt(v-1)) & mask
		for p.slots[i] != 0 {
			i = (i + 1) & mask
		}
		p.slots[i] = v
	}
	freed(p.spill, old)
}

func (p *stringPool) equal(at uint32, s string) bool {
	n := uint32(p.data[at])
	return string(p.data[at+1:at+1+n]) == s
}

// compare compares two names byte by byte.
func (p *stringPool) compare(a, b uint32) int {
	x, y := p.data[a+1:a+1+uint32(p.data[a])], p.data[b+1:b+1+uint32(p.data[b])]
	return bytes.Compare(x, y)
}

func (p *stringPool) nameAt(at uint32) string {
	n := uint32(p.data[at])
	return string(p.data[at+1 : at+1+n])
}

// target keeps the target of a symlink and gives its offset.
func (p *stringPool) target(s string) (uint32, error) {
	if len(s) > math.MaxUint16 {
		return 0, fmt.Errorf("symlink target of %d bytes", len(s))
	}
	if p.targets += len(s); p.targets > maxTargets {
		return 0, toc.OverLimit("more than %d MiB of symlink targets in the image", maxTargets>>20)
	}
	at := uint64(len(p.data))
	if at+uint64(len(s))+2 > math.MaxUint32 {
		return 0, toc.OverLimit("more than 4 GiB of names")
	}
	p.data = binary.LittleEndian.AppendUint16(grown(p.spill, p.data, len(s)+2), uint16(len(s)))
	p.data = append(p.data, s...)
	return uint32(at), nil
}
