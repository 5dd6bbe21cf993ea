package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// uploads is how often the upload of a blob is begun anew when it breaks off.
const uploads = 3

// PutBlob uploads a blob; open gives its bytes, from the first on each time. If
// from is not empty the registry is asked to take it from that repository of its
// own instead, which it may do or not.
func (r *Repository) PutBlob(ctx context.Context, d ocispec.Descriptor, from string, open func() (io.ReadCloser, error)) error {
	actions := r.scoped(ctx, auth.ActionPull, auth.ActionPush)
	if from != "" {
		actions = auth.AppendScopes(actions, auth.ScopeRepository(from, auth.ActionPull))
	}
	var err error
	for range uploads {
		var network *NetworkError
		if err = r.upload(actions, d, from, open); !errors.As(err, &network) {
			return err
		}
	}
	return err
}

func (r *Repository) upload(ctx context.Context, d ocispec.Descriptor, from string, open func() (io.ReadCloser, error)) error {
	what := fmt.Sprintf("upload of %s to %s", d.Digest, r.name)
	begin := r.base() + "/blobs/uploads/"
	if from != "" {
		begin += "?" + url.Values{"mount": {d.Digest.String()}, "from": {from}}.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, begin, nil)
	if err != nil {
		return err
	}
	resp, err := r.do(req)
	if err != nil {
		return err
	}
	switch resp.StatusCode {
	case http.StatusCreated: // taken from there
		return resp.Body.Close()
	case http.StatusAccepted:
	default:
		return r.refused(ctx, resp, what)
	}
	resp.Body.Close()
	at, err := uploadAt(resp, d)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", r.host, what, err)
	}
	return r.putBody(ctx, at, d, what, open)
}

// uploadAt gives where a blob is to be put. That may be another host, which
// then gets no credentials of this one.
func uploadAt(resp *http.Response, d ocispec.Descriptor) (string, error) {
	at, err := resp.Location()
	if err != nil {
		return "", err
	}
	if first := resp.Request.URL; at.Host == first.Host && first.Scheme == "https" {
		at.Scheme = "https" // behind a proxy some do not know that they are
	}
	q := at.Query()
	q.Set("digest", d.Digest.String())
	at.RawQuery = q.Encode()
	return at.String(), nil
}

func (r *Repository) putBody(ctx context.Context, at string, d ocispec.Descriptor, what string, open func() (io.ReadCloser, error)) error {
	body, err := open()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, at, body)
	if err != nil {
		body.Close()
		return err
	}
	req.ContentLength, req.GetBody = d.Size, open
	if d.Size == 0 {
		req.Body = http.NoBody
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	send := r.do
	if req.URL.Host != hostOf(r.root) {
		send = func(req *http.Request) (*http.Response, error) {
			resp, err := r.client.Client.Do(req)
			if err != nil {
				return nil, r.failed(ctx, err)
			}
			return resp, nil
		}
	}
	resp, err := send(req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated {
		return r.refused(ctx, resp, what)
	}
	return resp.Body.Close()
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}
