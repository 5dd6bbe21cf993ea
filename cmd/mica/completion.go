package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"mica/layerstore/transport"
	"mica/overlay"
)

// bashCompletion is used in place of cobra's script, which fails without the
// package bash-completion.
//
//go:embed completion.bash
var bashCompletion string

func newCompletion(std streams) *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print the completion script for a shell",
		Long: `Completion prints what makes the TAB key complete mica's commands, flags, the
images of a layout or an archive, and paths inside of images. SHELL is bash,
zsh or fish.`,
		Example: `  . <(mica completion bash)         # now; or for good:
  mica completion bash > /etc/bash_completion.d/mica
  mica completion fish > ~/.config/fish/completions/mica.fish`,
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				_, err := io.WriteString(std.out, bashCompletion)
				return err
			case "zsh":
				return cmd.Root().GenZshCompletion(std.out)
			case "fish":
				return cmd.Root().GenFishCompletion(std.out, true)
			}
			return &usageError{err: fmt.Errorf("no completion for %q", args[0]), hint: "bash, zsh or fish"}
		},
	}
}

// completeChoices completes the values of flags that are one of a few words.
func completeChoices(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if c, ok := f.Value.(*choice); ok {
			// It fails only if the flag is not this command's.
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(c.words, cobra.ShellCompDirectiveNoFileComp))
		}
	})
}

// What follows completes operands: candidates for the word that is being
// typed, each of which begins with it.

// completionTime is how long the TAB key may take. An image that cannot be
// indexed in that time is not looked into.
const completionTime = 2 * time.Second

// completeImage completes an IMAGE, and nothing after it.
func (f *imageFlags) completeImage(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return f.completeImages(cmd, args, word)
}

// completeImages completes any number of them.
func (f *imageFlags) completeImages(_ *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if names := f.imagesAt(word); names != nil {
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	// "oci:DIR": the shell completes paths only where a word is all path.
	if scheme, file, ok := strings.Cut(word, ":"); ok && !strings.Contains(scheme, "/") {
		return completeFile(scheme+":", file)
	}
	return nil, cobra.ShellCompDirectiveDefault
}

// imagesAt gives the images that begin with a word, where what comes before a
// colon in it holds images; else nil.
func (f *imageFlags) imagesAt(word string) []cobra.Completion {
	ctx, cancel := context.WithTimeout(context.Background(), completionTime)
	defer cancel()
	store, err := f.store()
	i := strings.LastIndexByte(word, ':')
	if err != nil || i <= 0 {
		return nil
	}
	listed, err := transport.List(ctx, word[:i], f.transportOptions(store, nil))
	if err != nil {
		return nil
	}
	var names []cobra.Completion
	for _, l := range listed {
		if strings.HasPrefix(l.Ref, word) {
			names = append(names, cobra.CompletionWithDesc(l.Ref, strings.Join(l.Platforms, " ")))
		}
	}
	return names
}

// completeFile completes a path that follows a prefix, which no shell does.
func completeFile(prefix, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	dir, base := filepath.Split(word)
	entries, err := os.ReadDir(filepath.Clean(dir)) // of "" that is "."
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []cobra.Completion
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() {
			name += "/"
		}
		if strings.HasPrefix(name, base) {
			names = append(names, prefix+dir+name)
		}
	}
	return names, onward(names)
}

// onward has the shell put no space after a directory: its word goes on.
func onward(names []cobra.Completion) cobra.ShellCompDirective {
	if slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, "/") }) {
		return cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	return cobra.ShellCompDirectiveNoFileComp
}

// completeImageThenDir completes the operands of mount.
func (f *imageFlags) completeImageThenDir(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return f.completeImages(cmd, args, word)
	case 1:
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// completeImageThenPaths completes an IMAGE and paths inside it.
func (f *imageFlags) completeImageThenPaths(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return f.completeImages(cmd, args, word)
	}
	ctx, cancel := context.WithTimeout(context.Background(), completionTime)
	defer cancel()
	img, err := f.open(ctx, args[0], nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer img.Close()
	names := pathsIn(img.Tree, word)
	return names, onward(names)
}

// pathsIn gives the paths in a tree that begin with a word, down to the next
// slash.
func pathsIn(t *overlay.Tree, word string) []cobra.Completion {
	dir, base := path.Split(word)
	at, err := t.Stat("/" + dir)
	if err != nil {
		return nil
	}
	var names []cobra.Completion
	// Of a damaged directory, what could be read of it is offered.
	_ = t.ReadDir(at.ID, 0, func(name string, id overlay.NodeID, _ uint64) bool {
		if strings.HasPrefix(name, base) {
			if a, err := t.Attr(id); err == nil && a.Mode&unix.S_IFMT == unix.S_IFDIR {
				name += "/"
			}
			names = append(names, dir+name)
		}
		return true
	})
	return names
}

// completeMounted completes directories that mica has mounted something at.
func (f *imageFlags) completeMounted(_ *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	mounts, err := f.mounts()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	here, err := os.Getwd()
	var names []cobra.Completion
	for _, m := range mounts {
		name := m.Dir
		if rest, ok := strings.CutPrefix(name, here+"/"); ok && err == nil && !filepath.IsAbs(word) {
			name = rest
		}
		if strings.HasPrefix(name, word) {
			names = append(names, cobra.CompletionWithDesc(name, m.Source))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
