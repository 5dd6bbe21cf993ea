package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"mica/overlay/writable"
)

// Options says how a view is mounted. The zero value is a mount for its owner
// alone.
type Options struct {
	// Source is what findmnt and df show: the image's full reference. If empty,
	// it is "mica".
	Source string
	// AllowOther lets other users in. A user's own mount has it only if
	// /etc/fuse.conf allows it; else it is left out with a note.
	AllowOther bool
	// DefaultPermissions has the kernel check modes, owners and ACLs where it
	// would not: on a mount that lets nobody else in.
	DefaultPermissions bool
	// NoSuid, NoDev, NoExec and NoAtime are the flags of mount(8). A user's
	// mount always has the first two.
	NoSuid, NoDev, NoExec, NoAtime bool
	// Writable mounts without the flag ro, for a [writable.View].
	Writable bool
	// NoHandles has the kernel give no file handles of what is mounted. Overlayfs
	// notes them on what it copies up; what it finds by them after a remount Linux
	// 6.18 takes for stale (ESTALE), without asking the server.
	NoHandles bool
	// Nonempty allows a directory that has entries, which the mount hides.
	Nonempty bool
	// RuntimeDir is where the record of this mount is kept while it lasts; see
	// [RuntimeDir]. If empty, none is kept.
	RuntimeDir string
	// Note is told what a user should know though it is no error. It may be nil.
	Note func(msg string)
	// Log takes what happens while the mount is served. It may be nil.
	Log *slog.Logger
	// OwnServer has go-fuse read the device with its own server instead of
	// this package's loop: the way out should that have a fault.
	OwnServer bool
}

// kernelChecks reports whether the kernel checks modes, owners and ACLs. On a
// mount for its owner alone it does not: all is the owner's to read, and to
// change if it is writable, in a user namespace too, and the image's true owners
// show. Root's writable mounts are for programs that run as others.
func (o *Options) kernelChecks() bool {
	return o.AllowOther || o.DefaultPermissions || o.Writable && os.Geteuid() == 0
}

func (o *Options) note(format string, args ...any) {
	if o.Note != nil {
		o.Note(fmt.Sprintf(format, args...))
	}
}

// A Server is one mounted view.
type Server struct {
	dir     string // absolute, without symlinks
	source  string
	started time.Time
	log     *slog.Logger
	h       *handlers
	record  *record // nil if none is kept
	held    *Held   // nil if no holder has started this process

	// mayStart is closed when no other server is left.
	mayStart  chan struct{}
	startOnce sync.Once

	// One of the two serves.
	session *session
	gofuse  *fuse.Server
}

// Mount mounts view at dir. When it returns, the kernel knows all that it has
// to know; requests are answered once [Server.Serve] runs. The error is a
// *MountError where the user can do something about it.
func Mount(dir string, view View, o Options) (*Server, error) {
	if o.Source == "" {
		o.Source = "mica" // mount(2) takes no empty one
	}
	dir, err := CheckMountpoint(dir, o)
	if err != nil {
		return nil, err
	}
	dev, err := attachDevice(dir, &o)
	if err != nil {
		return nil, err
	}
	s, err := serverOn(dev, nil, dir, view, &o)
	if err != nil {
		dev.Close()
		return nil, errors.Join(err, Unmount(dir, true))
	}
	s.raiseReadahead()
	if o.RuntimeDir != "" {
		m, err := mountAt(dir)
		if err != nil {
			return nil, errors.Join(err, dev.Close(), Unmount(dir, true))
		}
		s.keepRecord(o.RuntimeDir, m.Minor, record{Source: o.Source, Since: time.Now()})
	}
	return s, nil
}

func serverOn(dev *os.File, held *Held, dir string, view View, o *Options) (*Server, error) {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{dir: dir, source: o.Source, started: time.Now(), log: log.With(slog.String("dir", dir)), h: newHandlers(view, log), held: held, mayStart: make(chan struct{})}
	s.h.noHandles = o.NoHandles
	var err error
	if o.OwnServer {
		s.gofuse, err = goFuseServer(dev, s.h, o.kernelChecks())
	} else {
		s.session, err = newSession(dev, held, s.h, o.kernelChecks())
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Dir is the mount point, absolute and without symlinks.
func (s *Server) Dir() string { return s.dir }

// Serve answers requests until the view is unmounted, by whomever. When ctx
// ends, it unmounts itself: if the mount is busy, lazily, so that it vanishes
// from sight, and is served until its last user has left.
func (s *Server) Serve(ctx context.Context) error {
	unmounted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(unmounted)
		s.unmount()
	})
	s.log.Info("serving")
	if s.held != nil {
		go s.obey()
	}
	err := s.begin(ctx)
	if err != nil {
		return err
	}
	if s.session != nil {
		err = s.session.serve()
	} else {
		s.gofuse.Serve()
	}
	if err == errDrained {
		stop()
		s.log.Info("another server goes on")
		return nil
	}
	if err != nil {
		// Nobody answers from here on: rather no mount than one that fails all.
		s.unmount()
	}
	if !stop() {
		<-unmounted
	}
	s.dropRecord()
	s.log.Info("unmounted")
	return err
}

// begin waits until a view that takes changes may be used, and finds what another
// server has left of it.
func (s *Server) begin(ctx context.Context) error {
	w, ok := feature[*writable.View](s.h.view)
	if !ok {
		return nil
	}
	if s.held != nil && s.held.job.Beside {
		select {
		case <-s.mayStart:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return w.Start(ctx)
}

// Drained reports, once Serve has returned, whether another server goes on.
func (s *Server) Drained() bool { return s.session != nil && s.session.draining.Load() }

func (s *Server) unmount() {
	err := Unmount(s.dir, false)
	if err == nil {
		return
	}
	s.log.Warn("unmounting lazily", slog.Any("err", err))
	if err := Unmount(s.dir, true); err != nil {
		s.log.Error("unmount", slog.Any("err", err))
	}
}

// keepRecord records that this process serves the mount, of which r tells the rest.
func (s *Server) keepRecord(runtimeDir string, minor int, r record) {
	r.Dir = s.dir
	if err := writeRecord(runtimeDir, minor, &r); err != nil {
		// Without it the mount works, and `mica mounts` cannot name the process.
		s.log.Warn("mount record", slog.Any("err", err))
		return
	}
	s.record = &r
	s.listenStats(runtimeDir, minor)
}

func (s *Server) dropRecord() {
	if s.record != nil {
		s.record.remove()
	}
}

// goFuseServer is the way out of Options.OwnServer: a file name of this form
// tells go-fuse to take the descriptor as it is and mount nothing.
func goFuseServer(dev *os.File, h *handlers, checked bool) (*fuse.Server, error) {
	// It also closes the descriptor in the end, so it gets one of its own.
	fd, err := unix.FcntlInt(dev.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	srv, err := fuse.NewServer(h.raw(), fmt.Sprintf("/dev/fd/%d", fd), protocolOptions(h, checked))
	if err != nil {
		return nil, fmt.Errorf("fuse: %w", err)
	}
	return srv, dev.Close()
}
