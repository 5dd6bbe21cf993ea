package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"

	"github.com/spf13/cobra"

	"mica/container"
	"mica/fs"
	"mica/layerstore"
	"mica/layerstore/images"
	"mica/layerstore/transport"
)

func newRun(std streams) *cobra.Command {
	r := &runner{std: std}
	cmd := &cobra.Command{
		Use:   "run [flags] IMAGE [COMMAND [ARGUMENT…]]",
		Short: "Run a command in a new container",
		Long: `Run makes a container of IMAGE, any that mount takes, and runs COMMAND in it, or
what the image says. The image stays as it is; what the container writes goes to
a layer of its own. The exit status is the command's; 125 that mica could not
run it, 126 that the command is not executable, 127 that there is none.`,
		Example: `  mica run --rm debian:12 cat /etc/os-release
  mica run -it --rm -v "$PWD":/src -w /src debian.tar bash
  mica run -d --name web --network host -m 512m --restart on-failure web:1`,
		ValidArgsFunction: r.completeImage,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runError(r.run(cmd, args[0], args[1:]))
		},
	}
	r.addCreate(cmd)
	cmd.Annotations[exitsAsContainer] = "yes"
	cmd.Flags().BoolVarP(&r.detach, "detach", "d", false, "let it run in the background and print its ID")
	cmd.Flags().StringVar(&r.detachKeys, "detach-keys", "ctrl-p,ctrl-q", "`KEYS` that leave it to itself, with -it")
	cmd.Flags().BoolVar(&r.proxy, "sig-proxy", true, "pass signals on to it")
	cmd.Flags().StringArrayVarP(&r.attach, "attach", "a", nil, "connect `STREAM` stdin, stdout or stderr (default all)")
	return cmd
}

func newCreate(std streams) *cobra.Command {
	r := &runner{std: std}
	cmd := &cobra.Command{
		Use:   "create [flags] IMAGE [COMMAND [ARGUMENT…]]",
		Short: "Make a container without starting it",
		Long:  `Create makes a container as run does, and prints its ID. mica start starts it.`,
		Example: `  mica create --name job -m 1g debian:12 make -C /src
  mica start -a job
  mica cp job:/src/result . && mica rm job`,
		ValidArgsFunction: r.completeImage,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, img, err := r.create(cmd, args[0], args[1:])
			if err != nil {
				return err
			}
			c.Release()
			if err := img.Close(); err != nil {
				return err
			}
			_, err = fmt.Fprintln(std.out, c.Config.ID)
			return err
		},
	}
	r.addCreate(cmd)
	return cmd
}

// A runner makes containers and runs them.
type runner struct {
	imageFlags
	runFlags
	std        streams
	quiet      bool
	detach     bool
	proxy      bool
	attach     []string
	detachKeys string
	cidFile    string
}

func (r *runner) addCreate(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SetInterspersed(false)
	r.imageFlags.add(flags)
	r.runFlags.add(flags)
	flags.StringVar(&r.cidFile, "cidfile", "", "write the ID to `FILE`, which is not there yet")
	flags.BoolVarP(&r.quiet, "quiet", "q", false, "do not show how the image is fetched or indexed")
	flags.Bool("help", false, "help for "+cmd.Name()) // -h is the host name
	cmd.Annotations = map[string]string{checksOperands: "yes"}
	cmd.Args = cobra.MatchAll(func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return errors.New("IMAGE missing")
		}
		return nil
	})
}

// create makes a container, which the caller is in charge of, and opens its image.
func (r *runner) create(cmd *cobra.Command, image string, command []string) (c *container.Container, img *openImage, err error) {
	cfg, err := r.config(cmd.Flags(), command)
	if err != nil {
		return nil, nil, err
	}
	if r.quiet {
		r.progress.word = "none"
	}
	r.deferred = true
	if img, err = r.open(cmd.Context(), image, r.show(r.std.err)); err != nil {
		return nil, nil, err
	}
	if c, err = r.createOf(cmd, cfg, image, img); err != nil {
		return nil, nil, errors.Join(err, img.Close())
	}
	return c, img, nil
}

// createOf makes a container of an image that is open.
func (r *runner) createOf(cmd *cobra.Command, cfg *container.Config, image string, img *openImage) (*container.Container, error) {
	cfg.Complete(&img.meta.Config.Config, cmd.Flags().Changed("entrypoint"))
	cfg.Image = container.Image{
		Name: image, Source: imageSource(img.store, img.meta), Digest: img.meta.Manifest.Digest.String(),
		ID: img.meta.ConfigDigest.String(), Platform: r.platform,
	}
	cfg.Process.Image = image
	if len(cfg.Process.Args()) == 0 {
		return nil, &argError{image, errors.New("no command: the image has none, and the command line neither")}
	}
	id, err := r.openCIDFile()
	if err != nil {
		return nil, err
	}
	c, err := container.Open(img.store).Create(cmd.Context(), cfg)
	if err != nil {
		return nil, errors.Join(&argError{image, storeError(img.store, err)}, id.discard())
	}
	return c, id.write(c.Config.ID)
}

// imageSource is a reference that finds an image again, whatever becomes of its
// name.
func imageSource(store *layerstore.Store, meta *transport.Image) string {
	d := meta.Manifest.Digest
	if d == "" {
		return meta.Source
	}
	s := images.Open(store)
	if _, err := os.Stat(s.BlobPath(d)); err != nil {
		return meta.Source
	}
	return "oci:" + s.Dir() + "@" + d.String()
}

// run creates, starts, and connects.
func (r *runner) run(cmd *cobra.Command, image string, command []string) error {
	s := session{std: r.std, tty: r.tty, proxy: r.proxy}
	if err := r.connect(&s); err != nil {
		return err
	}
	keys, err := parseKeys(r.detachKeys)
	if err != nil {
		return err
	}
	s.keys = keys
	c, img, err := r.create(cmd, image, command)
	if err != nil {
		return err
	}
	s.c = c
	client, signals, err := r.start(cmd.Context(), &s, img)
	if err != nil {
		return &argError{image, err}
	}
	return r.finish(&s, client, signals, image)
}

// connect decides which streams the user's are connected to.
func (r *runner) connect(s *session) error {
	p := &r.cfg.Process
	if r.detach {
		if len(r.attach) > 0 {
			return &usageError{err: errors.New("--detach and --attach exclude each other")}
		}
		return nil
	}
	s.stdin, s.output = r.interactive, true
	if len(r.attach) > 0 {
		s.stdin, s.output = false, false
		for _, a := range r.attach {
			switch a {
			case "stdin":
				s.stdin = r.interactive
			case "stdout", "stderr":
				s.output = true
			default:
				return &usageError{err: fmt.Errorf("--attach %s: stdin, stdout or stderr", a)}
			}
		}
	}
	if r.tty && s.stdin && !isTerminal(r.std.in) {
		return errors.New("-t and -i: standard input is not a terminal")
	}
	p.AttachStdin, p.AttachStdout, p.AttachStderr = s.stdin, s.output, s.output
	p.StdinOnce = s.stdin
	return nil
}

// start mounts the root file system of a container that it is in charge of, from
// an image that it closes, and starts it. One that is to be removed when it ends
// is removed if it does not start.
func (r *runner) start(ctx context.Context, s *session, img *openImage) (*container.Client, chan os.Signal, error) {
	signals := s.catch()
	client, err := startContainer(ctx, s.c, img, s)
	if err == nil {
		err = client.AwaitStart(s.streams())
	}
	if err != nil && s.c.Config.Host.AutoRemove {
		err = errors.Join(err, discard(ctx, s.c))
	}
	return client, signals, err
}

// discard removes a container that did not start, if its supervisor has not.
func discard(ctx context.Context, c *container.Container) error {
	err := c.TakeCharge(context.WithoutCancel(ctx))
	if err == nil {
		err = c.Remove(ctx)
	}
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	return err
}

// startContainer starts a container of an image, which it closes. The
// supervisor comes up while the image is being mounted.
func startContainer(ctx context.Context, c *container.Container, img *openImage, s *session) (*container.Client, error) {
	launch, err := c.Prepare()
	if err != nil {
		return nil, errors.Join(err, img.Close())
	}
	if err := mountContainer(c, img, s.std); err != nil {
		launch.Abandon()
		return nil, err
	}
	rows, columns := s.size()
	return launch.Start(s.streams(), rows, columns)
}

// mountContainer mounts the root file system of a container out of an image, which it closes.
func mountContainer(c *container.Container, img *openImage, std streams) error {
	m := &mounter{std: std, image: c.Config.Image.Name, dir: c.Root(), with: &mountOptions{}}
	m.deferred = true
	m.upper.upper, m.upper.work, m.upper.engine.word = c.Upper(), c.Work(), c.Config.Host.Engine
	if err := m.upper.check(m.with); err != nil {
		return errors.Join(err, img.Close())
	}
	m.with.fs.RuntimeDir = fs.RuntimeDir(img.store.Root())
	return m.hold(img, c.Root())
}

// finish sees a container through that has started.
func (r *runner) finish(s *session, client *container.Client, signals chan os.Signal, image string) error {
	if r.detach {
		if err := client.Close(); err != nil {
			return err
		}
		_, err := fmt.Fprintln(r.std.out, s.c.Config.ID)
		return err
	}
	code, err := s.run(client, signals)
	if errors.Is(err, errDetached) {
		return nil
	}
	if err != nil {
		return &argError{image, err}
	}
	if code != 0 {
		return &toldError{code}
	}
	return nil
}

// A ranError is that of a command whose exit status would else be the
// container's: 125, 126 or 127.
type ranError struct{ error }

func (e *ranError) Unwrap() error { return e.error }

// ExitStatus is what mica ends with.
func (e *ranError) ExitStatus() int {
	var rt *container.RuntimeError
	if errors.As(e.error, &rt) {
		return rt.Status
	}
	return exitRun
}

// exitsAsContainer is the annotation of a command whose exit status is that of a
// container's command, so that a failure of its own needs another.
const exitsAsContainer = "container"

// exitRun is docker's exit status of a "run" that failed by itself.
const exitRun = 125

func runError(err error) error {
	if err == nil || errors.As(err, new(*toldError)) {
		return err
	}
	return &ranError{err}
}
