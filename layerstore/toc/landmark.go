package toc

// isLandmark tells the files that eStargz adds to the root of a layer: its
// table of contents and the mark of what to fetch ahead. They are no part of
// the image (stargz-snapshotter docs/estargz.md) and are not shown.
func isLandmark(path string) bool {
	switch path {
	case "stargz.index.json", ".prefetch.landmark", ".no.prefetch.landmark":
		return true
	}
	return false
}
