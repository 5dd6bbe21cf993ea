package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"mica/builder/source"
)

// A Secret is what --secret names, for RUN --mount=type=secret.
type Secret struct{ Data []byte }

// A mount is one of a RUN's, evaluated.
type mount struct {
	*instructions.Mount
	target string // from the root, clean
	input  string // what the layer depends on of it
	// Of a bind mount: the files that it shows, or where they are as they are.
	tree   source.Tree
	items  []source.Item
	single bool   // a file, not what is in a directory
	direct string // a path on this machine; "" is that they are copied
	secret *Secret
	opened io.Closer
}

// mounts evaluates the --mount flags of a RUN.
func (r *stageRun) mounts(ctx context.Context, cmd instructions.Command, c *instructions.RunCommand) ([]*mount, error) {
	var mounts []*mount
	for _, spec := range instructions.GetMounts(c) {
		m := &mount{Mount: spec, target: path.Clean(r.state.Abs(spec.Target))}
		var err error
		switch spec.Type {
		case instructions.MountTypeBind:
			err = r.bind(ctx, cmd, m)
		case instructions.MountTypeCache:
			err = r.cacheMount(ctx, cmd, m)
		case instructions.MountTypeTmpfs:
			m.input = fmt.Sprint("tmpfs ", spec.SizeLimit)
		case instructions.MountTypeSecret:
			err = r.secret(m)
		default:
			err = fmt.Errorf("--mount=type=%s is not to be had (has: bind, cache, tmpfs, secret)", spec.Type)
		}
		if err == nil && m.target == "/" && m.Type != instructions.MountTypeSecret {
			err = fmt.Errorf("--mount=type=%s: target missing", spec.Type)
		}
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}

// bind selects the files of a bind mount: of the context, a stage or an image.
func (r *stageRun) bind(ctx context.Context, cmd instructions.Command, m *mount) error {
	m.tree = r.Context
	var sums *source.Sums
	below := ""
	if m.From == "" {
		sums = r.Sums
	} else {
		img, err := r.source(ctx, cmd, m.From)
		if err != nil {
			return err
		}
		open, err := img.open(ctx)
		if err != nil {
			return err
		}
		m.tree, m.opened = source.OfImage(open.View), open
		below = img.chain().String()
	}
	src := m.Source
	if src == "" {
		src = "."
	}
	var err error
	m.items, err = source.Select(ctx, m.tree, source.Request{Sources: []string{src}, Dest: "m"})
	if err != nil {
		return &sourceError{m.Source, err}
	}
	m.single = !slices.ContainsFunc(m.items, func(it source.Item) bool { return it.Path == "m" && it.IsDir() })
	if below != "" {
		m.input = fmt.Sprintf("bind of %s in %s", path.Clean("/"+src), below)
		return nil
	}
	if m.direct = r.ContextDir; m.direct != "" && m.ReadOnly {
		m.direct = path.Join(m.direct, m.items[0].Entry.Path)
	} else {
		m.direct = ""
	}
	sum, err := source.Digest(ctx, m.tree, m.items, source.Rewrite{}, sums)
	m.input = fmt.Sprintf("bind of %x", sum)
	return err
}

// cacheMount is a directory that outlives the build. What is in it is no input.
func (r *stageRun) cacheMount(ctx context.Context, cmd instructions.Command, m *mount) error {
	if m.CacheID == "" {
		m.CacheID = m.target
	}
	m.input = fmt.Sprintf("cache %s %s", m.CacheID, m.CacheSharing)
	if m.From == "" {
		return nil
	}
	readOnly := m.ReadOnly
	err := r.bind(ctx, cmd, m)
	m.ReadOnly, m.direct = readOnly, ""
	return err
}

// secret finds a secret. What it says is no input, whether it is there is.
func (r *stageRun) secret(m *mount) error {
	id := m.CacheID
	if id == "" {
		id = m.Source
	}
	if id == "" {
		id = base(m.Mount.Target)
	}
	if m.Mount.Target == "" {
		m.target = "/run/secrets/" + id
	}
	m.input = "secret " + id
	if s, ok := r.Secrets[id]; ok {
		m.secret = &s
		return nil
	}
	if m.Required {
		return &sourceError{"id=" + id, fmt.Errorf("secret %s is required: --secret id=%s,src=FILE", id, id)}
	}
	m.input += ", not given"
	return nil
}

// secretEnv gives the variable that a secret is told in, "" if it is a file.
func (m *mount) secretEnv() string {
	if m.Env == nil {
		return ""
	}
	if *m.Env != "" {
		return *m.Env
	}
	name := m.CacheID
	if name == "" {
		name = m.Source
	}
	return strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(name))
}

func closeMounts(mounts []*mount) error {
	var err error
	for _, m := range mounts {
		if m.opened != nil {
			err = errors.Join(err, m.opened.Close())
		}
	}
	return err
}
