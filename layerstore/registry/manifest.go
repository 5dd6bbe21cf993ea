package registry

import (
	"bytes"
	"context"
	_ "crypto/sha256" // for go-digest
	_ "crypto/sha512"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// maxManifest bounds manifests and indexes, in bytes, as registries do.
const maxManifest = 4 << 20

// manifestTypes are what is asked for: without OCI's a registry may convert.
var manifestTypes = []string{
	ocispec.MediaTypeImageIndex, "application/vnd.docker.distribution.manifest.list.v2+json",
	ocispec.MediaTypeImageManifest, "application/vnd.docker.distribution.manifest.v2+json",
}

// scoped has a token be asked for what is about to be done.
func (r *Repository) scoped(ctx context.Context, actions ...string) context.Context {
	return auth.AppendScopes(ctx, auth.ScopeRepository(r.name, actions...))
}

// do sends a request with credentials.
func (r *Repository) do(req *http.Request) (*http.Response, error) {
	if r.unreached != nil {
		return nil, r.unreached
	}
	r.tell(req)
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, r.failed(req.Context(), err)
	}
	return resp, nil
}

// Manifest gives a manifest or an index by tag or digest: its descriptor, and
// its bytes, which are those of the digest.
func (r *Repository) Manifest(ctx context.Context, ref string) (d ocispec.Descriptor, raw []byte, err error) {
	err = r.read(ctx, isDigest(ref), func(at *Repository) (err error) {
		d, raw, err = at.manifest(ctx, ref)
		return err
	})
	return d, raw, err
}

func (r *Repository) manifest(ctx context.Context, ref string) (ocispec.Descriptor, []byte, error) {
	var d ocispec.Descriptor
	what := fmt.Sprintf("manifest %s of %s", ref, r.name)
	req, err := http.NewRequestWithContext(r.scoped(ctx, auth.ActionPull), http.MethodGet, r.base()+"/manifests/"+ref, nil)
	if err != nil {
		return d, nil, err
	}
	req.Header.Set("Accept", strings.Join(manifestTypes, ", "))
	resp, err := r.do(req)
	if err != nil {
		return d, nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return d, nil, r.refused(ctx, resp, what)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest+1))
	if err != nil {
		return d, nil, r.failed(ctx, err)
	}
	if len(raw) > maxManifest {
		return d, nil, fmt.Errorf("%s: %s: longer than %d bytes", r.host, what, maxManifest)
	}
	d = ocispec.Descriptor{MediaType: resp.Header.Get("Content-Type"), Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	for _, promised := range []string{ref, resp.Header.Get("Docker-Content-Digest")} {
		want := digest.Digest(promised)
		if want.Validate() != nil {
			continue
		}
		if got := want.Algorithm().FromBytes(raw); got != want {
			return d, nil, fmt.Errorf("%s: %s arrived as %s: refused (registry or proxy altered it)", r.host, what, got)
		}
		d.Digest = want
	}
	// What is in there tells, if it does.
	var self struct {
		MediaType string `json:"mediaType"`
	}
	if json.Unmarshal(raw, &self) == nil && self.MediaType != "" {
		d.MediaType = self.MediaType
	}
	return d, raw, nil
}

// PutManifest uploads a manifest or an index by tag or digest.
func (r *Repository) PutManifest(ctx context.Context, ref string, d ocispec.Descriptor, raw []byte) error {
	req, err := http.NewRequestWithContext(r.scoped(ctx, auth.ActionPull, auth.ActionPush), http.MethodPut, r.base()+"/manifests/"+ref, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", d.MediaType)
	resp, err := r.do(req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated {
		return r.refused(ctx, resp, fmt.Sprintf("manifest %s of %s", ref, r.name))
	}
	return resp.Body.Close()
}

// HasManifest says whether a manifest or an index is there.
func (r *Repository) HasManifest(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	return r.has(ctx, "/manifests/"+d.Digest.String(), d)
}

// HasBlob says whether a blob is there.
func (r *Repository) HasBlob(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	return r.has(ctx, "/blobs/"+d.Digest.String(), d)
}

func (r *Repository) has(ctx context.Context, path string, d ocispec.Descriptor) (bool, error) {
	req, err := http.NewRequestWithContext(r.scoped(ctx, auth.ActionPull, auth.ActionPush), http.MethodHead, r.base()+path, nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Accept", d.MediaType)
	resp, err := r.do(req)
	if err != nil {
		return false, err
	}
	if resp.StatusCode == http.StatusNotFound {
		return false, resp.Body.Close()
	}
	if resp.StatusCode != http.StatusOK {
		return false, r.refused(ctx, resp, r.name)
	}
	return resp.ContentLength < 0 || resp.ContentLength == d.Size, resp.Body.Close()
}

// maxTags bounds how many tags are listed.
const maxTags = 1 << 20

// Tags lists the tags of the repository.
func (r *Repository) Tags(ctx context.Context) (tags []string, err error) {
	err = r.read(ctx, false, func(at *Repository) (err error) {
		tags, err = at.tags(ctx)
		return err
	})
	return tags, err
}

func (r *Repository) tags(ctx context.Context) ([]string, error) {
	var tags []string
	next := r.base() + "/tags/list"
	for next != "" && len(tags) < maxTags {
		req, err := http.NewRequestWithContext(r.scoped(ctx, auth.ActionPull), http.MethodGet, next, nil)
		if err != nil {
			return nil, err
		}
		resp, err := r.do(req)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode != http.StatusOK {
			return nil, r.refused(ctx, resp, "repository "+r.name)
		}
		var page struct{ Tags []string }
		err = json.NewDecoder(io.LimitReader(resp.Body, maxManifest)).Decode(&page)
		resp.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: tags of %s: not right as JSON: %w", r.host, r.name, err)
		}
		tags = append(tags, page.Tags...)
		if next, err = nextPage(resp); err != nil || len(page.Tags) == 0 {
			return tags, err
		}
	}
	return tags, nil
}

// nextPage reads a Link header (RFC 8288), which must lead to the same host.
func nextPage(resp *http.Response) (string, error) {
	link, _, ok := strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "<"), ">")
	if !ok {
		return "", nil
	}
	u, err := url.Parse(link)
	if err != nil {
		return "", err
	}
	next := resp.Request.URL.ResolveReference(u)
	if next.Host != resp.Request.URL.Host {
		return "", fmt.Errorf("the next page of tags is said to be at %s", next.Host)
	}
	return next.String(), nil
}
