package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
)

// mount(8) starts mica as mount.mica or mount.fuse.mica where those are links
// to it in /sbin, and where they are not, FUSE's own helper starts "mica SRC DIR
// -o OPTIONS". PATH is unset then, and from fstab HOME as well.

// Exit statuses that mount(8) knows.
const (
	mountUsage     = 1
	mountInterrupt = 8
	mountFailed    = 32
)

// isMountHelper reports whether mica was started under the name of a helper.
func isMountHelper(name string) bool {
	return slices.Contains([]string{"mount.mica", "mount.fuse.mica", "mount.fuse"}, name)
}

// asMountHelper recognises "SRC DIR -o OPTIONS", which is no command of mica's,
// and "-o OPTIONS DIR", by which podman calls what mounts its containers
// (mount_program).
func asMountHelper(args []string) (helper []string, ok bool) {
	if len(args) > 2 && strings.HasPrefix(args[0], "-o") {
		return args, true
	}
	if len(args) < 3 || !strings.HasPrefix(args[2], "-o") || strings.HasPrefix(args[0], "-") || strings.HasPrefix(args[1], "-") {
		return nil, false
	}
	for _, c := range newRoot(streams{}).Commands() {
		if c.Name() == args[0] {
			return nil, false
		}
	}
	return args, true
}

// runMountHelper is "mount" as mount(8) calls it, with its exit statuses. Only
// messages are printed.
func runMountHelper(ctx context.Context, args []string, std streams) int {
	h, err := parseHelper(args)
	if err != nil {
		fmt.Fprintf(std.err, "mica: mount: %v\nhint: mount.mica IMAGE DIR [-sfnv] [-o OPTIONS]\n", err)
		return mountUsage
	}
	if h.fake {
		return 0
	}
	std.out = io.Discard
	command := append([]string{"mount", "--quiet", "--options", h.options(), "--"}, h.operands...)
	switch status := run(ctx, command, std); {
	case status == 0:
		return 0
	case status == exitUsage:
		return mountUsage
	case status > exitSignal:
		return mountInterrupt
	}
	return mountFailed
}

// helperArgs are the operands and flags that mount(8) gives its helpers.
type helperArgs struct {
	operands []string // source and directory, or that alone where options tell the source
	words    []string // of all -o
	sloppy   bool     // -s: leave out options that are not known
	fake     bool     // -f: do all but mount
}

func parseHelper(args []string) (*helperArgs, error) {
	h := &helperArgs{}
	for i := 0; i < len(args); i++ {
		a := args[i]
		if len(a) < 2 || a[0] != '-' {
			h.operands = append(h.operands, a)
			continue
		}
		for j := 1; j < len(a); j++ {
			if flag := a[j]; strings.IndexByte("oNt", flag) >= 0 {
				value := a[j+1:]
				if value == "" {
					if i++; i == len(args) {
						return nil, fmt.Errorf("-%c needs a value", flag)
					}
					value = args[i]
				}
				if err := h.value(flag, value); err != nil {
					return nil, err
				}
				break
			}
			if err := h.flag(a[j]); err != nil {
				return nil, err
			}
		}
	}
	lowers := slices.ContainsFunc(h.words, func(word string) bool { return strings.HasPrefix(word, "lowerdir=") })
	if n := len(h.operands); n != 2 && !(n == 1 && lowers) {
		return nil, fmt.Errorf("wants an image and a directory, got %q", h.operands)
	}
	// mount.fuse is given "TYPE#SOURCE" where fstab has it so.
	h.operands[0] = strings.TrimPrefix(h.operands[0], "mica#")
	return h, nil
}

func (h *helperArgs) flag(flag byte) error {
	switch flag {
	case 's':
		h.sloppy = true
	case 'f':
		h.fake = true
	case 'n', 'v': // mtab and verbosity
	default:
		return fmt.Errorf("unknown flag -%c", flag)
	}
	return nil
}

func (h *helperArgs) value(flag byte, value string) error {
	switch flag {
	case 'o':
		h.words = append(h.words, splitOptions(value)...)
	case 't': // the type, which is why we are here
	case 'N':
		return fmt.Errorf("-N %s: another mount namespace: run mica in there", value)
	}
	return nil
}

// options gives the words for "mount -o". mount(8) says rw for whatever is not
// said to be ro, as it does for a CD.
func (h *helperArgs) options() string {
	return strings.Join(slices.DeleteFunc(h.words, func(word string) bool {
		return word == "rw" || h.sloppy && (&mountOptions{}).set(word) != nil
	}), ",")
}
