package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/containerd/platforms"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"mica/fs"
	"mica/layerstore"
	"mica/layerstore/transport"
)

func newMount(std streams) *cobra.Command {
	m := &mounter{std: std}
	cmd := &cobra.Command{
		Use:   "mount [flags] IMAGE DIR",
		Short: "Mount an image at a directory",
		Long: `Mount shows what is in IMAGE at the directory DIR, and returns when that answers;
a process in the background serves it until it is unmounted. Standard output is
the path alone. Nothing is unpacked: the first mount reads the layers once to
index them, later ones are there at once.

With -o lowerdir=A:B DIR is a union of directories, topmost first, as the
kernel's overlayfs makes it: deletions and other marks in one are honoured. A
word that is no directory is an image; a backslash stands before a colon or a
comma that is part of a word.`,
		Example: `  mica mount debian.tar m                      # an archive of docker save
  mica mount --mkdir oci:/srv/oci:web /mnt/web
  x=$(mica mount -o allow_other app.tar m) && grep -r needle "$x"; mica umount m
  mica mount -o lowerdir=/srv/patch:/srv/root m`,
		ValidArgsFunction: m.completeImageThenDir,
		Annotations:       map[string]string{checksOperands: "yes"},
		Args:              m.checkOperands,
		RunE: func(cmd *cobra.Command, args []string) error {
			return m.run(cmd.Context(), cmd, args[:len(args)-1], args[len(args)-1])
		},
	}
	m.add(cmd.Flags())
	return cmd
}

// A mounter mounts one image at one directory.
type mounter struct {
	imageFlags
	std        streams
	options    []string
	mkdir      bool
	quiet      bool
	foreground bool
	upper      upperFlags

	image, dir string // as typed
	json       bool   // messages as JSON
	with       *mountOptions
}

func (m *mounter) add(flags *pflag.FlagSet) {
	m.imageFlags.add(flags)
	m.part.add(flags)
	m.upper.add(flags)
	flags.StringArrayVarP(&m.options, "options", "o", nil, "mount with these `OPTIONS` of mount(8): ro, nosuid, nodev, noexec, noatime, allow_other, default_permissions, nonempty, uid=, gid=, fsname=, root=, platform=, rw, lowerdir=, upperdir=, workdir=, userxattr")
	flags.BoolVar(&m.mkdir, "mkdir", false, "make DIR if it is not there")
	flags.BoolVarP(&m.foreground, "foreground", "f", false, "stay and serve the mount until it is unmounted or interrupted")
	flags.BoolVarP(&m.quiet, "quiet", "q", false, "print nothing but the path and errors")
}

// checkOperands wants an image, unless there are directories instead.
func (m *mounter) checkOperands(cmd *cobra.Command, args []string) (err error) {
	if m.with, err = parseMountOptions(m.options); err != nil {
		return err
	}
	if m.with.lowers != "" && len(args) == 1 {
		return nil
	}
	return checkOperands(cmd, args)
}

// run mounts an image, of which there is none, or the source as mount(8) has it,
// where -o says what to mount.
func (m *mounter) run(ctx context.Context, cmd *cobra.Command, image []string, dir string) (err error) {
	start := time.Now()
	m.dir, m.json = dir, wantsJSON(cmd.Root())
	m.deferred, m.passing = true, !m.foreground
	if len(image) > 0 {
		m.image = image[0]
	}
	m.upper.rw = m.upper.rw || m.with.rw && first(m.upper.upper, m.with.upper) == ""
	if err := m.upper.check(m.with); err != nil {
		return err
	}
	if m.upper.writable() && m.foreground {
		return &usageError{err: errors.New("--foreground is for read-only mounts")}
	}
	m.root, m.platform = first(m.root, m.with.root), first(m.platform, m.with.platform)
	if m.quiet {
		m.progress.word = "none"
	}
	m.with.fs.Note = m.note
	if m.mkdir {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return m.onDir(err)
		}
	}
	if m.with.lowers != "" {
		return m.runLowers(ctx, image, start)
	}
	show := m.show(m.std.err)
	img, abs, err := m.prepare(ctx, show)
	if err != nil {
		return err
	}
	if img == nil { // mounted there already
		return m.tell("", abs)
	}
	if n, _ := show.total(); n > 0 && !m.quiet { // to look takes time
		m.tellNotes(ctx, img)
	}
	summary := m.summary(img, show, start)
	if m.foreground {
		return m.serveImage(ctx, img, func() error { return m.tell(summary(), abs) })
	}
	if err := m.hold(img, abs); err != nil {
		return err
	}
	return m.tell(summary(), abs)
}

func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

// prepare does all that takes time or may fail before the mount is made, so
// that it is done once, in sight of the user. Without an image the same is
// mounted at the directory already. The path of that is absolute.
func (m *mounter) prepare(ctx context.Context, show *progress) (img *openImage, abs string, err error) {
	store, err := m.store()
	if err != nil {
		return nil, "", err
	}
	m.with.fs.RuntimeDir = fs.RuntimeDir(store.Root())
	abs, err = fs.CheckMountpoint(m.dir, m.with.fs)
	var busy *fs.MountError
	if errors.As(err, &busy) && busy.Mounted != nil && !m.upper.writable() {
		return nil, busy.Mounted.Dir, m.sameMounted(ctx, store, busy)
	}
	if err != nil {
		return nil, "", m.onDir(err)
	}
	if inside(abs, store.Root()) {
		return nil, "", m.onDir(errors.New("inside mica's own store"))
	}
	img, err = m.open(ctx, m.image, show)
	return img, abs, err
}

// inside reports whether a path is a directory or below it.
func inside(path, dir string) bool {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// sameMounted gives no error if what is mounted is what was asked for.
func (m *mounter) sameMounted(ctx context.Context, store *layerstore.Store, busy *fs.MountError) error {
	meta, err := m.resolve(ctx, store, m.image, nil)
	if err != nil {
		return err
	}
	defer meta.Close()
	if !m.same(m.part.source(meta), busy.Mounted) {
		return m.onDir(busy)
	}
	return nil
}

// same compares what was asked for with a mount.
func (m *mounter) same(source string, mounted *fs.Info) bool {
	if mounted.Source != first(m.with.fs.Source, source) {
		return false
	}
	o := &m.with.fs
	user := os.Geteuid() != 0 // whose mounts are always nosuid and nodev
	for _, f := range []struct {
		name string
		want bool
	}{
		{"nosuid", o.NoSuid || user}, {"nodev", o.NoDev || user}, {"noexec", o.NoExec}, {"noatime", o.NoAtime},
		{"allow_other", o.AllowOther && (!user || fs.UserAllowOther())},
	} {
		if strings.Contains(","+mounted.Options+",", ","+f.name+",") != f.want {
			return false
		}
	}
	return true
}

// onDir says of an error that it is about mounting at the directory.
func (m *mounter) onDir(err error) error { return &argError{m.image + " " + m.dir, err} }

// note prints what the user should know though it is no error.
func (m *mounter) note(text string) {
	if m.json {
		// As with failures, where it cannot be printed there is nobody to tell.
		_ = json.NewEncoder(m.std.err).Encode(map[string]string{"note": text, "object": m.image})
		return
	}
	fmt.Fprintf(m.std.err, "mica: mount %s: %s\n", printable(m.image), printable(text))
}

// toldNotes is how many notes about the layers of an image are printed.
const toldNotes = 3

// tellNotes says what of an image that has just been indexed will not be seen.
func (m *mounter) tellNotes(ctx context.Context, img *openImage) {
	if !img.Proven() {
		return // there are not all indexes yet
	}
	infos, err := img.infos(ctx)
	if err != nil {
		return // told when the image is used
	}
	n := 0
	for i, info := range infos {
		for _, note := range info.Notes {
			if n++; n <= toldNotes {
				m.note(fmt.Sprintf("layer %d: %s", i+1, note))
			}
		}
	}
	if n > toldNotes {
		m.note("more is left out: mica layers --format json")
	}
}

// serveImage mounts an image, which it closes, and serves it in this process
// until it is unmounted or ctx ends. It calls ready when the mount answers.
func (m *mounter) serveImage(ctx context.Context, img *openImage, ready func() error) (err error) {
	defer func() { err = errors.Join(err, img.Close()) }()
	m.with.fs.Source = first(m.with.fs.Source, m.part.source(img.meta))
	m.with.fs.RuntimeDir = fs.RuntimeDir(img.store.Root())
	m.with.fs.Log = newLog(m.std.err, m.json)
	hidden := newHidden(img.Image, hiddenFiles(img.meta))
	defer func() { err = errors.Join(err, hidden.Close()) }()
	// What is decoded lies outside of the heap; this keeps garbage from
	// doubling what a server needs.
	debug.SetMemoryLimit(serverHeap)
	var server *fs.Server
	err = m.alone(m.with.fs.Source, func() (err error) {
		server, err = fs.Mount(m.dir, owned(hidden.Hidden, m.with.uid, m.with.gid), m.with.fs)
		hidden.serving.Store(server)
		return err
	})
	if err != nil || server == nil {
		return err
	}
	return serveUntil(ctx, server, ready)
}

// serveUntil serves a mount in this process until it is unmounted or ctx ends. It
// calls ready when the mount answers.
func serveUntil(ctx context.Context, server *fs.Server, ready func() error) error {
	served := make(chan error, 1)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() { served <- server.Serve(ctx) }()
	if err := ready(); err != nil {
		stop()
		return errors.Join(err, <-served)
	}
	return <-served
}

// alone calls mount while no other mica mounts at the same directory: else each
// would find it free, and they would lie on top of one another. If another one
// was faster and has mounted the same, there is no error.
func (m *mounter) alone(source string, mount func() error) error {
	// Where the directory cannot be opened mounting says why.
	if dir, err := os.Open(m.dir); err == nil {
		defer dir.Close()
		if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
			return &os.PathError{Op: "flock", Path: m.dir, Err: err}
		}
	}
	err := mount()
	var busy *fs.MountError
	if errors.As(err, &busy) && busy.Mounted != nil && !m.upper.writable() && m.same(source, busy.Mounted) {
		return nil
	}
	if err != nil {
		return &argError{m.image, err}
	}
	return nil
}

// serverHeap is how many bytes of heap a server uses before it collects
// garbage more often than Go would by itself.
const serverHeap = 48 << 20

// newLog is where a server tells of what goes wrong while it serves.
func newLog(w io.Writer, asJSON bool) *slog.Logger {
	o := &slog.HandlerOptions{Level: slog.LevelWarn}
	if asJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// logLimit is how long the log of background servers grows, in bytes.
const logLimit = 1 << 20

// logPath is where background servers log: $MICA_LOG, else mica.log in the store.
func logPath(store *layerstore.Store) string {
	return first(os.Getenv("MICA_LOG"), filepath.Join(store.Root(), "mica.log"))
}

// logFile opens the log of background servers. Without one the log goes nowhere.
func (m *mounter) logFile(store *layerstore.Store) *os.File {
	if err := os.MkdirAll(store.Root(), 0o755); err != nil {
		m.note(err.Error()) // and so is the log
	}
	f, err := os.OpenFile(logPath(store), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		m.note(err.Error() + "; what happens to the mount is not logged")
		return nil
	}
	if st, err := f.Stat(); err == nil && st.Size() > logLimit {
		// Others that append to it go on at the new end.
		_ = f.Truncate(0)
	}
	return f
}

// summary gives what makes the line that tells a person what was mounted,
// to be called when it answers.
func (m *mounter) summary(img *openImage, show *progress, start time.Time) func() string {
	name, platform, layers := img.meta.Name, platforms.Format(img.meta.Config.Platform), len(img.meta.Layers)
	if img.meta.Config.OS == "" {
		platform = "no platform"
	}
	stored := storedSize(img.meta)
	indexed, took := show.total()
	cost := indexSize(img)
	return func() string {
		if indexed == 0 {
			return fmt.Sprintf("%s on %s · %s", name, m.dir, seconds(time.Since(start)))
		}
		access := "read-only"
		if m.upper.writable() {
			access = "writable"
		}
		return fmt.Sprintf("%s (%s, %s, %s) on %s · indexed %s in %s · %s index · %s",
			name, platform, plural(layers, "layer"), size(stored), m.dir, size(indexed), seconds(took), size(cost), access)
	}
}

// storedSize gives the bytes of an image's layers as stored.
func storedSize(meta *transport.Image) (n int64) {
	for _, l := range meta.Layers {
		n += l.Blob.Size()
	}
	return n
}

// indexSize gives the bytes that an image costs the store.
func indexSize(img *openImage) int64 {
	files := make(map[string]bool) // an image may have a layer twice
	for _, l := range layersOf(img.meta, img.store, nil) {
		files[img.store.IndexPath(l.Key())] = true
	}
	n := img.Tree.Size()
	for path := range files {
		if st, err := os.Stat(path); err == nil {
			n += st.Size()
		}
	}
	return n
}

// tell says that the image is mounted: to a person in a summary, to a program
// by the path alone.
func (m *mounter) tell(summary, abs string) error {
	if !m.quiet && isTerminal(m.std.out) && isTerminal(m.std.err) {
		if summary == "" {
			summary = fmt.Sprintf("%s is on %s already", m.image, m.dir)
		}
		_, err := fmt.Fprintln(m.std.err, printable(summary))
		return err
	}
	_, err := fmt.Fprintln(m.std.out, abs)
	return err
}
