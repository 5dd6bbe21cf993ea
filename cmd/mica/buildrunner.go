package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"mica/builder"
	"mica/container"
	"mica/layerstore"
)

// A buildRunner runs the commands of a build in containers of the store.
type buildRunner struct {
	store  *layerstore.Store
	std    streams
	stacks stacks
	swept  sync.Once

	mu     sync.Mutex
	engine string // auto, kernel or fuse
}

func newBuildRunner(store *layerstore.Store, std streams, engine string) *buildRunner {
	r := &buildRunner{store: store, std: std, engine: engine}
	r.stacks.runner = r
	return r
}

var _ builder.Runner = (*buildRunner)(nil)

// Run runs a command and waits until it has ended.
func (r *buildRunner) Run(ctx context.Context, j *builder.Job) (_ *builder.Ran, err error) {
	room, err := r.stacks.room()
	if err != nil {
		return nil, err
	}
	containers := container.Open(r.store)
	r.swept.Do(func() { r.sweep(ctx, containers) })
	cfg := configOf(j)
	cfg.Process.Labels = map[string]string{roomLabel: room}
	c, err := containers.Create(ctx, cfg)
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
	client, st, err := r.start(ctx, c, j, out)
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
	settle := func(chain string) error {
		if st == nil {
			return nil
		}
		return r.stacks.add(st, c.Upper(), chain)
	}
	return &builder.Ran{Status: status, Upper: c.Upper(), Settle: settle, Close: func(keep bool) (string, error) {
		if keep {
			_ = c.Configure(func(cfg *container.Config) error { delete(cfg.Process.Labels, roomLabel); return nil })
			c.Release()
			return c.Config.Name, nil
		}
		return "", c.Remove(done)
	}}, nil
}

// roomLabel is the label of a build's container: the room of the build, whose lock
// tells whether that is there still.
const roomLabel = "mica.build.room"

// sweep removes the containers of builds that were killed. What cannot be removed
// is seen by ps.
func (r *buildRunner) sweep(ctx context.Context, containers *container.Store) {
	list, err := containers.List(ctx)
	if err != nil {
		return
	}
	for _, c := range list {
		room := c.Config.Process.Labels[roomLabel]
		if room == "" || builder.RoomInUse(room) {
			continue
		}
		if c.IsRunning() {
			_ = c.Kill(ctx, unix.SIGKILL)
			_, _ = c.AwaitNotRunning(ctx)
		}
		_ = discard(ctx, c)
	}
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

// start mounts the layers and starts the container. It gives the stack that it
// runs on, nil if mica serves its root file system.
func (r *buildRunner) start(ctx context.Context, c *container.Container, j *builder.Job, out container.Streams) (*container.Client, *stack, error) {
	launch, err := c.Prepare()
	if err != nil {
		return nil, nil, err
	}
	st, err := r.mount(ctx, c, j)
	if err != nil {
		launch.Abandon()
		return nil, nil, err
	}
	client, err := launch.Start(out, 0, 0)
	return client, st, err
}

// mount mounts the layers with the container's upper over them: by the kernel's
// overlayfs if that can be had, else all is served by mica.
func (r *buildRunner) mount(ctx context.Context, c *container.Container, j *builder.Job) (*stack, error) {
	r.mu.Lock()
	engine := r.engine
	r.mu.Unlock()
	if os.Geteuid() == 0 && engine != "fuse" {
		st, err := r.stacks.of(ctx, j)
		if err == nil {
			err = likeRoot(c.Upper(), &j.Root)
		}
		if err == nil {
			err = st.mount(c.Upper(), c.Work(), c.Root())
		}
		if err == nil || engine == "kernel" || ctx.Err() != nil {
			return st, err
		}
		r.mu.Lock()
		r.engine = "fuse" // it would not be other with the next
		r.mu.Unlock()
	}
	m := &mounter{std: r.std, image: j.Name, dir: c.Root(), with: &mountOptions{}}
	m.upper.upper, m.upper.work = c.Upper(), c.Work()
	if err := m.upper.check(m.with); err != nil {
		return nil, err
	}
	return nil, r.serve(m, j, c.Root())
}
