package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"mica/fs"
	"mica/layerstore"
	"mica/overlay/writable"
)

// holdBelow mounts an image where nobody sees it, and at the directory that the
// user has named the kernel's overlayfs with the upper over it. The mount below
// goes with that one.
func (m *mounter) holdBelow(store *layerstore.Store, s *service, files []*os.File, source, abs string, up *upper, log *os.File) (err error) {
	if os.Geteuid() != 0 {
		return m.onDir(&usageError{err: errors.New("--engine kernel is for root"), hint: "--engine fuse"})
	}
	if err := m.prepareUpper(store, s, files, up); err != nil {
		return m.onDir(err)
	}
	below := filepath.Join(store.Root(), "below")
	if err := os.MkdirAll(below, 0o700); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(below, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	var dirs [2]string
	for i, f := range []*os.File{up.Upper, up.Work} {
		if dirs[i], err = filepath.Abs(f.Name()); err != nil {
			return err
		}
	}
	source = first(m.with.fs.Source, source)
	m.with.fs.Source, m.with.fs.RuntimeDir = source, fs.RuntimeDir(store.Root())
	return m.alone(source, func() error {
		o := m.with.fs
		s.Hidden = nil // of the image, it would be seen in the union
		if err := m.holdAt(dir, s, files, abs, log); err != nil {
			return err
		}
		over := fs.Overlay{
			Lower: dir, Upper: dirs[0], Work: dirs[1], Source: source,
			NoSuid: o.NoSuid, NoDev: o.NoDev, NoExec: o.NoExec, NoAtime: o.NoAtime,
		}
		err := over.Mount(abs)
		return errors.Join(err, fs.Unmount(dir, true))
	})
}

// prepareUpper gives a fresh upper what a view gives it: the root's metadata.
func (m *mounter) prepareUpper(store *layerstore.Store, s *service, files []*os.File, up *upper) (err error) {
	img, closeImage, err := s.serviceImage.open(context.Background(), store, files)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeImage()) }()
	v, err := writable.Open(img.View, up.Dirs, false)
	if err != nil {
		return err
	}
	return errors.Join(v.Clean(), v.Close())
}
