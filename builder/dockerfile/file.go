package dockerfile

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// MaxSize is how long a Dockerfile may be, in bytes: the parser takes many times
// that of memory.
const MaxSize = 1 << 20

// A File is a Dockerfile that has been read. It is used up by one [File.Plan]:
// the values of variables are put into its instructions.
type File struct {
	Name string // as the user knows it

	lines  []string
	escape rune
	stages []instructions.Stage
	global []instructions.ArgCommand // before the first FROM
}

// Parse reads a Dockerfile. name is what errors call it.
func Parse(name string, src []byte) (*File, error) {
	f := &File{Name: name}
	if len(src) > MaxSize {
		return nil, f.errorAt(nil, "", fmt.Errorf("%d bytes long; more than %d are not read", len(src), MaxSize))
	}
	if bytes.IndexByte(src, 0) >= 0 {
		return nil, f.errorAt(nil, "", errors.New("not a text file"))
	}
	f.lines = strings.Split(strings.TrimPrefix(string(src), "\ufeff"), "\n")
	for i, line := range f.lines {
		f.lines[i] = strings.TrimSuffix(line, "\r")
	}
	parsed, err := parser.Parse(bytes.NewReader(src))
	if err != nil {
		if strings.Contains(err.Error(), "file with no instructions") {
			err = errors.New("no instructions in it")
		}
		return nil, f.parseError(err)
	}
	f.escape = parsed.EscapeToken
	for _, node := range parsed.AST.Children {
		if err := f.add(node); err != nil {
			return nil, f.parseError(err)
		}
	}
	if len(f.stages) == 0 {
		return nil, f.errorAt(nil, "", errors.New("no FROM in it, so nothing to build"))
	}
	return f, nil
}

// add takes in one instruction.
func (f *File) add(node *parser.Node) error {
	parsed, err := instructions.ParseInstruction(node)
	if err != nil {
		return err
	}
	if arg, ok := parsed.(*instructions.ArgCommand); ok && len(f.stages) == 0 {
		f.global = append(f.global, *arg)
		return nil
	}
	switch v := parsed.(type) {
	case *instructions.Stage:
		if v.Name != "" {
			if _, ok := instructions.HasStage(f.stages, v.Name); ok {
				return f.errorAt(v.Location, v.Name, fmt.Errorf("a stage before this one is called %s, too", v.Name))
			}
		}
		f.stages = append(f.stages, *v)
	case instructions.Command:
		if len(f.stages) == 0 {
			return f.errorAt(v.Location(), "", errors.New("comes before the first FROM"))
		}
		stage := &f.stages[len(f.stages)-1]
		stage.Commands = append(stage.Commands, v)
	}
	return nil
}

// StageName is how a stage is called: by its name, or by its number.
func stageName(st *instructions.Stage, number int) string {
	if st.Name != "" {
		return st.Name
	}
	return strconv.Itoa(number)
}

// Triggers reads the instructions that an image has kept for the builds that
// start from it (ONBUILD). Errors are told at the FROM of the stage.
func (f *File) Triggers(st *Stage, onbuild []string) ([]instructions.Command, error) {
	var commands []instructions.Command
	for _, text := range onbuild {
		parsed, err := parser.Parse(strings.NewReader(text))
		if err != nil {
			return nil, f.errorAt(st.location, "", fmt.Errorf("ONBUILD %s: %w", text, err))
		}
		for _, node := range parsed.AST.Children {
			// The lines are those of the trigger, not of this file.
			cmd, err := instructions.ParseCommand(node)
			if err != nil {
				return nil, f.errorAt(st.location, "", fmt.Errorf("ONBUILD %s: %s", text, rootOf(err)))
			}
			commands = append(commands, &trigger{cmd, st.location})
		}
	}
	return commands, nil
}

// A trigger is an instruction that stands in another file: its place is that of
// the FROM which brought it in.
type trigger struct {
	instructions.Command
	location []parser.Range
}

func (t *trigger) Location() []parser.Range { return t.location }

// Plain gives the instruction itself, for a type switch.
func Plain(cmd instructions.Command) instructions.Command {
	if t, ok := cmd.(*trigger); ok {
		return t.Command
	}
	return cmd
}
