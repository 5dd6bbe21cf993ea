package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"mica/fs"
)

// A stage is a temporary directory in which mica is tried out: with a store of
// its own, and "mnt" to mount at. Nothing outside of it changes.
type stage struct {
	ctx context.Context
	dir string
}

// newStage makes the directory. The programs started there end with ctx.
func newStage(ctx context.Context) (*stage, error) {
	dir, err := os.MkdirTemp("", "mica-")
	if err != nil {
		return nil, err
	}
	s := &stage{ctx, dir}
	if err := s.furnish(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *stage) furnish() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, dir := range []string{"mnt", "bin"} {
		if err := os.Mkdir(s.path(dir), 0o755); err != nil {
			return err
		}
	}
	// So that "mica" in a command is this program, wherever it lies.
	return os.Symlink(self, s.path("bin", "mica"))
}

func (s *stage) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// command is a line for the shell, to be run in the directory.
func (s *stage) command(line string) *exec.Cmd {
	cmd := exec.CommandContext(s.ctx, "/bin/sh", "-c", line)
	cmd.Dir = s.dir
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.Env = append(os.Environ(), "PATH="+s.path("bin")+":"+os.Getenv("PATH"), "MICA_ROOT="+s.path("store"))
	return cmd
}

// close unmounts what is mounted and removes the directory.
func (s *stage) close() error {
	mounts, err := fs.Mounts("")
	for _, m := range mounts {
		if inside(m.Dir, s.dir) {
			err = errors.Join(err, fs.Unmount(m.Dir, true))
		}
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}
