package layerstore

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"mica/layerstore/blob"
)

// lying is a part of a file that says where it is.
type lying struct {
	part
	place string
}

func (l *lying) Place() string { return l.place }

// A server has of a blob what the process knew that mounted it: the bytes, the
// name, and the place, without which it would hash all of a long archive before
// it answers.
func TestSavedBlobs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(path, []byte("before blob after"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	src := &lying{part{io.NewSectionReader(f, 7, 4), "sha256:1"}, path + "@7+4"}
	saved, files, err := SaveBlobs([]blob.Source{src})
	if err != nil {
		t.Fatal(err)
	}
	opened, closeAll, err := Open(t.TempDir()).OpenSaved(t.Context(), saved, files)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll()
	got := opened[0]
	b := make([]byte, got.Size())
	if _, err := got.ReadAt(b, 0); err != nil || string(b) != "blob" {
		t.Errorf("bytes: %q, %v; want blob", b, err)
	}
	if got.ID() != src.ID() || Place(got) != Place(src) {
		t.Errorf("ID %q, place %q; want %q, %q", got.ID(), Place(got), src.ID(), Place(src))
	}
}
