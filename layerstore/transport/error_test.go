package transport

import (
	"errors"
	iofs "io/fs"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestNotExist holds that only what was named and is not there is ErrNotExist:
// a part that an image lacks is damage.
func TestNotExist(t *testing.T) {
	b := newBuilder(t)
	b.tag(b.manifest(ocispec.Manifest{Config: ocispec.Descriptor{Digest: sha, Size: 2}}), "1")
	dir := b.dir()
	for ref, want := range map[string]bool{
		dir + "/nowhere": true, dir + ":2": true, dir + "@" + digest.FromString("x").String(): true, "nowhere:1": true,
		dir: false, "/dev/null": false, "A:1": false,
	} {
		if _, err := Open(t.Context(), ref, Options{}); err == nil || errors.Is(err, iofs.ErrNotExist) != want {
			t.Errorf("Open(%q) = %v; is ErrNotExist: %v, want %v", ref, err, !want, want)
		}
	}
}

func TestSimilarPath(t *testing.T) {
	dir := writeDir(t, map[string][]byte{"debian.tar": nil, "alpine.tar": nil})
	wantFailure(t, dir+"/debain.tar", Options{}, "no such file or directory", "not-found", "similar: "+dir+"/debian.tar")
	t.Chdir(dir)
	wantFailure(t, "debian.tr", Options{}, `no image "debian.tr" here`, "not-found", "similar: debian.tar")
	wantFailure(t, "oci:Debian.tar", Options{}, "Debian.tar: no such file or directory", "not-found", "similar: debian.tar")
}
