package overlay

// Place gives where the contents of a regular file begin: the number of the
// layer, from 0 at the bottom, and the offset into it. Two files of one size
// that begin at one place of layers with one diffID have the same contents.
// It is false for a file that has no bytes in its layer.
func (t *Tree) Place(id NodeID) (layer int, layerOff int64, ok bool, err error) {
	d, err := t.fileData(id)
	switch {
	case err != nil:
		return 0, 0, false, err
	case !d.sparse:
		return d.layer, d.off, d.size > 0, nil
	case d.count() == 0:
		return 0, 0, false, nil
	}
	return d.layer, d.extent(0).layerOff, true, nil
}
