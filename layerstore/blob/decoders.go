package blob

import (
	"sync"
	"time"

	"mica/layerstore/unzstd"
)

// maxSpare is how many zstd decoders wait for another span, and maxSpareWindow
// how large, in bytes, the window of one may be that does.
const (
	maxSpare       = 1
	maxSpareWindow = 16 << 20
)

// idle is how long decoders wait to be used again.
const idle = 2 * time.Second

// zstdDecoders are decoders that are used again, as their windows, of 8 MiB and
// more, are large. Those lie outside of the Go heap: in it a few of them would be
// more than a server's heap is to be, and its garbage collected without end (one
// reader of a zstd layer: 1.6 times the processor time). The methods may be called
// concurrently.
type zstdDecoders struct {
	mu    sync.Mutex
	spare []*unzstd.Reader
	timer *time.Timer // drops them; nil before there was one
}

// unzstders are of the whole process: what they keep is bounded, and nothing of
// what they have decoded matters to the next user.
var unzstders zstdDecoders

func (z *zstdDecoders) get() *unzstd.Reader {
	z.mu.Lock()
	defer z.mu.Unlock()
	if n := len(z.spare); n > 0 {
		dec := z.spare[n-1]
		z.spare = z.spare[:n-1]
		return dec
	}
	dec := new(unzstd.Reader)
	dec.OffHeap()
	return dec
}

func (z *zstdDecoders) put(dec *unzstd.Reader) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if len(z.spare) == maxSpare || dec.WindowSize() > maxSpareWindow {
		dec.Release()
		return
	}
	z.spare = append(z.spare, dec)
	if z.timer == nil {
		z.timer = time.AfterFunc(idle, z.drop)
	} else {
		z.timer.Reset(idle)
	}
}

// drop lets go of those that wait.
func (z *zstdDecoders) drop() {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, dec := range z.spare {
		dec.Release()
	}
	z.spare = nil
}
