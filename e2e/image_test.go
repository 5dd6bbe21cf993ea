package e2e

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	iofs "io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// An image is layers, bottom first, that can be written in any form.
type image []layer

// config gives the image's configuration: step N of the history made layer N.
func (im image) config() []byte {
	c := v1.Image{
		Platform: v1.Platform{OS: "linux", Architecture: runtime.GOARCH},
		RootFS:   v1.RootFS{Type: "layers"},
	}
	for i, l := range im {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.FromBytes(l))
		c.History = append(c.History, v1.History{CreatedBy: "step " + strconv.Itoa(i+1)})
	}
	return toJSON(c)
}

var layerTypes = map[codec]string{
	plain: v1.MediaTypeImageLayer, gzipped: v1.MediaTypeImageLayerGzip, zstdFast: v1.MediaTypeImageLayerZstd,
}

// A layout is the files of an OCI image layout by their paths, not yet in a
// directory or an archive.
type layout map[string][]byte

func (lo layout) blob(mediaType string, b []byte) v1.Descriptor {
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	lo[blobPath(d.Digest)] = b
	return d
}

func blobPath(d digest.Digest) string {
	return path.Join(v1.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// add puts an image into a layout, under a tag, and gives its manifest.
func (lo layout) add(im image, tag string, c codec) v1.Manifest {
	return lo.addWith(im, im.config(), tag, c)
}

// addWith is add of an image with another config.
func (lo layout) addWith(im image, config []byte, tag string, c codec) v1.Manifest {
	m := v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageManifest,
		Config:    lo.blob(v1.MediaTypeImageConfig, config),
	}
	for _, l := range im {
		m.Layers = append(m.Layers, lo.blob(layerTypes[c], c.pack(l)))
	}
	desc := lo.blob(v1.MediaTypeImageManifest, toJSON(m))
	desc.Annotations = map[string]string{v1.AnnotationRefName: tag}
	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex}
	if b, ok := lo[v1.ImageIndexFile]; ok {
		must(json.Unmarshal(b, &index))
	}
	index.Manifests = append(index.Manifests, desc)
	lo[v1.ImageIndexFile] = toJSON(index)
	lo[v1.ImageLayoutFile] = toJSON(v1.ImageLayout{Version: v1.ImageLayoutVersion})
	return m
}

// write writes the layout as a directory, beside what is in it.
func (lo layout) write(dir string) error {
	for name, b := range lo {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// archive gives the layout as a tar stream.
func (lo layout) archive() []byte {
	var names []string
	for name := range lo {
		names = append(names, name)
	}
	slices.Sort(names)
	var entries []entry
	for _, name := range names {
		entries = append(entries, file(name, string(lo[name])))
	}
	return layerOf(entries...)
}

// readLayout reads the index of a layout in a directory, so that an image can
// be added to those that it holds. An absent one is an empty one.
func readLayout(dir string) (layout, error) {
	b, err := os.ReadFile(filepath.Join(dir, v1.ImageIndexFile))
	if errors.Is(err, iofs.ErrNotExist) {
		return layout{}, nil
	}
	return layout{v1.ImageIndexFile: b}, err
}

// writeOCI writes the image as an OCI layout of its own, with the tag latest.
func (im image) writeOCI(dir string, c codec) (v1.Manifest, error) {
	lo := layout{}
	m := lo.add(im, "latest", c)
	return m, lo.write(dir)
}

// dockerManifest is manifest.json of docker save.
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// dockerArchive is what docker save wrote before version 25: a directory a
// layer, named by an ID that is no digest of a file.
func (im image) dockerArchive(name string, c codec) []byte {
	m := dockerManifest{Config: digest.FromBytes(im.config()).Encoded() + ".json", RepoTags: []string{name}}
	entries := []entry{file(m.Config, string(im.config()))}
	for i, l := range im {
		id := digest.FromString("layer " + strconv.Itoa(i)).Encoded()
		m.Layers = append(m.Layers, id+"/layer.tar")
		entries = append(entries, dir(id), file(id+"/VERSION", "1.0"), file(id+"/json", "{}"), file(id+"/layer.tar", string(c.pack(l))))
	}
	return layerOf(append(entries,
		file("manifest.json", string(toJSON([]dockerManifest{m}))),
		file("repositories", "{}"))...)
}

// newDockerArchive is what docker save writes since version 25: an OCI layout
// with a manifest.json beside it.
func (im image) newDockerArchive(name string, c codec) []byte {
	lo := layout{}
	m := lo.add(im, "latest", c)
	dm := dockerManifest{Config: blobPath(m.Config.Digest), RepoTags: []string{name}}
	for _, l := range m.Layers {
		dm.Layers = append(dm.Layers, blobPath(l.Digest))
	}
	lo["manifest.json"] = toJSON([]dockerManifest{dm})
	return lo.archive()
}

func toJSON(v any) []byte {
	b, err := json.Marshal(v)
	must(err)
	return b
}

// layerFromDir packs a directory as a layer, in the order of names.
func layerFromDir(root string) (layer, error) {
	type inode struct{ dev, ino uint64 }
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	links := map[inode]string{}
	err := filepath.WalkDir(root, func(p string, d iofs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		target := ""
		if info.Mode()&iofs.ModeSymlink != 0 {
			if target, err = os.Readlink(p); err != nil {
				return err
			}
		}
		h, err := tar.FileInfoHeader(info, target)
		if err != nil {
			return err
		}
		h.Name, h.Format = rel, tar.FormatPAX
		h.Uname, h.Gname = "", ""
		h.AccessTime, h.ChangeTime = time.Time{}, time.Time{} // reading the file changes the one
		if info.IsDir() {
			h.Name += "/"
		}
		id := inode{st.Dev, st.Ino}
		if first, ok := links[id]; ok && !info.IsDir() {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return w.WriteHeader(h)
		}
		links[id] = rel
		if err := w.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	err = errors.Join(err, w.Close())
	return b.Bytes(), err
}
