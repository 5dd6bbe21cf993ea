package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// pathErrors is for a command on several paths of an image that goes on with
// the next where one cannot be had.
type pathErrors struct {
	cmd    *cobra.Command
	stderr io.Writer
	image  string // as it was typed
	status int    // of the paths so far; 0 is all well
}

// failed tells of a path. It gives an error if there is no point in going on:
// the user has interrupted, or nobody reads the output any more.
func (p *pathErrors) failed(ctx context.Context, path string, err error) error {
	if ctx.Err() != nil || errors.Is(err, unix.EPIPE) {
		return err
	}
	err = &argError{p.image, fmt.Errorf("%s: %w", path, err)}
	status := newFailure(ctx, p.cmd, err).report(p.stderr, wantsJSON(p.cmd.Root()))
	switch {
	case p.status == 0:
		p.status = status
	case p.status != status:
		p.status = exitFailed
	}
	return nil
}

// err is what the command ends with.
func (p *pathErrors) err() error {
	if p.status == 0 {
		return nil
	}
	return &toldError{p.status}
}
