package fs

import (
	"runtime"
	"testing"
	"time"

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

// TestLockedThreadWakes has a thread with descriptors of its own let others go on
// while there are timers: the runtime wakes by a descriptor whoever waits for them,
// and ends the process where that is not there.
func TestLockedThreadWakes(t *testing.T) {
	orders := make(chan int)
	goLocked(func() {
		defer close(orders)
		keep, err := runtimeFiles()
		if err != nil || len(keep) == 0 {
			t.Errorf("descriptors of the runtime: %v, %v", keep, err)
			return
		}
		if err := unix.Unshare(unix.CLONE_FILES); err != nil {
			t.Errorf("unshare: %v", err)
			return
		}
		if err := closeAllBut(keep); err != nil {
			t.Errorf("close_range: %v", err)
			return
		}
		for i := range 500 {
			time.AfterFunc(time.Duration(i%50)*time.Microsecond, func() {})
			orders <- i
		}
	})
	for i := range orders {
		time.Sleep(time.Duration(i%20) * time.Microsecond)
	}
}
