package overlay

import (
	"context"
	"io"
)

// copyLen is how many bytes of a file are read at once: enough to spread what
// a call costs, less than a span.
const copyLen = 1 << 20

// WriteContents writes the bytes of a regular file to w, holes as zeros, and
// gives how many those were.
func (v *View) WriteContents(ctx context.Context, w io.Writer, id NodeID) (int64, error) {
	d, err := v.fileData(id)
	if err != nil {
		return 0, err
	}
	return v.writeRange(ctx, w, id, 0, d.size)
}

// writeRange writes n bytes of a file from off on, which the file must have.
func (v *View) writeRange(ctx context.Context, w io.Writer, id NodeID, off, n int64) (int64, error) {
	buf := make([]byte, min(n, copyLen))
	for done := int64(0); done < n; {
		part := buf[:min(n-done, copyLen)]
		k, err := v.ReadAt(ctx, id, part, off+done)
		if k < len(part) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return done, err
		}
		if _, err := w.Write(part); err != nil {
			return done, err
		}
		done += int64(k)
	}
	return n, nil
}
