package dockerfile

import (
	"errors"
	"fmt"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// An Error says what is wrong at a place of a Dockerfile.
type Error struct {
	File         string // its name, as the user knows it
	Line, Column int    // from 1; 0 is the file as a whole
	Text         string // of the line, shortened
	Err          error
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %v", e.File, e.Line, e.Column, e.Text, e.Err)
}
func (e *Error) Unwrap() error { return e.Err }

// Code is the stable word of a text that cannot be built from. What failed
// otherwise has a word of its own.
func (e *Error) Code() string {
	var coded interface{ Code() string }
	if errors.As(e.Err, &coded) {
		return coded.Code()
	}
	return "dockerfile"
}

// shown is how much of a line an error quotes, in bytes.
const shown = 60

// errorAt makes an error about an instruction. word, if it stands in it, is what
// the error is about: the column is its.
func (f *File) errorAt(where []parser.Range, word string, err error) error {
	var have *Error
	if err == nil || errors.As(err, &have) {
		return err
	}
	e := &Error{File: f.Name, Err: err}
	if len(where) == 0 || where[0].Start.Line < 1 || where[0].Start.Line > len(f.lines) {
		return e
	}
	first, last := where[0].Start.Line, min(where[len(where)-1].End.Line, len(f.lines))
	e.Line = first
	line := f.lines[first-1]
	e.Column = len(line) - len(strings.TrimLeft(line, " \t")) + 1
	for n := first; word != "" && n <= last; n++ {
		if at := indexFold(f.lines[n-1], word); at >= 0 {
			e.Line, e.Column, line = n, at+1, f.lines[n-1]
			break
		}
	}
	if e.Text = strings.TrimSpace(line); len(e.Text) > shown {
		e.Text = strings.ToValidUTF8(e.Text[:shown], "") + "…"
	}
	return e
}

// indexFold finds a word in a line, whatever its case: the parser writes some
// words in lower case.
func indexFold(line, word string) int {
	for at := 0; at+len(word) <= len(line); at++ {
		if strings.EqualFold(line[at:at+len(word)], word) {
			return at
		}
	}
	return -1
}

// At tells of an error that it came of a command of the file. word may be "".
func (f *File) At(cmd instructions.Command, word string, err error) error {
	return f.errorAt(cmd.Location(), word, err)
}

// parseError gives what the parser or the reader of instructions has said, in
// mica's form.
func (f *File) parseError(err error) error {
	if have := (*Error)(nil); errors.As(err, &have) {
		return err
	}
	var at *parser.LocationError
	var where []parser.Range
	if errors.As(err, &at) && len(at.Locations) > 0 {
		where = at.Locations[0]
	}
	var unknown *instructions.UnknownInstructionError
	word, text := "", err
	if errors.As(err, &unknown) {
		word = unknown.Instruction
		text = errors.New("unknown instruction" + didYouMean(strings.ToUpper(unknown.Instruction), instructionNames))
	} else if inner := rootOf(err); inner != "" {
		text = errors.New(inner)
	}
	return f.errorAt(where, word, text)
}

// rootOf strips what the parser has put before the cause: the place, which is
// told otherwise.
func rootOf(err error) string {
	text := err.Error()
	if rest, ok := strings.CutPrefix(text, "dockerfile parse error on line "); ok {
		if _, cause, ok := strings.Cut(rest, ": "); ok {
			text = cause
		}
	}
	return strings.TrimPrefix(text, "file with no instructions: ")
}

// AtStage tells of an error that it came of the FROM of a stage.
func (f *File) AtStage(st *Stage, err error) error { return f.errorAt(st.location, st.Image, err) }

// Line gives the line of a command, from 1.
func (f *File) Line(cmd instructions.Command) int { return firstLine(cmd.Location()) }

// Line gives the line of the stage's FROM, from 1.
func (st *Stage) Line() int { return firstLine(st.location) }

func firstLine(where []parser.Range) int {
	if len(where) == 0 {
		return 0
	}
	return where[0].Start.Line
}
