package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"mica/builder"
	"mica/fs"
	"mica/layerstore"
	"mica/layerstore/blob"
	"mica/overlay"
)

// A stack is an image as the kernel's overlayfs mounts it: layers that mica
// serves, read-only, and over them what commands have changed since, as they left
// it. What one command has read the next finds in the page cache, which a mount of
// all layers would have to decode anew.
type stack struct {
	lower string   // where mica serves
	over  []string // directories on it, topmost first
}

// stacks are the images of one build that commands run on, by their chain IDs.
type stacks struct {
	runner *buildRunner
	dir    string // where all is that a build has mounted; "" before the first
	lock   *os.File

	mu    sync.Mutex
	known map[string]*stack
	n     int // of names given in dir
}

// What of a layer that was not made by a command is copied for the stack, at most:
// for more it is quicker to mount anew.
const (
	stackBytes = 32 << 20
	stackFiles = 5000
	// stackDirs keeps the options of a mount within a page.
	stackDirs = 40
)

// room gives the directory of the build.
func (s *stacks) room() (dir string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" {
		s.dir, s.lock, err = builder.MakeRoom(s.runner.store)
	}
	return s.dir, err
}

// place gives a new directory in the room, which is there.
func (s *stacks) place() (string, error) {
	s.n++
	dir := filepath.Join(s.dir, fmt.Sprint(s.n))
	return dir, os.Mkdir(dir, 0o755)
}

// of gives the stack of a job's image: that of the image below which it was made
// from, or a new one.
func (s *stacks) of(ctx context.Context, j *builder.Job) (*stack, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[string]*stack{}
	}
	top := len(j.Chains)
	for n := top; n > 0; n-- {
		below := s.known[j.Chains[n-1]]
		if below == nil {
			continue
		}
		if st, err := s.onto(ctx, below, j, n); st != nil || err != nil {
			return st, err
		}
		break
	}
	lower, err := s.place()
	if err != nil {
		return nil, err
	}
	if err := s.runner.mountLayers(j, lower); err != nil {
		return nil, err
	}
	st := &stack{lower: lower}
	s.known[j.Chains[top-1]] = st
	return st, nil
}

// onto copies the layers of a job from number n on over a stack. It gives nil if
// they are not such as can be copied, or too long.
func (s *stacks) onto(ctx context.Context, below *stack, j *builder.Job, n int) (*stack, error) {
	if len(below.over)+len(j.Layers)-n > stackDirs {
		return nil, nil
	}
	for _, l := range j.Layers[n:] {
		if !s.copied(l) {
			return nil, nil
		}
	}
	st := below
	for i := n; i < len(j.Layers); i++ {
		dir, err := s.place()
		if err != nil {
			return nil, err
		}
		if err := s.copyLayer(ctx, j.Layers[i], dir); err != nil {
			return nil, err
		}
		st = &stack{st.lower, append([]string{dir}, st.over...)}
		s.known[j.Chains[i]] = st
	}
	return st, nil
}

// copied reports whether a layer may be copied: it is short, and deletes nothing.
func (s *stacks) copied(l overlay.Layer) bool {
	ix, err := s.runner.store.OpenIndex(l.Spec)
	if err != nil {
		return false
	}
	defer ix.Close()
	info := ix.Info()
	return info.Markers == 0 && info.LayerSize <= stackBytes && info.Entries <= stackFiles
}

// copyLayer copies what is in a layer to a directory.
func (s *stacks) copyLayer(ctx context.Context, l overlay.Layer, to string) (err error) {
	img, err := overlay.OpenImage(ctx, s.runner.store, []overlay.Layer{l}, overlay.Options{Alone: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	dir, err := os.Open(to)
	if err != nil {
		return err
	}
	defer dir.Close()
	return img.ExtractInto(ctx, overlay.Root, dir, overlay.ExtractOptions{Archive: true})
}

// add keeps the upper of a command as the top of a stack, which is the image of
// that chain from now on.
func (s *stacks) add(below *stack, upper, chain string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	dir, err := s.place()
	if err == nil {
		err = unix.Rename(upper, dir) // os.Rename does not replace a directory
	}
	if err != nil {
		return err
	}
	s.known[chain] = &stack{below.lower, append([]string{dir}, below.over...)}
	return nil
}

// likeRoot gives an upper directory what the image's root has: the kernel shows the
// upper's own.
func likeRoot(upper string, root *overlay.Attr) error {
	at := root.Mtime.Time()
	return errors.Join(os.Lchown(upper, int(root.UID), int(root.GID)), unix.Chmod(upper, root.Mode&0o7777), os.Chtimes(upper, at, at))
}

// mount mounts a stack with an upper over it. The upper is not synced: what is
// wanted of it becomes a layer, which is.
func (st *stack) mount(upper, work, at string) error {
	dirs := append(slices.Clone(st.over), st.lower)
	if slices.ContainsFunc(append(dirs, upper, work), func(d string) bool { return strings.ContainsAny(d, ":,\\") }) {
		return errors.New("a path with a colon, a comma or a backslash")
	}
	data := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s,redirect_dir=on,index=off,metacopy=off,xino=off,volatile", strings.Join(dirs, ":"), upper, work)
	if len(data) >= os.Getpagesize() {
		return errors.New("too many layers")
	}
	return unix.Mount("mica", at, "overlay", 0, data)
}

// close unmounts and removes all.
func (s *stacks) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" {
		return nil
	}
	return errors.Join(builder.RemoveRoom(s.dir), s.lock.Close())
}

// mountLayers mounts the layers of a job, read-only.
func (r *buildRunner) mountLayers(j *builder.Job, dir string) error {
	m := &mounter{std: r.std, image: j.Name, dir: dir, with: &mountOptions{}}
	m.with.fs.AllowOther = true
	return r.serve(m, j, dir)
}

// serve mounts the layers of a job as a mounter says.
func (r *buildRunner) serve(m *mounter, j *builder.Job, dir string) error {
	m.with.fs.RuntimeDir = fs.RuntimeDir(r.store.Root())
	s := &service{}
	var blobs []blob.Source
	for _, l := range j.Layers {
		blobs = append(blobs, l.Blob)
		s.Layers = append(s.Layers, serviceLayer{l.Digest, l.DiffID, l.History, l.Annotations})
	}
	saved, files, err := layerstore.SaveBlobs(blobs)
	if err != nil {
		return err
	}
	s.Blobs = saved
	return m.holdService(r.store, s, files, "mica build", dir)
}
