package source

import (
	"bytes"
	"context"
	iofs "io/fs"
	"path"
	"slices"
	"strings"

	"mica/layerstore/toc"
)

// A Memory is files of the instruction itself, in one directory: its
// here-documents. The keys are names.
type Memory map[string]string

// Lstat gives what is at a path.
func (m Memory) Lstat(name string) (*File, error) {
	if name == "" {
		return &File{Entry: toc.Entry{Type: toc.Dir, Mode: 0o755}}, nil
	}
	text, ok := m[name]
	if !ok {
		return nil, &pathError{name, iofs.ErrNotExist}
	}
	return &File{Links: 1, Entry: toc.Entry{Path: name, Type: toc.Regular, Mode: 0o644, Size: int64(len(text))}}, nil
}

// ReadDir gives the files.
func (m Memory) ReadDir(name string) ([]*File, error) {
	var files []*File
	for base := range m {
		f, err := m.Lstat(path.Join(name, base))
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b *File) int { return strings.Compare(a.Entry.Path, b.Entry.Path) })
	return files, nil
}

// Open gives the text of a file.
func (m Memory) Open(_ context.Context, f *File) (Contents, error) {
	return memoryContents{bytes.NewReader([]byte(m[f.Entry.Path]))}, nil
}

type memoryContents struct{ *bytes.Reader }

func (memoryContents) Close() error { return nil }

// Xattrs gives none.
func (Memory) Xattrs(*File) ([]toc.Xattr, error) { return nil, nil }
