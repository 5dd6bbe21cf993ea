package builder

import (
	"fmt"
	"time"
)

// An Outcome is how a step ended.
type Outcome string

const (
	Done   Outcome = "done"
	Cached Outcome = "cached"
	Config Outcome = "config" // only the config was changed
	Failed Outcome = "failed"
)

// A Step is a step of a build as it is told of. It does not change.
type Step struct {
	Stage  string // its name or number
	Number int    // in the stage, from 1; 0 is its FROM
	Of     int
	Text   string // of the instruction, in one line
	Line   int    // in the Dockerfile
}

// Progress is told what a build does. Its methods are called by several
// goroutines, for several steps at once.
type Progress interface {
	Begin(s *Step)
	// Output is what a RUN has written, in the pieces in which it came.
	Output(s *Step, b []byte)
	// Note is what should be known though it is no error.
	Note(s *Step, text string)
	End(s *Step, o Outcome, took time.Duration, layer int64) // layer is the bytes of its tar; 0 is none
}

// A running step is one that was announced and has not ended.
type running struct {
	Step
	to    Progress
	begun time.Time
	size  int64 // of the layer
}

// announce tells that a step begins.
func (r *stageRun) announce(text string, line int) *running {
	s := &running{Step{r.st.Name, r.n, r.steps, text, line}, r.Progress, time.Now(), 0}
	s.to.Begin(&s.Step)
	return s
}

func (s *running) end(o Outcome) { s.to.End(&s.Step, o, time.Since(s.begun), s.size) }

func (s *running) note(format string, args ...any) {
	s.to.Note(&s.Step, fmt.Sprintf(format, args...))
}

// Write takes the output of a command.
func (s *running) Write(b []byte) (int, error) {
	s.to.Output(&s.Step, b)
	return len(b), nil
}
