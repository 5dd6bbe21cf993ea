package overlay

import "mica/layerstore/blob"

// CacheStats tells what the cache of decoded spans has done.
func (img *Image) CacheStats() blob.Stats {
	if len(img.layers) == 0 {
		return blob.Stats{}
	}
	return img.layers[0].CacheStats()
}
