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
	return v.writeRange(ctx, w, id, 0, d.size, make([]byte, min(d.size, copyLen)))
}

// writeRange writes n bytes of a file from off on, which the file must have,
// through a buffer that is not empty unless n is 0.
func (v *View) writeRange(ctx context.Context, w io.Writer, id NodeID, off, n int64, buf []byte) (done int64, err error) {
	for done < n {
		part := buf[:min(n-done, int64(len(buf)))]
		if k, err := v.ReadAt(ctx, id, part, off+done); k < len(part) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return done, err
		}
		k, err := w.Write(part)
		if done += int64(k); err != nil {
			return done, err
		}
	}
	return done, nil
}
