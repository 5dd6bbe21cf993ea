package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
)

// A place is where a repository, or a copy of it, is to be asked for.
type place struct {
	host, name string // of the registry there, and of the repository in it
	insecure   bool   // as in [Options]

	// Of a hosts.toml alone: what addresses begin with, if not told by host;
	// authorities and certificates with their keys; the host that it stands for.
	root  string
	ca    []string
	pairs [][2]string
	ns    string

	// What a mirror is not asked for.
	noTags, noDigests bool
}

// A routing says which places stand for a repository when it is read.
type routing struct {
	mirrors []place // in their order; asked before the repository itself
	itself  place   // where that is for who reads
	moved   bool    // itself is not where its name says
	push    place   // where it is for who writes
}

// routes gives the places of a repository: from registries.conf where that has
// something of it, else from hosts.toml.
func routes(host, name string) (routing, error) {
	own := routing{itself: place{host: host, name: name}, push: place{host: host, name: name}}
	r, found, err := fromRegistriesConf(own)
	if found || err != nil {
		return r, err
	}
	return fromHostsFile(own)
}

// A mirror is a place that is connected to when it is first asked.
type mirror struct {
	place
	options Options
	last    bool // no mirror, but where the repository itself has moved to
	once    sync.Once
	repo    *Repository
	err     error
	gone    atomic.Bool // it could not be reached, or has not got the repository
}

func (m *mirror) dial(ctx context.Context) (*Repository, error) {
	m.once.Do(func() {
		m.repo, m.err = dialPlace(ctx, m.place, m.options)
		if !m.last {
			m.repo.mirrorOf = m
		}
	})
	return m.repo, m.err
}

// read does something with each mirror until one does it; then with the
// repository itself. byDigest says what kind of reference it is for.
func (r *Repository) read(ctx context.Context, byDigest bool, do func(*Repository) error) error {
	var failed []error
	for _, m := range r.mirrors {
		if m.gone.Load() || byDigest && m.noDigests || !byDigest && m.noTags {
			continue
		}
		repo, err := m.dial(ctx)
		if err == nil {
			err = do(repo)
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		var network *NetworkError
		if errors.As(err, &network) {
			m.gone.Store(true)
		}
		failed = append(failed, fmt.Errorf("mirror %s: %w", m.host, err))
	}
	repo, err := r, error(nil)
	if r.moved != nil {
		repo, err = r.moved.dial(ctx)
	}
	if err == nil {
		err = do(repo)
	}
	if err == nil || len(failed) == 0 {
		return err
	}
	return &mirroredError{err, failed}
}

// leave has a mirror not be asked any more; false is of what is none.
func (r *Repository) leave() bool {
	if r.mirrorOf == nil {
		return false
	}
	r.mirrorOf.gone.Store(true)
	return true
}

// A mirroredError is what the repository itself has said, after its mirrors.
type mirroredError struct {
	error
	mirrors []error
}

func (e *mirroredError) Unwrap() error { return e.error }
func (e *mirroredError) Error() string {
	text := e.error.Error()
	for _, m := range e.mirrors {
		text += "; " + m.Error()
	}
	return text
}

func isDigest(ref string) bool { return digest.Digest(ref).Validate() == nil }

// tell adds to a request for whom it is, as containerd's mirrors want to know.
func (r *Repository) tell(req *http.Request) {
	if r.ns == "" {
		return
	}
	q := req.URL.Query()
	q.Set("ns", r.ns)
	req.URL.RawQuery = q.Encode()
}
