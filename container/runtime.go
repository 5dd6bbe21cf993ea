package container

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	runc "github.com/containerd/go-runc"
)

// A RuntimeError says that the OCI runtime could not do something.
type RuntimeError struct {
	Text   string
	Status int // 125, 126 or 127, as docker run has it
	hint   string
}

func (e *RuntimeError) Error() string { return e.Text }
func (e *RuntimeError) Code() string {
	if e.Status == 125 {
		return "runtime"
	}
	return "command"
}
func (e *RuntimeError) Hint() string { return e.hint }

// runtimePath finds the runtime: the one asked for, else the first that there is.
func runtimePath(asked string) (string, error) {
	names := []string{"runc", "crun"}
	if asked != "" {
		names = []string{asked}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
		// mount(8) and init systems leave PATH out.
		for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil && filepath.Base(name) == name {
				return path, nil
			}
		}
	}
	text := "no OCI runtime: neither runc nor crun in PATH"
	if asked != "" {
		text = fmt.Sprintf("no OCI runtime %s in PATH", asked)
	}
	return "", &RuntimeError{Text: text, Status: 125, hint: "apt install runc"}
}

// FindRuntime gives the path of the runtime that containers are run by unless they
// ask for another.
func FindRuntime() (string, error) { return runtimePath("") }

// runtimeRoot is where the runtime keeps its own state; gone after a reboot, as
// what it tells of is.
func runtimeRoot() string {
	if os.Geteuid() == 0 {
		return "/run/mica/runtime"
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "mica", "runtime")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("mica-%d", os.Geteuid()), "runtime")
}

func newRuntime(asked, log string) (*runc.Runc, error) {
	path, err := runtimePath(asked)
	if err != nil {
		return nil, err
	}
	return &runc.Runc{Command: path, Root: runtimeRoot(), Log: log, LogFormat: runc.JSON}, nil
}

// deleteRuntime has the runtime forget a container, and end it if it runs.
func deleteRuntime(ctx context.Context, asked, id string) error {
	if _, err := os.Stat(filepath.Join(runtimeRoot(), id)); os.IsNotExist(err) {
		return nil
	}
	r, err := newRuntime(asked, "")
	if err != nil {
		return err
	}
	return r.Delete(ctx, id, &runc.DeleteOpts{Force: true})
}

// lastError gives the last error in a runtime's log, "" if there is none.
func lastError(log string) string {
	b, err := os.ReadFile(log)
	if err != nil {
		return ""
	}
	text := ""
	for line := range bytes.Lines(b) {
		var entry struct{ Level, Msg string }
		if json.Unmarshal(line, &entry) == nil && (entry.Level == "error" || entry.Level == "fatal") {
			text = entry.Msg
		}
	}
	return text
}

// runtimeError makes an error that tells what docker's exit statuses tell: 127
// that the command was not found, 126 that it could not be executed.
func runtimeError(err error, log string, args []string) error {
	if err == nil {
		return nil
	}
	var rt *RuntimeError
	if errors.As(err, &rt) {
		return err
	}
	text := lastError(log)
	if text == "" {
		text = strings.TrimSpace(err.Error())
	}
	e := &RuntimeError{Text: text, Status: 125}
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	switch {
	case strings.Contains(text, "executable file not found"):
		e.Status, e.Text, e.hint = 127, fmt.Sprintf("%s: not found in the PATH of the container", command), "--entrypoint, -e PATH=…, or mica ls IMAGE /usr/bin"
	case strings.Contains(text, "exec: ") && strings.Contains(text, "no such file or directory"),
		strings.Contains(text, "stat ") && strings.Contains(text, "no such file or directory") && strings.Contains(text, "exec"):
		e.Status, e.Text = 127, fmt.Sprintf("%s: no such file or directory in the container", command)
	case strings.Contains(text, "is a directory"):
		e.Status, e.Text = 126, fmt.Sprintf("%s: is a directory", command)
	case strings.Contains(text, "permission denied") && strings.Contains(text, "exec"):
		e.Status, e.Text = 126, fmt.Sprintf("%s: permission denied", command)
	case strings.Contains(text, "exec format error"):
		e.Status, e.Text, e.hint = 126, fmt.Sprintf("%s: exec format error", command), "the image may be for another kind of machine; see --platform"
	case strings.Contains(text, "argument list too long"):
		e.Status, e.Text = 126, fmt.Sprintf("%s: argument list too long: the command and its environment", command)
	}
	return e
}
