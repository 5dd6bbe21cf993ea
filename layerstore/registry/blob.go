package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"net/http"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// Blob gives the bytes of a blob from an offset on. Where they break off they
// are asked for again from there; what comes is not checked.
func (r *Repository) Blob(ctx context.Context, d ocispec.Descriptor, off int64) (io.ReadCloser, error) {
	b := &mirroredBlob{ctx: ctx, repo: r, desc: d, off: off}
	if err := b.open(); err != nil {
		return nil, err
	}
	return b, nil
}

// A mirroredBlob reads a blob from a mirror, and from the next when that fails.
type mirroredBlob struct {
	ctx  context.Context // of the reading
	repo *Repository
	desc ocispec.Descriptor
	off  int64 // of the next byte
	body *blobReader
}

func (b *mirroredBlob) open() error {
	return b.repo.read(b.ctx, true, func(at *Repository) error {
		body, err := at.blob(b.ctx, b.desc, b.off)
		if err == nil {
			b.body = body
		}
		return err
	})
}

func (b *mirroredBlob) Read(p []byte) (int, error) {
	for {
		n, err := b.body.Read(p)
		b.off += int64(n)
		if err == nil || err == io.EOF || b.ctx.Err() != nil || !b.body.repo.leave() {
			return n, err
		}
		b.body.Close()
		if err := b.open(); err != nil {
			return n, err
		}
	}
}

func (b *mirroredBlob) Close() error { return b.body.Close() }

func (r *Repository) blob(ctx context.Context, d ocispec.Descriptor, off int64) (*blobReader, error) {
	b := &blobReader{ctx: r.scoped(ctx, auth.ActionPull), repo: r, desc: d, off: off}
	if err := b.open(); err != nil {
		return nil, err
	}
	return b, nil
}

// A blobReader reads a blob over as many connections as that takes.
type blobReader struct {
	ctx  context.Context // of the reading, as that of a request is
	repo *Repository
	desc ocispec.Descriptor
	off  int64 // of the next byte

	body   io.ReadCloser
	cancel context.CancelFunc // of the request that body is of
	idle   *time.Timer        // cancels it when nothing comes
	fails  int                // since the last byte that came
}

// maxFails is how often in a row a blob may break off without a byte.
const maxFails = 5

func (b *blobReader) Read(p []byte) (int, error) {
	for {
		if b.body == nil {
			return 0, iofs.ErrClosed
		}
		b.idle.Reset(stalled)
		n, err := b.body.Read(p)
		b.idle.Stop()
		b.off += int64(n)
		if n > 0 {
			b.fails = 0
			return n, nil
		}
		if b.off >= b.desc.Size {
			return 0, io.EOF
		}
		if err == nil {
			continue
		}
		if err := b.again(err); err != nil {
			return 0, err
		}
	}
}

// again opens the rest of what has broken off.
func (b *blobReader) again(broken error) error {
	for {
		b.Close()
		if b.ctx.Err() != nil {
			return context.Cause(b.ctx)
		}
		if b.fails++; b.fails > maxFails {
			return &NetworkError{b.repo.host, fmt.Errorf("blob %s breaks off at %d of %d bytes: %w", b.desc.Digest, b.off, b.desc.Size, broken)}
		}
		if err := wait(b.ctx, b.fails); err != nil {
			return err
		}
		err := b.open()
		if err == nil {
			return nil
		}
		var network *NetworkError
		if !errors.As(err, &network) {
			return err
		}
		broken = err
	}
}

// open asks for the blob from off on.
func (b *blobReader) open() error {
	ctx, cancel := context.WithCancel(b.ctx)
	b.cancel = cancel
	b.idle = time.AfterFunc(10*stalled, cancel) // until there is an answer, with what is tried again
	err := b.request(ctx)
	b.idle.Stop()
	if err == nil {
		return nil
	}
	cancel()
	if errors.Is(err, context.Canceled) && b.ctx.Err() == nil {
		return &NetworkError{b.repo.host, errors.New("no answer")}
	}
	return err
}

func (b *blobReader) request(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.repo.base()+"/blobs/"+b.desc.Digest.String(), nil)
	if err != nil {
		return err
	}
	if b.off > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", b.off, b.desc.Size-1))
	}
	resp, err := b.repo.do(req)
	if err != nil {
		return err
	}
	skip, err := b.position(ctx, resp)
	if err != nil {
		return err
	}
	b.body = resp.Body
	if skip > 0 {
		b.idle.Reset(10 * stalled)
		if _, err := io.CopyN(io.Discard, resp.Body, skip); err != nil {
			resp.Body.Close()
			return b.repo.failed(ctx, err)
		}
	}
	return nil
}

// position tells how many bytes of an answer come before those asked for. A
// response that gives something else is closed.
func (b *blobReader) position(ctx context.Context, resp *http.Response) (skip int64, err error) {
	what := fmt.Sprintf("blob %s of %s", b.desc.Digest, b.repo.name)
	var start, end, size int64
	switch resp.StatusCode {
	case http.StatusOK: // some do not know ranges
		start, size = 0, resp.ContentLength
	case http.StatusPartialContent:
		size = b.desc.Size
		switch n, _ := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &start, &end, &size); n {
		case 0:
			start = b.off // what was asked for; the digest tells
		case 1, 2:
			size = b.desc.Size // "*" is not known
		}
	default:
		return 0, b.repo.refused(ctx, resp, what)
	}
	switch {
	case size >= 0 && size != b.desc.Size:
		err = fmt.Errorf("%s: %s is %d bytes long, the manifest says %d", b.repo.host, what, size, b.desc.Size)
	case start > b.off:
		err = fmt.Errorf("%s: %s: asked for offset %d, got %d", b.repo.host, what, b.off, start)
	}
	if err != nil {
		resp.Body.Close()
	}
	return b.off - start, err
}

func (b *blobReader) Close() error {
	b.idle.Stop()
	b.cancel()
	if b.body == nil {
		return nil
	}
	err := b.body.Close()
	b.body = nil
	return err
}
