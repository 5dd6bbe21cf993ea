package fs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// rootRuntimeDir is where root's records are.
const rootRuntimeDir = "/run/mica/mounts"

// RuntimeDir is where the records of the caller's mounts belong: /run/mica for
// root, $XDG_RUNTIME_DIR/mica for others, and if there is none, store.
func RuntimeDir(store string) string {
	if os.Geteuid() == 0 {
		return rootRuntimeDir
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "mica", "mounts")
	}
	return filepath.Join(store, "mounts")
}

// A record says which process serves a mount: one JSON file a mount, named by
// the mount's device number, which is one of a kind in the running system. It
// is a help, and nothing depends on it: a server that was killed leaves it
// behind, so a reader checks that the process it names is the one that wrote it.
// Beside it lie the sockets of the mount's processes (socketPath).
type record struct {
	Dir    string `json:"dir"`
	Source string `json:"source"`
	process
	Holder *process  `json:"holder,omitempty"` // has another server take over; nil if there is none
	Since  time.Time `json:"since"`

	path string
}

// writeRecord records that this process serves a mount, of which r says the
// rest, and removes what servers that were killed have left.
func writeRecord(runtimeDir string, minor int, r *record) (err error) {
	if r.process, err = thisProcess(); err != nil {
		return err
	}
	if err := os.MkdirAll(runtimeDir, 0o755); err != nil {
		return err
	}
	removeStale(runtimeDir)
	r.path, r.Since = recordPath(runtimeDir, minor), r.Since.Truncate(time.Second)
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return writeAtomically(r.path, append(b, '\n'))
}

// remove takes the record away unless the device number has been given to
// another mount since, and that one's record is there.
func (r *record) remove() {
	if now, err := readRecord(r.path); err == nil && now.process == r.process {
		os.Remove(r.path)
		os.Remove(strings.TrimSuffix(r.path, ".json") + "." + statsSocket)
	}
}

// held reports whether there is a holder.
func (r *record) held() bool { return r.Holder != nil && r.Holder.alive() }

// findRecord looks for the record of a mount in several directories. It is nil
// if there is none, or one of an earlier mount that had the same device number.
func findRecord(minor int, source string, dirs ...string) *record {
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		r, err := readRecord(recordPath(dir, minor))
		if err == nil && r.Source == source {
			return r
		}
	}
	return nil
}

func recordPath(dir string, minor int) string {
	return filepath.Join(dir, strconv.Itoa(minor)+".json")
}

func readRecord(path string) (*record, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &record{path: path}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// removeStale removes records whose processes are gone, and their sockets.
// Their mounts, if any are left, are dead and are shown without a process. One
// does so at a time: who mounts has this behind him before he makes a socket, so
// that nobody takes that for one of the mount that had the same number before.
func removeStale(dir string) {
	// Where there is no lock to be had, nothing is written either.
	if lock, err := os.Open(dir); err == nil {
		defer lock.Close()
		_ = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	paths, _ := filepath.Glob(filepath.Join(dir, "*.json"))
	for _, path := range paths {
		r, err := readRecord(path)
		if errors.Is(err, os.ErrNotExist) || err == nil && (r.alive() || r.held()) {
			continue
		}
		os.Remove(path)
		for _, socket := range []string{holderSocket, statsSocket} {
			os.Remove(strings.TrimSuffix(path, ".json") + "." + socket)
		}
	}
}

func writeAtomically(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// processStart is when a process began (proc(5), /proc/PID/stat field 22). One
// that has ended and is not waited for is none any more.
func processStart(pid int) (uint64, error) {
	name := fmt.Sprintf("/proc/%d/stat", pid)
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in brackets, which may itself
	// hold spaces and brackets.
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return 0, fmt.Errorf("%s: no program name", name)
	}
	fields := strings.Fields(string(b[i+1:])) // from the third on
	if len(fields) < 20 {
		return 0, fmt.Errorf("%s: %d fields", name, len(fields))
	}
	if state := fields[0]; state == "Z" || state == "X" {
		return 0, fmt.Errorf("%s: state %s", name, state)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
