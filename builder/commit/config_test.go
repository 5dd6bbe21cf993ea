package commit

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"mica/layerstore/transport"
)

// TestConfig: what is not known stays, what is of the container that an image was
// once made from goes, the history is cut to the layers that count.
func TestConfig(t *testing.T) {
	epoch := time.Unix(0, 0)
	const base = `{"architecture":"amd64","os":"linux","container":"abc","container_config":{"Cmd":["x"]},"x-own":{"a":[1,2]},
		"config":{"Cmd":["old"],"Env":["A=1"],"OnBuild":["RUN y"],"X-Own":"kept","Healthcheck":{"Test":["NONE"],"Interval":30000000000}},
		"history":[{"created_by":"one"},{"created_by":"env","empty_layer":true},{"created_by":"two"},{"created_by":"three"}],
		"rootfs":{"type":"layers","diff_ids":["sha256:1","sha256:2","sha256:3"]}}`
	const tail = `"x-own":{"a":[1,2]},"created":"1970-01-01T00:00:00Z","author":"me","rootfs":{"type":"layers","diff_ids":["sha256:1","sha256:2","sha256:new"]},
		"history":[{"created_by":"one"},{"created_by":"env","empty_layer":true},{"created_by":"two"},
			{"created":"1970-01-01T00:00:00Z","created_by":"mica commit","author":"me","comment":"said"}]`
	for _, tt := range []struct {
		about, want string
		with        []string
	}{
		{"nothing", `"config":{"Cmd":["old"],"Env":["A=1"],"OnBuild":["RUN y"],"X-Own":"kept","Healthcheck":{"Test":["NONE"],"Interval":30000000000}}`, nil},
		{"some", `"config":{"Entrypoint":["/bin/sh","-c","run $A"],"Env":["A=2","B=2 x"],"OnBuild":["RUN y","COPY . ."],"X-Own":"kept",
			"Healthcheck":{"Test":["CMD-SHELL","true"]},"ExposedPorts":{"80/tcp":{}},"WorkingDir":"/srv/w","User":"me","Labels":{"k":"v"},"Volumes":{"/v":{}},"StopSignal":"SIGINT"}`,
			[]string{"ENTRYPOINT run $A", "ENV A=2", `ENV B="$A x"`, "ONBUILD COPY . .", "HEALTHCHECK CMD true", "EXPOSE 80", "WORKDIR /srv", "WORKDIR w", "USER me", "LABEL k=v", "VOLUME /v", "STOPSIGNAL SIGINT"}},
	} {
		b := Base{Image: &transport.Image{RawConfig: []byte(base)}, DiffIDs: []digest.Digest{"sha256:1", "sha256:2"}}
		c, err := newConfig(b, Options{Instructions: tt.with, Epoch: &epoch, Author: "me", Message: "said", CreatedBy: "mica commit"})
		if err != nil {
			t.Errorf("%s: %v", tt.about, err)
			continue
		}
		raw, err := c.finish([]digest.Digest{"sha256:1", "sha256:2", "sha256:new"}, true)
		if err != nil {
			t.Fatal(err)
		}
		var got, want any
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(`{"architecture":"amd64","os":"linux",`+tt.want+","+tail+"}"), &want); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.about, d)
		}
	}
}

func TestNotForConfig(t *testing.T) {
	for _, text := range []string{"RUN x", "COPY a b", "FROM x", "ARG a=1", "MAINTAINER me", "ENV", "CMD x\nENV a=b", "nonsense", ""} {
		c := &config{}
		if err := Configure(&c.is, []string{text}); err == nil || !strings.HasPrefix(err.Error(), text+": ") {
			t.Errorf("Configure(%q) = %v, want an error about it", text, err)
		}
	}
}
