package transport

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A form is one of the ways in which images are kept in files.
type form interface {
	// list gives the images, in the order of the file.
	list(ctx context.Context) ([]entry, error)
	// find gives what has a digest that no listed entry has, or [iofs.ErrNotExist].
	find(ctx context.Context, d digest.Digest) (entry, error)
	// platforms gives those that an entry is there for; nil is not known.
	platforms(ctx context.Context, e entry) []*ocispec.Platform
	// image opens an entry, for the platform that fits best.
	image(ctx context.Context, e entry, want platform) (*Image, error)
	close() error
}

// An entry is one image, for one or many platforms, in a form.
type entry struct {
	scheme string
	number int      // counted from 0
	names  []string // as stored: tags, or full names
	digest digest.Digest
	desc   ocispec.Descriptor // OCI forms
}

// selector gives what follows the path to name the entry.
func (e entry) selector() string {
	switch {
	case len(e.names) > 0:
		return ":" + e.shown()
	case e.digest != "":
		return "@" + e.digest.String()
	}
	return ":@" + strconv.Itoa(e.number)
}

// storedAs gives the stored name that was meant by a typed one, or the best
// there is where none was typed; a full one rather than a tag.
func (e entry) storedAs(typed string) string {
	if typed == "" {
		return e.shown()
	}
	for _, rule := range slices.Backward(nameRules) {
		for _, stored := range e.names {
			if rule(typed, stored) {
				return stored
			}
		}
	}
	return ""
}

// shown gives the name for people: a full one if there is any.
func (e entry) shown() string {
	for _, name := range e.names {
		if full, ok := parseFull(name); ok {
			return familiar(full)
		}
	}
	if len(e.names) > 0 {
		return e.names[0]
	}
	return ""
}

// The ways a name that was typed can fit one that is stored, the closest first.
var nameRules = []func(typed, stored string) bool{
	func(typed, stored string) bool { return typed == stored },
	func(typed, stored string) bool {
		full, ok := parseFull(stored)
		if !ok {
			return false
		}
		named, err := parseName(typed)
		return err == nil && named.String() == full.String()
	},
	func(typed, stored string) bool {
		full, ok := parseFull(stored)
		if !ok {
			return false
		}
		tagged, ok := full.(reference.Tagged)
		return ok && tagged.Tag() == typed
	},
}

func (e entry) fits(typed string, rule func(typed, stored string) bool) bool {
	return slices.ContainsFunc(e.names, func(stored string) bool { return rule(typed, stored) })
}

// choose gives the entry that the location selects.
func choose(ctx context.Context, f form, entries []entry, at location, want platform) (entry, error) {
	sel := at.sel
	switch {
	case sel.digest != "":
		for _, e := range entries {
			if e.digest == sel.digest {
				return e, nil
			}
		}
		e, err := f.find(ctx, sel.digest)
		if absent(err) {
			err = &NotFoundError{Text: "digest " + sel.digest.String() + " not found", Has: selectorsOf(entries)}
		}
		return e, err
	case len(entries) == 0:
		return entry{}, &NotFoundError{Text: "holds no image"}
	case sel.number > len(entries):
		return entry{}, &NotFoundError{Text: fmt.Sprintf("image @%d not found", sel.number-1), Has: selectorsOf(entries)}
	case sel.number > 0:
		return entries[sel.number-1], nil
	case sel.name != "":
		return chooseName(ctx, f, entries, at, want)
	}
	return chooseOnly(ctx, f, entries, at, want)
}

func chooseName(ctx context.Context, f form, entries []entry, at location, want platform) (entry, error) {
	for _, rule := range nameRules {
		var found []entry
		for _, e := range entries {
			if e.fits(at.sel.name, rule) {
				found = append(found, e)
			}
		}
		if len(found) > 0 {
			return chooseOnly(ctx, f, found, at, want)
		}
	}
	has := selectorsOf(entries)
	what := "tag"
	if strings.ContainsAny(at.sel.name, "/:") {
		what = "image"
	}
	e := &NotFoundError{Text: what + " " + strconv.Quote(at.sel.name) + " not found", Has: has}
	if near := similar(at.sel.name, has); len(near) > 0 && len(has) > 1 {
		e.hint = "similar: " + strings.Join(near, ", ")
	}
	return entry{}, e
}

// chooseOnly gives the only entry, or the one for the platform where entries
// of one name differ by platform, as some tools write a multi-platform image.
func chooseOnly(ctx context.Context, f form, entries []entry, at location, want platform) (entry, error) {
	if len(entries) == 1 {
		return entries[0], nil
	}
	if list := platformEach(ctx, f, entries); list != nil {
		i, err := want.best(list)
		return entries[max(i, 0)], err
	}
	err := &AmbiguousError{}
	named := map[string]bool{}
	for _, e := range entries {
		choice := at.qualify(e)
		if named[choice] { // two images of one name
			e.names = nil
			choice = at.qualify(e)
		}
		named[choice] = true
		err.Choices = append(err.Choices, choice)
	}
	return entry{}, err
}

// platformEach gives the platform of each entry if they have one each, no two
// the same, and nothing else tells them apart; else nil.
func platformEach(ctx context.Context, f form, entries []entry) []*ocispec.Platform {
	if len(entries) > maxManifests {
		return nil
	}
	var all []*ocispec.Platform
	seen := map[string]bool{}
	for _, e := range entries {
		if !slices.Equal(e.names, entries[0].names) {
			return nil
		}
		own := f.platforms(ctx, e)
		text := formatAll(own)
		if len(own) != 1 || len(text) != 1 || seen[text[0]] {
			return nil
		}
		seen[text[0]] = true
		all = append(all, own[0])
	}
	return all
}

// selectorsOf gives the names of entries for an error, each once.
func selectorsOf(entries []entry) []string {
	var out []string
	seen := map[string]bool{}
	for _, e := range entries {
		if name := strings.TrimPrefix(e.selector(), ":"); !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}

// A Listed is an image that a file or directory holds.
type Listed struct {
	Ref       string        // the whole reference, as it can be typed
	Names     []string      // as stored, a tag or a full name each
	Digest    digest.Digest // of the manifest or index; of the config in docker archives; "" where there is none
	Platforms []string      // "linux/arm64"; those that are known
}

// List tells what images there are at a reference; what selects one in it is
// not looked at.
func List(ctx context.Context, ref string, o Options) (_ []Listed, err error) {
	at, err := locate(ref)
	if err != nil {
		return nil, err
	}
	f, err := at.open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	entries, err := f.list(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]Listed, len(entries))
	for i, e := range entries {
		list[i] = Listed{at.qualify(e), e.names, e.digest, formatAll(f.platforms(ctx, e))}
	}
	return list, nil
}
