package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mica/container"
)

// containerFlags are those of commands on containers that are there.
type containerFlags struct {
	images imageFlags // its root alone
}

func (f *containerFlags) add(flags *pflag.FlagSet) { f.images.addRoot(flags) }

func (f *containerFlags) store() (*container.Store, error) {
	store, err := f.images.store()
	if err != nil {
		return nil, err
	}
	return container.Open(store), nil
}

// find gives a container by name or ID.
func (f *containerFlags) find(ctx context.Context, typed string) (*container.Container, error) {
	s, err := f.store()
	if err != nil {
		return nil, err
	}
	c, err := s.Find(ctx, typed)
	if err != nil {
		return nil, &argError{typed, err}
	}
	return c, nil
}

// maybe gives the container of a word, nil where it names none and need not. A
// word with a slash is of an image.
func (f *containerFlags) maybe(ctx context.Context, typed string, must bool) (*container.Container, error) {
	if strings.ContainsAny(strings.TrimPrefix(typed, "/"), "/:@") && !must {
		return nil, nil
	}
	c, err := f.find(ctx, typed)
	if errors.Is(err, iofs.ErrNotExist) && !must {
		return nil, nil
	}
	return c, err
}

// each does something to each container named, tells of each that it could not
// do it to, and prints the words of the others, as docker does.
func (f *containerFlags) each(cmd *cobra.Command, std streams, names []string, do func(ctx context.Context, c *container.Container) error) error {
	var failed []error
	for _, name := range names {
		c, err := f.find(cmd.Context(), name)
		if err == nil {
			if err = do(cmd.Context(), c); err != nil {
				err = &argError{name, err}
			}
		}
		if err != nil {
			failed = append(failed, err)
			if cmd.Context().Err() != nil {
				break
			}
			continue
		}
		if _, err := fmt.Fprintln(std.out, name); err != nil {
			return err
		}
	}
	return tellAll(cmd, std, failed)
}

// all gives all containers, or those that run.
func (f *containerFlags) all(ctx context.Context, stopped bool) ([]*container.Container, error) {
	s, err := f.store()
	if err != nil {
		return nil, err
	}
	list, err := s.List(ctx)
	if err != nil || stopped {
		return list, err
	}
	var running []*container.Container
	for _, c := range list {
		if c.IsRunning() {
			running = append(running, c)
		}
	}
	return running, nil
}

// complete completes the names of containers.
func (f *containerFlags) complete(which func(*container.Container) bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		list, err := f.all(context.Background(), true)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []cobra.Completion
		for _, c := range list {
			if strings.HasPrefix(c.Config.Name, word) && (which == nil || which(c)) {
				names = append(names, cobra.CompletionWithDesc(c.Config.Name, c.Config.Image.Name))
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeOne completes one container and nothing after it.
func (f *containerFlags) completeOne(which func(*container.Container) bool) cobra.CompletionFunc {
	complete := f.complete(which)
	return func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, word)
	}
}

func isRunning(c *container.Container) bool  { return c.IsRunning() }
func notRunning(c *container.Container) bool { return !c.IsRunning() }
