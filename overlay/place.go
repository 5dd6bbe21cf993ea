package overlay

// Place gives where the contents of a regular file begin: the number of the
// layer, from 0 at the bottom, and the offset into it. Two files of one size
// that begin at one offset of layers that hold the same, see [Image.Holds],
// have the same contents. It is false for a file that has no bytes in its layer.
func (t *Tree) Place(id NodeID) (layer int, layerOff int64, ok bool, err error) {
	d, err := t.fileData(id)
	switch {
	case err != nil:
		return 0, 0, false, err
	case !d.sparse:
		return d.layer, d.off, d.size > 0, nil
	case d.extents == 0:
		return 0, 0, false, nil
	}
	x, err := d.extent(0)
	return d.layer, x.layerOff, err == nil, err
}

// Holds gives for each layer, bottom first, a name for what it holds: layers of
// one name, of this image or another in the same store, have the same bytes at
// each offset.
func (img *Image) Holds() []string {
	names := make([]string, len(img.specs))
	for i, l := range img.specs {
		names[i] = img.Layers()[i].DiffID
		// A layer that is read by a table of its own has offsets of its own too,
		// and nobody has checked its diffID.
		if key := l.Key(); key != l.Blob.ID() {
			names[i] = key
		}
	}
	return names
}
