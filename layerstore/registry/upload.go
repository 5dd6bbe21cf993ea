package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// uploads is how often the upload of a blob is begun anew when it breaks off.
const uploads = 5

// resumable is from which size on a blob, in bytes, is sent so that the registry
// keeps what it has got of it. It takes one request more.
const resumable = 4 << 20

// PutBlob uploads a blob; open gives its bytes, from the first on each time. If
// from is not empty the registry is asked to take it from that repository of its
// own instead, which it may do or not. An upload that breaks off is gone on with
// where the registry says that it has got to, or begun anew.
func (r *Repository) PutBlob(ctx context.Context, d ocispec.Descriptor, from string, open func() (io.ReadCloser, error)) error {
	ctx = r.scoped(ctx, auth.ActionPull, auth.ActionPush)
	if from != "" {
		ctx = auth.AppendScopes(ctx, auth.ScopeRepository(from, auth.ActionPull))
	}
	u := &upload{repo: r, desc: d, open: open, what: fmt.Sprintf("upload of %s to %s", d.Digest, r.name)}
	inParts := d.Size >= resumable
	var err error
	for n := range uploads {
		if err = u.run(ctx, from, inParts); err == nil || !passing(err) && !inParts {
			return err
		}
		if wait(ctx, n) != nil {
			return err
		}
		inParts = inParts && passing(err) // else it may not know how
	}
	return err
}

// wait lets a while pass before what has failed is tried again.
func wait(ctx context.Context, fails int) error {
	select {
	case <-time.After(time.Duration(fails) * 200 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// passing says that an error may not come again.
func passing(err error) bool {
	var network *NetworkError
	var status *StatusError
	return errors.As(err, &network) || errors.As(err, &status) &&
		(status.Status >= http.StatusInternalServerError || status.Status == http.StatusTooManyRequests || status.Status == http.StatusRequestTimeout)
}

// An upload is that of one blob.
type upload struct {
	repo *Repository
	desc ocispec.Descriptor
	open func() (io.ReadCloser, error)
	what string
}

func (u *upload) run(ctx context.Context, from string, inParts bool) error {
	begin := u.repo.base() + "/blobs/uploads/"
	if from != "" {
		begin += "?" + url.Values{"mount": {u.desc.Digest.String()}, "from": {from}}.Encode()
	}
	resp, err := u.ask(ctx, http.MethodPost, begin)
	if err != nil {
		return err
	}
	switch resp.StatusCode {
	case http.StatusCreated: // taken from there
		return resp.Body.Close()
	case http.StatusAccepted:
	default:
		return u.repo.refused(ctx, resp, u.what)
	}
	at, err := u.at(resp)
	if err != nil {
		return err
	}
	if inParts {
		if at, err = u.parts(ctx, at); err != nil {
			return err
		}
	}
	return u.finish(ctx, at, inParts)
}

// parts sends the blob to where it is taken piece by piece, and gives where the
// upload is ended.
func (u *upload) parts(ctx context.Context, at string) (string, error) {
	for off, fails := int64(0), 0; ; {
		next, err := u.patch(ctx, at, off)
		if err == nil {
			return next, nil
		}
		if fails++; fails > maxFails || !passing(err) && !errorIs(err, http.StatusRequestedRangeNotSatisfiable) {
			return "", err
		}
		if err := wait(ctx, fails); err != nil {
			return "", err
		}
		now, have, asked := u.have(ctx, at)
		if asked != nil || have > u.desc.Size {
			// To be begun anew. The distribution's registry does not know an
			// upload any more that has broken off in the middle of a part.
			return "", err
		}
		if have > off {
			fails = 0
		}
		at, off = now, have
	}
}

func errorIs(err error, status int) bool {
	var e *StatusError
	return errors.As(err, &e) && e.Status == status
}

// patch sends the blob from off on.
func (u *upload) patch(ctx context.Context, at string, off int64) (string, error) {
	resp, err := u.send(ctx, http.MethodPatch, at, off)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusAccepted {
		return "", u.repo.refused(ctx, resp, u.what)
	}
	return u.at(resp)
}

// have asks how many bytes the registry has got, and where to go on.
func (u *upload) have(ctx context.Context, at string) (next string, have int64, err error) {
	resp, err := u.ask(ctx, http.MethodGet, at)
	if err != nil {
		return "", 0, err
	}
	if resp.StatusCode != http.StatusNoContent {
		return "", 0, u.repo.refused(ctx, resp, u.what)
	}
	var last int64
	if _, err := fmt.Sscanf(strings.TrimPrefix(resp.Header.Get("Range"), "bytes="), "0-%d", &last); err != nil {
		return "", 0, errors.Join(fmt.Errorf("%s: %s: range %q", u.repo.host, u.what, resp.Header.Get("Range")), resp.Body.Close())
	}
	if last > 0 { // 0-0 is nothing yet
		have = last + 1
	}
	next, err = u.at(resp)
	return next, have, err
}

// finish ends an upload, with the blob unless it has been sent.
func (u *upload) finish(ctx context.Context, at string, sent bool) error {
	to, err := url.Parse(at)
	if err != nil {
		return err
	}
	q := to.Query()
	q.Set("digest", u.desc.Digest.String())
	to.RawQuery = q.Encode()
	off := int64(0)
	if sent {
		off = u.desc.Size
	}
	resp, err := u.send(ctx, http.MethodPut, to.String(), off)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated {
		return u.repo.refused(ctx, resp, u.what)
	}
	return resp.Body.Close()
}

// at gives where an upload goes on, and closes the response. That may be
// another host, which then gets no credentials of this one.
func (u *upload) at(resp *http.Response) (string, error) {
	resp.Body.Close()
	at, err := resp.Location()
	if err != nil {
		return "", fmt.Errorf("%s: %s: %w", u.repo.host, u.what, err)
	}
	first := resp.Request.URL
	if at.Host == first.Host && first.Scheme == "https" {
		at.Scheme = "https" // behind a proxy some do not know that they are
	}
	if err := mayFollow(first, at); err != nil {
		return "", fmt.Errorf("%s: %s: %w", u.repo.host, u.what, err)
	}
	return at.String(), nil
}

func (u *upload) ask(ctx context.Context, method, at string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, at, nil)
	if err != nil {
		return nil, err
	}
	return u.do(req)
}

// send puts the blob from off on into a request.
func (u *upload) send(ctx context.Context, method, at string, off int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, at, http.NoBody)
	if err != nil {
		return nil, err
	}
	if off < u.desc.Size {
		req.GetBody = func() (io.ReadCloser, error) { return u.from(off) }
		if req.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
		req.ContentLength = u.desc.Size - off
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	if method == http.MethodPatch {
		req.Header.Set("Content-Range", fmt.Sprintf("%d-%d", off, u.desc.Size-1))
	}
	return u.do(req)
}

func (u *upload) from(off int64) (io.ReadCloser, error) {
	body, err := u.open()
	if err != nil || off == 0 {
		return body, err
	}
	if s, ok := body.(io.Seeker); ok {
		_, err = s.Seek(off, io.SeekStart)
	} else {
		_, err = io.CopyN(io.Discard, body, off)
	}
	if err != nil {
		return nil, errors.Join(err, body.Close())
	}
	return body, nil
}

// do sends a request with credentials if it is to the registry itself.
func (u *upload) do(req *http.Request) (*http.Response, error) {
	if u.repo.unreached != nil || req.URL.Host == hostOf(u.repo.root) {
		return u.repo.do(req)
	}
	resp, err := u.repo.client.Client.Do(req)
	if err != nil {
		return nil, u.repo.failed(req.Context(), err)
	}
	return resp, nil
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}
