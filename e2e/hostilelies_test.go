package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// layerLie spoils the descriptor of the layer.
func layerLie(key string, v any) func(*liar) {
	return func(l *liar) {
		m, layer := l.image()
		l.manifest("latest", with(m, "layers", []object{with(layer, key, v)}))
	}
}

func manifestLie(key string, v any) func(*liar) {
	return func(l *liar) {
		m, _ := l.image()
		l.manifest("latest", with(m, key, v))
	}
}

func rawManifest(kind, body string) func(*liar) {
	return func(l *liar) { l.answers["manifests/latest"] = answerOf{kind, []byte(body)} }
}

// registryLies are what registries should never give.
var registryLies = []struct {
	about string
	make  func(*liar)
	args  []string
	fails string // what the error tells; "" is none
}{
	{about: "nothing wrong", make: manifestLie("annotations", object{"org.opencontainers.image.ref.name": "../../x"})},
	{about: "a layer longer than said", make: layerLie("size", 10), fails: "bytes long, the manifest says 10"},
	{about: "shorter than said", make: layerLie("size", 1<<20), fails: "bytes long, the manifest says 1048576"},
	{about: "of less than nothing", make: layerLie("size", -1), fails: "of -1 bytes"},
	{about: "larger than any disk", make: layerLie("size", int64(1)<<62), fails: "no space left on device"},
	{about: "sizes that add up beyond a number", make: func(l *liar) {
		m, layer := l.image()
		var all []object
		for i := range 4 {
			d := strings.Repeat(fmt.Sprint(i), 64)
			all = append(all, with(with(layer, "size", int64(1)<<62), "digest", "sha256:"+d))
		}
		l.manifest("latest", with(m, "layers", all))
	}, fails: "no space left on device"},
	{about: "a size that is no number", make: layerLie("size", "many"), fails: "not right as JSON"},
	{about: "a digest that is a path", make: layerLie("digest", "sha256:../../../../etc/passwd"), fails: "digest \"sha256:../"},
	{about: "an algorithm that is a path", make: layerLie("digest", "../../x:"+strings.Repeat("0", 64)), fails: "digest \"../../x"},
	{about: "an unknown algorithm", make: layerLie("digest", "md5:d41d8cd98f00b204e9800998ecf8427e"), fails: "digest \"md5:"},
	{about: "a digest in capitals", make: layerLie("digest", "sha256:"+strings.Repeat("A", 64)), fails: "digest \"sha256:AAA"},
	{about: "no digest", make: layerLie("digest", ""), fails: "digest \"\""},
	{about: "a layer of another digest", make: func(l *liar) {
		m, layer := l.image()
		d := "sha256:" + strings.Repeat("0", 64)
		l.answers["blobs/"+d] = l.answers["blobs/"+layer["digest"].(string)]
		l.manifest("latest", with(m, "layers", []object{with(layer, "digest", d)}))
	}, fails: "digest is sha256:"},
	{about: "a layer that is said to be a page", make: layerLie("mediaType", "text/html")},
	{about: "a layer that is a page", make: func(l *liar) {
		m, _ := l.image()
		l.manifest("latest", with(m, "layers", []object{l.blob([]byte("<html></html>"), ociLayer)}))
	}, fails: "layer 1/1"},
	{about: "a layer that is another than the config says", make: func(l *liar) {
		m, _ := l.image()
		l.manifest("latest", with(m, "layers", []object{l.blob(layerOf(file("other", "x")), ociLayer)}))
	}, fails: "diffID is sha256:"},
	{about: "a config that is an image", make: func(l *liar) {
		m, layer := l.image()
		l.manifest("latest", with(m, "config", layer))
	}},
	{about: "a giant config", make: manifestLie("config", object{"mediaType": ociConfig, "digest": "sha256:" + strings.Repeat("0", 64), "size": 1 << 30}), fails: "more than 8388608 are not read"},
	{about: "no config", make: manifestLie("config", nil), fails: "neither a config nor manifests"},
	{about: "manifests and layers", make: manifestLie("manifests", []object{{"mediaType": ociManifest, "digest": "sha256:" + strings.Repeat("0", 64), "size": 1}}), fails: "both manifests and layers"},
	{about: "an index ten deep", make: func(l *liar) {
		m, _ := l.image()
		nested(l, l.manifest("m", m), 10)
	}, fails: "more than 1024 manifests, or more than 4 deep"},
	{about: "an index of very many", make: func(l *liar) { longIndex(l, 1100) }, args: []string{"--all-platforms"}, fails: "more than 1024 manifests"},
	{about: "an index that lists one image often", make: func(l *liar) {
		m, _ := l.image()
		d := l.manifest("m", m)
		l.manifest("latest", object{"schemaVersion": 2, "mediaType": ociIndex, "manifests": []object{d, d, d, d}})
	}, args: []string{"--all-platforms"}},
	{about: "an index that lists another than it gives", make: func(l *liar) {
		m, _ := l.image()
		d := l.manifest("m", m)
		l.answers["manifests/"+d["digest"].(string)] = answerOf{ociManifest, []byte("{}")}
		l.manifest("latest", object{"schemaVersion": 2, "mediaType": ociIndex, "manifests": []object{d}})
	}, fails: "arrived as"},
	{about: "an index of nothing", make: func(l *liar) {
		l.manifest("latest", object{"schemaVersion": 2, "mediaType": ociIndex, "manifests": []object{}})
	}, fails: "the index lists no image"},
	{about: "a giant manifest", make: func(l *liar) {
		m, _ := l.image()
		l.manifest("latest", with(m, "annotations", object{"x": strings.Repeat("x", 5<<20)}))
	}, fails: "longer than 4194304 bytes"},
	{about: "very many layers", make: func(l *liar) {
		m, layer := l.image()
		l.manifest("latest", with(m, "layers", slices.Repeat([]object{layer}, 15000)))
	}},
	{about: "JSON without end", make: rawManifest(ociManifest, strings.Repeat("[", 3<<20)), fails: "not right as JSON"},
	{about: "a number for a manifest", make: rawManifest(ociManifest, "7"), fails: "not right as JSON"},
	{about: "null", make: rawManifest(ociManifest, "null"), fails: "neither a config nor manifests"},
	{about: "schema 1", make: rawManifest("application/vnd.docker.distribution.manifest.v1+json", `{"schemaVersion":1,"name":"x","fsLayers":[]}`), fails: "neither a config nor manifests"},
	{about: "tags that are paths", make: func(l *liar) {
		l.answers["tags/list"] = answerOf{"application/json", []byte(`{"name":"x","tags":["../../etc/passwd"]}`)}
	}, args: []string{"-a"}, fails: `tag "../../etc/passwd"`},
	{about: "tags without end", make: func(l *liar) {
		var b bytes.Buffer
		must(json.NewEncoder(&b).Encode(object{"name": "x", "tags": slices.Repeat([]string{"t"}, 1<<21)}))
		l.answers["tags/list"] = answerOf{"application/json", b.Bytes()}
	}, args: []string{"-a"}, fails: "tags of x: "},
}
