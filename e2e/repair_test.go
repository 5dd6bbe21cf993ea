package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// blobPath is where a blob of the host's store lies.
func (h *host) blobPath(d digest.Digest) string {
	return filepath.Join(h.dir, "store/images/blobs", d.Algorithm().String(), d.Encoded())
}

// TestRepair: what is damaged or missing of an image is fetched anew from where
// it came, and nothing else is.
func TestRepair(t *testing.T) {
	r, h := newRegistry(t, ""), newHost(t)
	want := r.push("e2e/app:1", registryImage())
	name := r.addr + "/e2e/app:1"
	h.mica("pull", name)
	var m ocispec.Manifest
	must(json.Unmarshal([]byte(h.mica("inspect", "--raw", name)), &m))
	flip := func(d digest.Digest) {
		b, err := os.ReadFile(h.blobPath(d))
		must(err)
		b[len(b)/2] ^= 1
		must(os.WriteFile(h.blobPath(d), b, 0o644))
	}
	cut := func(d digest.Digest) { must(os.Truncate(h.blobPath(d), 10)) }
	remove := func(d digest.Digest) { must(os.Remove(h.blobPath(d))) }
	for _, tt := range []struct {
		about string
		harm  func(digest.Digest)
		to    []digest.Digest
	}{
		{"nothing", nil, nil},
		{"a bit of a layer", flip, []digest.Digest{m.Layers[0].Digest}},
		{"a layer cut short", cut, []digest.Digest{m.Layers[1].Digest}},
		{"layers that are missing", remove, []digest.Digest{m.Layers[0].Digest, m.Layers[1].Digest}},
		{"a bit of the config", flip, []digest.Digest{m.Config.Digest}},
		{"a bit of the manifest", flip, []digest.Digest{want}},
		{"all is missing", remove, []digest.Digest{want, m.Config.Digest, m.Layers[0].Digest, m.Layers[1].Digest}},
	} {
		for _, d := range tt.to {
			tt.harm(d)
		}
		if len(tt.to) > 0 {
			if out, err := output(h.command("verify", "--pull=never", name)); err == nil {
				t.Errorf("%s: verify found nothing:\n%s", tt.about, out)
			}
		}
		out := h.mica("verify", "--repair", name)
		if got := strings.Count(out, "fetched: "); got != len(tt.to) {
			t.Errorf("%s: %d blobs fetched, want %d:\n%s", tt.about, got, len(tt.to), out)
		}
		h.wantPulled(name, want)
	}

	// The registry of another name has it, too.
	other := r.addr + "/e2e/elsewhere:1"
	h.mica("tag", name, other)
	h.mica("untag", name)
	flip(m.Layers[0].Digest)
	_, err := output(h.command("verify", "--repair", other))
	if err == nil || !strings.Contains(err.Error(), "no blob ") {
		t.Errorf("repair from a repository that has it not: %v", err)
	}
	h.mica("tag", other, name)
	h.mica("verify", "--repair", other)
	h.wantPulled(other, want)
	if out, err := output(h.command("verify", "--repair", "./store/images:"+name)); err == nil {
		t.Errorf("repair of a path printed %q", out)
	}
	h.mica("prune", "--all")
}
