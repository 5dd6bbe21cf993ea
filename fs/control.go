package fs

import (
	"log/slog"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
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
	keep, err := runtimeFiles()
	keep = append(keep, uint(fd))
	if err == nil && unix.Unshare(unix.CLONE_FILES) == nil && closeAllBut(keep) == nil {
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

// runtimeFiles gives the descriptors by which Go's runtime wakes whoever waits for
// files and timers: any thread may have to, also one that is locked, and if it
// cannot the process ends.
func runtimeFiles() (fds []uint, err error) {
	r, w, err := os.Pipe() // the runtime has its descriptors when it has waited for something
	if err != nil {
		return nil, err
	}
	defer r.Close()
	defer w.Close()
	names, err := os.ReadDir("/proc/self/fd")
	for _, name := range names {
		// That of the directory itself is gone by now.
		switch what, _ := os.Readlink("/proc/self/fd/" + name.Name()); what {
		case "anon_inode:[eventpoll]", "anon_inode:[eventfd]":
			fd, err := strconv.ParseUint(name.Name(), 10, 31)
			if err != nil {
				return nil, err
			}
			fds = append(fds, uint(fd))
		}
	}
	return fds, err
}

// closeAllBut closes the descriptors of the calling thread but for some.
func closeAllBut(keep []uint) error {
	slices.Sort(keep)
	from := uint(0)
	for _, fd := range keep {
		if fd > from {
			if err := unix.CloseRange(from, fd-1, 0); err != nil {
				return err
			}
		}
		from = fd + 1
	}
	return unix.CloseRange(from, math.MaxUint32, 0)
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
