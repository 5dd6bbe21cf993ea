package fs

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestGoLocked: what runs on a thread of its own never has the first one, from
// whichever thread it is started.
func TestGoLocked(t *testing.T) {
	for range 1000 {
		tids := make(chan int)
		// Some of these run on the first thread.
		go func() {
			goLocked(func() {
				tids <- unix.Gettid()
				runtime.UnlockOSThread() // or a thousand threads would come and go
			})
		}()
		if tid := <-tids; tid == unix.Getpid() {
			t.Fatalf("runs on thread %d, the first", tid)
		}
	}
}
