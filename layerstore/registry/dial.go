package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/distribution/reference"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// Options say how registries are spoken to.
type Options struct {
	// Insecure takes any certificate, and plain HTTP where there is no TLS.
	Insecure bool
	// AuthFile is the only file that credentials are looked for in; "" is
	// those of podman and docker, see [authFiles].
	AuthFile string
	// CertDir has *.crt, and client.cert with client.key; "" is
	// /etc/containers/certs.d/HOST and /etc/docker/certs.d/HOST.
	CertDir   string
	UserAgent string
}

// A Repository is one of a registry. Its methods may be called concurrently.
type Repository struct {
	host string // as named: "docker.io", "localhost:5000"
	root string // "https://registry-1.docker.io/v2/"
	name string // "library/debian"

	client *auth.Client
	creds  *credentialFiles

	// Of one that images are named after; a place by itself has none.
	mirrors  []*mirror
	moved    *mirror // where it is read from, if not here
	mirrorOf *mirror // of a mirror's place

	// unreached is why there is nothing here, only where it has moved to.
	unreached error
	ns        string // see place
}

// dockerHub is where docker.io is.
const dockerHub = "registry-1.docker.io"

// Dial gives the repository of an image's name, with the mirrors that
// registries.conf or hosts.toml have for it. It asks a registry for no more
// than which protocol it speaks, and that only where it may be plain HTTP.
func Dial(ctx context.Context, named reference.Named, o Options) (*Repository, error) {
	way, err := routes(reference.Domain(named), reference.Path(named))
	if err != nil {
		return nil, err
	}
	r, err := dialPlace(ctx, way.push, o)
	if err != nil && !way.moved {
		return nil, err
	}
	if way.moved { // there may be nothing at its name: who writes is told
		r.unreached = err
		r.moved = &mirror{place: way.itself, options: o, last: true}
	}
	for _, p := range way.mirrors {
		r.mirrors = append(r.mirrors, &mirror{place: p, options: o})
	}
	return r, nil
}

// dialPlace connects to one place.
func dialPlace(ctx context.Context, p place, o Options) (*Repository, error) {
	r := &Repository{host: p.host, name: p.name, ns: p.ns, creds: newCredentialFiles(o.AuthFile)}
	find := func(ctx context.Context, _ string) (auth.Credential, error) { return r.creds.find(ctx, r.host, r.name) }
	return r, r.connect(ctx, find, p, o)
}

// connect makes the client, and finds out where and how to ask.
func (r *Repository) connect(ctx context.Context, find auth.CredentialFunc, p place, o Options) error {
	at := r.host
	if at == "docker.io" {
		at = dockerHub
	}
	o.Insecure = o.Insecure || p.insecure
	transport, err := newTransport(at, p, o)
	if err != nil {
		return err
	}
	r.client = &auth.Client{
		Client:     &http.Client{Transport: &again{retry.Transport{Base: transport, Policy: retryPolicy}}, CheckRedirect: redirect},
		Cache:      auth.NewCache(),
		Credential: find,
	}
	r.client.SetUserAgent(o.UserAgent)
	if isLoopback(at) { // whose tokens may come from there too
		r.client.BlockedRealmPrefixes = []netip.Prefix{}
	}
	if p.root != "" {
		r.root = p.root
		return nil
	}
	scheme := "https"
	if isLoopback(at) || o.Insecure {
		if scheme, err = probe(ctx, transport, at); err != nil {
			return r.failed(ctx, err)
		}
	}
	r.root = scheme + "://" + at + "/v2/"
	return nil
}

// base is what the addresses of manifests and blobs begin with.
func (r *Repository) base() string { return r.root + r.name }

// retryPolicy tries for about a minute, or as long as Retry-After says up to that.
var retryPolicy = func() retry.Policy {
	return &retry.GenericPolicy{
		Retryable: retry.DefaultPredicate, Backoff: retry.DefaultBackoff,
		MinWait: 200 * time.Millisecond, MaxWait: time.Minute, MaxRetry: 5,
	}
}

// again sends requests again, but not parts of uploads: who sends those asks
// first how far they have come.
type again struct{ retry.Transport }

func (a *again) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPatch {
		return a.Base.RoundTrip(req)
	}
	return a.Transport.RoundTrip(req)
}

// stalled is how long a registry may be silent.
const stalled = 30 * time.Second

func newTransport(host string, p place, o Options) (*http.Transport, error) {
	config := &tls.Config{InsecureSkipVerify: o.Insecure}
	if err := addCerts(config, host, o.CertDir); err != nil {
		return nil, err
	}
	for _, file := range p.ca {
		if err := addAuthority(config, file); err != nil {
			return nil, err
		}
	}
	for _, pair := range p.pairs {
		if err := addPair(config, pair[0], pair[1]); err != nil {
			return nil, err
		}
	}
	d := &dialer{Dialer: net.Dialer{Timeout: stalled, KeepAlive: stalled}, host: host}
	return &http.Transport{
		Proxy:                 d.proxy,
		DialContext:           d.dial,
		TLSClientConfig:       config,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   stalled,
		ResponseHeaderTimeout: stalled,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       time.Minute,
		ReadBufferSize:        64 << 10,
		WriteBufferSize:       64 << 10,
		DisableCompression:    true, // digests are of what is sent
	}, nil
}

// probe gives the protocol that a registry speaks which may be without TLS.
func probe(ctx context.Context, transport *http.Transport, host string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/v2/", nil)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	switch {
	case err == nil:
		return "https", resp.Body.Close()
	case errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, new(tls.RecordHeaderError)):
		return "http", nil
	}
	return "", err
}

// maxRedirects is how often a request may be sent elsewhere.
const maxRedirects = 8

// redirect follows to where blobs lie, without credentials.
func redirect(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if req.URL.Host != first.Host {
		req.Header.Del("Authorization")
	}
	return mayFollow(first, req.URL)
}

// mayFollow says what is wrong with being sent elsewhere. A registry has no
// business with what only this machine reaches, or with less than it speaks itself.
func mayFollow(first, to *url.URL) error {
	switch {
	case to.Scheme != "https" && to.Scheme != "http":
		return fmt.Errorf("a redirect by %s", to.Scheme)
	case first.Scheme == "https" && to.Scheme != "https":
		return fmt.Errorf("a redirect from https to %s://%s", to.Scheme, to.Host)
	case !isLoopback(first.Host) && inner(to):
		return fmt.Errorf("a redirect to this machine, %s", to.Host)
	}
	return nil
}
