package fs

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What a holder keeps for the servers of its mount are open files, which it
// passes on as they are and never reads: so holders and servers of different
// versions go together. In this order:
const (
	keptDevice = iota // the mount's end of /dev/fuse
	keptInit          // memory: the INIT request of the mount, then the reply to it
	keptState         // memory: a heldState as JSON
	keptLog           // standard error of a server in the background
	keptFiles         // from here on: Holding.Files
)

// The variables of the environment that say what a process was started for,
// each a JSON object.
const (
	holdEnv = "MICA_HOLD" // holdJob
	heldEnv = "MICA_HELD" // heldJob
)

// A holdJob tells a holder what it is to hold. The descriptors kept are those
// from firstKept on.
type holdJob struct {
	Server []string `json:"server"` // command line of the servers, run by the holder's own program
	Kept   int      `json:"kept"`   // how many descriptors are kept
	Socket string   `json:"socket"` // path, where upgrades are asked for; "" is nowhere

	// Of a holder that takes over from one of another version, as which it has
	// the same process: descriptors, and the server that is running.
	PID     int  `json:"pid,omitempty"`
	Control int  `json:"control,omitempty"`
	Listen  int  `json:"listen,omitempty"`
	Client  int  `json:"client,omitempty"` // who has asked for it and waits for the answer
	Alone   bool `json:"alone,omitempty"`  // the kernel sends nothing again
}

// A heldJob tells a server what it was started for. Descriptor firstKept is
// its end of the control socket, the kept ones follow.
type heldJob struct {
	Kept   int     `json:"kept"`
	Beside bool    `json:"beside"` // another server is alive: it answers what it has been asked
	Holder process `json:"holder"`
}

const firstKept = 3

// One byte each on the control socket between a holder and a server.
const (
	saysServing = 'r' // server: answers requests
	saysAlone   = 'a' // server: does so, but nobody can take over when it dies
	wantsDrain  = 'd' // holder: answer what you have been asked, then end
	wantsStart  = 'g' // holder: no other server is left, begin if you have waited for that
	wantsResend = 's' // holder: have the kernel send again what another has not answered
)

// heldState is what all servers of a held mount need to know.
type heldState struct {
	Dir        string          `json:"dir"`
	Source     string          `json:"source"`
	RuntimeDir string          `json:"runtimeDir"`
	Minor      int             `json:"minor"` // of the mount's device
	Checked    bool            `json:"checked"`
	Since      time.Time       `json:"since"`
	State      json.RawMessage `json:"state"` // Holding.State
}

// A process is one by number and time of its start, in clock ticks since boot:
// the number alone may have been given to another since.
type process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
}

func thisProcess() (process, error) {
	start, err := processStart(os.Getpid())
	return process{os.Getpid(), start}, err
}

func (p process) alive() bool {
	start, err := processStart(p.PID)
	return err == nil && start == p.Start
}

// memoryFile gives a file without a name that holds b.
func memoryFile(name string, b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("mica-"+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.WriteAt(b, 0); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// contents reads a memory file, whose offset all servers share.
func contents(f *os.File) ([]byte, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, st.Size())
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, st.Size()), b); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return b, nil
}

// cutInit takes apart what keptInit holds. Each message begins with its length.
func cutInit(b []byte) (request, reply []byte, err error) {
	for _, part := range []*[]byte{&request, &reply} {
		if len(b) < 4 {
			return nil, nil, fmt.Errorf("saved INIT: %d bytes left", len(b))
		}
		n := binary.NativeEndian.Uint32(b)
		if uint64(n) > uint64(len(b)) {
			return nil, nil, fmt.Errorf("saved INIT: message of %d bytes, there are %d", n, len(b))
		}
		*part, b = b[:n], b[n:]
	}
	return request, reply, nil
}

// inherited gives n descriptors that this process was started with. They are
// not passed on unasked.
func inherited(first, n int) []*os.File {
	files := make([]*os.File, n)
	for i := range files {
		unix.CloseOnExec(first + i)
		files[i] = os.NewFile(uintptr(first+i), fmt.Sprint("inherited ", first+i))
	}
	return files
}

// withEnv gives an environment with a variable set to v as JSON, and without
// those of the jobs of this package else.
func withEnv(env []string, name string, v any) ([]string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, kv := range env {
		switch key, _, _ := strings.Cut(kv, "="); key {
		case holdEnv, heldEnv, readyEnv:
		default:
			out = append(out, kv)
		}
	}
	return append(out, name+"="+string(b)), nil
}

// viaDir calls use with a path to the same file that is short enough for the
// address of a socket, of 108 bytes.
func viaDir(path string, use func(short string) error) error {
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: filepath.Dir(path), Err: err}
	}
	defer unix.Close(dir)
	return use(fmt.Sprintf("/proc/self/fd/%d/%s", dir, filepath.Base(path)))
}

// socketPath is where the process of a kind listens for a mount.
func socketPath(runtimeDir string, minor int, kind string) string {
	return strings.TrimSuffix(recordPath(runtimeDir, minor), ".json") + "." + kind
}

const holderSocket = "holder"
