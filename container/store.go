package container

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mica/layerstore"
)

// A Store is the containers of a mica store, shared by any number of processes.
type Store struct {
	layers *layerstore.Store
}

// Open gives the containers of a store. Nothing is made before there is one.
func Open(layers *layerstore.Store) *Store { return &Store{layers} }

func (s *Store) dir() string { return filepath.Join(s.layers.Root(), "containers") }

// lockNames keeps others from giving names.
func (s *Store) lockNames(ctx context.Context) (func(), error) {
	return s.layers.Lock(ctx, "containers", false)
}

// A NameError says that a name cannot be given.
type NameError struct {
	Name   string
	By     string // ID of who has it; "" is that it is none
	reason string
}

func (e *NameError) Error() string {
	if e.By != "" {
		return fmt.Sprintf("the name %q is in use by container %.12s", e.Name, e.By)
	}
	return fmt.Sprintf("invalid name %q: %s", e.Name, e.reason)
}
func (e *NameError) Code() string {
	if e.By != "" {
		return "name-in-use"
	}
	return "bad-name"
}
func (e *NameError) Hint() string {
	if e.By != "" {
		return "mica rm " + e.Name + ", or another --name"
	}
	return ""
}

var nameForm = regexp.MustCompile(`^/?[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// Create makes a container of what cfg says, which it completes with an ID, and
// with a name if it has none. The caller is in charge of it.
func (s *Store) Create(ctx context.Context, cfg *Config) (*Container, error) {
	if cfg.Name != "" && !nameForm.MatchString(cfg.Name) {
		return nil, &NameError{Name: cfg.Name, reason: "letters, digits and _ . - after a letter or digit, two at least"}
	}
	if os.Geteuid() != 0 {
		return nil, &RuntimeError{Status: 125, Text: "containers need root: an ordinary user's would have to be in a user namespace, which mica does not make yet",
			hint: "sudo; images can be mounted and looked into without"}
	}
	id := make([]byte, 32)
	if _, err := rand.Read(id); err != nil {
		return nil, err
	}
	cfg.ID, cfg.Created = hex.EncodeToString(id), time.Now()
	if cfg.Process.Hostname == "" {
		cfg.Process.Hostname = cfg.ID[:12]
	}
	unlock, err := s.lockNames(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := s.nameAnew(cfg, cfg.Name); err != nil {
		return nil, err
	}
	c := &Container{store: s, dir: filepath.Join(s.dir(), cfg.ID), Config: *cfg, State: State{Status: Created}}
	if err := c.make(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(c.dir))
	}
	return c, nil
}

// nameAnew gives a configuration a name that no other container has; the lock of names is held.
func (s *Store) nameAnew(cfg *Config, name string) error {
	all, err := s.load()
	if err != nil {
		return err
	}
	taken := func(name string) string {
		for _, c := range all {
			if c.Config.Name == name && c.Config.ID != cfg.ID {
				return c.Config.ID
			}
		}
		return ""
	}
	name = strings.TrimPrefix(name, "/")
	for tries := 0; name == ""; tries++ {
		if name = randomName(tries); taken(name) != "" {
			name = ""
		}
	}
	if by := taken(name); by != "" {
		return &NameError{Name: name, By: by}
	}
	cfg.Name = name
	return nil
}

// load reads all containers, whatever state they are in. One whose files are
// not there yet, or not any more, is none.
func (s *Store) load() ([]*Container, error) {
	entries, err := os.ReadDir(s.dir())
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []*Container
	for _, e := range entries {
		c := &Container{store: s, dir: filepath.Join(s.dir(), e.Name())}
		switch err := c.Reload(); {
		case err == nil:
			all = append(all, c)
		case !errors.Is(err, iofs.ErrNotExist):
			return nil, fmt.Errorf("container %.12s: %w", e.Name(), err)
		}
	}
	return all, nil
}

// List gives all containers, the newest first, each as it is now.
func (s *Store) List(ctx context.Context) ([]*Container, error) {
	all, err := s.load()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(c *Container) bool {
		// One that cannot be settled is shown as it was left.
		gone, _ := c.Settle(ctx)
		return gone
	})
	slices.SortStableFunc(all, func(a, b *Container) int { return b.Config.Created.Compare(a.Config.Created) })
	return all, nil
}

// A NotFoundError says that there is no such container.
type NotFoundError struct{ Typed string }

func (e *NotFoundError) Error() string        { return "no such container" }
func (e *NotFoundError) Code() string         { return "not-found" }
func (e *NotFoundError) Is(target error) bool { return target == iofs.ErrNotExist }
func (e *NotFoundError) Hint() string         { return "mica ps -a" }

// An AmbiguousError says that the IDs of several containers begin so.
type AmbiguousError struct {
	Typed string
	Found []*Container
}

func (e *AmbiguousError) Error() string {
	var list []string
	for _, c := range e.Found {
		list = append(list, fmt.Sprintf("%.12s (%s)", c.Config.ID, c.Config.Name))
	}
	return "ambiguous: " + strings.Join(list, ", ")
}
func (e *AmbiguousError) Code() string { return "ambiguous" }

// Find gives the container of a name or of the beginning of an ID, as it is now.
func (s *Store) Find(ctx context.Context, typed string) (*Container, error) {
	all, err := s.load()
	if err != nil {
		return nil, err
	}
	name := strings.TrimPrefix(typed, "/")
	var found []*Container
	for _, c := range all {
		if c.Config.Name == name || c.Config.ID == typed {
			found = []*Container{c}
			break
		}
		if typed != "" && strings.HasPrefix(c.Config.ID, typed) {
			found = append(found, c)
		}
	}
	if len(found) > 1 {
		return nil, &AmbiguousError{typed, found}
	}
	if len(found) == 1 {
		gone, err := found[0].Settle(ctx)
		if err != nil || !gone {
			return found[0], err
		}
	}
	return nil, &NotFoundError{typed}
}

// replaceFile writes v as JSON, whole or not at all. The caller has the lock
// under which the file is changed.
func replaceFile(path string, v any) (err error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	temp := filepath.Join(filepath.Dir(path), ".tmp-"+filepath.Base(path))
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return os.Rename(temp, path)
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// flock takes a lock on a file of a container, made if need be. EWOULDBLOCK is
// that another has it and how has LOCK_NB.
func flock(ctx context.Context, path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if how&unix.LOCK_NB != 0 {
		err = unix.Flock(int(f.Fd()), how)
	} else {
		err = layerstore.Flock(ctx, f, how)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// randomName is of docker's kind: an adjective and someone who made things.
func randomName(tries int) string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	name := adjectives[int(b[0])%len(adjectives)] + "_" + makers[int(b[1])%len(makers)]
	if tries > 2 {
		name += fmt.Sprint(cmp.Or(int(b[2])<<8|int(b[3]), 1))
	}
	return name
}

var adjectives = strings.Fields(`able agile amber ample bold brave brisk bright calm clear clever crisp deft eager early even exact fair
	fine firm fleet fond frank free fresh gentle glad golden good grand happy hardy honest humble ideal jolly just keen kind
	lively lucid merry mild neat nimble noble novel open patient plain prime proud quick quiet rapid ready rosy sage serene sharp
	silent simple sincere smart smooth sober solid sound spry stable steady still sunny sure swift tidy trim true upbeat vivid warm wise witty zesty`)

var makers = strings.Fields(`ada archimedes babbage banach bartik bell bernoulli bohr boole carson cerf chebyshev clarke codd curie
	darwin dijkstra diffie euclid euler faraday fermat fermi feynman franklin galileo galois gauss germain goldberg hamilton haslett
	hawking heisenberg hellman hertz hooke hopper hypatia johnson kalam keller kepler khayyam kilby knuth kowalevski lamarr lamport
	leavitt leibniz liskov lovelace lumiere maxwell mayer mccarthy mcclintock meitner mendel mirzakhani moore morse napier newton
	nobel noether pascal pasteur perlman pike poincare ritchie rosalind shannon stallman tesla thompson torvalds turing volta wiles wing wozniak yalow`)
