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
type record struct {
	Dir    string    `json:"dir"`
	Source string    `json:"source"`
	PID    int       `json:"pid"`
	Start  uint64    `json:"start"` // of the process, in clock ticks since boot: a PID alone may have been reused
	Since  time.Time `json:"since"`

	path string
}

// writeRecord records that this process serves the mount at dir, and removes
// what servers that were killed have left.
func writeRecord(runtimeDir, dir, source string, since time.Time) (*record, error) {
	m, err := mountAt(dir)
	if err != nil {
		return nil, err
	}
	start, err := processStart(os.Getpid())
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(runtimeDir, 0o755); err != nil {
		return nil, err
	}
	removeStale(runtimeDir)
	r := &record{Dir: dir, Source: source, PID: os.Getpid(), Start: start, Since: since.Truncate(time.Second),
		path: recordPath(runtimeDir, m.Minor)}
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return r, writeAtomically(r.path, append(b, '\n'))
}

// remove takes the record away unless the device number has been given to
// another mount since, and that one's record is there.
func (r *record) remove() {
	if now, err := readRecord(r.path); err == nil && now.PID == r.PID && now.Start == r.Start {
		os.Remove(r.path)
	}
}

func (r *record) alive() bool {
	start, err := processStart(r.PID)
	return err == nil && start == r.Start
}

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

// removeStale removes records whose process is gone. Their mounts, if any are
// left, are dead and are shown without a process.
func removeStale(dir string) {
	paths, _ := filepath.Glob(filepath.Join(dir, "*.json"))
	for _, path := range paths {
		r, err := readRecord(path)
		if errors.Is(err, os.ErrNotExist) || err == nil && r.alive() {
			continue
		}
		os.Remove(path)
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

// processStart is when a process began (proc(5), /proc/PID/stat field 22).
func processStart(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in brackets, which may itself
	// hold spaces and brackets.
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return 0, fmt.Errorf("/proc/%d/stat: no program name", pid)
	}
	fields := strings.Fields(string(b[i+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat: %d fields", pid, len(fields))
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
