package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMirrors: images are read from the mirrors that podman's or containerd's
// settings have for a registry, and from itself where those fail.
func TestMirrors(t *testing.T) {
	r := newRegistry(t, "")
	want := r.push("e2e/app:1", registryImage())
	r.push("copies/e2e/app:1", registryImage())
	dead := "127.0.0.1:1"
	mirrors := func(list ...string) string {
		text := fmt.Sprintf("[[registry]]\nprefix = %q\n", r.addr)
		for _, m := range list {
			text += fmt.Sprintf("[[registry.mirror]]\nlocation = %q\n", m)
		}
		return text
	}
	f := newFaulty(t, r)
	name := r.addr + "/e2e/app:1"
	for _, tt := range []struct {
		about, file, text, name string
		match                   string
		fault                   fault
		asked                   bool   // the mirror f gave something
		fails                   string // what the error tells
	}{
		{about: "a mirror", text: mirrors(f.addr() + "/copies"), name: name, asked: true},
		{about: "a dead one first", text: mirrors(dead, f.addr()), name: name, asked: true},
		{about: "dead ones only", text: mirrors(dead, dead+"/x"), name: name},
		{about: "one without the image", text: mirrors(f.addr() + "/none"), name: name, asked: true},
		{about: "one that has no blobs", text: mirrors(f.addr()), name: name, match: "/blobs/", fault: answer(http.StatusNotFound), asked: true},
		{about: "one that breaks off for good", text: mirrors(f.addr()), name: name, match: "/blobs/", fault: first(1, cutAt(50)), asked: true},
		{about: "one that wants a password", text: mirrors(f.addr()), name: name, match: "/v2/", fault: answer(http.StatusUnauthorized), asked: true},
		{about: "all fail", text: mirrors(dead), name: r.addr + "/e2e/app:2", fails: "no manifest 2 of e2e/app; mirror " + dead + ": cannot reach " + dead},
		{about: "moved", text: fmt.Sprintf("[[registry]]\nprefix = \"example.invalid/old\"\nlocation = %q\ninsecure = true\n", f.addr()+"/e2e"), name: "example.invalid/old/app:1", asked: true},
		{about: "blocked", text: fmt.Sprintf("[[registry]]\nprefix = %q\nblocked = true\n", r.addr), name: name, fails: r.addr + " is blocked by "},
		{about: "hosts.toml", file: "containerd/certs.d/example.invalid/hosts.toml", text: fmt.Sprintf("server = \"http://%s\"\n[host.\"http://%s\"]\n", dead, f.addr()), name: "example.invalid/e2e/app:1", asked: true},
	} {
		t.Run(tt.about, func(t *testing.T) {
			h := newHost(t)
			if tt.file == "" {
				tt.file = "containers/registries.conf"
			}
			file := filepath.Join(h.dir, ".config", tt.file)
			must(os.MkdirAll(filepath.Dir(file), 0o755))
			must(os.WriteFile(file, []byte(tt.text), 0o644))
			f.spoil(tt.match, tt.fault)
			f.asked.Store(0)
			_, err := output(h.command("pull", tt.name))
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("error %v, want one about %q", err, tt.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if asked := f.asked.Load() > 0; asked != tt.asked {
				t.Errorf("the mirror was asked: %v, want %v", asked, tt.asked)
			}
			h.wantPulled(tt.name, want)
		})
	}
}
