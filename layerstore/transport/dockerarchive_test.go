package transport

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
)

// saved gives a docker archive of one image; more are further members.
func saved(t testing.TB, manifest string, more ...item) string {
	return writeFile(t, "all.tar", tarOf(t, append(more, file(manifestName, manifest))...))
}

func TestSeveralImages(t *testing.T) {
	a, b := layer(t, "a"), layer(t, "b")
	path := saved(t, `[{"Config":"ca","RepoTags":["web:2","docker.io/library/www:2"],"Layers":["a"]},
		{"Config":"cb","RepoTags":["db:9"],"Layers":["b"]}, {"Config":"cb","RepoTags":null,"Layers":["b"]}]`,
		file("ca", string(toJSON(t, configOf(t, amd64, a)))), file("cb", string(toJSON(t, configOf(t, arm64, b)))),
		file("a", string(a)), file("b", string(b)))
	checkLayers(t, mustOpen(t, path+":web:2", Options{}), a)
	checkLayers(t, mustOpen(t, path+":9", Options{}), b)
	checkLayers(t, mustOpen(t, path+":@2", Options{}), b)
	checkLayers(t, mustOpen(t, path+"@"+digest.FromBytes(toJSON(t, configOf(t, arm64, b))).String(), Options{}), b)
	if got := mustOpen(t, path+":www:2", Options{}).Name; got != "www:2" {
		t.Errorf("Name = %s, want that one of its names which was typed", got)
	}
	wantFailure(t, path, Options{}, fmt.Sprintf("holds 3 images, name one: %[1]s:web:2, %[1]s:db:9, %[1]s:@2", path), "ambiguous", "")
	wantFailure(t, path+":web:3", Options{}, `image "web:3" not found (has: web:2, db:9, @2)`, "not-found", "similar: web:2")
	wantFailure(t, path+":9", Options{Platform: "linux/amd64"}, "no linux/amd64 (has: linux/arm64)", "platform", "--platform linux/arm64")
	list, err := List(t.Context(), path, Options{})
	want := []Listed{
		{Ref: path + ":web:2", Names: []string{"web:2", "docker.io/library/www:2"}, Platforms: []string{"linux/amd64"}},
		{Ref: path + ":db:9", Names: []string{"db:9"}, Platforms: []string{"linux/arm64"}},
		{Ref: path + ":@2", Platforms: []string{"linux/arm64"}},
	}
	if diff := cmp.Diff(want, list); err != nil || diff != "" {
		t.Errorf("List: %v (-want +got):\n%s", err, diff)
	}
}

// TestArchiveLinks resolves links between members, and none to elsewhere.
func TestArchiveLinks(t *testing.T) {
	l := layer(t, "l")
	cfg := file("c", string(toJSON(t, configOf(t, amd64, l))))
	body := string(l)
	for _, tt := range []struct {
		about string
		items []item
		fault string // "" is right
	}{
		{about: "a plain member", items: []item{file("x/layer.tar", body)}},
		{about: "names with a dot", items: []item{file("./x/layer.tar", body)}},
		{about: "an absolute name, as tar unpacks it", items: []item{file("/x/layer.tar", body)}},
		{about: "a symbolic link", items: []item{symlink("x/layer.tar", "../y/layer.tar"), file("y/layer.tar", body)}},
		{about: "a hard link", items: []item{file("y", body), hardlink("x/layer.tar", "y")}},
		{about: "a chain of both", items: []item{symlink("x/layer.tar", "a"), hardlink("x/a", "b"), symlink("b", "./c/../d"), file("d", body)}},
		{about: "of two members the later", items: []item{file("x/layer.tar", "old"), file("x/layer.tar", body)}},
		{about: "a symbolic link to outside", items: []item{symlink("x/layer.tar", "../../../etc/passwd")}, fault: "x/layer.tar: links to outside of the archive"},
		{about: "an absolute symbolic link", items: []item{symlink("x/layer.tar", "/etc/passwd")}, fault: "x/layer.tar: links to outside of the archive"},
		{about: "a hard link to outside", items: []item{hardlink("x/layer.tar", "../etc/passwd")}, fault: "x/layer.tar: links to outside of the archive"},
		{about: "to outside and back is outside", items: []item{symlink("x/layer.tar", "../../img/y"), file("y", body), file("img/y", body)}, fault: "x/layer.tar: links to outside of the archive"},
		{about: "a link to nothing", items: []item{symlink("x/layer.tar", "y")}, fault: `x/layer.tar: links to "x/y", which is not in the archive`},
		{about: "a link to itself", items: []item{symlink("x/layer.tar", "layer.tar")}, fault: "x/layer.tar: more than 16 links lead on from it"},
		{about: "a circle", items: []item{symlink("x/layer.tar", "../y"), hardlink("y", "x/layer.tar")}, fault: "x/layer.tar: more than 16 links lead on from it"},
		{about: "a member of another name", items: []item{file("../x/layer.tar", body), file("y/x/layer.tar", body)}, fault: "layer 1/1: x/layer.tar is missing"},
		{about: "a directory", items: []item{{Header: tar.Header{Typeflag: tar.TypeDir, Name: "x/layer.tar/"}}}, fault: "layer 1/1: x/layer.tar is missing"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			path := saved(t, `[{"Config":"c","Layers":["x/layer.tar"]}]`, append(tt.items, cfg)...)
			if tt.fault != "" {
				wantFailure(t, path, Options{}, tt.fault, "corrupt", "")
				return
			}
			checkLayers(t, mustOpen(t, path, Options{}), l)
		})
	}
}

// TestSparseMember has a layer with holes in the archive, as GNU tar -S packs it.
func TestSparseMember(t *testing.T) {
	raw := tarOf(t, file("c", `{"rootfs":{"diff_ids":["`+sha+`"]}}`), file(manifestName, `[{"Config":"c","Layers":["l.tar"]}]`), file("l.tar", strings.Repeat("x", 512)))
	at := bytes.LastIndex(raw, []byte("l.tar\x00"))
	header := raw[at : at+512]
	header[156] = tar.TypeGNUSparse
	copy(header[257:], "ustar  \x00")
	copy(header[386:], "00000000000\x0000000001000\x00") // one part of 512 bytes from 0 on
	copy(header[483:], "00000001000\x00")
	sum := 0
	copy(header[148:], "        ")
	for _, b := range header {
		sum += int(b)
	}
	copy(header[148:], fmt.Sprintf("%06o\x00 ", sum))
	wantFailure(t, writeFile(t, "sparse.tar", raw), Options{}, "l.tar is a sparse file in the archive: it cannot be read in place", "media-type", "")
}

// TestDockerLayers tells digests of layers as far as the archive does.
func TestDockerLayers(t *testing.T) {
	l := layer(t, "l")
	packed := gzipped(t, l)
	cfg := string(toJSON(t, configOf(t, amd64, l)))
	blobName := "blobs/sha256/" + digest.FromBytes(packed).Encoded()
	for _, tt := range []struct {
		about, name, body string
		want              digest.Digest
	}{
		{about: "not compressed: the diffID", name: "l.tar", body: string(l), want: digest.FromBytes(l)},
		{about: "compressed: not told", name: "l.tar.gz", body: string(packed), want: ""},
		{about: "compressed, named by its digest", name: blobName, body: string(packed), want: digest.FromBytes(packed)},
	} {
		img := mustOpen(t, saved(t, `[{"Config":"c","Layers":["`+tt.name+`"]}]`, file("c", cfg), file(tt.name, tt.body)), Options{})
		if got := img.Layers[0]; got.Digest != tt.want || got.DiffID != digest.FromBytes(l) {
			t.Errorf("%s: digest %q, diffID %s; want %q", tt.about, got.Digest, got.DiffID, tt.want)
		}
	}
}

// TestDockerRefused opens docker archives that are damaged or odd.
func TestDockerRefused(t *testing.T) {
	hex := digest.FromString("{}").Encoded()
	other := digest.FromString("[]").String()
	for _, tt := range []struct{ about, manifest, text string }{
		{"no JSON", "[{", "manifest.json: not right as JSON: unexpected end of JSON input"},
		{"no list", `{"Config":"c"}`, "manifest.json: a JSON object at offset 1, where something else belongs"},
		{"a config that is missing", `[{"Config":"x"}]`, "config x: missing"},
		{"a config outside", `[{"Config":"../c"}]`, "config ../c: is no name of a member"},
		{"a config that is another", `[{"Config":"` + hex + `.json"}]`, "config " + hex + ".json: its bytes are those of " + other + ": damaged or altered"},
		{"layers without diff_ids", `[{"Config":"c","Layers":["l"]}]`, "config: 0 diff_ids for 1 layers"},
		{"a layer outside", `[{"Config":"c1","Layers":["/l"]}]`, `layer 1/1: "/l" is no name of a member`},
	} {
		t.Run(tt.about, func(t *testing.T) {
			path := saved(t, tt.manifest, file(hex+".json", "[]"), file("c", "{}"), file("c1", `{"rootfs":{"diff_ids":["`+sha+`"]}}`))
			wantFailure(t, path, Options{}, tt.text, "corrupt", "")
		})
	}
}

// TestV1 opens what docker saved before it wrote a manifest.json.
func TestV1(t *testing.T) {
	ids := []string{strings.Repeat("1", 64), strings.Repeat("2", 64), strings.Repeat("3", 64)}
	layers := [][]byte{layer(t, "a"), layer(t, "b"), layer(t, "c")}
	items := func(names string) (out []item) {
		parent := ""
		for i, id := range ids {
			cfg := fmt.Sprintf(`{"id":%q,"parent":%q,"os":"linux","architecture":"amd64","comment":"c%d","created":"2014-10-01T00:00:00Z",
				"container_config":{"Cmd":["/bin/sh","-c","step %d"]},"config":{"User":"u%d"}}`, id, parent, i, i, i)
			out = append([]item{file(id+"/VERSION", "1.0"), file(id+"/json", cfg), file(id+"/layer.tar", string(layers[i]))}, out...)
			parent = id
		}
		if names != "" {
			out = append(out, file(repositoriesName, names))
		}
		return out
	}
	named := writeFile(t, "named.tar", tarOf(t, items(`{"web":{"2":"`+ids[2]+`","1":"`+ids[1]+`"}}`)...))
	nameless := writeFile(t, "nameless.tar", tarOf(t, items("")...))
	for ref, want := range map[string]int{named + ":web:2": 3, named + ":1": 2, nameless: 3, "docker-archive:" + nameless: 3} {
		img := mustOpen(t, ref, Options{})
		checkLayers(t, img, layers[:want]...)
		if img.Config.Config.User != fmt.Sprintf("u%d", want-1) || img.Config.Architecture != "amd64" || len(img.Config.History) != want {
			t.Errorf("%s: config = %+v", ref, img.Config)
		}
		for i, l := range img.Layers {
			if l.History != fmt.Sprintf("/bin/sh -c step %d", i) || l.Comment != fmt.Sprintf("c%d", i) || l.Created == nil || l.Digest != "" || l.DiffID != "" {
				t.Errorf("%s: layer %d = %+v", ref, i, l)
			}
		}
	}
	wantFailure(t, named, Options{}, fmt.Sprintf("holds 2 images, name one: %[1]s:web:1, %[1]s:web:2", named), "ambiguous", "")
	for about, tt := range map[string]struct {
		json, text string
	}{
		"its own parent":     {`{"parent":"` + ids[0] + `"}`, "layer " + ids[0] + ": is its own ancestor"},
		"a parent elsewhere": {`{"parent":"` + ids[1] + `"}`, ids[1] + "/json: missing"},
		"a parent outside":   {`{"parent":"../x"}`, `layer "../x": is no ID`},
	} {
		t.Run(about, func(t *testing.T) {
			path := writeFile(t, "v1.tar", tarOf(t, file(ids[0]+"/json", tt.json), file(ids[0]+"/layer.tar", ""), file(repositoriesName, `{"a":{"b":"`+ids[0]+`"}}`)))
			wantFailure(t, path, Options{}, tt.text, "corrupt", "")
		})
	}
}

// FuzzArchive opens an arbitrary tar file: an image whose parts lie in the
// file, or an error with a code.
func FuzzArchive(f *testing.F) {
	l := layer(f, "l")
	cfg := string(toJSON(f, configOf(f, amd64, l)))
	b := newBuilder(f)
	b.tag(b.image(amd64, l), "1")
	id := strings.Repeat("1", 64)
	f.Add(tarFiles(f, b.all()))
	f.Add(tarOf(f, symlink("l", "m"), hardlink("m", "n"), file("n", string(l)), file("c", cfg), file(manifestName, `[{"Config":"c","RepoTags":["a:1"],"Layers":["l"]}]`)))
	f.Add(tarOf(f, file(id+"/json", `{"parent":""}`), file(id+"/layer.tar", string(l)), file(repositoriesName, `{"a":{"b":"`+id+`"}}`)))
	f.Add(l)
	f.Fuzz(func(t *testing.T, b []byte) {
		src := bytesSource(b)
		src.id = "file:x"
		a, err := readArchive(t.Context(), src, nil)
		if err == errNotTar {
			return
		}
		if err != nil {
			checkOutcome(t, nil, err)
			return
		}
		form, err := location{path: "x"}.recogniseArchive(a)
		if err != nil {
			checkOutcome(t, nil, err)
			return
		}
		want, err := wantedPlatform("linux/amd64")
		if err != nil {
			t.Fatal(err)
		}
		img, err := openFrom(t.Context(), form, location{path: "x"}, want)
		checkOutcome(t, img, err)
	})
}

// FuzzDockerManifest opens an arbitrary manifest.json and repositories.
func FuzzDockerManifest(f *testing.F) {
	f.Add([]byte(`[{"Config":"c","RepoTags":["a:1"],"Layers":["l"]}]`), []byte(`{"a":{"b":"`+strings.Repeat("1", 64)+`"}}`))
	f.Add([]byte(`[{"Config":"blobs/sha256/../c","Layers":null},{}]`), []byte(`{"a":null}`))
	f.Fuzz(func(t *testing.T, manifest, repositories []byte) {
		images, err := parseDockerManifest(manifest)
		if err != nil {
			checkOutcome(t, nil, err)
		}
		for _, img := range images {
			if d := promisedDigest(img.Config); d != "" && d.Validate() != nil {
				t.Errorf("promisedDigest(%q) = %q", img.Config, d)
			}
			for _, name := range append(img.Layers, img.Config) {
				if in := inside(name); in != "" && (in == ".." || strings.HasPrefix(in, "../") || strings.HasPrefix(in, "/")) {
					t.Errorf("inside(%q) = %q", name, in)
				}
			}
		}
		if _, err := parseRepositories(repositories); err != nil {
			checkOutcome(t, nil, err)
		}
	})
}
