package main

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"mica/builder"
	"mica/container"
	"mica/fs"
	"mica/layerstore"
	"mica/layerstore/blob"
)

// A buildRunner runs the commands of a build in containers of the store.
type buildRunner struct {
	store *layerstore.Store
	std   streams
}

var _ builder.Runner = (*buildRunner)(nil)

// Run runs a command and waits until it has ended.
func (r *buildRunner) Run(ctx context.Context, j *builder.Job) (_ *builder.Ran, err error) {
	c, err := container.Open(r.store).Create(ctx, configOf(j))
	if err != nil {
		return nil, err
	}
	done := context.WithoutCancel(ctx) // tidying up is not interrupted
	defer func() {
		if err != nil {
			err = errors.Join(err, discard(done, c))
		}
	}()
	out := container.Streams{Stdout: j.Output, Stderr: j.Output}
	client, err := r.start(c, j, out)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-ctx.Done():
			// If it has not started it is told by Wait.
			_ = c.Reload()
			_ = c.Kill(done, unix.SIGKILL)
		case <-ended:
		}
	}()
	status, err := client.Wait(out)
	if err == nil {
		err = c.TakeCharge(done) // when the supervisor has unmounted it
	}
	if err != nil {
		return nil, err
	}
	return &builder.Ran{Status: status, Upper: c.Upper(), Close: func(keep bool) (string, error) {
		if keep {
			c.Release()
			return c.Config.Name, nil
		}
		return "", c.Remove(done)
	}}, nil
}

// configOf gives the container of a job: docker's defaults, and the network of
// the machine unless that is not wanted.
func configOf(j *builder.Job) *container.Config {
	cfg := &container.Config{Image: container.Image{Name: "build"}}
	cfg.Process = container.Process{Cmd: j.Args, Env: j.Env, User: j.User, WorkingDir: j.Cwd, AttachStdout: true, AttachStderr: true}
	cfg.Host.NetworkMode = "host"
	if j.Network == "none" {
		cfg.Host.NetworkMode = "none"
	}
	cfg.Host.LogConfig.Type = "none"
	for _, m := range j.Mounts {
		mount := container.Mount{Type: "bind", Source: m.Source, Destination: m.Target, RW: !m.ReadOnly}
		if m.Source == "" {
			mount.Type, mount.Options = "tmpfs", []string{"exec"}
			if m.Size > 0 {
				mount.Options = append(mount.Options, fmt.Sprintf("size=%d", m.Size))
			}
		}
		cfg.Mounts = append(cfg.Mounts, mount)
	}
	return cfg
}

// start mounts the layers and starts the container.
func (r *buildRunner) start(c *container.Container, j *builder.Job, out container.Streams) (*container.Client, error) {
	launch, err := c.Prepare()
	if err != nil {
		return nil, err
	}
	if err := r.mount(c, j); err != nil {
		launch.Abandon()
		return nil, err
	}
	return launch.Start(out, 0, 0)
}

// mount mounts the layers with the container's upper over them.
func (r *buildRunner) mount(c *container.Container, j *builder.Job) error {
	m := &mounter{std: r.std, image: j.Name, dir: c.Root(), with: &mountOptions{}}
	m.upper.upper, m.upper.work = c.Upper(), c.Work()
	if err := m.upper.check(m.with); err != nil {
		return err
	}
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
	return m.holdService(r.store, s, files, "mica build", c.Root())
}
