package layerstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"mica/layerstore/blob"
)

// SavedBlobs says where blobs lie in open files, so that a process that is
// given these reads the same bytes whatever has become of their names.
type SavedBlobs struct {
	// Archives are those, compressed as a whole, that blobs lie in.
	Archives []SavedBlob `json:"archives,omitempty"`
	Blobs    []SavedBlob `json:"blobs"`
}

// A SavedBlob is a run of bytes in a file, in an archive or in memory.
type SavedBlob struct {
	ID      string `json:"id"`
	Place   string `json:"place,omitempty"` // see Place
	Off     int64  `json:"off"`
	Size    int64  `json:"size"`
	File    int    `json:"file"`              // number among the files, from 0
	Archive int    `json:"archive,omitempty"` // number among Archives, from 1
	Data    []byte `json:"data,omitempty"`
}

// SaveBlobs gives the places of blobs and the files that these are in, which
// stay their owner's.
func SaveBlobs(blobs []blob.Source) (SavedBlobs, []*os.File, error) {
	var s saver
	for _, b := range blobs {
		at, err := s.save(b)
		if err != nil {
			return SavedBlobs{}, nil, err
		}
		s.Blobs = append(s.Blobs, at)
	}
	return s.SavedBlobs, s.files, nil
}

type saver struct {
	SavedBlobs
	files []*os.File
	seen  []*expanded // Archives, in their order
}

func (s *saver) save(b blob.Source) (SavedBlob, error) {
	at := SavedBlob{ID: b.ID(), Place: Place(b), Size: b.Size()}
	for r := io.ReaderAt(b); ; {
		switch in := r.(type) {
		case *os.File:
			at.File = slices.Index(s.files, in)
			if at.File < 0 {
				at.File = len(s.files)
				s.files = append(s.files, in)
			}
			return at, nil
		case *bytes.Reader:
			at.Off, at.Data = 0, make([]byte, at.Size)
			_, err := io.ReadFull(io.NewSectionReader(b, 0, at.Size), at.Data)
			return at, err
		case *expanded:
			at.Archive = slices.Index(s.seen, in) + 1
			if at.Archive > 0 {
				return at, nil
			}
			packed, err := s.save(in.layer.spec.Blob)
			s.Archives, s.seen = append(s.Archives, packed), append(s.seen, in)
			at.Archive = len(s.seen)
			return at, err
		case interface {
			Outer() (io.ReaderAt, int64, int64)
		}: // an io.SectionReader
			var off int64
			r, off, _ = in.Outer()
			at.Off += off
		default:
			return at, fmt.Errorf("blob %s: no file has it (%T)", at.ID, r)
		}
	}
}

// OpenSaved gives blobs that were saved, in files that are the same as there
// and stay the caller's. What else is open ends with closeAll.
func (s *Store) OpenSaved(ctx context.Context, saved SavedBlobs, files []*os.File) (blobs []blob.Source, closeAll func() error, err error) {
	var archives []io.ReaderAt
	closeAll = func() error {
		var errs []error
		for _, a := range archives {
			errs = append(errs, a.(io.Closer).Close())
		}
		return errors.Join(errs...)
	}
	for _, at := range saved.Archives {
		packed, err := at.open(files, nil)
		if err != nil {
			return nil, nil, errors.Join(err, closeAll())
		}
		a, err := s.Expand(ctx, packed, nil)
		if err != nil {
			return nil, nil, errors.Join(err, closeAll())
		}
		archives = append(archives, a)
	}
	for _, at := range saved.Blobs {
		b, err := at.open(files, archives)
		if err != nil {
			return nil, nil, errors.Join(err, closeAll())
		}
		blobs = append(blobs, b)
	}
	return blobs, closeAll, nil
}

func (at SavedBlob) open(files []*os.File, archives []io.ReaderAt) (blob.Source, error) {
	var in io.ReaderAt
	switch {
	case at.Data != nil || at.Size == 0:
		in = bytes.NewReader(at.Data)
	case at.Archive > 0 && at.Archive <= len(archives):
		in = archives[at.Archive-1]
	case at.Archive == 0 && at.File >= 0 && at.File < len(files):
		in = files[at.File]
	default:
		return nil, fmt.Errorf("blob %s: saved in file %d, archive %d, of which there are %d and %d", at.ID, at.File, at.Archive, len(files), len(archives))
	}
	return &savedSource{io.NewSectionReader(in, at.Off, at.Size), at}, nil
}

// A savedSource is a blob by the name that it had when it was saved.
type savedSource struct {
	*io.SectionReader
	at SavedBlob
}

// Place is where the blob lay then. The file is the same one, whatever its name
// is now: what was proven of it need not be again, and what was put off because
// of its place still can be.
func (s *savedSource) Place() string { return s.at.Place }

func (s *savedSource) ID() string { return s.at.ID }
