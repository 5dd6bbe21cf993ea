package container

import (
	iofs "io/fs"
	"path/filepath"
	"syscall"
)

// Written is how many bytes its changes take on disk.
func (c *Container) Written() (bytes int64) {
	seen := map[uint64]bool{} // hard links count once
	_ = filepath.WalkDir(c.Upper(), func(_ string, e iofs.DirEntry, err error) error {
		if err != nil {
			return nil // gone meanwhile
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			return nil
		}
		if st := info.Sys().(*syscall.Stat_t); !seen[st.Ino] {
			seen[st.Ino] = true
			bytes += st.Blocks * 512
		}
		return nil
	})
	return bytes
}
