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
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mica/fs"
	"mica/layerstore"
	"mica/overlay/dirs"
	"mica/overlay/ondisk"
)

// parseLowers reads what overlayfs's lowerdir= says: directories or images,
// topmost first, with colons between.
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

// lowers are the layers of a mount by lowerdir=, topmost first.
type lowers struct {
	of    []*lower
	files []*os.File // what the layers are in
}

// A lower is a layer of a mount: a directory, or an image.
type lower struct {
	name string     // absolute path, or what a mount of the image shows as its source
	ref  string     // of an image, as typed; else ""
	img  *openImage // nil until it is open
	dir  *os.File
	serviceLower
}

// A serviceLower tells a server of one layer.
type serviceLower struct {
	Name  string        `json:"name"`
	File  int           `json:"file"`            // which of the files is its directory, or the first of the image
	Marks string        `json:"marks,omitempty"` // prefix of the attributes that are marks
	Inode uint64        `json:"inode,omitempty"` // of the directory
	Image *serviceImage `json:"image,omitempty"` // in place of a directory
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
	store, err := m.store()
	if err != nil {
		return err
	}
	l, err := m.findLowers(ctx, store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	m.with.fs.RuntimeDir = fs.RuntimeDir(store.Root())
	abs, err := fs.CheckMountpoint(m.dir, m.with.fs)
	var busy *fs.MountError
	if errors.As(err, &busy) && busy.Mounted != nil && !m.upper.writable() && m.same(l.source(), busy.Mounted) {
		return m.tell("", busy.Mounted.Dir)
	}
	if err != nil {
		return m.onDir(err)
	}
	if err := m.openLowers(ctx, l, abs); err != nil {
		return err
	}
	tell := func() error {
		return m.tell(fmt.Sprintf("%s on %s · %s", plural(len(l.of), "layer"), m.dir, seconds(time.Since(start))), abs)
	}
	if m.foreground {
		return m.serveLowers(ctx, l, tell)
	}
	// What may have begun to verify the images the server does.
	if err := l.closeImages(); err != nil {
		return err
	}
	s := &service{}
	for _, one := range l.of {
		s.Lowers = append(s.Lowers, one.serviceLower)
	}
	if err := m.holdService(store, s, l.files, l.source(), abs); err != nil {
		return err
	}
	return tell()
}

// findLowers tells directories from images, and looks for those.
func (m *mounter) findLowers(ctx context.Context, store *layerstore.Store) (*lowers, error) {
	names, err := parseLowers(m.with.lowers)
	if err != nil {
		return nil, err
	}
	l := &lowers{}
	for _, name := range names {
		abs, err := filepath.Abs(name)
		if err != nil {
			return nil, err
		}
		one := &lower{name: abs}
		if st, err := os.Stat(name); err != nil || !st.IsDir() {
			meta, rerr := m.resolve(ctx, store, name, nil)
			if rerr != nil && !strings.Contains(name, ":") && err != nil {
				return nil, m.onDir(err) // a directory was meant
			}
			if rerr != nil {
				return nil, rerr
			}
			one.name, one.ref = m.part.source(meta), name
			if err := meta.Close(); err != nil {
				return nil, err
			}
		}
		l.of = append(l.of, one)
	}
	return l, nil
}

// maxSource is how long a source is told as it is; mount(2) takes a page.
const maxSource = 1000

// source is what the mount shows as its source.
func (l *lowers) source() string {
	var names []string
	for _, one := range l.of {
		names = append(names, one.name)
	}
	s := strings.Join(names, ":")
	if len(s) <= maxSource {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return fmt.Sprintf("%s:…(%d, %s)", names[0][:min(len(names[0]), maxSource)], len(names), hex.EncodeToString(sum[:6]))
}

// openLowers opens the layers of a mount at dir.
func (m *mounter) openLowers(ctx context.Context, l *lowers, dir string) error {
	show := m.show(m.std.err)
	for _, one := range l.of {
		one.Name, one.File = one.name, len(l.files)
		if one.ref != "" {
			var err error
			if one.img, err = m.open(ctx, one.ref, show); err != nil {
				return err
			}
			saved, files, err := m.saveImage(one.img)
			if err != nil {
				return &argError{one.ref, err}
			}
			one.Image = &saved
			l.files = append(l.files, files...)
			continue
		}
		if err := one.open(dir, m.with.userMark); err != nil {
			return m.onDir(err)
		}
		l.files = append(l.files, one.dir)
	}
	if err := l.apart(m.upper.upper, m.upper.work); err != nil {
		return m.onDir(err)
	}
	return nil
}

// open opens a layer that is a directory, for a mount at dir.
func (l *lower) open(dir string, userMarks bool) error {
	f, inside, err := dirs.OpenLayer(l.name)
	if err != nil {
		return err
	}
	l.dir = f
	if !inside {
		in, err := dirs.Within(dir, l.name)
		if err != nil {
			return err
		}
		if in && dir != l.name {
			return fmt.Errorf("%s: the mount would lie within it, which only root can keep apart", l.name)
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
		return &os.PathError{Op: "stat", Path: l.name, Err: err}
	}
	l.Marks, l.Inode = marks.Prefix, st.Ino
	return nil
}

// apart refuses layers, an upper and a work directory that lie within one
// another: what is written to one would change the other.
func (l *lowers) apart(others ...string) error {
	var all []string
	for _, one := range l.of {
		if one.dir != nil {
			all = append(all, one.name)
		}
	}
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

// closeImages stops what images do by themselves. Their files stay open.
func (l *lowers) closeImages() error {
	var errs []error
	for _, one := range l.of {
		if one.img != nil && one.img.Image != nil {
			errs = append(errs, one.img.Image.Close())
			one.img.Image = nil
		}
	}
	return errors.Join(errs...)
}

func (l *lowers) close() error {
	errs := []error{l.closeImages()}
	for _, one := range l.of {
		if one.dir != nil {
			errs = append(errs, one.dir.Close())
		}
		if one.img != nil {
			errs = append(errs, one.img.meta.Close())
		}
	}
	return errors.Join(errs...)
}

// layer gives a saved layer that is in files. closeLayer ends what it does.
func (l *serviceLower) layer(ctx context.Context, store *layerstore.Store, files []*os.File) (layer dirs.Layer, closeLayer func() error, err error) {
	if l.File > len(files) || l.Image == nil && l.File == len(files) {
		return layer, nil, fmt.Errorf("%d files for a layer at %d", len(files), l.File)
	}
	if l.Image == nil {
		return dirs.Layer{Dir: files[l.File], Name: l.Name, Marks: ondisk.Marks{Prefix: l.Marks}}, func() error { return nil }, nil
	}
	img, closeLayer, err := l.Image.open(ctx, store, files[l.File:])
	if err != nil {
		return layer, nil, err
	}
	return dirs.Layer{Tree: img.View, Name: l.Name}, closeLayer, nil
}

// openLowers puts the layers of a held mount together.
func (s *service) openLowers(ctx context.Context, store *layerstore.Store, files []*os.File) (u *dirs.Union, closeAll func() error, err error) {
	var closers []func() error
	closeAll = func() error {
		var errs []error
		for _, c := range slices.Backward(closers) {
			errs = append(errs, c())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll())
		}
	}()
	layers := make([]dirs.Layer, len(s.Lowers))
	for i := range s.Lowers {
		var closeLayer func() error
		if layers[i], closeLayer, err = s.Lowers[i].layer(ctx, store, files); err != nil {
			return nil, nil, err
		}
		closers = append(closers, closeLayer)
	}
	if u, err = dirs.New(layers); err != nil {
		return nil, nil, err
	}
	closers = append(closers, u.Close)
	return u, closeAll, nil
}

// serveLowers mounts layers and serves them in this process.
func (m *mounter) serveLowers(ctx context.Context, l *lowers, ready func() error) (err error) {
	layers := make([]dirs.Layer, len(l.of))
	for i, one := range l.of {
		layers[i] = dirs.Layer{Dir: one.dir, Name: one.name, Marks: ondisk.Marks{Prefix: one.Marks}}
		if one.img != nil {
			layers[i] = dirs.Layer{Tree: one.img.View, Name: one.name}
		}
	}
	u, err := dirs.New(layers)
	if err != nil {
		return &argError{m.image, err}
	}
	defer func() { err = errors.Join(err, u.Close()) }()
	m.with.fs.Source = first(m.with.fs.Source, l.source())
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
