package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"mica/builder"
)

// A buildProgress shows the steps of a build, a line or more each: several stages
// are built at once, so each line says of which step it is.
type buildProgress struct {
	w     io.Writer
	json  bool
	quiet bool

	mu    sync.Mutex
	shown map[*builder.Step]*shownStep
}

// A shownStep is a step whose output comes in pieces.
type shownStep struct {
	number int // in the order in which they began
	begun  time.Time
	rest   []byte // of a line that has not ended
}

var _ builder.Progress = (*buildProgress)(nil)

func newBuildProgress(w io.Writer, how string, quiet bool) *buildProgress {
	return &buildProgress{w: w, json: how == "json", quiet: quiet, shown: map[*builder.Step]*shownStep{}}
}

// An event is what --progress json prints a line of.
type event struct {
	Event   string  `json:"event"` // begin, output, note, end
	ID      int     `json:"id,omitempty"`
	Stage   string  `json:"stage,omitempty"`
	Step    int     `json:"step,omitempty"`
	Of      int     `json:"of,omitempty"`
	Line    int     `json:"line,omitempty"`
	Text    string  `json:"text,omitempty"`
	Outcome string  `json:"outcome,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
	Layer   int64   `json:"layer,omitempty"` // bytes as stored
}

// print prints an event, or the line that says the same to people.
func (p *buildProgress) print(e event, format string, args ...any) {
	switch {
	case p.quiet:
	case p.json:
		// Where it cannot be printed there is nobody to tell.
		_ = json.NewEncoder(p.w).Encode(e)
	default:
		fmt.Fprintln(p.w, printable(fmt.Sprintf(format, args...)))
	}
}

func title(s *builder.Step) string {
	if s.Number == 0 {
		return fmt.Sprintf("[%s] %s", s.Stage, s.Text)
	}
	return fmt.Sprintf("[%s %d/%d] %s", s.Stage, s.Number, s.Of, s.Text)
}

// Begin tells of a step.
func (p *buildProgress) Begin(s *builder.Step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.shown) + 1
	p.shown[s] = &shownStep{number: n, begun: time.Now()}
	p.print(event{Event: "begin", ID: n, Stage: s.Stage, Step: s.Number, Of: s.Of, Line: s.Line, Text: s.Text}, "#%d %s", n, title(s))
}

// Output shows whole lines.
func (p *buildProgress) Output(s *builder.Step, b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.shown[s]
	at.rest = append(at.rest, b...)
	for {
		line, rest, whole := bytes.Cut(at.rest, []byte("\n"))
		if !whole && len(line) < maxLine {
			return
		}
		at.rest = append([]byte(nil), rest...)
		p.line(at, line)
	}
}

// maxLine is how much of a line without an end is kept, in bytes.
const maxLine = 64 << 10

func (p *buildProgress) line(at *shownStep, line []byte) {
	text := string(bytes.TrimRight(line, "\r"))
	if i := strings.LastIndexByte(text, '\r'); i >= 0 {
		text = text[i+1:] // what a terminal would be left with
	}
	took := time.Since(at.begun).Seconds()
	p.print(event{Event: "output", ID: at.number, Text: text, Seconds: took}, "#%d %.3f %s", at.number, took, text)
}

// Note tells what is no error.
func (p *buildProgress) Note(s *builder.Step, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.shown[s].number
	p.print(event{Event: "note", ID: n, Text: text}, "#%d %s", n, text)
}

// note tells what is of no step.
func (p *buildProgress) note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.print(event{Event: "note", Text: text}, "%s", text)
}

// End tells how a step ended.
func (p *buildProgress) End(s *builder.Step, o builder.Outcome, took time.Duration, layer int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.shown[s]
	if len(at.rest) > 0 {
		p.line(at, at.rest)
	}
	e := event{Event: "end", ID: at.number, Outcome: string(o), Seconds: took.Seconds(), Layer: layer}
	switch {
	case o == builder.Cached:
		p.print(e, "#%d CACHED", at.number)
	case layer > 0:
		p.print(e, "#%d DONE %.1fs, layer of %s", at.number, took.Seconds(), size(layer))
	case o == builder.Config && !p.json: // it took no time, and its line has been printed
	default:
		p.print(e, "#%d DONE %.1fs", at.number, took.Seconds())
	}
}

// failed shows the end of the output of a command that failed, where that has not
// been seen.
func (p *buildProgress) failed(err error) {
	var ran *builder.RunError
	if !errors.As(err, &ran) || p.json {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.shown {
		if len(at.rest) > 0 {
			p.line(at, at.rest)
		}
	}
	fmt.Fprintln(p.w, printable("failed: "+ran.Command))
	for _, line := range ran.Tail {
		fmt.Fprintln(p.w, printable("  | "+line))
	}
}
