package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mica/fs"
	"mica/overlay/dirs"
	"mica/overlay/ondisk"
)

// parseLowers reads what overlayfs's lowerdir= says: directories, topmost first,
// with colons between.
func parseLowers(list string) ([]string, error) {
	parts := splitEscaped(list, ':')
	for i, p := range parts {
		if p == "" {
			return nil, &usageError{err: fmt.Errorf("-o lowerdir=%s: nothing between two colons", list), hint: `a colon that is part of a name is written \:`}
		}
		parts[i] = unescape(p)
	}
	return parts, nil
}

// lowers are the layers of a mount by lowerdir=, topmost first, open.
type lowers struct {
	names []string // absolute
	files []*os.File
	saved []serviceLower
}

// A serviceLower tells a server of one layer.
type serviceLower struct {
	Name  string `json:"name"`
	File  int    `json:"file"`  // which of the files is its directory
	Marks string `json:"marks"` // prefix of the attributes that are marks
	Inode uint64 `json:"inode"` // of the directory
}

// runLowers mounts what -o lowerdir= names.
func (m *mounter) runLowers(ctx context.Context, source []string, start time.Time) (err error) {
	m.image = "lowerdir=" + m.with.lowers
	if len(source) > 0 {
		m.with.fs.Source = first(m.with.fs.Source, source[0])
	}
	if m.part != (part{}) {
		return &usageError{err: errors.New("--at and --only are for images")}
	}
	// As overlayfs lets them in.
	m.with.fs.AllowOther = m.with.fs.AllowOther || os.Geteuid() == 0
	names, err := parseLowers(m.with.lowers)
	if err != nil {
		return err
	}
	store, err := m.store()
	if err != nil {
		return err
	}
	for i, name := range names {
		if names[i], err = filepath.Abs(name); err != nil {
			return err
		}
	}
	m.with.fs.RuntimeDir = fs.RuntimeDir(store.Root())
	abs, err := fs.CheckMountpoint(m.dir, m.with.fs)
	var busy *fs.MountError
	if errors.As(err, &busy) && busy.Mounted != nil && !m.upper.writable() && m.same(sourceOf(names), busy.Mounted) {
		return m.tell("", busy.Mounted.Dir)
	}
	if err != nil {
		return m.onDir(err)
	}
	l := &lowers{names: names}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.open(abs, m.with.userMark); err != nil {
		return m.onDir(err)
	}
	if err := l.apart(m.upper.upper, m.upper.work); err != nil {
		return m.onDir(err)
	}
	tell := func() error {
		return m.tell(fmt.Sprintf("%s on %s · %s", plural(len(names), "directory"), m.dir, seconds(time.Since(start))), abs)
	}
	if m.foreground {
		return m.serveLowers(ctx, l, tell)
	}
	if err := m.holdService(store, &service{Lowers: l.saved}, l.files, sourceOf(names), abs); err != nil {
		return err
	}
	return tell()
}

// maxSource is how long a source is told as it is; mount(2) takes a page.
const maxSource = 1000

// sourceOf is what a mount of directories shows as its source.
func sourceOf(names []string) string {
	s := strings.Join(names, ":")
	if len(s) <= maxSource {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return fmt.Sprintf("%s:…(%d, %s)", names[0][:min(len(names[0]), maxSource)], len(names), hex.EncodeToString(sum[:6]))
}

// open opens the layers of a mount at dir.
func (l *lowers) open(dir string, userMarks bool) error {
	for _, name := range l.names {
		f, inside, err := dirs.OpenLayer(name)
		if err != nil {
			return err
		}
		l.files = append(l.files, f)
		if !inside {
			if in, err := dirs.Within(dir, name); err != nil {
				return err
			} else if in && dir != name {
				return fmt.Errorf("%s: the mount would lie within it, which only root can keep apart", name)
			}
		}
		marks := ondisk.User
		if !userMarks {
			if marks, err = dirs.MarksOf(f); err != nil {
				return err
			}
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			return &os.PathError{Op: "stat", Path: name, Err: err}
		}
		l.saved = append(l.saved, serviceLower{Name: name, File: len(l.files) - 1, Marks: marks.Prefix, Inode: st.Ino})
	}
	return nil
}

// apart refuses layers, an upper and a work directory that lie within one
// another: what is written to one would change the other.
func (l *lowers) apart(others ...string) error {
	all := append([]string(nil), l.names...)
	for _, o := range others {
		if o != "" {
			all = append(all, o)
		}
	}
	inner, outer, err := dirs.Nested(all)
	if err == nil && inner != "" {
		err = fmt.Errorf("%s lies within %s", inner, outer)
	}
	return err
}

func (l *lowers) close() error {
	var errs []error
	for _, f := range l.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// union puts saved layers together, which are in files.
func union(saved []serviceLower, files []*os.File) (*dirs.Union, error) {
	layers := make([]dirs.Layer, len(saved))
	for i, l := range saved {
		if l.File >= len(files) {
			return nil, fmt.Errorf("%d files for a layer at %d", len(files), l.File)
		}
		layers[i] = dirs.Layer{Dir: files[l.File], Name: l.Name, Marks: ondisk.Marks{Prefix: l.Marks}}
	}
	return dirs.New(layers)
}

// openLowers puts the layers of a held mount together.
func (s *service) openLowers(files []*os.File) (*dirs.Union, error) { return union(s.Lowers, files) }

// serveLowers mounts layers and serves them in this process.
func (m *mounter) serveLowers(ctx context.Context, l *lowers, ready func() error) (err error) {
	u, err := union(l.saved, l.files)
	if err != nil {
		return &argError{m.image, err}
	}
	defer func() { err = errors.Join(err, u.Close()) }()
	m.with.fs.Source = first(m.with.fs.Source, sourceOf(l.names))
	m.with.fs.Log = newLog(m.std.err, m.json)
	debug.SetMemoryLimit(serverHeap)
	var server *fs.Server
	err = m.alone(m.with.fs.Source, func() (err error) {
		server, err = fs.Mount(m.dir, owned(u, m.with.uid, m.with.gid), m.with.fs)
		return err
	})
	if err != nil || server == nil {
		return err
	}
	return serveUntil(ctx, server, ready)
}
