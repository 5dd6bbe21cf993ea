package transport

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A v1Archive is what docker save wrote before docker 1.10 (moby's image
// specification v1.0): a directory ID/ for each layer with layer.tar and json,
// which names the parent; repositories gives names to IDs.
type v1Archive struct {
	files *archive
	ids   []string // of the images, the tops of chains
	names map[string][]string
}

// v1Config is the json of a layer.
type v1Config struct {
	ID        string              `json:"id"`
	Parent    string              `json:"parent"`
	Comment   string              `json:"comment"`
	Created   *time.Time          `json:"created"`
	Author    string              `json:"author"`
	OS        string              `json:"os"`
	Arch      string              `json:"architecture"`
	Variant   string              `json:"variant"`
	Config    ocispec.ImageConfig `json:"config"`
	Container struct {
		Cmd []string
	} `json:"container_config"`
}

func newV1Archive(fs *archive) (*v1Archive, error) {
	a := &v1Archive{files: fs, names: map[string][]string{}}
	raw, err := readFile(fs, repositoriesName, maxManifest)
	if err != nil && !absent(err) {
		return nil, err
	}
	if err == nil {
		if a.names, err = parseRepositories(raw); err != nil {
			return nil, err
		}
	}
	for id := range a.names {
		a.ids = append(a.ids, id)
	}
	if len(a.ids) == 0 {
		a.ids, err = a.tops()
	}
	slices.Sort(a.ids)
	return a, err
}

// parseRepositories gives the names of each ID.
func parseRepositories(raw []byte) (map[string][]string, error) {
	var repos map[string]map[string]string
	if err := decode(repositoriesName, raw, &repos); err != nil {
		return nil, err
	}
	names := map[string][]string{}
	for repo, tags := range repos {
		for tag, id := range tags {
			names[id] = append(names[id], repo+":"+tag)
		}
	}
	for _, list := range names {
		slices.Sort(list)
	}
	return names, nil
}

// tops gives the layers that are no other's parent: what was saved by ID has
// no name.
func (a *v1Archive) tops() ([]string, error) {
	var ids []string
	parents := map[string]bool{}
	for name := range a.files.members {
		id, ok := strings.CutSuffix(name, "/json")
		if !ok || !hexID.MatchString(id) {
			continue
		}
		cfg, _, err := a.config(id)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
		parents[cfg.Parent] = true
	}
	return slices.DeleteFunc(ids, func(id string) bool { return parents[id] }), nil
}

func (a *v1Archive) config(id string) (cfg v1Config, raw []byte, err error) {
	if !hexID.MatchString(id) {
		return cfg, nil, corrupt(fmt.Sprintf("layer %q", id), "is no ID")
	}
	name := id + "/json"
	raw, err = readFile(a.files, name, maxConfig)
	if absent(err) {
		err = corrupt(name, "missing")
	}
	if err != nil {
		return cfg, nil, err
	}
	return cfg, raw, decode(name, raw, &cfg)
}

func (a *v1Archive) close() error { return a.files.close() }

func (a *v1Archive) list(context.Context) ([]entry, error) {
	entries := make([]entry, len(a.ids))
	for i, id := range a.ids {
		entries[i] = entry{scheme: "docker-archive", number: i, names: a.names[id]}
	}
	return entries, nil
}

func (a *v1Archive) find(_ context.Context, d digest.Digest) (entry, error) {
	return entry{}, notExist(d.String())
}

func (a *v1Archive) platforms(_ context.Context, e entry) []*ocispec.Platform {
	cfg, _, err := a.config(a.ids[e.number])
	if err != nil || cfg.OS == "" && cfg.Arch == "" {
		return []*ocispec.Platform{nil}
	}
	return []*ocispec.Platform{{OS: cfg.OS, Architecture: cfg.Arch, Variant: cfg.Variant}}
}

func (a *v1Archive) image(_ context.Context, e entry, want platform) (*Image, error) {
	top := a.ids[e.number]
	cfg, raw, err := a.config(top)
	if err != nil {
		return nil, err
	}
	img := &Image{RawConfig: raw, Config: ocispec.Image{
		Created: cfg.Created, Author: cfg.Author, Config: cfg.Config,
		Platform: ocispec.Platform{OS: cfg.OS, Architecture: cfg.Arch, Variant: cfg.Variant},
		RootFS:   ocispec.RootFS{Type: "layers"},
	}}
	if err := want.check(img.Config.Platform); err != nil {
		return nil, err
	}
	if err := refuseWindows(img.Config.Platform); err != nil {
		return nil, err
	}
	ids, err := a.chain(top, img)
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		if err := openMember(a.files, &img.Layers[i], id+"/layer.tar", layerName(i, len(ids)), map[string]*Layer{}); err != nil {
			return nil, err
		}
	}
	return img, nil
}

// chain follows the parents from the top down and gives the IDs bottom to top,
// with their history in the image.
func (a *v1Archive) chain(top string, img *Image) ([]string, error) {
	var ids []string
	for id := top; id != ""; {
		if slices.Contains(ids, id) {
			return nil, corrupt("layer "+id, "is its own ancestor")
		}
		if len(ids) == maxLayers {
			return nil, corrupt("image "+top, "more than %d layers are not read", maxLayers)
		}
		cfg, _, err := a.config(id)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
		h := ocispec.History{Created: cfg.Created, CreatedBy: strings.Join(cfg.Container.Cmd, " "), Author: cfg.Author, Comment: cfg.Comment}
		img.Config.History = append(img.Config.History, h)
		img.Layers = append(img.Layers, Layer{History: h.CreatedBy, Comment: h.Comment, Created: h.Created})
		id = cfg.Parent
	}
	slices.Reverse(ids)
	slices.Reverse(img.Config.History)
	slices.Reverse(img.Layers)
	return ids, nil
}
