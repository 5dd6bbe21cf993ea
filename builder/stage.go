package builder

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/opencontainers/go-digest"

	"mica/builder/dockerfile"
)

// comment is what the history of a step says besides the command.
const comment = "mica"

// A stageRun is the work on one stage.
type stageRun struct {
	*build
	st    *dockerfile.Stage
	state *dockerfile.State
	img   *built // as far as it has come
	steps int    // of the stage, in all
	n     int    // of the step that is being made, from 1
}

// buildStage builds a stage on its base.
func (b *build) buildStage(ctx context.Context, st *dockerfile.Stage) (*built, error) {
	r := &stageRun{build: b, st: st}
	base, err := r.from(ctx)
	if err != nil {
		return nil, b.Plan.File.AtStage(st, err)
	}
	r.img = &built{snapshot: base.snapshot, config: base.config}
	var onbuild []string
	r.state, onbuild = b.Plan.NewState(base.config)
	r.img.config = r.state.Image
	commands, err := b.Plan.File.Triggers(st, onbuild)
	if err != nil {
		return nil, err
	}
	commands = append(commands, st.Commands...)
	r.steps = len(commands)
	for _, cmd := range commands {
		r.n++
		if err := r.step(ctx, cmd); err != nil {
			return nil, r.failed(ctx, cmd, err)
		}
	}
	return r.img, nil
}

// from gives the image that the stage begins with.
func (r *stageRun) from(ctx context.Context) (*built, error) {
	switch {
	case r.st.Base != nil:
		return r.stage(ctx, r.st.Base)
	case r.st.FromScratch():
		return r.scratch(), nil
	}
	s := r.announce(strings.Join(strings.Fields(r.st.Source()), " "), r.st.Line())
	img, err := r.base(ctx, r.st.Image, r.st.Platform)
	if err == nil {
		s.end(Done)
	}
	return img, err
}

// step carries out one instruction.
func (r *stageRun) step(ctx context.Context, cmd instructions.Command) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := r.state.Expand(cmd); err != nil {
		return err
	}
	onlyConfig, err := r.state.Apply(cmd)
	if err != nil {
		return err
	}
	text := textOf(cmd)
	s := r.announce(text, r.Plan.File.Line(cmd))
	switch c := dockerfile.Plain(cmd).(type) {
	case *instructions.WorkdirCommand:
		return r.workdir(ctx, s)
	case *instructions.CopyCommand:
		return r.copy(ctx, s, cmd, copyOf(c))
	case *instructions.AddCommand:
		return r.copy(ctx, s, cmd, addOf(c))
	case *instructions.RunCommand:
		return r.run(ctx, s, cmd, c)
	}
	if !onlyConfig {
		return fmt.Errorf("%s is not known", cmd.Name())
	}
	r.img = r.note(text, nil, nil)
	s.end(Config)
	return nil
}

// note gives the image after a step. l is nil where it made no layer; it is told
// to be as old as the image then, so that the same build makes the same image.
func (r *stageRun) note(createdBy string, l *layer, created *time.Time) *built {
	next := *r.img
	if created == nil {
		created = next.config.Created
	}
	history := next.config.History
	next.config = r.state.Image
	next.config.History = history
	next.add(createdBy, comment, created, l)
	return &next
}

// textOf gives an instruction in one line, as it is written.
func textOf(cmd instructions.Command) string {
	s, ok := dockerfile.Plain(cmd).(fmt.Stringer)
	if !ok {
		return strings.ToUpper(cmd.Name())
	}
	lines := strings.Split(s.String(), "\n")
	if len(lines) > 1 { // a here-document
		return lines[0] + " …"
	}
	return strings.Join(strings.Fields(lines[0]), " ")
}

// A StepError says which step of a build failed, and how to look inside.
type StepError struct {
	Err  error         // an *dockerfile.Error
	Last digest.Digest // the ID of the image before the step; "" is none
}

func (e *StepError) Error() string { return e.Err.Error() }
func (e *StepError) Unwrap() error { return e.Err }

// Hint is how to look inside.
func (e *StepError) Hint() string {
	var hinted interface{ Hint() string }
	if errors.As(e.Err, &hinted) && hinted.Hint() != "" {
		return hinted.Hint()
	}
	if e.Last == "" {
		return ""
	}
	return "to look at the image as it was before: mica run -it --rm " + e.Last.Encoded()[:12] + " sh"
}

// failed tells of an error that it came of a step. The image before it is kept
// to be looked at.
func (r *stageRun) failed(ctx context.Context, cmd instructions.Command, err error) error {
	at := r.Plan.File.At(cmd, wordOf(err), err)
	var ran *RunError
	if !errors.As(err, &ran) || len(r.img.layers) == 0 {
		return &StepError{Err: at}
	}
	id, keepErr := r.intermediate(context.WithoutCancel(ctx), *r.img)
	if keepErr != nil {
		return errors.Join(&StepError{Err: at}, keepErr)
	}
	return &StepError{at, id}
}

// wordOf gives the word of an instruction that an error is about, "" if it does
// not say.
func wordOf(err error) string {
	var about interface{ About() string }
	if errors.As(err, &about) {
		return about.About()
	}
	return ""
}
