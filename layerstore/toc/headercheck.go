package toc

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// CheckHeader reads tar headers from r, which ends where the data of a file
// begins, and compares the last of them with what [Writer.AddHeader] was given.
// An error of r is given as it is.
//
// What tables do not tell is not compared: where holes are, access control
// lists, attributes without a value (which containers/storage has lost), and
// the fraction of a second if the table has none.
func CheckHeader(r io.Reader, want [32]byte) error {
	var last *Entry
	src := &headers{r: r}
	_, err := Scan(src, func(e *Entry) error {
		c := *e
		last = &c
		return nil
	})
	if src.err != nil {
		return src.err
	}
	if err != nil {
		return fmt.Errorf("no tar header before the file: %w", err)
	}
	if last == nil {
		return errors.New("no tar header before the file")
	}
	if headerSum(last) == want {
		return nil
	}
	if t := last.Mtime.Time(); t.Nanosecond() != 0 {
		t = t.Truncate(time.Second)
		for _, t := range []time.Time{t, t.Add(time.Second)} {
			last.Mtime = Time{Sec: t.Unix()}
			if headerSum(last) == want {
				return nil
			}
		}
	}
	return fmt.Errorf("the tar header of %.256q is not what the table of contents says", last.Path)
}

// headerSum is a digest of what an entry and its tar header must have in
// common.
func headerSum(e *Entry) [32]byte {
	c := *e
	c.Off, c.Sparse = 0, nil
	c.Xattrs = slices.DeleteFunc(slices.Clone(e.Xattrs), func(x Xattr) bool {
		return len(x.Value) == 0 || x.Name == aclAccess || x.Name == aclDefault
	})
	var enc entryEncoder
	return sha256.Sum256(enc.encode(&c))
}

// headers is the Source of headers whose stream ends before the data of the
// last one.
type headers struct {
	r   io.Reader
	err error // what r said, other than io.EOF
}

func (h *headers) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	return n, h.keep(err)
}

// Skip passes over the padding of a header. The data of the last entry is not
// there, and no other has any.
func (h *headers) Skip(n int64) (int64, error) {
	if n < blockSize {
		n, err := io.CopyN(io.Discard, h.r, n)
		return n, h.keep(err)
	}
	_, err := io.CopyN(io.Discard, h.r, 1)
	switch err = h.keep(err); err {
	case io.EOF:
		return n, nil
	case nil:
		return 0, errors.New("contents that the table does not tell of")
	}
	return 0, err
}

func (h *headers) keep(err error) error {
	if err != nil && err != io.EOF {
		h.err = err
	}
	return err
}
