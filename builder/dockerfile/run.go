package dockerfile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// A Command is what a RUN is to execute.
type Command struct {
	Args []string
	// Script, if not nil, is a file that has to be at ScriptPath meanwhile: a
	// here-document that begins with "#!".
	Script []byte
}

// ScriptPath is where [Command.Script] is found.
const ScriptPath = "/dev/pipes/script"

// Run gives what a RUN executes.
func (s *State) Run(c *instructions.RunCommand) (Command, error) {
	args := slices.Clone(c.CmdLine)
	if len(c.Files) > 0 {
		if len(args) != 1 || !c.PrependShell {
			return Command{}, fmt.Errorf("a here-document needs a shell, and no list of words")
		}
		if heredoc, err := parser.ParseHeredoc(args[0]); err == nil && heredoc != nil {
			data := contents(c.Files[0])
			if strings.HasPrefix(data, "#!") {
				return Command{Args: []string{ScriptPath}, Script: []byte(data)}, nil
			}
			args[0] = data
		} else {
			// The shell reads the documents itself.
			for _, f := range c.Files {
				args[0] += "\n" + f.Data + f.Name
			}
		}
	}
	if len(args) == 0 {
		return Command{}, fmt.Errorf("no command")
	}
	if c.PrependShell {
		args = append(slices.Clone(s.Shell()), args...)
	}
	return Command{Args: args}, nil
}

// contents gives the text of a here-document, without the tabs that <<- takes away.
func contents(f instructions.ShellInlineFile) string {
	if f.Chomp {
		return parser.ChompHeredocContent(f.Data)
	}
	return f.Data
}
