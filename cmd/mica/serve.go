package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"mica/fs"
	"mica/layerstore"
	"mica/layerstore/blob"
	"mica/overlay"
	"mica/overlay/writable"
)

// A service is all that a server of a mount needs to know: what the image was
// found to be when it was mounted. Nothing is looked up by name again, so that
// tags and archives may be moved while it is mounted, and deleted.
type service struct {
	Image string `json:"image"`
	Root  string `json:"root"` // of the store
	serviceImage
	Lowers []serviceLower       `json:"lowers,omitempty"` // in place of an image, topmost first
	Hidden []overlay.HiddenFile `json:"hidden"`
	UID    *uint32              `json:"uid,omitempty"`
	GID    *uint32              `json:"gid,omitempty"`
	Upper  *serviceUpper        `json:"upper,omitempty"`
	JSON   bool                 `json:"json"` // what goes wrong is told as JSON
}

// A serviceImage is an image, or some layers of one.
type serviceImage struct {
	Blobs  layerstore.SavedBlobs `json:"blobs"`
	Layers []serviceLayer        `json:"layers"` // of those blobs, bottom first
	Alone  bool                  `json:"alone"`
	Defer  bool                  `json:"defer"`
}

type serviceLayer struct {
	Digest      string            `json:"digest,omitempty"`
	DiffID      string            `json:"diffID,omitempty"`
	History     string            `json:"history,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// saveImage describes an image, and gives the files that it is in.
func (m *mounter) saveImage(img *openImage) (s serviceImage, files []*os.File, err error) {
	layers, alone, err := m.part.of(layersOf(img.meta, img.store, nil))
	if err != nil {
		return s, nil, err
	}
	s = serviceImage{Alone: alone, Defer: m.deferred && !img.meta.Expanded}
	var blobs []blob.Source
	for _, l := range layers {
		blobs = append(blobs, l.Blob)
		s.Layers = append(s.Layers, serviceLayer{l.Digest, l.DiffID, l.History, l.Annotations})
	}
	s.Blobs, files, err = layerstore.SaveBlobs(blobs)
	return s, files, err
}

// hold mounts an image, which it closes, in a way that outlives its server.
func (m *mounter) hold(img *openImage, abs string) (err error) {
	defer func() { err = errors.Join(err, img.meta.Close()) }()
	// What it may have begun to verify the server does.
	if err := img.Image.Close(); err != nil {
		return err
	}
	saved, files, err := m.saveImage(img)
	if err != nil {
		return &argError{m.image, err}
	}
	s := &service{serviceImage: saved, Hidden: hiddenFiles(img.meta)}
	return m.holdService(img.store, s, files, m.part.source(img.meta), abs)
}

// holdService mounts what s tells of, which is in files, and goes by the name
// source. It completes s.
func (m *mounter) holdService(store *layerstore.Store, s *service, files []*os.File, source, abs string) (err error) {
	s.Image, s.Root, s.UID, s.GID, s.JSON = m.image, store.Root(), m.with.uid, m.with.gid, m.json
	log := m.logFile(store)
	if log != nil {
		defer log.Close()
	}
	if m.upper.writable() {
		ref := source
		if s.Lowers != nil {
			ref = ""
		}
		up, err := m.upper.open(store, s.base(), ref, abs)
		if err != nil {
			return m.onDir(err)
		}
		defer func() { err = errors.Join(err, up.Close()) }()
		// Whoever asks by overlayfs's words may look into the upper as it is there.
		s.Upper = &serviceUpper{Files: len(files), Scratch: up.scratch, AtOpen: s.Lowers != nil, Kernel: m.upper.kernel()}
		files = append(files, up.Upper, up.Work)
		if m.upper.kernel() {
			return m.holdBelow(store, s, files, source, abs, up, log)
		}
	}
	source = first(m.with.fs.Source, source)
	m.with.fs.Source, m.with.fs.RuntimeDir = source, fs.RuntimeDir(store.Root())
	return m.alone(source, func() error { return m.holdAt(m.dir, s, files, abs, log) })
}

// holdAt mounts at dir what is to be seen at abs.
func (m *mounter) holdAt(dir string, s *service, files []*os.File, abs string, log *os.File) error {
	status, err := fs.Hold(dir, m.with.fs, fs.Holding{
		Server: []string{"mica", "serve", m.with.fs.Source, abs}, // for ps; see serveHeld
		State:  s, Files: files, Log: log, Stderr: m.std.err,
	})
	if err == nil && status != 0 {
		return &toldError{status} // by the server
	}
	return err
}

// serveHeld is a server that a holder has started. It gives the exit status.
func serveHeld(ctx context.Context, held *fs.Held, std streams) int {
	var s service
	err := json.Unmarshal(held.State(), &s)
	if err == nil {
		err = s.serve(ctx, held, std)
	}
	if err == nil {
		return 0
	}
	if s.Image != "" {
		err = &argError{s.Image, err}
	}
	return newFailure(ctx, &cobra.Command{Use: "mount"}, err).report(std.err, s.JSON)
}

// serve serves until the mount is gone, ctx ends or another server takes over.
func (s *service) serve(ctx context.Context, held *fs.Held, std streams) (err error) {
	store := layerstore.Open(s.Root)
	if len(s.Lowers) > 0 {
		u, closeAll, err := s.openLowers(ctx, store, held.Files())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, closeAll()) }()
		return s.attach(ctx, held, u, nil, std)
	}
	img, closeImage, err := s.serviceImage.open(ctx, store, held.Files())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeImage()) }()
	hidden := newHidden(img, s.Hidden)
	defer func() { err = errors.Join(err, hidden.Close()) }()
	return s.attach(ctx, held, img.View, hidden, std)
}

// open opens an image that is in files.
func (s *serviceImage) open(ctx context.Context, store *layerstore.Store, files []*os.File) (img *overlay.Image, closeAll func() error, err error) {
	blobs, closeBlobs, err := store.OpenSaved(ctx, s.Blobs, files)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeBlobs())
		}
	}()
	if len(blobs) != len(s.Layers) {
		return nil, nil, fmt.Errorf("%d blobs for %s", len(blobs), plural(len(s.Layers), "layer"))
	}
	layers := make([]overlay.Layer, len(blobs))
	for i, l := range s.Layers {
		layers[i] = overlay.Layer{History: l.History, Spec: layerstore.Spec{
			Blob: blobs[i], Digest: l.Digest, DiffID: l.DiffID, Annotations: l.Annotations,
		}}
	}
	img, err = overlay.OpenImage(ctx, store, layers, overlay.Options{Defer: s.Defer, Alone: s.Alone})
	if err != nil {
		return nil, nil, storeError(store, err)
	}
	return img, func() error { return errors.Join(img.Close(), closeBlobs()) }, nil
}

// attach serves a tree: as it is, with the directory hidden if there is one; or
// with an upper over it.
func (s *service) attach(ctx context.Context, held *fs.Held, lower overlay.Lower, hidden *hiddenDir, std streams) (err error) {
	debug.SetMemoryLimit(serverHeap)
	var view fs.View = lower
	var up *writable.View
	switch {
	case s.Upper != nil && s.Upper.Kernel:
	case s.Upper != nil:
		if up, err = s.Upper.view(held, lower); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, up.Close()) }()
		view = up
	case hidden != nil:
		view = owned(hidden.Hidden, s.UID, s.GID)
	default:
		view = owned(lower, s.UID, s.GID)
	}
	server, err := held.Attach(view, fs.Options{Log: newLog(std.err, s.JSON), NoHandles: s.Upper != nil && s.Upper.Kernel})
	if err != nil {
		return err
	}
	if hidden != nil {
		hidden.serving.Store(server)
	}
	if err := server.Ready(); err != nil {
		return err
	}
	if err := server.Serve(ctx); err != nil || s.Upper == nil || server.Drained() {
		return err
	}
	if up != nil {
		if err := up.Clean(); err != nil {
			return err
		}
	}
	return s.Upper.removeScratch()
}

// owned is a view as it is, or with other owners where they are not nil.
func owned(v fs.View, uid, gid *uint32) fs.View {
	if uid == nil && gid == nil {
		return v
	}
	return &ownedView{View: v, uid: uid, gid: gid}
}
