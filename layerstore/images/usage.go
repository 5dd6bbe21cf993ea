package images

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/opencontainers/go-digest"
)

// A Usage is what the images of a store take, in bytes.
type Usage struct {
	Blobs   int64 // all that lie there
	Partial int64 // still arriving, or left by the dead
	Saved   int64 // what the images would take more if none shared a blob
	Images  []ImageUsage
}

// An ImageUsage is what one image takes, whatever names it has.
type ImageUsage struct {
	Names  []string // in full; none is an image that has lost its name
	Digest digest.Digest
	Size   int64 // its blobs
	Shared int64 // of these, what another image has, too
}

// Usage measures the images. The lock is not taken: what is changed meanwhile
// may be missed.
func (s *Store) Usage() (Usage, error) {
	var u Usage
	rows, err := s.List()
	if err != nil {
		return u, err
	}
	var reached []map[digest.Digest]bool
	at := map[digest.Digest]int{}
	for _, r := range rows {
		i, ok := at[r.Desc.Digest]
		if !ok {
			i = len(u.Images)
			at[r.Desc.Digest] = i
			u.Images = append(u.Images, ImageUsage{Digest: r.Desc.Digest, Names: []string{}})
			blobs := map[digest.Digest]bool{}
			// One that is damaged takes what can be found of it.
			_ = s.reach(r.Desc.Digest, blobs)
			reached = append(reached, blobs)
		}
		if r.Name != "" {
			u.Images[i].Names = append(u.Images[i].Names, r.Name)
		}
	}
	users := map[digest.Digest]int{}
	for _, blobs := range reached {
		for d := range blobs {
			users[d]++
		}
	}
	for i, blobs := range reached {
		for d := range blobs {
			st, err := os.Stat(s.BlobPath(d))
			if err != nil {
				continue // of another platform
			}
			u.Images[i].Size += st.Size()
			if users[d] > 1 {
				u.Images[i].Shared += st.Size()
				u.Saved += st.Size() / int64(users[d]) * int64(users[d]-1)
			}
		}
	}
	if _, u.Blobs, err = SizeBelow(s.path("images", "blobs")); err != nil {
		return u, err
	}
	_, u.Partial, err = SizeBelow(s.path("partial"))
	return u, err
}

// SizeBelow counts the regular files below a directory and adds up what they take
// on disk, in bytes: a file of many names once. A directory that is not there has
// none.
func SizeBelow(dir string) (files int, sum int64, err error) {
	seen := map[[2]uint64]bool{}
	err = filepath.WalkDir(dir, func(_ string, e iofs.DirEntry, err error) error {
		if errors.Is(err, iofs.ErrNotExist) {
			return nil
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, iofs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if id := [2]uint64{st.Dev, st.Ino}; st.Nlink == 1 || !seen[id] {
			seen[id] = st.Nlink > 1
			files, sum = files+1, sum+st.Blocks*512
		}
		return nil
	})
	return files, sum, err
}
