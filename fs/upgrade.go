package fs

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An upgrade goes like this: the holder becomes the new program, which has the
// same process and descriptors (exec). That one starts a server of its own
// beside the old one. When that serves, the old one is told to answer what it
// has been asked and to end. Nothing is ever unanswered, so that it needs no
// help of the kernel. A server of a writable view waits until it is the only
// one: what the view keeps in memory only one can keep true.

// drainTime is how long the old server may take to answer what it has been
// asked. What is left then is sent to the new one.
const drainTime = 30 * time.Second

// upgraded is the answer to who has asked for an upgrade; else it is an error.
const upgraded = "ok"

// Upgrade has the program that is open as exe, which must be one that has
// [RunHolder], take over the holder and the server of a mount.
func Upgrade(m Info, exe *os.File) error {
	if m.Unheld || m.Dead {
		return errors.New("it has no holder that could have another server take over")
	}
	conn, err := dialMount(m, holderSocket)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, _, err := conn.WriteMsgUnix([]byte{0}, unix.UnixRights(int(exe.Fd())), nil); err != nil {
		return err
	}
	answer, err := io.ReadAll(io.LimitReader(conn, 1<<12))
	switch {
	case err != nil:
		return err
	case len(answer) == 0:
		return errors.New("the holder ended")
	case string(answer) != upgraded:
		return errors.New(string(answer))
	}
	return nil
}

// dialMount connects to a process that belongs to a mount.
func dialMount(m Info, kind string) (conn *net.UnixConn, err error) {
	if m.runtimeDir == "" {
		return nil, errors.New("no record tells of its processes")
	}
	err = viaDir(socketPath(m.runtimeDir, m.minor, kind), func(short string) error {
		conn, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: short, Net: "unix"})
		return err
	})
	return conn, err
}

// listenUnix listens at a path, where nobody does who could answer.
func listenUnix(path string) (l *net.UnixListener, err error) {
	os.Remove(path)
	err = viaDir(path, func(short string) error {
		if l, err = net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"}); err != nil {
			return err
		}
		l.SetUnlinkOnClose(false) // the short name leads nowhere by then
		return os.Chmod(short, 0o600)
	})
	return l, err
}

// An upgrade is one that is wanted or in work.
type upgrade struct {
	client *net.UnixConn
	exe    *os.File // what the holder is to become
	next   *server  // what it has started since it is that
}

func (u *upgrade) answer(text string) {
	// Whoever has asked may have gone.
	_, _ = io.WriteString(u.client, text)
	u.client.Close()
}

// listenAt takes requests for upgrades. Without a listener the mount is held
// all the same.
func (h *holder) listenAt(path string) {
	if path == "" {
		return
	}
	l, err := listenUnix(path)
	if err != nil {
		h.log.Warn("nobody can ask for an upgrade", slog.Any("err", err))
		return
	}
	h.listen = l
	go h.accept()
}

func (h *holder) accept() {
	for {
		conn, err := h.listen.AcceptUnix()
		if err != nil {
			return
		}
		go func() {
			exe, err := receiveRequest(conn)
			if err != nil {
				(&upgrade{client: conn}).answer(err.Error())
				return
			}
			h.happened <- func() {
				h.wanted = append(h.wanted, &upgrade{client: conn, exe: exe})
				h.proceed()
			}
		}()
	}
}

// receiveRequest gives the program that is to take over.
func receiveRequest(conn *net.UnixConn) (exe *os.File, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *unix.Ucred
	cerr := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(cerr, err); err != nil {
		return nil, err
	}
	if peer.Uid != 0 && int(peer.Uid) != os.Geteuid() {
		return nil, errors.New("it is another user's")
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return nil, err
	}
	data, control := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(data, control)
	if err != nil {
		return nil, err
	}
	return fileOf(control[:n], "program")
}

// become makes this process run another program, which goes on with all that
// is open here. It returns only if that fails.
func (h *holder) become(u *upgrade) error {
	s := h.servers[0]
	job := h.job
	job.PID, job.Alone = s.process.Pid, h.alone
	var passed []int
	defer func() {
		for _, fd := range passed {
			unix.Close(fd)
		}
	}()
	for _, one := range []struct {
		from syscall.Conn
		fd   *int
	}{{s.control, &job.Control}, {h.listen, &job.Listen}, {u.client, &job.Client}} {
		fd, err := passedOn(one.from)
		if err != nil {
			return err
		}
		*one.fd = fd
		passed = append(passed, fd)
	}
	env, err := withEnv(os.Environ(), holdEnv, job)
	if err != nil {
		return err
	}
	for _, f := range h.kept {
		if err := setCloseOnExec(f, false); err != nil {
			return err
		}
	}
	err = syscall.Exec(fmt.Sprintf("/proc/self/fd/%d", u.exe.Fd()), os.Args, env)
	for _, f := range h.kept {
		err = errors.Join(err, setCloseOnExec(f, true))
	}
	return fmt.Errorf("start the new program: %w", err)
}

// passedOn gives another descriptor of a connection, which an exec leaves open.
func passedOn(c syscall.Conn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD, firstKept) })
	return fd, errors.Join(cerr, err)
}

func setCloseOnExec(f *os.File, on bool) error {
	flags := 0
	if on {
		flags = unix.FD_CLOEXEC
	}
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, flags)
	return err
}

// succeed takes over from the holder that this process was before.
func (h *holder) succeed() {
	h.told, h.alone = true, h.job.Alone
	old := &server{control: adopt(h.job.Control), started: time.Now(), serving: true}
	// It cannot fail: the process is a child of ours, and not waited for.
	old.process, _ = os.FindProcess(h.job.PID)
	h.servers = []*server{old}
	h.watch(old)
	listen, client := adopt(h.job.Listen), adopt(h.job.Client)
	l, lerr := net.FileListener(listen)
	c, cerr := net.FileConn(client)
	if err := errors.Join(lerr, cerr, listen.Close(), client.Close()); err != nil {
		h.log.Warn("no upgrade", slog.Any("err", err))
		return
	}
	h.listen = l.(*net.UnixListener)
	h.listen.SetUnlinkOnClose(false)
	go h.accept()
	h.upgrade = &upgrade{client: c.(*net.UnixConn)}
	h.start(&heldJob{Beside: true})
	if last := h.servers[len(h.servers)-1]; last != old {
		h.upgrade.next = last
	}
	h.proceed()
}

// adopt gives a descriptor from before an exec.
func adopt(fd int) *os.File { return inherited(fd, 1)[0] }

// proceed does what can be done now for upgrades: after one was asked for, and
// after a server has begun to serve or has ended.
func (h *holder) proceed() {
	if u := h.upgrade; u != nil {
		h.finish(u)
	}
	for len(h.wanted) > 0 && h.upgrade == nil && len(h.servers) == 1 && h.servers[0].serving {
		u := h.wanted[0]
		h.wanted = h.wanted[1:]
		u.answer(h.become(u).Error())
		u.exe.Close()
	}
}

// finish goes on with an upgrade whose server was started.
func (h *holder) finish(u *upgrade) {
	switch {
	case !slices.Contains(h.servers, u.next):
		u.answer("the new server did not come up, the old one goes on; see the log")
		h.upgrade = nil
	case u.next.serving && len(h.servers) == 1:
		h.tell(u.next, wantsStart)
		u.answer(upgraded)
		h.upgrade = nil
	case u.next.serving:
		for _, s := range h.servers {
			if s != u.next && !s.draining {
				h.drain(s)
			}
		}
	}
}

func (h *holder) drain(s *server) {
	s.draining = true
	h.tell(s, wantsDrain)
	time.AfterFunc(drainTime, func() {
		h.happened <- func() {
			// Not a number that was given to another: it is not waited for yet.
			if slices.Contains(h.servers, s) {
				_ = s.process.Kill()
			}
		}
	})
}
