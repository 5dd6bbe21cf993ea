package builder

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/sys/user"

	"mica/builder/source"
	"mica/layerstore/toc"
)

// A target is the image that files go into. Close it.
type target struct{ open *openSnapshot } // nil has no layers

func (r *stageRun) openTarget(ctx context.Context) (*target, error) {
	if len(r.img.layers) == 0 {
		return &target{}, nil
	}
	open, err := r.img.open(ctx)
	return &target{open}, err
}

// Close lets go of it.
func (t *target) Close() error {
	if t.open == nil {
		return nil
	}
	return t.open.Close()
}

// tree gives its files, none if the layer is to be independent of them (--link).
func (t *target) tree(link bool) source.Tree {
	if t.open == nil || link {
		return source.Empty{}
	}
	return source.OfImage(t.open.View)
}

// destination gives where the files go, and whether that is a directory.
func (w *copyWork) destination() (dest string, isDir bool, err error) {
	abs := w.state.Abs(w.DestPath)
	dest = strings.Trim(abs, "/")
	if strings.HasSuffix(abs, "/") || dest == "" {
		return dest, true, nil
	}
	_, there, err := source.Place(w.target.tree(w.link), dest)
	return dest, there != nil && there.IsDir(), err
}

// sourceTree gives the files that are copied from.
func (w *copyWork) sourceTree(ctx context.Context, cmd instructions.Command) (source.Tree, *source.Sums, error) {
	if w.fromName == "" {
		return w.Context, w.Sums, nil
	}
	img, err := w.source(ctx, cmd, w.fromName)
	if err != nil {
		return nil, nil, err
	}
	if len(img.layers) == 0 {
		return source.Memory{}, nil, nil
	}
	open, err := img.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	w.opened = append(w.opened, open)
	return source.OfImage(open.View), nil, nil
}

// source gives the stage or image that --from names.
func (r *stageRun) source(ctx context.Context, cmd instructions.Command, name string) (*built, error) {
	st, err := r.Plan.Source(r.st, cmd, name)
	if err != nil {
		return nil, err
	}
	if st != nil {
		return r.stage(ctx, st)
	}
	img, err := r.image(ctx, name)
	if err != nil {
		return nil, &sourceError{name, err}
	}
	return img, nil
}

// ownerAndMode evaluates --chown and --chmod. Files of the context are root's
// without.
func (w *copyWork) ownerAndMode(ctx context.Context) (err error) {
	if w.Epoch != nil {
		t := timeOf(*w.Epoch)
		w.rewrite.NotAfter = &t
	}
	if w.fromName == "" {
		w.rewrite.Owner = &source.Owner{}
	}
	if w.chown != "" {
		if w.rewrite.Owner, err = w.target.owner(ctx, w.chown); err != nil {
			return &sourceError{w.chown, fmt.Errorf("--chown=%s: %w", w.chown, err)}
		}
	}
	if w.chmod != "" {
		if w.rewrite.Mode, err = source.ParseMode(w.chmod); err != nil {
			return &sourceError{w.chmod, err}
		}
	}
	return nil
}

// owner looks up USER[:GROUP], by name or number, in the files of the image.
func (t *target) owner(ctx context.Context, text string) (*source.Owner, error) {
	name, group, grouped := strings.Cut(text, ":")
	var o source.Owner
	id, err := strconv.ParseUint(name, 10, 32)
	if err != nil {
		found, err := accounts(ctx, t, "etc/passwd", func(r io.Reader) ([]user.User, error) {
			return user.ParsePasswdFilter(r, func(u user.User) bool { return u.Name == name })
		})
		if err != nil {
			return nil, err
		}
		if len(found) == 0 && name != "root" {
			return nil, fmt.Errorf("no user %s in /etc/passwd of the image", name)
		}
		if len(found) > 0 {
			o = source.Owner{UID: uint32(found[0].Uid), GID: uint32(found[0].Gid)}
		}
	} else {
		// A number alone is the group's, too.
		o = source.Owner{UID: uint32(id), GID: uint32(id)}
	}
	if !grouped {
		return &o, nil
	}
	if id, err := strconv.ParseUint(group, 10, 32); err == nil {
		o.GID = uint32(id)
		return &o, nil
	}
	found, err := accounts(ctx, t, "etc/group", func(r io.Reader) ([]user.Group, error) {
		return user.ParseGroupFilter(r, func(g user.Group) bool { return g.Name == group })
	})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 && group != "root" {
		return nil, fmt.Errorf("no group %s in /etc/group of the image", group)
	}
	o.GID = 0
	if len(found) > 0 {
		o.GID = uint32(found[0].Gid)
	}
	return &o, nil
}

// maxAccounts is how much of a file of accounts is read, in bytes.
const maxAccounts = 16 << 20

// accounts parses a file of the image; one that is not there is empty.
func accounts[T any](ctx context.Context, t *target, name string, parse func(io.Reader) ([]T, error)) ([]T, error) {
	tree := t.tree(false)
	_, f, err := source.Place(tree, name)
	if f == nil || err != nil || !f.IsRegular() {
		return nil, err
	}
	c, err := tree.Open(ctx, f)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return parse(bufio.NewReader(io.NewSectionReader(c, 0, min(f.Entry.Size, maxAccounts))))
}

// workdir makes the directory of a WORKDIR if it is not there. It belongs to the
// user that commands run as.
func (r *stageRun) workdir(ctx context.Context, s *running) (err error) {
	dir := strings.Trim(r.state.Image.Config.WorkingDir, "/")
	text := "WORKDIR /" + dir
	target, err := r.openTarget(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	w := &copyWork{stageRun: r, copyStep: &copyStep{}, target: target}
	owner := &source.Owner{}
	if u := r.state.Image.Config.User; u != "" {
		if owner, err = target.owner(ctx, u); err != nil {
			return fmt.Errorf("USER %s: %w", u, err)
		}
	}
	// A file that would lie in it has the directory made.
	item := source.Item{File: &source.File{Entry: toc.Entry{Type: toc.Dir}}, Path: dir, Implied: true}
	layout, err := source.Lay(target.tree(false), []source.Item{item}, owner)
	if err != nil {
		return err
	}
	w.parts = []part{{tree: source.Memory{}, Layout: *layout}}
	if w.empty() {
		r.img = r.note(text, nil, nil)
		s.end(Config)
		return nil
	}
	inputs, err := w.inputs(ctx)
	if err != nil {
		return err
	}
	return r.cached(ctx, s, r.st.Name+"\x00"+text, text, inputs, func() (*layer, error) {
		desc, diffID, err := r.Images.Create(ctx, r.lease, r.Packing, func(to io.Writer) error { return w.write(ctx, to) })
		return &layer{desc, diffID, text}, err
	})
}

// timeOf gives a time as a layer has it.
func timeOf(t time.Time) toc.Time { return toc.Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())} }

// base is the last element of a path in an image.
func base(p string) string { return path.Base("/" + p) }
