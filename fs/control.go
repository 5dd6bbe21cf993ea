package fs

import (
	"log/slog"
	"math"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A server that is killed is dead when the last of its threads is, and one may be
// in the kernel where no signal ends its wait: a push (push.go) that waits for a
// page whose reader waits for the reply that this very server owes. The next
// server would give it, but the holder, which waits for the process, would not
// start one. So it also goes by the control socket, which is closed at once: one
// thread has that in a table of descriptors of its own.

// obey does what the holder says, as long as it is there.
func (s *Server) obey() {
	orders := make(chan byte)
	goLocked(func() {
		s.held.listen(orders, func() {
			if push := s.session.push; push != nil && s.session.canResend() {
				push.may.Store(true)
			}
		})
	})
	for what := range orders {
		switch what {
		case wantsDrain:
			s.session.drain(s.kick)
		case wantsStart:
			s.startOnce.Do(func() { close(s.mayStart) })
		case wantsResend:
			if err := s.session.resend(); err != nil {
				s.log.Error("resend", slog.Any("err", err))
			}
		}
	}
	if push := s.session.push; push != nil {
		push.may.Store(false)
	}
	s.log.Warn("the holder is gone: nobody will take over should this process die")
}

// goLocked runs f in a goroutine that has a thread for itself, which ends with it,
// and is not the first one of the process: what descriptors that has is what
// /proc/self/fd shows to all of them.
func goLocked(f func()) {
	taken := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			goLocked(f) // on another, as this one is taken meanwhile
			runtime.UnlockOSThread()
			close(taken)
			return
		}
		close(taken)
		f()
	}()
	<-taken
}

// listen passes on what the holder says, and closes orders when that is gone. It
// calls alone if this thread is the only one that has the socket. The thread's
// descriptors are not those of the others afterwards: it ends with this goroutine.
func (h *Held) listen(orders chan<- byte, alone func()) {
	defer close(orders)
	fd := int(h.control.Fd())
	if unix.Unshare(unix.CLONE_FILES) == nil && closeAllBut(uint(fd)) == nil {
		closed := make(chan error)
		go func() { closed <- h.control.Close() }() // by a thread that has the others
		if <-closed == nil {
			alone()
		}
	}
	for b := make([]byte, 1); ; {
		n, err := unix.Read(fd, b)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return
		}
		orders <- b[0]
	}
}

// closeAllBut closes the descriptors of the calling thread but for one.
func closeAllBut(fd uint) error {
	if err := unix.CloseRange(fd+1, math.MaxUint32, 0); err != nil || fd == 0 {
		return err
	}
	return unix.CloseRange(0, fd-1, 0)
}

// deafAfter is how long a process may take to be gone once its control socket is
// closed. Most are at once.
const deafAfter = 50 * time.Millisecond

// deaf is called when a server has closed its control socket: it is about to end,
// or all of it has ended but what waits for the next server. That is looked for
// after a while, then after longer ones: it may be slow to end.
func (h *holder) deaf(s *server, after time.Duration) {
	time.AfterFunc(after, func() {
		h.happened <- func() {
			if !h.serves(s) {
				return
			}
			if _, err := processStart(s.process.Pid); err == nil {
				h.deaf(s, 2*after)
				return
			}
			s.hung = true
			h.died(s, nil)
		}
	})
}
