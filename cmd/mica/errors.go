package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mica/fs"
	"mica/layerstore"
	"mica/layerstore/blob"
	"mica/layerstore/images"
	"mica/layerstore/toc"
)

// A usageError says that a command line is not one of mica's.
type usageError struct {
	err  error
	hint string // "" is the command's --help
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }
func (e *usageError) Hint() string  { return e.hint }

// An argError says which object, as it was typed, a command failed on.
type argError struct {
	arg string
	err error
}

func (e *argError) Error() string { return e.arg + ": " + e.err.Error() }
func (e *argError) Unwrap() error { return e.err }

// A spaceError says that a file system is full, that of the store or of what is
// written elsewhere.
type spaceError struct {
	root string
	err  error
	hint string
}

func (e *spaceError) Error() string {
	text := e.root + ": no space left on device"
	var known *images.SpaceError
	if errors.As(e.err, &known) {
		return text + fmt.Sprintf(": needs %s, %s free", size(known.Need), size(known.Free))
	}
	var st unix.Statfs_t
	if unix.Statfs(e.root, &st) == nil {
		text += ": " + size(int64(st.Bavail)*st.Bsize) + " free"
	}
	return text
}
func (e *spaceError) Unwrap() error { return e.err }
func (e *spaceError) Hint() string  { return e.hint }

// storeFullHint is what may help where the store is full.
const storeFullHint = "mica prune may free some; an index is about 1 % of its image, an image in the store its blobs besides; another place for them: --root DIR or MICA_ROOT"

// A failure is an error as it is told: one line and perhaps a hint, for people
// or as JSON.
type failure struct {
	Error  string `json:"error"`
	Code   string `json:"code"`             // a stable word
	Object string `json:"object,omitempty"` // as it was typed
	Hint   string `json:"hint,omitempty"`

	status int  // to exit with
	silent bool // has been told, or nobody is there to be told
}

// newFailure makes what is told out of an error of a command.
func newFailure(ctx context.Context, cmd *cobra.Command, err error) failure {
	var told *toldError
	switch {
	case errors.As(err, &told):
		return failure{status: told.status, silent: true}
	case errors.Is(err, unix.EPIPE):
		// Whoever read the output has seen enough, as with head(1).
		return failure{status: exitSignal + int(unix.SIGPIPE), silent: true}
	}
	verb := strings.TrimPrefix(strings.TrimPrefix(cmd.CommandPath(), "mica"), " ")
	if verb != "" {
		verb += " "
	}
	if ctx.Err() != nil {
		var by signalError
		if !errors.As(context.Cause(ctx), &by) {
			by.Signal = unix.SIGINT
		}
		return failure{Error: strings.TrimSuffix(verb, " ") + ": interrupted", Code: "interrupted", status: exitSignal + int(by.Signal)}
	}
	f := failure{Code: code(err), Object: object(err), Hint: hint(cmd, err), status: exitFailed}
	if f.Object == "" && verb != "" {
		verb = verb[:len(verb)-1] + ": "
	}
	f.Error = verb + strings.ReplaceAll(err.Error(), "\n", "; ") // of errors.Join
	switch f.Code {
	case "usage":
		f.status = exitUsage
	case "not-found":
		f.status = exitNotFound
	}
	if cmd.Annotations[exitsAsContainer] != "" {
		f.status = exitRun
	}
	var own interface{ ExitStatus() int }
	if errors.As(err, &own) {
		f.status = own.ExitStatus()
	}
	return f
}

// report prints the failure and gives the exit status.
func (f failure) report(w io.Writer, asJSON bool) int {
	switch {
	case f.silent:
	case asJSON:
		// Where not even that can be printed, the status still tells.
		_ = json.NewEncoder(w).Encode(f)
	default:
		fmt.Fprintf(w, "mica: %s\n", printable(f.Error))
		if f.Hint != "" {
			fmt.Fprintf(w, "hint: %s\n", printable(f.Hint))
		}
	}
	return f.status
}

// A toldError is one that has been reported already.
type toldError struct{ status int }

func (e *toldError) Error() string { return fmt.Sprintf("exit status %d", e.status) }

// tellAll reports the failures of a command that goes on after one, and gives
// the status of the worst.
func tellAll(cmd *cobra.Command, std streams, errs []error) error {
	told := &toldError{}
	for _, err := range errs {
		status := newFailure(cmd.Context(), cmd, err).report(std.err, wantsJSON(cmd.Root()))
		told.status = max(told.status, status)
	}
	if len(errs) == 0 {
		return nil
	}
	return told
}

// code gives the stable word for an error.
func code(err error) string {
	var coded interface{ Code() string }
	var usage *usageError
	var notOurs *layerstore.NotOursError
	var space *spaceError
	switch {
	case errors.As(err, &usage):
		return "usage"
	case errors.As(err, &coded):
		return coded.Code()
	case errors.As(err, &notOurs):
		return "not-ours"
	case errors.As(err, &space):
		return "no-space"
	case corrupt(err):
		return "corrupt"
	case errors.As(err, new(*layerstore.CodecError)):
		return "media-type"
	case errors.Is(err, iofs.ErrPermission):
		return "permission"
	case errors.Is(err, iofs.ErrNotExist):
		return "not-found"
	}
	return "failed"
}

// corrupt reports whether an error says that bytes are not what they should be.
func corrupt(err error) bool {
	return errors.As(err, new(*blob.DataError)) || errors.As(err, new(*toc.FormatError)) || errors.As(err, new(*layerstore.DigestError))
}

// object gives what an error is about, as it was typed.
func object(err error) string {
	var arg *argError
	var busy *fs.BusyError
	switch {
	case errors.As(err, &arg):
		return arg.arg
	case errors.As(err, &busy):
		return busy.Dir
	}
	return ""
}

// hint gives what may help, or "".
func hint(cmd *cobra.Command, err error) string {
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) && hinted.Hint() != "" {
		return hinted.Hint()
	}
	var usage *usageError
	if errors.As(err, &usage) {
		return cmd.CommandPath() + " --help"
	}
	var notOurs *layerstore.NotOursError
	if errors.As(err, &notOurs) {
		if os.Getenv("MICA_ROOT") == "" {
			return "--root DIR or MICA_ROOT for a store of your own, or sudo"
		}
		return "unset MICA_ROOT, or sudo"
	}
	return ""
}

// size is a count of bytes for people, as docker prints it.
func size(n int64) string { return units.HumanSizeWithPrecision(float64(n), 3) }
