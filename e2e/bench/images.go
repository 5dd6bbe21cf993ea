package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// madeUp are the images that no script makes: so many directories of so many files.
var madeUp = map[string]struct {
	file        string
	dirs, files int
	most        int // bytes in a file
}{
	"million": {"million.tar.gz", 1000, 999, 200},
	"small":   {"small.tar", 200, 100, 4000},
}

// ref is how mica knows an image, the gzip form of those that have several.
func (l *lab) ref(image string) string {
	if m, ok := madeUp[image]; ok {
		return "rootfs:" + filepath.Join(l.dir, m.file)
	}
	return "oci:" + filepath.Join(l.images, "oci") + ":" + image
}

// layers gives the files with an image's layers in a layout, bottom first; none
// of images that are made up.
func (l *lab) layers(layout, image string) (paths []string) {
	layout = filepath.Join(l.images, layout)
	var index v1.Index
	if readJSON(filepath.Join(layout, "index.json"), &index) != nil {
		return nil
	}
	for _, d := range index.Manifests {
		var m v1.Manifest
		if d.Annotations[v1.AnnotationRefName] != image || readJSON(blobPath(layout, d), &m) != nil {
			continue
		}
		for _, layer := range m.Layers {
			paths = append(paths, blobPath(layout, layer))
		}
	}
	return paths
}

func blobPath(layout string, d v1.Descriptor) string {
	return filepath.Join(layout, "blobs", d.Digest.Algorithm().String(), d.Digest.Encoded())
}

func readJSON(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return decodeJSON(f, v)
}

func decodeJSON(r io.Reader, v any) error { return json.NewDecoder(r).Decode(v) }

// makeUp writes the tar of an image that is made up, if it is one and is not there.
func (l *lab) makeUp(image string) (err error) {
	m, ok := madeUp[image]
	path := filepath.Join(l.dir, m.file)
	if _, statErr := os.Stat(path); !ok || statErr == nil {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := bufio.NewWriterSize(f, 1<<20)
	var out io.Writer = buf
	var gz *gzip.Writer
	if strings.HasSuffix(m.file, ".gz") {
		gz = gzip.NewWriter(buf)
		out = gz
	}
	if err := writeTree(out, m.dirs, m.files, m.most); err != nil {
		return err
	}
	if gz != nil {
		err = gz.Close()
	}
	return errors.Join(err, buf.Flush())
}

// writeTree writes a tar of directories of files, with up to most bytes each of
// something like text.
func writeTree(w io.Writer, dirs, files, most int) error {
	r := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, 1<<20)
	for i := range text {
		text[i] = "etaoin shrdlu\n"[r.IntN(14)]
	}
	tw := tar.NewWriter(w)
	for d := range dirs {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: fmt.Sprintf("d%d/", d), Mode: 0o755}); err != nil {
			return err
		}
		for f := range files {
			size, at := 1+r.IntN(most), r.IntN(len(text)-most)
			h := &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("d%d/file-%d", d, f), Mode: 0o644, Size: int64(size)}
			if err := tw.WriteHeader(h); err != nil {
				return err
			}
			if _, err := tw.Write(text[at : at+size]); err != nil {
				return err
			}
		}
	}
	return tw.Close()
}
