package builder

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"mica/builder/dockerfile"
	"mica/overlay"
	"mica/overlay/change"
	"mica/overlay/writable"
)

// A Runner runs the commands of RUN.
type Runner interface {
	// Run runs a command in a container over layers until it ends. All that it has
	// changed is in the upper directory then, and nothing is mounted any more. An
	// error is that it could not be run.
	Run(ctx context.Context, j *Job) (*Ran, error)
}

// A Ran is a command that has ended.
type Ran struct {
	Status int    // its exit status
	Upper  string // an overlayfs upper directory
	// Settle says the chain ID of the image that the upper has become the top of.
	// The upper is the Runner's from then on.
	Settle func(chain string) error
	// Close removes what is there of the container, or says its name if it is kept.
	Close func(keep bool) (name string, err error)
}

// A Job is a command to be run.
type Job struct {
	Name      string          // of the step, for people
	Layers    []overlay.Layer // bottom first, open
	Chains    []string        // the chain ID of each layer with those below it
	Root      overlay.Attr    // of the root directory
	Args, Env []string
	User      string // USER[:GROUP], by name or number
	Cwd       string
	Network   string // "default", "none" or "host"
	Mounts    []Mount
	Output    io.Writer // both streams, as they come; never written to by two at once
}

// A Mount is a directory or file that a command sees besides the image.
type Mount struct {
	Source   string // on this machine; "" is a tmpfs
	Target   string // in the container, from the root
	ReadOnly bool
	Size     int64 // bytes a tmpfs may have; 0 is no bound of its own
}

// A RunError says that a command has ended with a status that is not 0.
type RunError struct {
	Command string
	Status  int
	Tail    []string // the last lines of its output
}

func (e *RunError) Error() string {
	text := fmt.Sprintf("exit status %d", e.Status)
	if e.Status > 128 && e.Status < 128+65 {
		text += fmt.Sprintf(" (signal %d)", e.Status-128)
	}
	if n := len(e.Tail); n > 0 {
		text += ": " + e.Tail[n-1]
	}
	return text
}

// Code is the stable word of a command that failed.
func (e *RunError) Code() string { return "run" }

// run makes a layer of what a RUN changes.
func (r *stageRun) run(ctx context.Context, s *running, cmd instructions.Command, c *instructions.RunCommand) (err error) {
	line, err := r.state.Run(c)
	if err != nil {
		return err
	}
	if len(r.img.layers) == 0 {
		return errors.New("there is nothing in the image that could be run")
	}
	if instructions.GetSecurity(c) == instructions.SecurityInsecure {
		return errors.New("--security=insecure is not to be had")
	}
	mounts, err := r.mounts(ctx, cmd, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeMounts(mounts)) }()
	text := "RUN " + strings.Join(line.Args, " ")
	if args := r.state.Args(); len(args) > 0 {
		text = fmt.Sprintf("RUN |%d %s %s", len(args), strings.Join(args, " "), strings.Join(line.Args, " "))
	}
	inputs := append(r.common(), r.runInputs(line, c, mounts)...)
	return r.cached(ctx, s, r.st.Name+"\x00"+textOf(cmd), text, inputs, func() (*layer, error) {
		return r.execute(ctx, s, text, line, c, mounts)
	})
}

// runInputs are what the layer of a RUN depends on.
func (r *stageRun) runInputs(line dockerfile.Command, c *instructions.RunCommand, mounts []*mount) []Input {
	cfg := &r.state.Image.Config
	in := []Input{
		{"the image below", r.img.chain().String()},
		{"command", asJSON(line.Args)},
		{"script", string(line.Script)},
		{"environment", asJSON(r.state.StableEnv())},
		{"user", cfg.User},
		{"directory", cfg.WorkingDir},
		{"network", instructions.GetNetwork(c)},
	}
	for _, m := range mounts {
		in = append(in, Input{"mount " + m.target, m.input})
	}
	return in
}

// asJSON gives words as one, in a way that no others are.
func asJSON(words []string) string {
	b, _ := json.Marshal(words) // strings always are JSON
	return string(b)
}

// execute runs the command, and makes a layer of what it changed.
func (r *stageRun) execute(ctx context.Context, s *running, text string, line dockerfile.Command, c *instructions.RunCommand, mounts []*mount) (_ *layer, err error) {
	open, err := r.img.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, open.Close()) }()
	room, err := r.newRoom()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, room.close()) }()
	root, err := open.Attr(overlay.Root)
	if err != nil {
		return nil, err
	}
	tail := &tailWriter{}
	job := &Job{
		Name: textOf(c), Layers: open.layers, Chains: r.img.chains(), Root: root, Args: line.Args, Env: r.state.Env(),
		User: r.state.Image.Config.User, Cwd: "/" + strings.Trim(r.state.Image.Config.WorkingDir, "/"),
		Network: instructions.GetNetwork(c), Output: io.MultiWriter(tail, s),
	}
	if err := room.furnish(ctx, job, line, mounts); err != nil {
		return nil, err
	}
	ran, err := r.Runner.Run(ctx, job)
	if err != nil {
		return nil, err
	}
	defer func() {
		name, closeErr := ran.Close(err != nil && r.Keep)
		if name != "" {
			s.note("its container is kept: mica start -ai %s, mica rm %s", name, name)
		}
		err = errors.Join(err, closeErr)
	}()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if ran.Status != 0 {
		return nil, &RunError{strings.Join(line.Args, " "), ran.Status, tail.lines()}
	}
	if err := removeStubs(ran.Upper, open.View, job.Mounts); err != nil {
		return nil, err
	}
	l, err := r.commit(ctx, text, ran.Upper, open)
	if err != nil {
		return nil, err
	}
	return l, ran.Settle(r.img.with(*l).chain().String())
}

// commit makes a layer of an upper directory.
func (r *stageRun) commit(ctx context.Context, text, upper string, open *openSnapshot) (_ *layer, err error) {
	dir, err := os.Open(upper)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	notes, err := writable.ReadNotes(dir)
	if err != nil {
		return nil, err
	}
	tree, err := change.Open(dir, notes.Marks, open.View)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	desc, diffID, err := r.Images.Create(ctx, r.lease, r.Packing, func(to io.Writer) error {
		_, err := tree.WriteLayer(ctx, to, change.LayerOptions{NotAfter: r.Epoch})
		return err
	})
	return &layer{desc, diffID, text}, err
}

// tailLen is how much of a command's output is kept to be told of, in bytes, and
// tailLines how many lines.
const (
	tailLen   = 8 << 10
	tailLines = 10
)

// A tailWriter keeps the end of what is written to it.
type tailWriter struct{ buf []byte }

func (t *tailWriter) Write(b []byte) (int, error) {
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - tailLen; over > tailLen {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(b), nil
}

// lines gives the last lines that are not empty.
func (t *tailWriter) lines() []string {
	var all []string
	for l := range bytes.Lines(t.buf) {
		if l = bytes.TrimRight(l, "\r\n\t "); len(l) > 0 {
			all = append(all, string(l))
		}
	}
	return all[max(0, len(all)-tailLines):]
}
