package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// A choice is the value of a flag that is one of a few words.
type choice struct {
	word  string
	words []string
}

var _ pflag.Value = (*choice)(nil)

// addChoice adds a flag whose value is one of words, the first unless told
// otherwise.
func addChoice(flags *pflag.FlagSet, c *choice, name, usage string, words ...string) {
	c.word, c.words = words[0], words
	flags.Var(c, name, usage+": "+c.list())
}

// list is "auto, plain or none".
func (c *choice) list() string {
	last := len(c.words) - 1
	return strings.Join(c.words[:last], ", ") + " or " + c.words[last]
}

func (c *choice) String() string { return c.word }
func (c *choice) Type() string   { return "HOW" }

func (c *choice) Set(s string) error {
	if !slices.Contains(c.words, s) {
		return fmt.Errorf("must be %s", c.list())
	}
	c.word = s
	return nil
}
