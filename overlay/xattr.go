package overlay

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// originPrefix begins the attributes that tell where a file comes from. They
// are answered by name and never listed, so that cp -a, rsync -X and tar
// --xattrs copy nothing of them.
const originPrefix = "user.mica."

// Xattr gives the value of an attribute of a node, ErrNoXattr where it has
// none of that name. It is not to be changed.
func (v *View) Xattr(id NodeID, name string) ([]byte, error) {
	if what, ok := strings.CutPrefix(name, originPrefix); ok {
		return v.origin(id, what)
	}
	xs, err := v.Tree.Xattrs(id)
	if err != nil {
		return nil, err
	}
	for _, x := range xs {
		if x.Name == name {
			return x.Value, nil
		}
	}
	return nil, ErrNoXattr
}

// Xattrs gives the names of a node's attributes, sorted.
func (v *View) Xattrs(id NodeID) ([]string, error) {
	xs, err := v.Tree.Xattrs(id)
	if err != nil || len(xs) == 0 {
		return nil, err
	}
	names := make([]string, 0, len(xs))
	for _, x := range xs {
		if !strings.HasPrefix(x.Name, originPrefix) { // ours, which are never listed
			names = append(names, x.Name)
		}
	}
	return names, nil
}

// origin tells which layer a node comes from: its number as people count
// ("3/5"), its digest, and the command that made it; and of the node itself the
// owner that the layer gives it ("0:42", whatever the mount shows), and where in
// the uncompressed layer its bytes begin.
func (v *View) origin(id NodeID, what string) ([]byte, error) {
	n, err := v.Layer(id)
	if err != nil {
		return nil, err
	}
	layers := v.Layers()
	if n >= len(layers) { // the root of an image without layers
		return nil, ErrNoXattr
	}
	switch what {
	case "layer":
		return []byte(strconv.Itoa(n+1) + "/" + strconv.Itoa(len(layers))), nil
	case "digest":
		return []byte(layers[n].Digest), nil
	case "history":
		return []byte(layers[n].History), nil
	case "owner":
		a, err := v.Tree.Attr(id)
		return fmt.Appendf(nil, "%d:%d", a.UID, a.GID), err
	case "offset":
		return v.offset(id)
	}
	return nil, ErrNoXattr
}

// offset is where the bytes of a regular file begin in its layer; one without
// any has none.
func (v *View) offset(id NodeID) ([]byte, error) {
	d, err := v.Tree.fileData(id)
	switch {
	case errors.Is(err, unix.EINVAL): // of another type
		return nil, ErrNoXattr
	case err != nil:
		return nil, err
	case d.size == 0 || d.sparse && d.extents == 0:
		return nil, ErrNoXattr
	case d.sparse:
		x, err := d.extent(0)
		return strconv.AppendInt(nil, x.layerOff, 10), err
	}
	return strconv.AppendInt(nil, d.off, 10), nil
}
