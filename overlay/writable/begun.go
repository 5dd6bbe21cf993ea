package writable

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// What the state file holds: 8 bytes of seed, an exchange (see rename.go), and
// from begunOffset on a ring of the numbers of requests.
const (
	seedOffset     = 0
	exchangeOffset = 8
	begunOffset    = 64
	begunSlots     = 64 // more than there are requests at once that note theirs
)

// begin notes that a request is being carried out whose second time would fail
// though the first one was right. A server that takes over asks [View.begun].
func (v *View) begin(c Caller) error {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], c.Request)
	return writeAll(v.state, b[:], begunSlot(c))
}

// begun reports whether a request that has come again was begun by a server that
// has died.
func (v *View) begun(c Caller) bool {
	if !c.Again {
		return false
	}
	var b [8]byte
	n, err := unix.Pread(v.state, b[:], begunSlot(c))
	return err == nil && n == len(b) && binary.NativeEndian.Uint64(b[:]) == c.Request
}

// The kernel's numbers of requests are even.
func begunSlot(c Caller) int64 { return begunOffset + int64(c.Request/2%begunSlots)*8 }
