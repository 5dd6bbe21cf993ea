package fs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"mica/overlay"
	"mica/overlay/writable"
)

const (
	// maxRead is the most that one READ asks for and one readahead covers.
	maxRead   = 1 << 20
	smallRead = 128 << 10
	// maxPayload is what a request or a reply has besides maxRead: headers, or
	// an extended attribute's 64 KiB.
	maxPayload = 72 << 10
	// usualRequest is as long as any request that wants a reply and is no WRITE.
	usualRequest = 16 << 10
	// rootAlias stands for the root in a LOOKUP. go-fuse answers for itself
	// when the root is asked for ".go-fuse-epoll-hack", which would make a file
	// of that name appear in each image.
	rootAlias = 0

	outHeaderLen    = 16
	notifyResend    = 7 // FUSE_NOTIFY_RESEND
	opLookup        = 1
	opForget        = 2
	opSetattr       = 4
	opRename        = 12
	opLink          = 13
	opOpen          = 14
	opRead          = 15
	opWrite         = 16
	opFsync         = 20
	opSetxattr      = 21
	opRemovexattr   = 24
	opInit          = 26
	opReaddir       = 28
	opFsyncdir      = 30
	opInterrupt     = 36
	opDestroy       = 38
	opBatchForget   = 42
	opFallocate     = 43
	opReaddirplus   = 44
	opRename2       = 45
	opCopyFileRange = 47
	opCount         = 64 // more than there are
	interruptReqLen = 48
)

// A session speaks the protocol on one /dev/fuse descriptor: it reads requests,
// has go-fuse decode them and call the handlers, and writes the replies.
type session struct {
	dev   *os.File
	fd    int // of dev
	h     *handlers
	proto *fuse.ProtocolServer
	work  *workers
	// making runs what asks for something that is not ready.
	making *workers
	// writable is the view if it takes changes, else nil.
	writable *writable.View
	// lazy is the view if questions may have to wait for nodes of it, else nil.
	lazy lazyView
	// push is nil where nothing is to be pushed.
	push *pusher
	// lanes of workers: for reads as a program makes them, and for readahead.
	small, large sync.Pool

	initReq  []byte      // INIT request, by this server or a former one
	draining atomic.Bool // the loop is to end after the request at hand
	ended    chan struct{}

	// By opcode: how many have come, and how long those that are answered took
	// from the end of read(2) to that of write(2).
	requests [opCount]atomic.Uint64
	took     [opCount]latency
}

// protocolOptions is all that the kernel is told at INIT. checked says that the
// mount has default_permissions; to ask for ACL checks would switch those on.
//
// READDIRPLUS is used for every directory (37,000 entries, cold, median of 5:
// find -ls .70 s, find .40). Leaving the choice to the kernel (.80, .31) helps
// only walks that never stat; without it find -ls takes 1.28 s.
func protocolOptions(h *handlers, checked bool) *fuse.MountOptions {
	o := &fuse.MountOptions{
		MaxWrite:                 maxRead, // bounds reads and readahead too
		MaxBackground:            64,
		EnableSymlinkCaching:     true,
		EnableAcl:                checked && h.hasACLs(),
		IDMappedMount:            checked, // ids are the kernel's to check, so that it may also map them
		ExplicitDataCacheControl: true,    // pages go by memory pressure only, never by mtime
		ExtraCapabilities:        fuse.CAP_NO_OPENDIR_SUPPORT | fuse.CAP_HAS_RESEND | fuse.CAP_EXPORT_SUPPORT,
		// Passthrough would take one of the two levels that file systems may
		// be stacked in, and an overlay of overlays over mica would not mount.
		DisabledCapabilities: fuse.CAP_PASSTHROUGH,
		PanicHandler:         func(reason any) fuse.Status { return h.panicked(reason) },
		Logger:               slog.NewLogLogger(h.log.Handler(), slog.LevelWarn),
	}
	if h.noHandles {
		withoutHandles(o)
	}
	if w, ok := feature[*writable.View](h.view); ok {
		writableOptions(o, w)
	}
	return o
}

func withoutHandles(o *fuse.MountOptions) {
	o.ExtraCapabilities &^= fuse.CAP_EXPORT_SUPPORT
	o.ExtraCapabilities |= fuse.CAP_NO_EXPORT_SUPPORT
}

// newSession reads the INIT request of a fresh mount from dev and answers it:
// when it returns, the mount can be used. Where a holder has that of a former
// server, it takes over from that one instead, and is sent again what the other
// had not answered. held is nil without a holder. The session owns dev from
// then on.
func newSession(dev *os.File, held *Held, h *handlers, checked bool) (*session, error) {
	s := &session{
		dev:   dev,
		fd:    int(dev.Fd()),
		h:     h,
		proto: fuse.NewProtocolServer(h.raw(), protocolOptions(h, checked)),
		ended: make(chan struct{}),
	}
	s.small.New = func() any { return &lane{out: make([]byte, smallRead+outHeaderLen)} }
	s.large.New = func() any { return &lane{out: make([]byte, maxRead+outHeaderLen)} }
	s.writable, _ = feature[*writable.View](h.view)
	if v, ok := feature[lazyView](h.view); ok {
		s.lazy = v
	}
	s.work, s.making = newWorkers(maxWorkers, s.answerJob), newWorkers(maxUnready, s.prepareJob)
	if v, ok := feature[sequentialView](h.view); ok && held != nil && s.writable == nil {
		s.push = newPusher(h.view, v, s.fd, s.work.reading)
	}
	if err := s.init(held); err != nil {
		return nil, fmt.Errorf("fuse: init: %w", err)
	}
	return s, nil
}

func (s *session) init(held *Held) error {
	if held == nil {
		return s.firstInit(func(request, reply []byte) error { return nil })
	}
	request, reply, err := held.savedInit()
	if err != nil {
		return err
	}
	if request == nil {
		return s.firstInit(held.saveInit)
	}
	s.initReq = request
	own, err := newLane().handle(s.proto, request)
	if err != nil {
		return err
	}
	if !bytes.Equal(own, reply) {
		// The kernel goes by what it was told, and cannot be told anew.
		return errors.New("this version of mica serves in another way than the one that mounted; mount again")
	}
	if held.job.Beside {
		return nil
	}
	return s.resend()
}

// firstInit answers the INIT request of a fresh mount, after save has it.
func (s *session) firstInit(save func(request, reply []byte) error) error {
	l := newLane()
	req, err := s.read(l.in)
	if err != nil {
		return err
	}
	if len(req) < inHeaderLen || parseHeader(req).opcode != opInit {
		return fmt.Errorf("%d bytes that are no INIT request", len(req))
	}
	s.initReq = slices.Clone(req)
	reply, err := l.handle(s.proto, req)
	if err != nil {
		return err
	}
	if err := save(req, reply); err != nil {
		return err
	}
	_, err = syscall.Write(s.fd, reply)
	return err
}

// canResend reports whether the kernel knows how to send requests again: if
// INIT's second word of flags, which is there from minor version 36 on, says so.
func (s *session) canResend() bool {
	const flags2 = inHeaderLen + 4*4
	return len(s.initReq) >= flags2+4 && uint64(binary.NativeEndian.Uint32(s.initReq[flags2:]))<<32&fuse.CAP_HAS_RESEND != 0
}

// resend asks for the requests that a former server read and did not answer.
func (s *session) resend() error {
	var msg [outHeaderLen]byte
	putOutHeader(msg[:], outHeaderLen, notifyResend, 0)
	_, err := syscall.Write(s.fd, msg[:])
	return err
}

// errDrained says that the loop ended because it was told to.
var errDrained = errors.New("drained")

// drain has the loop end after the next request. That may never come, so kick
// is called, again and again, to bring one about.
func (s *session) drain(kick func()) {
	s.draining.Store(true)
	again := time.NewTicker(kickAgain)
	defer again.Stop()
	for {
		kick()
		select {
		case <-s.ended:
			return
		case <-again.C:
		}
	}
}

const kickAgain = 10 * time.Millisecond

// serve answers requests until the mount is gone. It is called once.
func (s *session) serve() error {
	err := s.loop()
	close(s.ended)
	if err == errDrained {
		s.work.finish()
		s.making.finish()
		return err
	}
	// Whoever waited for a read was told so by the kernel.
	s.h.closing.Store(true)
	s.work.stop(func(j *job) { s.interrupt(j.unique) })
	s.making.stop(func(j *job) {
		j.giveUp()
		s.interrupt(j.unique) // once it is ready it is a request like others
	})
	return errors.Join(err, s.dev.Close())
}

// loop is the one reader of the device. Two loops answer a single walker sooner
// by a quarter, but had one run of a minute that nobody explained.
func (s *session) loop() error {
	l := newLane()
	// A thread that waits for a request may be given one though its process has
	// just been killed. Such a thread cannot page in its buffer any more, and
	// the kernel would answer the request with EIO itself rather than keep it
	// for the next server. So the part that requests use is there: a few KiB, and
	// all of it where there are writes.
	if s.writable == nil {
		clear(l.in[:usualRequest])
	} else {
		clear(l.in)
	}
	for {
		req, err := s.read(l.in)
		if err == syscall.ENODEV || err == syscall.ECONNABORTED {
			return nil // unmounted, or aborted through /sys/fs/fuse/connections
		}
		if err != nil {
			return os.NewSyscallError("read /dev/fuse", err)
		}
		if len(req) < inHeaderLen {
			return fmt.Errorf("/dev/fuse: request of %d bytes", len(req))
		}
		s.dispatch(l, req)
		if s.draining.Load() {
			return errDrained
		}
	}
}

// dispatch answers a request here and now, or hands it to a worker.
func (s *session) dispatch(l *lane, req []byte) {
	start := time.Now()
	hd := parseHeader(req)
	if hd.opcode < opCount {
		s.requests[hd.opcode].Add(1)
	}
	release, ready := s.hold(hd)
	if !ready {
		j := &job{unique: hd.unique, req: slices.Clone(req), opcode: hd.opcode, start: start}
		j.ctx, j.cancel = context.WithCancel(context.Background())
		switch hd.opcode {
		case opRead, opReaddir, opReaddirplus: // the two say what they want as READ does
			_, j.size, _ = readRange(req)
		}
		s.making.add(j)
		return
	}
	switch hd.opcode {
	case opRead:
		off, n, ok := readRange(req)
		var next *stream
		if ok && off == 0 {
			next = s.follows(node(&fuse.InHeader{NodeId: hd.node}))
		}
		if ok && (next != nil || !s.cached(hd, off, n)) {
			s.work.add(&job{unique: hd.unique, req: slices.Clone(req), opcode: opRead, node: hd.node, size: n, start: start, next: next, release: release})
			return
		}
	case opFsync, opFsyncdir, opCopyFileRange, opWrite, opSetattr, opSetxattr, opRemovexattr, opFallocate, opOpen, opLink, opRename, opRename2:
		if s.writable != nil && s.lasting(hd, req) {
			s.work.add(&job{unique: hd.unique, req: slices.Clone(req), opcode: hd.opcode, start: start})
			return
		}
	case opLookup:
		if hd.node == fuse.FUSE_ROOT_ID {
			binary.NativeEndian.PutUint64(req[16:], rootAlias)
		}
	case opInterrupt:
		// What waits for a worker is not known to go-fuse yet, nor what is made
		// ready.
		if len(req) >= interruptReqLen {
			unique := binary.NativeEndian.Uint64(req[inHeaderLen:])
			if s.work.withdraw(unique) || s.making.withdraw(unique) {
				s.replyError(unique, syscall.EINTR)
				return
			}
			s.making.giveUp(unique)
		}
	}
	s.answer(l, req)
	s.timed(hd.opcode, start)
	release()
}

// hold keeps what a request asks about ready until release is called; false is
// that it has to be made ready first.
func (s *session) hold(hd header) (release func(), ready bool) {
	switch {
	case s.lazy == nil:
	case hd.opcode == opForget || hd.opcode == opBatchForget || hd.opcode == opInterrupt || hd.opcode == opDestroy:
		// These ask nothing, and the first come for many nodes when memory is short.
	default:
		return s.lazy.Hold(node(&fuse.InHeader{NodeId: hd.node}))
	}
	return func() {}, true
}

// follows is what pusher.asked gives for a read from the start of a file. Who
// traces wants to be told of each file that is read, so that none is pushed then.
func (s *session) follows(id overlay.NodeID) *stream {
	if s.push == nil || s.h.tracers.now.Load() != nil {
		return nil
	}
	return s.push.asked(id)
}

// pushWindow is pusher.push; a panic of the view there ends no more than pushing.
func (s *session) pushWindow(next *stream) {
	defer func() {
		if reason := recover(); reason != nil {
			s.h.panicked(reason)
			s.push.may.Store(false)
		}
	}()
	s.push.push(next)
}

// lasting reports whether a request to a writable view may take long: because
// it waits for the disk, or because a long file has to be copied up first.
func (s *session) lasting(hd header, req []byte) bool {
	id := node(&fuse.InHeader{NodeId: hd.node})
	switch hd.opcode {
	case opFsync, opFsyncdir, opCopyFileRange:
		return true
	case opOpen:
		if len(req) < inHeaderLen+4 || binary.NativeEndian.Uint32(req[inHeaderLen:])&unix.O_ACCMODE == unix.O_RDONLY {
			return false
		}
	case opLink:
		if len(req) >= inHeaderLen+8 {
			id = overlay.NodeID(binary.NativeEndian.Uint64(req[inHeaderLen:]))
		}
	case opRename, opRename2:
		names := inHeaderLen + 8 // struct fuse_rename_in, fuse_rename2_in
		if hd.opcode == opRename2 {
			names += 8
		}
		if len(req) < names {
			return false
		}
		name, _, _ := bytes.Cut(req[names:], []byte{0})
		return s.writable.LastingName(id, string(name))
	}
	return s.writable.Lasting(id)
}

func (s *session) timed(opcode uint32, start time.Time) {
	if opcode < opCount {
		s.took[opcode].add(time.Since(start))
	}
}

// cached asks the View, for which a panic is no reason to end the loop either:
// the read that follows will panic again, where it is caught.
func (s *session) cached(hd header, off int64, n int) (cached bool) {
	defer func() {
		if recover() != nil {
			cached = false
		}
	}()
	return s.h.view.Cached(node(&fuse.InHeader{NodeId: hd.node}), off, n)
}

// answer has one request handled and writes its reply, if it is to have one.
func (s *session) answer(l *lane, req []byte) { s.answerAfter(l, req, nil) }

// answerAfter pushes the window of a stream, if there is one, between the two: what
// is to be pushed may be decoded by then.
func (s *session) answerAfter(l *lane, req []byte, next *stream) {
	reply, err := l.handle(s.proto, req)
	if next != nil {
		s.pushWindow(next)
	}
	if err != nil {
		s.replyError(parseHeader(req).unique, syscall.EIO)
		return
	}
	if len(reply) > 0 {
		s.write(reply)
	}
}

// answerJob is answer for a worker.
func (s *session) answerJob(j *job) {
	pool := &s.small
	if j.size > smallRead {
		pool = &s.large
	}
	if j.release != nil {
		defer j.release()
	}
	l := pool.Get().(*lane)
	s.answerAfter(l, j.req, j.next)
	s.timed(j.opcode, j.start)
	pool.Put(l)
}

// prepareJob is answerJob for what is not ready.
func (s *session) prepareJob(j *job) {
	defer j.giveUp()
	in := &fuse.InHeader{NodeId: parseHeader(j.req).node}
	release, err := s.lazy.Prepare(j.ctx, node(in))
	switch {
	case err == nil:
		j.release = release
		s.answerJob(j)
	case j.ctx.Err() != nil:
		s.replyError(j.unique, syscall.EINTR)
	default:
		s.replyError(j.unique, syscall.Errno(s.h.fail(in, "merge of layers", err)))
	}
}

func (s *session) replyError(unique uint64, errno syscall.Errno) {
	var msg [outHeaderLen]byte
	putOutHeader(msg[:], outHeaderLen, -int32(errno), unique)
	s.write(msg[:])
}

// interrupt does what the kernel's INTERRUPT would to a request in work.
func (s *session) interrupt(unique uint64) {
	var req [interruptReqLen]byte
	binary.NativeEndian.PutUint32(req[0:], interruptReqLen)
	binary.NativeEndian.PutUint32(req[4:], opInterrupt)
	binary.NativeEndian.PutUint64(req[inHeaderLen:], unique)
	var out [outHeaderLen]byte
	s.proto.HandleRequest([][]byte{req[:]}, [][]byte{out[:]})
}

// write sends one reply, which the device takes whole or not at all.
func (s *session) write(reply []byte) {
	_, err := syscall.Write(s.fd, reply)
	switch err {
	case nil, syscall.ENOENT, syscall.ENODEV:
		// ENOENT: the asker was killed meanwhile. ENODEV: unmounted.
	default:
		s.h.log.Error("reply refused", slog.Int("bytes", len(reply)), slog.Any("err", err))
	}
}

// read waits for one request.
func (s *session) read(buf []byte) ([]byte, error) {
	for {
		n, err := syscall.Read(s.fd, buf)
		switch err {
		case nil:
			return buf[:n], nil
		case syscall.EINTR, syscall.ENOENT:
			// ENOENT: the request was withdrawn while we read it.
		case syscall.EAGAIN:
			// The descriptor is shared with someone who made it non-blocking.
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}, -1); err != nil && err != unix.EINTR {
				return nil, err
			}
		default:
			return nil, err
		}
	}
}

// A lane is what one goroutine needs to handle requests one after the other.
type lane struct {
	in, out []byte
	// The slices of one element that HandleRequest wants, kept because they
	// would be allocated anew for each request.
	inVec, outVec [1][]byte
}

// newLane gives a lane that takes any request and any reply. The buffers cost
// memory only as far as they are touched.
func newLane() *lane {
	return &lane{in: make([]byte, maxRead+maxPayload), out: make([]byte, maxRead+maxPayload)}
}

// handle is the one call of go-fuse's HandleRequest for requests of the kernel.
// The reply lies in l.out; it is empty for a request that wants none.
func (l *lane) handle(proto *fuse.ProtocolServer, req []byte) ([]byte, error) {
	l.inVec[0], l.outVec[0] = req, l.out
	n, st := proto.HandleRequest(l.inVec[:], l.outVec[:])
	if !st.Ok() {
		return nil, syscall.Errno(st)
	}
	return l.out[:n], nil
}

// header is what the loop itself looks at in a request (struct fuse_in_header).
type header struct {
	opcode uint32
	unique uint64
	node   uint64
}

const inHeaderLen = 40

func parseHeader(req []byte) header {
	return header{
		opcode: binary.NativeEndian.Uint32(req[4:]),
		unique: binary.NativeEndian.Uint64(req[8:]),
		node:   binary.NativeEndian.Uint64(req[16:]),
	}
}

// readRange is what a READ asks for (struct fuse_read_in: handle, offset, size).
func readRange(req []byte) (off int64, n int, ok bool) {
	if len(req) < inHeaderLen+20 {
		return 0, 0, false
	}
	off = int64(binary.NativeEndian.Uint64(req[inHeaderLen+8:]))
	n = int(binary.NativeEndian.Uint32(req[inHeaderLen+16:]))
	return off, n, n <= maxRead
}

// putOutHeader writes a struct fuse_out_header.
func putOutHeader(b []byte, length uint32, code int32, unique uint64) {
	binary.NativeEndian.PutUint32(b[0:], length)
	binary.NativeEndian.PutUint32(b[4:], uint32(code))
	binary.NativeEndian.PutUint64(b[8:], unique)
}
