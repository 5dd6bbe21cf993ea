package source

import (
	"context"
	"fmt"
	"io"
	"strings"

	"mica/layerstore/toc"
)

// A Rewrite says what a layer has in place of what files have.
type Rewrite struct {
	Owner *Owner                 // nil is that of the files
	Mode  func(toc.Entry) uint16 // nil is that of the files
	// NotAfter is written in place of times after it; nil is none.
	NotAfter *toc.Time
}

// An Owner is a user and a group by number.
type Owner struct{ UID, GID uint32 }

// entry gives what a layer says of an item, times apart.
func (o *Rewrite) entry(t Tree, it Item) (*toc.Entry, error) {
	e := it.Entry
	e.Path = it.Path
	var err error
	if e.Xattrs, err = t.Xattrs(it.File); err != nil {
		return nil, fmt.Errorf("%s: %w", it.Entry.Path, err)
	}
	if o.Owner != nil {
		e.UID, e.GID = o.Owner.UID, o.Owner.GID
	}
	if o.Mode != nil && e.Type != toc.Symlink {
		e.Mode = o.Mode(e)
	}
	return &e, nil
}

func (o *Rewrite) time(t toc.Time) toc.Time {
	if o.NotAfter != nil && t.Time().After(o.NotAfter.Time()) {
		return *o.NotAfter
	}
	return t
}

// WriteContents writes n bytes of a file from off on to w.
type WriteContents = func(w io.Writer, off, n int64) error

// Add is the end of the way: it takes an entry of a layer. contents may be nil
// where there are none.
type Add func(e *toc.Entry, contents WriteContents) error

// Write gives the entries of items, in their order. Further names of a file are
// hard links to the first.
func Write(ctx context.Context, t Tree, items []Item, o Rewrite, add Add) error {
	first := firstOf(items)
	for i, it := range items {
		if err := ctx.Err(); err != nil {
			return err
		}
		e, err := o.entry(t, it)
		if err != nil {
			return err
		}
		if base := it.Path[strings.LastIndexByte(it.Path, '/')+1:]; strings.HasPrefix(base, ".wh.") {
			return fmt.Errorf("%s: in a layer a name that begins with .wh. says that a file is deleted", it.Entry.Path)
		}
		e.Mtime = o.time(e.Mtime)
		if at, ok := first[it.ID]; ok && it.Links > 1 && !it.IsDir() && at != i {
			link := toc.Entry{Path: e.Path, Type: toc.Hardlink, Link: items[at].Path, Mode: e.Mode, UID: e.UID, GID: e.GID, Mtime: toc.Time{Sec: e.Mtime.Sec}}
			err = add(&link, nil)
		} else {
			err = writeOne(ctx, t, it.File, e, add)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func writeOne(ctx context.Context, t Tree, f *File, e *toc.Entry, add Add) error {
	if e.Type != toc.Regular || e.Size == 0 {
		return add(e, nil)
	}
	c, err := t.Open(ctx, f)
	if err != nil {
		return err
	}
	defer c.Close()
	return add(e, func(w io.Writer, off, n int64) error { return copyContents(w, f, c, off, n) })
}
