package transport

import (
	_ "crypto/sha256" // the algorithms that go-digest can check
	_ "crypto/sha512"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What is read of one image, in bytes: manifests and indexes as registries
// bound them, configs with room for long histories.
const (
	maxManifest = 4 << 20
	maxConfig   = 8 << 20
)

func missingBlob(object string, d digest.Digest) error {
	return &CorruptError{withDigest(object, d), "missing", true}
}

// isMissing says that an error is of missingBlob.
func isMissing(err error) bool {
	var e *CorruptError
	return errors.As(err, &e) && e.missing
}

func withDigest(object string, d digest.Digest) string {
	if strings.Contains(object, string(d)) {
		return object
	}
	return object + " " + d.String()
}

// openBlob finds the blob of a digest; [iofs.ErrNotExist] says that it is not here.
func (l *layout) openBlob(d digest.Digest) (*source, error) {
	if err := d.Validate(); err != nil {
		return nil, corrupt("digest "+fmt.Sprintf("%q", string(d)), "%v", err)
	}
	var err error
	for _, name := range l.paths(d) {
		var src *source
		if src, err = l.files.open(name); err == nil {
			src.id = d.String()
			return src, nil
		}
		if !absent(err) {
			break
		}
	}
	return nil, err
}

func (l *layout) holds(d ocispec.Descriptor) bool {
	if len(d.Data) > 0 {
		return true
	}
	src, err := l.openBlob(d.Digest)
	if err != nil {
		return !absent(err)
	}
	src.Close()
	return true
}

// open gives the blob of a descriptor, of the length that it says.
func (l *layout) open(object string, d ocispec.Descriptor) (*source, error) {
	if len(d.Data) > 0 {
		if err := d.Digest.Validate(); err != nil {
			return nil, corrupt(object, "digest %q: %v", string(d.Digest), err)
		}
		src := bytesSource(d.Data)
		src.id = d.Digest.String()
		return src, checkSize(object, src, d)
	}
	src, err := l.openBlob(d.Digest)
	if absent(err) {
		return nil, missingBlob(object, d.Digest)
	}
	if err != nil {
		return nil, err
	}
	if err := checkSize(object, src, d); err != nil {
		src.Close()
		return nil, err
	}
	return src, nil
}

func checkSize(object string, src *source, d ocispec.Descriptor) error {
	if src.Size() == d.Size {
		return nil
	}
	return corrupt(withDigest(object, d.Digest), "%d bytes long, its descriptor says %d", src.Size(), d.Size)
}

// read gives the bytes of a small blob, which are those of its digest.
func (l *layout) read(object string, d ocispec.Descriptor, limit int64) ([]byte, error) {
	src, err := l.open(object, d)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	object = withDigest(object, d.Digest)
	raw, err := readAll(src, object, limit)
	if err != nil {
		return nil, err
	}
	if got := d.Digest.Algorithm().FromBytes(raw); got != d.Digest {
		return nil, corrupt(object, "its bytes are those of %s: damaged or altered", got)
	}
	return raw, nil
}

func (l *layout) document(object string, d ocispec.Descriptor) (*document, []byte, error) {
	raw, err := l.read(object, d, maxManifest)
	if err != nil {
		return nil, nil, err
	}
	doc, err := parseDocument(withDigest(object, d.Digest), raw)
	return doc, raw, err
}
