package images

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"mica/layerstore"
)

// A Layout is an OCI image layout in a directory that images are copied to. What
// is there stays, but for what has had the name.
type Layout struct{ dir string }

// OpenLayout gives the layout of a directory, which is made if it is not there.
func OpenLayout(dir string) (*Layout, error) {
	if err := os.MkdirAll(filepath.Join(dir, "blobs"), 0o755); err != nil {
		return nil, err
	}
	version, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, ocispec.ImageLayoutFile)); errors.Is(err, iofs.ErrNotExist) {
		return &Layout{dir}, replaceFile(filepath.Join(dir, ocispec.ImageLayoutFile), version)
	}
	return &Layout{dir}, nil
}

func (l *Layout) path(d digest.Digest) string {
	return filepath.Join(l.dir, filepath.FromSlash(blobName(d)))
}

// HasManifest is that of a [Target].
func (l *Layout) HasManifest(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	return l.HasBlob(ctx, d)
}

// HasBlob is that of a [Target].
func (l *Layout) HasBlob(_ context.Context, d ocispec.Descriptor) (bool, error) {
	return hasFile(l.path(d.Digest), d)
}

// PutBlob is that of a [Target].
func (l *Layout) PutBlob(_ context.Context, d ocispec.Descriptor, _ string, open func() (io.ReadCloser, error)) error {
	return putFile(l.path(d.Digest), d, open)
}

// PutManifest writes a manifest or an index, under a name unless ref is its
// digest.
func (l *Layout) PutManifest(_ context.Context, ref string, d ocispec.Descriptor, raw []byte) error {
	if err := putFile(l.path(d.Digest), d, bytesOf(raw)); err != nil || ref == d.Digest.String() {
		return err
	}
	return l.name(ref, d)
}

// name enters a manifest into the index, under the lock that umoci takes, too.
func (l *Layout) name(ref string, d ocispec.Descriptor) error {
	dir, err := os.Open(l.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	path := filepath.Join(l.dir, ocispec.ImageIndexFile)
	ix := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	switch raw, err := os.ReadFile(path); {
	case errors.Is(err, iofs.ErrNotExist):
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(raw, &ix); err != nil {
			return fmt.Errorf("%s: not right as JSON: %w", path, err)
		}
	}
	ix.Manifests = slices.DeleteFunc(ix.Manifests, func(have ocispec.Descriptor) bool {
		return nameOf(have) == ref && (ref != "" || have.Digest == d.Digest)
	})
	ix.Manifests = append(ix.Manifests, row(ref, d))
	raw, err := json.Marshal(ix)
	if err != nil {
		return err
	}
	return replaceFile(path, raw)
}

// A SkopeoDir is a directory as skopeo's dir: has it, which holds one image.
type SkopeoDir struct{ dir string }

// OpenSkopeoDir gives the directory, which is made if it is not there.
func OpenSkopeoDir(dir string) (*SkopeoDir, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return &SkopeoDir{dir}, replaceFile(filepath.Join(dir, "version"), []byte("Directory Transport Version: 1.1\n"))
}

func (l *SkopeoDir) path(d digest.Digest) string { return filepath.Join(l.dir, d.Encoded()) }

// HasManifest is that of a [Target].
func (l *SkopeoDir) HasManifest(_ context.Context, d ocispec.Descriptor) (bool, error) {
	return hasFile(l.path(d.Digest)+".manifest.json", d)
}

// HasBlob is that of a [Target].
func (l *SkopeoDir) HasBlob(_ context.Context, d ocispec.Descriptor) (bool, error) {
	return hasFile(l.path(d.Digest), d)
}

// PutBlob is that of a [Target].
func (l *SkopeoDir) PutBlob(_ context.Context, d ocispec.Descriptor, _ string, open func() (io.ReadCloser, error)) error {
	return putFile(l.path(d.Digest), d, open)
}

// PutManifest writes the manifest or index of the image, or one that it leads to.
func (l *SkopeoDir) PutManifest(_ context.Context, ref string, d ocispec.Descriptor, raw []byte) error {
	path := filepath.Join(l.dir, "manifest.json")
	if ref == d.Digest.String() {
		path = l.path(d.Digest) + ".manifest.json"
	}
	return putFile(path, d, bytesOf(raw))
}

func hasFile(path string, d ocispec.Descriptor) (bool, error) {
	if err := d.Digest.Validate(); err != nil {
		return false, fmt.Errorf("digest %q: %w", string(d.Digest), err)
	}
	st, err := os.Stat(path)
	if errors.Is(err, iofs.ErrNotExist) {
		return false, nil
	}
	return err == nil && st.Size() == d.Size, err
}

// putFile writes a blob, checked, to a file that is there whole or not at all.
func putFile(path string, d ocispec.Descriptor, open func() (io.ReadCloser, error)) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if err := room(f, d.Size); err != nil {
		return err
	}
	if err := copyBlob(f, d, open); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync()); err != nil {
		return err
	}
	if err := renameSynced(f.Name(), path); err != nil {
		return err
	}
	return f.Close()
}

// copyBlob writes a blob whose bytes must be those of its digest.
func copyBlob(w io.Writer, d ocispec.Descriptor, open func() (io.ReadCloser, error)) error {
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	check := d.Digest.Algorithm().Hash()
	n, err := io.Copy(io.MultiWriter(w, check), io.LimitReader(r, d.Size+1))
	if err != nil {
		return err
	}
	if got := digest.NewDigest(d.Digest.Algorithm(), check); got != d.Digest || n != d.Size {
		return &layerstore.DigestError{What: "digest", Want: d.Digest.String(), Got: got.String()}
	}
	return nil
}

func bytesOf(raw []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }
}
