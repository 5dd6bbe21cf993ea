package main

import (
	"errors"
	"os"
)

// A cidFile gets the ID of a container; nil is none.
type cidFile struct{ f *os.File }

// openCIDFile makes the file that was asked for. One that is there is another's.
func (r *runner) openCIDFile() (*cidFile, error) {
	if r.cidFile == "" {
		return nil, nil
	}
	f, err := os.OpenFile(r.cidFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	return &cidFile{f}, nil
}

func (c *cidFile) write(id string) error {
	if c == nil {
		return nil
	}
	_, err := c.f.WriteString(id)
	return errors.Join(err, c.f.Close())
}

// discard removes it: there is no container.
func (c *cidFile) discard() error {
	if c == nil {
		return nil
	}
	return errors.Join(c.f.Close(), os.Remove(c.f.Name()))
}
