package main

import (
	"encoding/json"
	"sync/atomic"

	"mica/fs"
	"mica/layerstore/transport"
	"mica/overlay"
)

// A hiddenDir is the view of an image with its directory .mica, in which the
// server that serves it tells of itself.
type hiddenDir struct {
	*overlay.Hidden
	serving atomic.Pointer[fs.Server] // nil until it is mounted
}

func newHidden(img *overlay.Image, files []overlay.HiddenFile) *hiddenDir {
	h := &hiddenDir{}
	h.Hidden = overlay.NewHidden(img, append(files, overlay.HiddenFile{Name: "stats", Live: h.stats}))
	return h
}

// stats is what `mica stats --format json` prints.
func (h *hiddenDir) stats() []byte {
	server := h.serving.Load()
	if server == nil {
		return nil
	}
	// Statistics marshal always.
	b, _ := json.MarshalIndent(server.Stats(), "", "  ")
	return append(b, '\n')
}

// hiddenFiles are those in the directory that are of the image itself.
func hiddenFiles(meta *transport.Image) []overlay.HiddenFile {
	// A history marshals always.
	history, _ := json.MarshalIndent(meta.Config.History, "", "  ")
	files := []overlay.HiddenFile{{Name: "config.json", Data: meta.RawConfig}, {Name: "history.json", Data: append(history, '\n')}}
	if meta.RawManifest != nil {
		files = append(files, overlay.HiddenFile{Name: "manifest.json", Data: meta.RawManifest})
	}
	return files
}
