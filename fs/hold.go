package fs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Holding is what the servers of a mount have in common.
type Holding struct {
	// Server is the command line of a server, run by this program, its name
	// first. It is to call [Inherit].
	Server []string
	// State, which is marshalled as JSON, and Files, which stay the caller's, are
	// handed to each server.
	State any
	Files []*os.File
	// Log is where servers write once they have left the terminal; nil is nowhere.
	Log *os.File
	// Stderr is where they write before. It may be nil.
	Stderr io.Writer
}

// Hold mounts at dir in a way that outlives the server: a small process, the
// holder, keeps what is needed to serve the mount and has servers do so, one
// after the other as they die. It returns when the first one answers. The
// code is 0 then; else it is that of the server, which has said why. The error
// is a *MountError where the user can do something about it.
func Hold(dir string, o Options, h Holding) (code int, err error) {
	if o.Source == "" {
		o.Source = "mica" // mount(2) takes no empty one
	}
	if dir, err = CheckMountpoint(dir, o); err != nil {
		return 0, err
	}
	dev, err := attachDevice(dir, &o)
	if err != nil {
		return 0, err
	}
	defer dev.Close()
	if code, err = startHolder(dir, &o, &h, dev); code != 0 || err != nil {
		return code, errors.Join(err, Unmount(dir, true))
	}
	return 0, nil
}

func startHolder(dir string, o *Options, h *Holding, dev *os.File) (code int, err error) {
	m, err := mountAt(dir)
	if err != nil {
		return 0, err
	}
	if o.RuntimeDir != "" {
		if err := os.MkdirAll(o.RuntimeDir, 0o755); err != nil {
			o.note("the mount is not recorded: %v", err)
			o.RuntimeDir = ""
		}
		removeStale(o.RuntimeDir) // before there is a socket of ours
	}
	app, err := json.Marshal(h.State)
	if err != nil {
		return 0, err
	}
	state, err := json.Marshal(&heldState{
		Dir: dir, Source: o.Source, RuntimeDir: o.RuntimeDir, Minor: m.Minor,
		Checked: o.kernelChecks(), Since: time.Now().Truncate(time.Second), State: app,
	})
	if err != nil {
		return 0, err
	}
	stateFile, err := memoryFile("state", state)
	if err != nil {
		return 0, err
	}
	defer stateFile.Close()
	initFile, err := memoryFile("init", nil)
	if err != nil {
		return 0, err
	}
	defer initFile.Close()
	log := h.Log
	if log == nil {
		if log, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil {
			return 0, err
		}
		defer log.Close()
	}
	kept := append([]*os.File{keptDevice: dev, keptInit: initFile, keptState: stateFile, keptLog: log}, h.Files...)
	job := holdJob{Server: h.Server, Kept: len(kept)}
	if o.RuntimeDir != "" {
		job.Socket = socketPath(o.RuntimeDir, m.Minor, holderSocket)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{h.Server[0], "hold", o.Source, dir} // for ps
	if cmd.Env, err = withEnv(os.Environ(), holdEnv, job); err != nil {
		return 0, err
	}
	cmd.ExtraFiles = kept
	cmd.Stderr = h.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return Background(cmd)
}

// Inherit gives a server what its holder has for it, or nil if no holder has
// started this process. What it gives lasts as long as the process.
func Inherit() (*Held, error) {
	text, ok := os.LookupEnv(heldEnv)
	if !ok {
		return nil, nil
	}
	os.Unsetenv(heldEnv)
	h := &Held{}
	if err := json.Unmarshal([]byte(text), &h.job); err != nil || h.job.Kept < keptFiles {
		return nil, fmt.Errorf("%s=%s: %w", heldEnv, text, err)
	}
	// So that it is not called "exe", as it was started.
	_ = os.WriteFile("/proc/self/comm", []byte(programName), 0)
	files := inherited(firstKept, 1+h.job.Kept)
	h.control, h.kept = files[0], files[1:]
	b, err := contents(h.kept[keptState])
	if err != nil {
		return nil, err
	}
	return h, json.Unmarshal(b, &h.state)
}

// programName is what ps -C and top call holders and servers.
const programName = "mica"

// A Held is a mount that a holder keeps, as a server sees it.
type Held struct {
	job     heldJob
	state   heldState
	control *os.File
	kept    []*os.File
}

// State is Holding.State, as JSON.
func (h *Held) State() []byte { return h.state.State }

// Files are Holding.Files.
func (h *Held) Files() []*os.File { return h.kept[keptFiles:] }

// Succeeds reports whether another server has served the mount before.
func (h *Held) Succeeds() bool {
	st, err := h.kept[keptInit].Stat()
	return err != nil || st.Size() > 0
}

// Dir is the mount point, absolute and without symlinks.
func (h *Held) Dir() string { return h.state.Dir }

// Attach serves the mount out of view, with o.Log and o.NoHandles; the rest is
// as [Hold] was given it. If another server has died, the kernel sends again
// what that one had read and not answered (FUSE_NOTIFY_RESEND, Linux 6.9), so
// that to the programs the change is a pause.
func (h *Held) Attach(view View, o Options) (*Server, error) {
	o.DefaultPermissions, o.Source = h.state.Checked, h.state.Source
	s, err := serverOn(h.kept[keptDevice], h, h.state.Dir, view, &o)
	if err != nil {
		return nil, err
	}
	s.raiseReadahead()
	return s, nil
}

// Ready is called when the server can serve: it leaves the terminal, is
// recorded as the mount's, and the holder is told.
func (s *Server) Ready() error {
	h := s.held
	if err := leaveTerminal(h.kept[keptLog]); err != nil {
		return err
	}
	if h.state.RuntimeDir != "" {
		r := record{Source: h.state.Source, Since: h.state.Since}
		if s.session.canResend() {
			r.Holder = &h.job.Holder
		}
		s.keepRecord(h.state.RuntimeDir, h.state.Minor, r)
	}
	what := byte(saysServing)
	if !s.session.canResend() {
		what = saysAlone
	}
	if _, err := h.control.Write([]byte{what}); err != nil {
		// The mount is served all the same.
		s.log.Warn("the holder is gone", slog.Any("err", err))
	}
	return nil
}

// kick has the kernel send a request: it keeps no answer to STATFS. It goes to
// whoever has waited longest, and is answered by the other server if not by us.
func (s *Server) kick() {
	var st unix.Statfs_t
	_ = unix.Statfs(s.dir, &st)
}

// savedInit gives what the first server and the kernel told one another; nil
// if this is the first one.
func (h *Held) savedInit() (request, reply []byte, err error) {
	b, err := contents(h.kept[keptInit])
	if err != nil || len(b) == 0 {
		return nil, nil, err
	}
	return cutInit(b)
}

func (h *Held) saveInit(request, reply []byte) error {
	_, err := h.kept[keptInit].WriteAt(append(append([]byte{}, request...), reply...), 0)
	return err
}
