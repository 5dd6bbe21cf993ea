package transport

import (
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// parseConfig reads the config of an image (image-spec config.md).
func parseConfig(object string, raw []byte) (ocispec.Image, error) {
	var cfg ocispec.Image
	if err := decode(object, raw, &cfg); err != nil {
		return cfg, err
	}
	for i, d := range cfg.RootFS.DiffIDs {
		if err := d.Validate(); err != nil {
			return cfg, corrupt(object, "diff_ids[%d]: %q: %v", i, string(d), err)
		}
	}
	return cfg, nil
}

// layersOf gives the n layers of an image as far as its config tells of them.
func layersOf(cfg ocispec.Image, n int) ([]Layer, error) {
	if got := len(cfg.RootFS.DiffIDs); got != n {
		return nil, corrupt("config", "%d diff_ids for %d layers", got, n)
	}
	layers := make([]Layer, n)
	for i := range layers {
		layers[i].DiffID = cfg.RootFS.DiffIDs[i]
	}
	var lines []ocispec.History
	for _, h := range cfg.History {
		if !h.EmptyLayer {
			lines = append(lines, h)
		}
	}
	// A squashed image has a layer for many lines: which is which is not told.
	if len(lines) != n {
		return layers, nil
	}
	for i, h := range lines {
		layers[i].History, layers[i].Comment, layers[i].Created = h.CreatedBy, h.Comment, h.Created
	}
	return layers, nil
}

func layerName(i, n int) string { return fmt.Sprintf("layer %d/%d", i+1, n) }
