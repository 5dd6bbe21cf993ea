package transport

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// A location is what was typed, taken apart.
type location struct {
	typed  string
	scheme string // "oci", "oci-archive", "docker-archive", "dir", "rootfs"; "" is recognised by content
	path   string
	sel    selector
	named  bool   // it is no path, so that it can only be a name
	stored string // the full name, of what was found by name
}

// A selector says which image of several is meant. Zero is the only one.
type selector struct {
	name   string        // tag or full name
	digest digest.Digest // wins over the name
	number int           // 1 + the number counted from 0 in the order of the file
}

// Schemes are the words that say, before a colon, in what form an image is.
var Schemes = []string{"oci", "oci-archive", "docker-archive", "dir", "rootfs"}

// remoteSchemes are known from other tools, and name what is not on this machine.
var remoteSchemes = []string{"docker://", "registry:", "containers-storage:", "docker-daemon:"}

// locate takes a reference apart, looking at the file system where a colon may
// belong to a path.
func locate(ref string) (location, error) {
	at := location{typed: ref}
	rest := ref
	for _, scheme := range remoteSchemes {
		if strings.HasPrefix(ref, scheme) {
			return at, &RemoteError{ref}
		}
	}
	for _, scheme := range Schemes {
		if after, ok := strings.CutPrefix(ref, scheme+":"); ok {
			at.scheme, rest = scheme, after
			break
		}
	}
	path, tail, err := splitPath(rest)
	if at.scheme != "" && errors.Is(err, iofs.ErrNotExist) {
		// A layout in a directory that has the name of a form: "oci:web".
		if p, t, e := splitPath(ref); e == nil {
			at.scheme, path, tail, err = "", p, t, nil
		}
	}
	if err != nil {
		if at.scheme == "" && !looksLikePath(rest) {
			at.named = true
			return at, noSuchName(ref)
		}
		return at, at.pathError(err)
	}
	at.path = path
	at.sel, err = parseSelector(ref, tail)
	return at, err
}

// registrySchemes are those of remoteSchemes that stand before a name.
var registrySchemes = []string{"docker://", "registry:"}

// locateNamed is locate, for images by name too.
func locateNamed(ctx context.Context, ref string, o Options) (location, error) {
	if o.Named == nil {
		return locate(ref)
	}
	name, at, err := ref, location{named: true}, error(nil)
	for _, scheme := range registrySchemes {
		name = strings.TrimPrefix(name, scheme)
	}
	if name == ref {
		at, err = locate(ref)
	}
	if !at.named {
		return at, err
	}
	found, nerr := o.Named(ctx, name)
	if errors.Is(nerr, iofs.ErrNotExist) && err != nil {
		return at, err
	}
	if nerr != nil {
		return at, nerr
	}
	return location{typed: ref, scheme: "oci", path: found.Layout, sel: selector{digest: found.Digest}, stored: found.Name}, nil
}

func looksLikePath(s string) bool {
	return s == "." || s == ".." || strings.HasPrefix(s, "/") || strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../")
}

// splitPath splits "PATH:TAG@DIGEST" into the path and the rest, which starts
// with ':' or '@' or is empty. The longest path that exists wins; an error is
// that of the shortest.
func splitPath(s string) (path, tail string, err error) {
	for end := len(s); end > 0; end = strings.LastIndexAny(s[:end], ":@") {
		_, err = os.Stat(s[:end])
		// A path that may not be looked at is there, for all we know.
		if err == nil || errors.Is(err, iofs.ErrPermission) {
			return s[:end], s[end:], nil
		}
	}
	if err == nil { // nothing but ":TAG"
		err = notExist(s)
	}
	return "", "", err
}

// parseSelector reads what follows a path: "", ":NAME", ":@N", "@DIGEST" or
// ":NAME@DIGEST".
func parseSelector(ref, tail string) (selector, error) {
	var sel selector
	if tail == "" {
		return sel, nil
	}
	if digits, ok := strings.CutPrefix(tail, ":@"); ok {
		n, err := strconv.ParseUint(digits, 10, 31)
		if err != nil {
			return sel, &ReferenceError{Ref: ref, Reason: fmt.Sprintf("%q is not the number of an image, as in :@0", digits)}
		}
		sel.number = int(n) + 1
		return sel, nil
	}
	name, dig, hasDigest := strings.Cut(tail, "@")
	if hasDigest {
		d, err := digest.Parse(dig)
		if err != nil {
			return sel, &ReferenceError{Ref: ref, Reason: fmt.Sprintf("%q is no digest: %v", dig, err)}
		}
		sel.digest = d
	}
	if name == ":" {
		return sel, &ReferenceError{Ref: ref, Reason: "nothing follows the colon", Suggest: strings.TrimSuffix(ref, ":")}
	}
	sel.name = strings.TrimPrefix(name, ":")
	return sel, nil
}

// qualify gives the reference of an image beside the one that was typed.
func (at location) qualify(e entry) string {
	prefix := at.path
	if at.scheme != "" {
		prefix = at.scheme + ":" + at.path
	}
	return prefix + e.selector()
}

// names gives an opened image its name for people, and the full form.
func (at location) names(e entry, img *Image) (name, source string) {
	abs, err := filepath.Abs(at.path)
	if err != nil {
		abs = at.path
	}
	if full, err := reference.ParseNormalizedNamed(at.stored); err == nil && at.stored != "" {
		return familiar(full), full.String() + "@" + img.Manifest.Digest.String()
	}
	source = e.scheme + ":" + abs
	if e.scheme == "rootfs" || e.scheme == "dir" {
		return at.typed, source
	}
	stored := e.storedAs(at.sel.name)
	name = at.typed
	if full, ok := parseFull(stored); ok {
		name = familiar(full)
	}
	if at.sel.name != "" {
		source += ":" + at.sel.name
	} else if stored != "" && oneLine(stored) == stored {
		source += ":" + stored
	}
	if d := img.Manifest.Digest; d != "" {
		source += "@" + d.String()
	} else if img.ConfigDigest != "" {
		source += "@" + img.ConfigDigest.String()
	}
	return name, source
}

// pathError tells of a path that cannot be opened, in more words where those
// of the system leave the reader alone.
func (at location) pathError(err error) error {
	var pe *iofs.PathError
	if !errors.As(err, &pe) {
		return err
	}
	switch {
	case errors.Is(err, iofs.ErrNotExist):
		e := &NotFoundError{Text: "no such file or directory", hint: similarPaths(pe.Path)}
		if pe.Path != at.typed {
			e.Text = pe.Path + ": " + e.Text
		}
		return e
	case errors.Is(err, iofs.ErrPermission):
		return &accessError{pe}
	}
	return err
}
