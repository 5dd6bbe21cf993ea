package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// A liar is a registry that gives what a test has put there, whatever it is.
type liar struct {
	*httptest.Server
	answers map[string]answerOf // by path behind "/v2/x/"
}

type answerOf struct {
	kind string // Content-Type
	body []byte
}

func newLiar(t *testing.T) *liar {
	l := &liar{answers: map[string]answerOf{}}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, ok := l.answers[strings.TrimPrefix(r.URL.Path, "/v2/x/")]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", a.kind)
		w.Write(a.body)
	}))
	t.Cleanup(l.Close)
	return l
}

// object is JSON by hand, so that it may be anything.
type object = map[string]any

const (
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
	ociIndex    = "application/vnd.oci.image.index.v1+json"
	ociConfig   = "application/vnd.oci.image.config.v1+json"
	ociLayer    = "application/vnd.oci.image.layer.v1.tar"
)

func (l *liar) blob(b []byte, kind string) object {
	d := digest.FromBytes(b)
	l.answers["blobs/"+d.String()] = answerOf{"application/octet-stream", b}
	return object{"mediaType": kind, "digest": d.String(), "size": len(b)}
}

// manifest puts v where a tag and its digest lead to, and gives its descriptor.
func (l *liar) manifest(tag string, v object) object {
	b, err := json.Marshal(v)
	must(err)
	kind, _ := v["mediaType"].(string)
	d := digest.FromBytes(b)
	l.answers["manifests/"+tag], l.answers["manifests/"+d.String()] = answerOf{kind, b}, answerOf{kind, b}
	return object{"mediaType": kind, "digest": d.String(), "size": len(b)}
}

// image is a sound one, which a test then spoils: its manifest, config and layer.
func (l *liar) image() (manifest, layer object) {
	raw := layerOf(file("etc/motd", "hello\n"))
	layer = l.blob(raw, ociLayer)
	config, err := json.Marshal(object{"architecture": "amd64", "os": "linux", "rootfs": object{"type": "layers", "diff_ids": []string{digest.FromBytes(raw).String()}}})
	must(err)
	return object{"schemaVersion": 2, "mediaType": ociManifest, "config": l.blob(config, ociConfig), "layers": []object{layer}}, layer
}

func with(o object, key string, v any) object {
	c := object{key: v}
	for k, old := range o {
		if k != key {
			c[k] = old
		}
	}
	return c
}

// TestHostileRegistries pulls what a registry should never give. It is refused
// in a line, soon, or taken for what it is; nothing of it is anywhere but where
// blobs are, and all of it goes with prune.
func TestHostileRegistries(t *testing.T) {
	if len(registryLies) < 20 {
		t.Fatal("lies are missing")
	}
	for _, tt := range registryLies {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			needTool(t, "skopeo")
			l, h := newLiar(t), newHost(t)
			tt.make(l)
			args := append([]string{"pull", "--progress", "none"}, tt.args...)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			mica := h.command(append(args, strings.TrimPrefix(l.URL, "http://")+"/x")...)
			cmd := exec.CommandContext(ctx, mica.Path, mica.Args[1:]...)
			cmd.Env, cmd.Dir = mica.Env, mica.Dir
			_, err := output(cmd)
			switch {
			case ctx.Err() != nil:
				t.Fatal("it hangs")
			case tt.fails == "" && err != nil:
				t.Error(err)
			case tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)):
				t.Errorf("error %v, want one about %q", err, tt.fails)
			case err != nil && strings.Contains(err.Error(), "goroutine "):
				t.Error(err)
			}
			h.wantBlobs()
			if err != nil && h.mica("images", "-q") != "" {
				t.Error("there is an image")
			}
			h.mica("prune", "--all")
			for _, left := range []string{"images/blobs/*/*", "partial/*", "leases/*"} {
				if files, err := filepath.Glob(filepath.Join(h.dir, "store", left)); err != nil || len(files) > 0 {
					t.Errorf("after prune --all: %v, %v", files, err)
				}
			}
		})
	}
}

// nested is an index in an index, so many deep.
func nested(l *liar, d object, deep int) object {
	for range deep {
		d = l.manifest("latest", object{"schemaVersion": 2, "mediaType": ociIndex, "manifests": []object{d}})
	}
	return d
}

func longIndex(l *liar, n int) {
	m, _ := l.image()
	var all []object
	for i := range n {
		all = append(all, l.manifest(fmt.Sprint("m", i), with(m, "annotations", object{"n": fmt.Sprint(i)})))
	}
	l.manifest("latest", object{"schemaVersion": 2, "mediaType": ociIndex, "manifests": all})
}
