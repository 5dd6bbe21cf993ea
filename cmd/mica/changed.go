package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"mica/container"
	"mica/overlay/change"
	"mica/overlay/writable"
)

// changedFlags are those of commands that take an upper directory, or a mount
// that has one.
type changedFlags struct {
	imageFlags
	image string // below the upper, in place of the one that it tells of

	container *container.Container // whose upper it is, if it is one's
}

func (f *changedFlags) addImage(flags *pflag.FlagSet) {
	flags.StringVar(&f.image, "image", "", "take `IMAGE` for what the upper directory was made over")
}

// A changed is an upper directory, and the image that it lies over.
type changed struct {
	*change.Tree
	img   *openImage
	upper *os.File
	ref   string // of the image
}

func (c *changed) Close() error {
	return errors.Join(c.Tree.Close(), c.img.Close(), c.upper.Close())
}

// errNoChanges says that an operand holds no changes to an image.
var errNoChanges = errors.New("neither a mount that takes changes, nor an upper directory, nor a container, nor a name of --keep")

// openChanged opens what an operand means: a writable mount, an upper directory,
// or the name of one that is kept in the store.
func (f *changedFlags) openChanged(ctx context.Context, std streams, arg string) (c *changed, err error) {
	upper, err := f.upperOf(ctx, arg)
	if err != nil {
		return nil, &argError{arg, err}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, upper.Close())
		}
	}()
	c = &changed{upper: upper}
	notes, err := writable.ReadNotes(upper)
	if err != nil {
		return nil, &argError{arg, err}
	}
	if notes.Mount != "" {
		flushMount(notes.Mount)
	}
	if c.img, err = f.below(ctx, std, arg, notes); err != nil {
		return nil, err
	}
	c.ref = c.img.meta.Source
	if c.Tree, err = change.Open(c.upper, notes.Marks, c.img.View); err != nil {
		return nil, errors.Join(&argError{arg, err}, c.img.Close())
	}
	return c, nil
}

// upperOf opens the upper directory that an operand means.
func (f *changedFlags) upperOf(ctx context.Context, arg string) (*os.File, error) {
	path := arg
	st, err := os.Stat(arg)
	if err != nil {
		c, err := (&containerFlags{images: f.imageFlags}).maybe(ctx, arg, false)
		if err != nil {
			return nil, err
		}
		if c != nil {
			return f.upperOfContainer(c)
		}
	}
	switch {
	case err == nil && !st.IsDir():
		return nil, errNoChanges
	case err != nil && !strings.Contains(arg, "/"):
		store, serr := f.store()
		if serr != nil {
			return nil, serr
		}
		path = filepath.Join(store.Root(), "uppers", arg, "upper")
		if _, err := os.Stat(path); errors.Is(err, iofs.ErrNotExist) {
			return nil, &notFoundError{errNoChanges.Error()}
		}
	case err != nil:
		return nil, bare(err)
	default:
		flushMount(arg)
		path = f.upperAt(arg)
	}
	return os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
}

// upperAt gives the path of the upper directory of what is mounted at a directory;
// where nothing is, that itself.
func (f *changedFlags) upperAt(dir string) string {
	buf := make([]byte, unix.PathMax)
	if n, err := unix.Getxattr(dir, writable.UpperXattr, buf); err == nil {
		return string(buf[:n])
	}
	if mounts, err := f.mounts(); err == nil {
		if m, _, err := mountedAt(dir, mounts); err == nil && m.Upper() != "" {
			return m.Upper() // of the kernel's overlayfs
		}
	}
	return dir
}

// upperOfContainer opens that of a container, which need not have run yet.
func (f *changedFlags) upperOfContainer(c *container.Container) (*os.File, error) {
	f.container = c
	if f.image == "" {
		f.image = c.Config.Image.Source
	}
	if c.IsRunning() {
		flushMount(c.Root())
	}
	return os.OpenFile(c.Upper(), os.O_RDONLY|unix.O_DIRECTORY, 0)
}

// flushMount has the kernel write what it keeps of a writable mount to the upper.
// Where there is none there is nothing to write.
func flushMount(dir string) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_ = unix.Syncfs(fd)
	unix.Close(fd)
}

// below opens the image that an upper was made over.
func (f *changedFlags) below(ctx context.Context, std streams, arg string, notes writable.Notes) (*openImage, error) {
	ref, flags := f.image, f.imageFlags
	if ref == "" {
		if notes.Image == "" {
			return nil, &argError{arg, &noBaseError{}}
		}
		ref, flags.part = splitPart(notes.Image)
	}
	show := flags.show(std.err)
	img, err := flags.open(ctx, ref, show)
	if _, id, ok := strings.Cut(ref, "@"); ok && errors.Is(err, iofs.ErrNotExist) {
		// Its name may lead elsewhere by now.
		if byID, e := flags.open(ctx, id, show); e == nil {
			img, err = byID, nil
		}
	}
	if err != nil || f.image != "" {
		return img, err
	}
	base, err := baseOf(img, flags.part)
	if err == nil && base != notes.Base {
		err = &argError{arg, &otherImageError{ref}}
	}
	if err != nil {
		return nil, errors.Join(err, img.Close())
	}
	return img, nil
}

// splitPart takes apart what part.source has put together.
func splitPart(source string) (ref string, p part) {
	if ref, at, ok := strings.Cut(source, "#at="); ok {
		return ref, part{at: at}
	}
	if ref, only, ok := strings.Cut(source, "#only="); ok {
		return ref, part{only: only}
	}
	return source, part{}
}

// baseOf is service.base of an image, or of a part of one.
func baseOf(img *openImage, p part) (string, error) {
	layers, _, err := p.of(layersOf(img.meta, img.store, nil))
	s := &service{}
	for _, l := range layers {
		s.Layers = append(s.Layers, serviceLayer{Digest: l.Digest, DiffID: l.DiffID})
	}
	return s.base(), err
}

// A noBaseError says that an upper directory does not tell of its image.
type noBaseError struct{}

func (*noBaseError) Error() string { return "does not say which image it was made over" }
func (*noBaseError) Code() string  { return "no-image" }
func (*noBaseError) Hint() string  { return "--image IMAGE" }

// An otherImageError says that the image is not any more what it was.
type otherImageError struct{ ref string }

func (e *otherImageError) Error() string {
	return fmt.Sprintf("was made over %s, which has other layers now", e.ref)
}
func (e *otherImageError) Code() string { return "other-image" }
func (e *otherImageError) Hint() string { return "--image IMAGE, if it is elsewhere" }

// completeChanged completes writable mounts and what is kept in the store; or
// else a directory.
func (f *changedFlags) completeChanged(word string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
	if mounts, err := f.mounts(); err == nil {
		for _, m := range mounts {
			if m.Writable() && strings.HasPrefix(m.Dir, word) {
				names = append(names, cobra.CompletionWithDesc(m.Dir, m.Source))
			}
		}
	}
	if store, err := f.store(); err == nil {
		kept, _ := os.ReadDir(filepath.Join(store.Root(), "uppers")) // perhaps there is none
		for _, e := range kept {
			if strings.HasPrefix(e.Name(), word) {
				names = append(names, e.Name())
			}
		}
	}
	if len(names) > 0 {
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// completeStored completes names of images of the store.
func (f *imageFlags) completeStored(word string) (names []cobra.Completion) {
	s, err := f.images()
	if err != nil {
		return nil
	}
	rows, err := s.List()
	if err != nil {
		return nil
	}
	for _, r := range rows {
		if name := r.Familiar(); r.Name != "" && strings.HasPrefix(name, word) {
			names = append(names, name)
		}
	}
	return names
}
