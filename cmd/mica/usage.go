package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Command lines that are not mica's are told like any other failure, with what
// may have been meant.

// strictly has a command refuse, as usage errors, operands that its usage line
// does not have.
func strictly(cmd *cobra.Command) {
	own := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		var err error
		if cmd.Annotations[checksOperands] == "" {
			err = checkOperands(cmd, args)
		}
		if own != nil && err == nil {
			err = own(cmd, args)
		}
		if err == nil || errors.As(err, new(*usageError)) {
			return err
		}
		return &usageError{err: err, hint: "usage: " + cmd.UseLine()}
	}
}

// checksOperands is the annotation of a command that calls checkOperands itself.
const checksOperands = "operands"

// checkOperands compares operands with a usage line such as
// "cat [flags] IMAGE PATH…", which so is true. "[X]" is optional; a line that
// has alternatives ("|") is left to the command.
func checkOperands(cmd *cobra.Command, args []string) error {
	_, line, _ := strings.Cut(cmd.Use, " ")
	if strings.Contains(line, "|") {
		return nil
	}
	wanted, most := []string{}, 0
	for word := range strings.FieldsSeq(line) {
		if word == "[flags]" {
			continue
		}
		if strings.Contains(word, "…") {
			most = len(args)
		}
		most++
		if !strings.HasPrefix(word, "[") {
			wanted = append(wanted, strings.TrimSuffix(word, "…"))
		}
	}
	switch {
	case len(args) < len(wanted):
		return fmt.Errorf("%s missing", strings.Join(wanted[len(args):], " and "))
	case len(args) > most:
		return fmt.Errorf("unexpected operand %q", args[most])
	}
	return nil
}

// exactly wants an operand for each of the words, as a usage line with
// alternatives does not say it.
func exactly(words ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > len(words) {
			return fmt.Errorf("unexpected operand %q", args[len(words)])
		}
		return atLeast(len(words), words...)(cmd, args)
	}
}

// atLeast wants so many operands.
func atLeast(n int, words ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < n {
			return fmt.Errorf("%s missing", strings.Join(words[len(args):], " and "))
		}
		return nil
	}
}

// unknownCommand is the root's check of operands: it has only commands.
func unknownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := &usageError{err: fmt.Errorf("unknown command %q", args[0])}
	if names := root.SuggestionsFor(args[0]); len(names) > 0 {
		err.hint = "did you mean " + strings.Join(names, " or ") + "?"
	}
	return err
}

// flagError tells of a flag that cannot be parsed.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return &usageError{err: err}
	}
	name := unknown.GetSpecifiedName()
	usage := &usageError{err: fmt.Errorf("unknown flag --%s", name)}
	if like := nearest(name, cmd.Flags()); like != "" {
		usage.hint = "did you mean --" + like + "?"
	}
	return usage
}

// nearest gives the flag whose name is at most two edits away, or begins so.
func nearest(name string, flags *pflag.FlagSet) (like string) {
	least := 3
	flags.VisitAll(func(f *pflag.Flag) {
		d := levenshtein.Distance(name, f.Name, nil)
		if strings.HasPrefix(f.Name, name) {
			d = 1
		}
		if d < least && !f.Hidden {
			like, least = f.Name, d
		}
	})
	return like
}
