package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// decode runs a command and decodes the JSON that it prints.
func decode[T any](t *testing.T, args ...string) T {
	t.Helper()
	got := mica(t, args...)
	var v T
	if got.status != 0 || got.stderr != "" {
		t.Fatalf("mica %s: status %d\n%s", strings.Join(args, " "), got.status, got.stderr)
	}
	if err := json.Unmarshal([]byte(got.stdout), &v); err != nil {
		t.Fatalf("mica %s: %v in\n%s", strings.Join(args, " "), err, got.stdout)
	}
	return v
}

func TestInspect(t *testing.T) {
	image := demoLayout(t)
	images := decode[[]inspected](t, "inspect", image, image+":latest")
	if len(images) != 2 {
		t.Fatalf("inspect of two images prints %d", len(images))
	}
	in := images[0]
	raw, config := mica(t, "inspect", "--raw", image).stdout, mica(t, "inspect", "--config", image).stdout
	if got := digest.FromString(raw); got != in.Digest {
		t.Errorf("--raw has digest %s, the manifest's is %s", got, in.Digest)
	}
	if got := digest.FromString(config); got != in.ID {
		t.Errorf("--config has digest %s, the config's is %s", got, in.ID)
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal([]byte(raw), &manifest); err != nil {
		t.Fatal(err)
	}
	var size int64
	for i, l := range manifest.Layers {
		size += l.Size
		if got := in.Layers[i]; got.Digest != l.Digest || got.Size != l.Size || got.MediaType != l.MediaType || got.DiffID != in.RootFS.Layers[i] {
			t.Errorf("layer %d: %+v, want what the manifest has: %+v", i+1, got, l)
		}
	}
	if in.Size != size || in.Architecture != runtime.GOARCH || in.Os != "linux" || in.Source != "oci:"+image+":latest@"+in.Digest.String() {
		t.Errorf("inspect prints %+v, want size %d, linux/%s", in, size, runtime.GOARCH)
	}
	var run ocispec.ImageConfig
	if err := json.Unmarshal(in.Config, &run); err != nil || len(run.Cmd) != 1 || run.Cmd[0] != "/bin/hello" {
		t.Errorf("Config is %s (%v), want the command /bin/hello", in.Config, err)
	}
}

func TestLayers(t *testing.T) {
	image := demoLayout(t)
	rows := decode[[]layerRow](t, "layers", "--progress", "none", "--format", "json", image)
	images := decode[[]inspected](t, "inspect", image)
	for i, want := range []struct {
		files, whiteouts int64
		by               string
	}{{13, 0, "COPY mica docs etc /"}, {3, 0, "COPY motd app.conf /etc/"}, {1, 1, "RUN rm /docs/draft.txt"}} {
		r := rows[i]
		if r.Files != want.files || r.Whiteouts != want.whiteouts || r.CreatedBy != want.by || r.Number != i+1 || r.Codec != "gzip" {
			t.Errorf("layer %d: %+v, want %+v", i+1, r, want)
		}
		if l := images[0].Layers[i]; r.Digest != l.Digest || r.DiffID != l.DiffID || r.Stored != l.Size || r.Size%512 != 0 || r.Size == 0 {
			t.Errorf("layer %d: %+v, the image says %+v", i+1, r, l)
		}
	}
	table := mica(t, "layers", image).stdout
	if want := regexp.MustCompile(`^LAYER   DIGEST         STORED   SIZE     FILES   CODEC   CREATED BY\n1       [0-9a-f]{12}   \d+B     [\d.]+kB   13      gzip    COPY mica docs etc /\n`); !want.MatchString(table) {
		t.Errorf("layers prints\n%swant %s", table, want)
	}
	if got := mica(t, "layers", "-n", "--no-trunc", image).stdout; !strings.HasPrefix(got, "1   "+rows[0].Digest.String()) {
		t.Errorf("layers -n --no-trunc prints\n%s", got)
	}
}

func TestHistory(t *testing.T) {
	image := demoLayout(t)
	layers := decode[[]layerRow](t, "layers", "--progress", "none", "--format", "json", image)
	var got []string
	for _, s := range decode[[]step](t, "history", "--format", "json", image) {
		if l := layers[s.Layer-1]; s.Digest != l.Digest || s.Size != l.Size || s.Created == nil {
			t.Errorf("step %+v is of layer %+v", s, l)
		}
		got = append(got, s.CreatedBy)
	}
	if diff := cmp.Diff([]string{"RUN rm /docs/draft.txt", "COPY motd app.conf /etc/", "COPY mica docs etc /"}, got); diff != "" {
		t.Errorf("steps, the last first: -want +got\n%s", diff)
	}
	want := shortDigest(layers[2].Digest.String()) + "\n" + shortDigest(layers[1].Digest.String()) + "\n" + shortDigest(layers[0].Digest.String()) + "\n"
	if got := mica(t, "history", "-q", image).stdout; got != want {
		t.Errorf("history -q prints\n%swant\n%s", got, want)
	}
	// How wide the age is depends on the second: "Less than a second ago", "1 second ago".
	printed := mica(t, "history", image).stdout
	rows := strings.Split(printed, "\n")
	if !strings.HasPrefix(rows[0], "IMAGE          CREATED  ") || !slices.Equal(strings.Fields(rows[0]), strings.Fields("IMAGE CREATED CREATED BY SIZE COMMENT")) ||
		len(rows) < 2 || strings.Index(rows[0], "CREATED BY") != strings.Index(rows[1], "RUN rm") {
		t.Errorf("history prints\n%s", printed)
	}
}

func TestIndex(t *testing.T) {
	image := demoLayout(t)
	first := decode[[]indexRow](t, "index", "--progress", "none", "--format", "json", image)[0]
	if first.Read != first.Stored || first.Stored == 0 || first.Layers != 3 || first.Files == 0 || first.IndexSize == 0 {
		t.Errorf("the first index: %+v", first)
	}
	again := decode[[]indexRow](t, "index", "--format", "json", image)[0]
	if again.Read != 0 || again.IndexSize != first.IndexSize || again.Files != first.Files {
		t.Errorf("the second index: %+v, the first was %+v", again, first)
	}
}

func TestInfo(t *testing.T) {
	image := demoLayout(t)
	root := os.Getenv("MICA_ROOT")
	if got := mica(t, "index", image); got.status != 0 {
		t.Fatal(got.stderr)
	}
	in := decode[information](t, "info", "--format", "json")
	if in.Root != (setting{root, "MICA_ROOT"}) || in.Index.Files != 3 || in.Tree.Files != 1 || in.Tree.Size == 0 {
		t.Errorf("info prints %+v, want 3 indexes and a tree in %s", in, root)
	}
	t.Setenv("MICA_LOG", "/x")
	other := t.TempDir()
	in = decode[information](t, "info", "--format", "json", "--root", other)
	if in.Root != (setting{other, "--root"}) || in.Index.Files != 0 || in.Log != (setting{"/x", "MICA_LOG"}) {
		t.Errorf("info --root prints %+v", in)
	}
	if got := mica(t, "info").stdout; !strings.Contains(got, "Store:") || !strings.Contains(got, root+" (MICA_ROOT)") {
		t.Errorf("info prints\n%s", got)
	}
}

// TestDemoImage: others find the demonstration image sound.
func TestDemoImage(t *testing.T) {
	image := demoLayout(t)
	needProgram(t, "skopeo")
	to := filepath.Join(t.TempDir(), "copy")
	// skopeo checks each digest, and that of each layer unpacked.
	if out, err := exec.Command("skopeo", "copy", "--insecure-policy", "oci:"+image+":latest", "dir:"+to).CombinedOutput(); err != nil {
		t.Errorf("skopeo copy: %v\n%s", err, out)
	}
}
