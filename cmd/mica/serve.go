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
	Image  string                `json:"image"`
	Root   string                `json:"root"` // of the store
	Blobs  layerstore.SavedBlobs `json:"blobs"`
	Layers []serviceLayer        `json:"layers"` // of those blobs, bottom first
	Alone  bool                  `json:"alone"`
	Defer  bool                  `json:"defer"`
	Hidden []overlay.HiddenFile  `json:"hidden"`
	UID    *uint32               `json:"uid,omitempty"`
	GID    *uint32               `json:"gid,omitempty"`
	Upper  *serviceUpper         `json:"upper,omitempty"`
	JSON   bool                  `json:"json"` // what goes wrong is told as JSON
}

type serviceLayer struct {
	Digest      string            `json:"digest,omitempty"`
	DiffID      string            `json:"diffID,omitempty"`
	History     string            `json:"history,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// service describes what is to be mounted, and gives the files that it is in.
func (m *mounter) service(img *openImage) (*service, []*os.File, error) {
	layers, alone, err := m.part.of(layersOf(img.meta, img.store, nil))
	if err != nil {
		return nil, nil, err
	}
	s := &service{
		Image: m.image, Root: img.store.Root(), Alone: alone, Defer: m.deferred && !img.meta.Expanded,
		Hidden: hiddenFiles(img.meta), UID: m.with.uid, GID: m.with.gid, JSON: m.json,
	}
	var blobs []blob.Source
	for _, l := range layers {
		blobs = append(blobs, l.Blob)
		s.Layers = append(s.Layers, serviceLayer{l.Digest, l.DiffID, l.History, l.Annotations})
	}
	var files []*os.File
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
	service, files, err := m.service(img)
	if err != nil {
		return &argError{m.image, err}
	}
	log := m.logFile(img.store)
	if log != nil {
		defer log.Close()
	}
	if m.upper.writable() {
		layers, _, err := m.part.of(layersOf(img.meta, img.store, nil))
		if err != nil {
			return &argError{m.image, err}
		}
		up, err := m.upper.open(img.store, layers, abs)
		if err != nil {
			return m.onDir(err)
		}
		defer func() { err = errors.Join(err, up.Close()) }()
		service.Upper = &serviceUpper{Files: len(files), Scratch: up.scratch}
		files = append(files, up.Upper, up.Work)
	}
	source := first(m.with.fs.Source, m.part.source(img.meta))
	m.with.fs.Source, m.with.fs.RuntimeDir = source, fs.RuntimeDir(img.store.Root())
	var status int
	err = m.alone(img, func() (err error) {
		status, err = fs.Hold(m.dir, m.with.fs, fs.Holding{
			Server: []string{"mica", "serve", source, abs}, // for ps; see serveHeld
			State:  service, Files: files, Log: log, Stderr: m.std.err,
		})
		return err
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
	blobs, closeBlobs, err := store.OpenSaved(ctx, s.Blobs, held.Files())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeBlobs()) }()
	if len(blobs) != len(s.Layers) {
		return fmt.Errorf("%d blobs for %s", len(blobs), plural(len(s.Layers), "layer"))
	}
	layers := make([]overlay.Layer, len(blobs))
	for i, l := range s.Layers {
		layers[i] = overlay.Layer{History: l.History, Spec: layerstore.Spec{
			Blob: blobs[i], Digest: l.Digest, DiffID: l.DiffID, Annotations: l.Annotations,
		}}
	}
	img, err := overlay.OpenImage(ctx, store, layers, overlay.Options{Defer: s.Defer, Alone: s.Alone})
	if err != nil {
		return storeError(store, err)
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	debug.SetMemoryLimit(serverHeap)
	var view fs.View
	var hidden *hiddenDir
	var up *writable.View
	if s.Upper != nil {
		up, err = s.Upper.view(held, img)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, up.Close()) }()
		view = up
	} else {
		hidden = newHidden(img, s.Hidden)
		defer func() { err = errors.Join(err, hidden.Close()) }()
		view = owned(hidden.Hidden, s.UID, s.GID)
	}
	server, err := held.Attach(view, fs.Options{Log: newLog(std.err, s.JSON)})
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
	if err := up.Clean(); err != nil {
		return err
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
