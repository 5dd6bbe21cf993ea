package transport

import (
	"context"

	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mica/layerstore/blob"
)

// maxImages bounds the images of one docker archive.
const maxImages = 4096

// A dockerArchive is what docker save writes since docker 1.10: manifest.json
// lists images, each with the names of a config and of layers, bottom to top.
type dockerArchive struct {
	files  *archive
	images []dockerImage
}

type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func newDockerArchive(fs *archive) (*dockerArchive, error) {
	raw, err := readFile(fs, manifestName, maxManifest)
	if err != nil {
		return nil, err
	}
	images, err := parseDockerManifest(raw)
	if err != nil {
		return nil, err
	}
	return &dockerArchive{fs, images}, nil
}

func parseDockerManifest(raw []byte) ([]dockerImage, error) {
	var images []dockerImage
	if err := decode(manifestName, raw, &images); err != nil {
		return nil, err
	}
	if len(images) > maxImages {
		return nil, corrupt(manifestName, "%d images; more than %d are not read", len(images), maxImages)
	}
	for i, img := range images {
		if len(img.Layers) > maxLayers {
			return nil, corrupt(manifestName, "image %d: %d layers; more than %d are not read", i, len(img.Layers), maxLayers)
		}
	}
	return images, nil
}

func (a *dockerArchive) close() error { return a.files.close() }

func (a *dockerArchive) list(context.Context) ([]entry, error) {
	entries := make([]entry, len(a.images))
	for i, img := range a.images {
		entries[i] = entry{scheme: "docker-archive", number: i, names: img.RepoTags, digest: promisedDigest(img.Config)}
	}
	return entries, nil
}

// promisedDigest gives the digest that a member is named for, as docker names
// configs, and new ones also layers; "" for other names.
func promisedDigest(name string) digest.Digest {
	if alg, hex, ok := strings.Cut(strings.TrimPrefix(name, "blobs/"), "/"); ok && strings.HasPrefix(name, "blobs/") {
		if d := digest.NewDigestFromEncoded(digest.Algorithm(alg), hex); d.Validate() == nil {
			return d
		}
	}
	if hex := strings.TrimSuffix(name, ".json"); hexID.MatchString(hex) && hex != name {
		return digest.NewDigestFromEncoded(digest.SHA256, hex)
	}
	if d := digest.Digest(name); d.Validate() == nil { // go-containerregistry, kaniko
		return d
	}
	return ""
}

func (a *dockerArchive) find(_ context.Context, d digest.Digest) (entry, error) {
	for i, img := range a.images {
		if _, _, got, err := a.config(img); err == nil && got == d {
			return entry{scheme: "docker-archive", number: i, names: img.RepoTags, digest: d}, nil
		}
	}
	return entry{}, notExist(d.String())
}

// config reads the config of an image and checks it against its name.
func (a *dockerArchive) config(img dockerImage) (cfg ocispec.Image, raw []byte, got digest.Digest, err error) {
	object := "config " + img.Config
	name := inside(img.Config)
	if name == "" {
		return cfg, nil, "", corrupt(object, "is no name of a member")
	}
	raw, err = readFile(a.files, name, maxConfig)
	if absent(err) {
		err = corrupt(object, "missing")
	}
	if err != nil {
		return cfg, nil, "", err
	}
	got = digest.FromBytes(raw)
	if want := promisedDigest(img.Config); want != "" {
		if got = want.Algorithm().FromBytes(raw); got != want {
			return cfg, nil, "", corrupt(object, "its bytes are those of %s: damaged or altered", got)
		}
	}
	cfg, err = parseConfig(object, raw)
	return cfg, raw, got, err
}

func (a *dockerArchive) platforms(_ context.Context, e entry) []*ocispec.Platform {
	cfg, _, _, err := a.config(a.images[e.number])
	if err != nil || cfg.OS == "" && cfg.Architecture == "" {
		return []*ocispec.Platform{nil}
	}
	return []*ocispec.Platform{&cfg.Platform}
}

func (a *dockerArchive) image(ctx context.Context, e entry, want platform) (*Image, error) {
	saved := a.images[e.number]
	img := &Image{}
	var err error
	if img.Config, img.RawConfig, img.ConfigDigest, err = a.config(saved); err != nil {
		return nil, err
	}
	if err := want.check(img.Config.Platform); err != nil {
		return nil, err
	}
	if err := refuseWindows(img.Config.Platform); err != nil {
		return nil, err
	}
	if img.Layers, err = layersOf(img.Config, len(saved.Layers)); err != nil {
		return nil, err
	}
	opened := map[string]*Layer{}
	for i, name := range saved.Layers {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := openMember(a.files, &img.Layers[i], name, layerName(i, len(saved.Layers)), opened); err != nil {
			return nil, err
		}
	}
	return img, nil
}

// openMember opens a layer that is a member of an archive. opened is what was
// opened before, by name: an image may have a layer twice.
func openMember(fs *archive, layer *Layer, name, object string, opened map[string]*Layer) error {
	if same, ok := opened[name]; ok && same.DiffID == layer.DiffID {
		layer.Blob, layer.Digest = same.Blob, same.Digest
		return nil
	}
	clean := inside(name)
	if clean == "" {
		return corrupt(object, "%q is no name of a member", name)
	}
	src, err := fs.open(clean)
	if absent(err) {
		return corrupt(object, "%s is missing", name)
	}
	if err != nil {
		return inLayer(err, object)
	}
	plain, err := isPlain(src)
	if err != nil {
		return inLayer(err, object)
	}
	switch {
	case plain && layer.DiffID != "":
		layer.Digest = layer.DiffID
	case path.Dir(path.Dir(clean)) == "blobs":
		layer.Digest = promisedDigest(clean)
	}
	if layer.Digest != "" {
		src.id = layer.Digest.String()
	}
	layer.Blob = src
	opened[name] = layer
	return nil
}

// isPlain says that a layer is not compressed, so that its digest is its diffID.
func isPlain(src *source) (bool, error) {
	head := make([]byte, min(blob.SniffLen, src.Size()))
	if n, err := src.ReadAt(head, 0); n < len(head) {
		return false, err
	}
	return blob.Sniff(head) == blob.None, nil
}
