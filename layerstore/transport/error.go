package transport

import (
	"cmp"
	"fmt"
	iofs "io/fs"
	"strings"
	"unicode"

	"github.com/docker/go-units"
)

// The errors of this package say in one line what is wrong with the image that
// was named; the caller has said which. Each has Code, a stable word for
// programs, and Hint, what may help, or "".

// A ReferenceError says that what was typed cannot name an image.
type ReferenceError struct {
	what    string // what it should be; "" is a reference
	Ref     string
	Reason  string
	Suggest string // what may have been meant, or ""
}

func (e *ReferenceError) Error() string {
	return fmt.Sprintf("invalid %s %q: %s", cmp.Or(e.what, "reference"), e.Ref, e.Reason)
}
func (e *ReferenceError) Code() string { return "bad-ref" }
func (e *ReferenceError) Hint() string {
	if e.Suggest == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", e.Suggest)
}

// A NotFoundError says that there is no such image, file, tag or digest. It is
// an [iofs.ErrNotExist].
type NotFoundError struct {
	Text string
	Has  []string // what there is instead
	hint string
}

// shownNames bounds how many names an error lists.
const shownNames = 8

func (e *NotFoundError) Error() string {
	if len(e.Has) == 0 {
		return oneLine(e.Text)
	}
	return oneLine(fmt.Sprintf("%s (has: %s)", e.Text, shorten(e.Has)))
}
func (e *NotFoundError) Code() string         { return "not-found" }
func (e *NotFoundError) Hint() string         { return oneLine(e.hint) }
func (e *NotFoundError) Is(target error) bool { return target == iofs.ErrNotExist }

func shorten(names []string) string {
	if len(names) <= shownNames {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s; %d more", strings.Join(names[:shownNames], ", "), len(names)-shownNames)
}

// An AmbiguousError says that several images fit; each of Choices names one.
type AmbiguousError struct {
	Choices []string // as they can be typed
}

func (e *AmbiguousError) Error() string {
	return oneLine(fmt.Sprintf("holds %d images, name one: %s", len(e.Choices), shorten(e.Choices)))
}
func (e *AmbiguousError) Code() string { return "ambiguous" }
func (e *AmbiguousError) Hint() string { return "" }

// A NotImageError says that what lies at a path is something else.
type NotImageError struct {
	Text string
	hint string
}

func (e *NotImageError) Error() string { return oneLine(e.Text) }
func (e *NotImageError) Code() string  { return "not-image" }
func (e *NotImageError) Hint() string  { return oneLine(e.hint) }

// An UnsupportedError says that the image is sound but cannot be served.
type UnsupportedError struct {
	Text string
	hint string
}

func (e *UnsupportedError) Error() string { return oneLine(e.Text) }
func (e *UnsupportedError) Code() string  { return "media-type" }
func (e *UnsupportedError) Hint() string  { return oneLine(e.hint) }

// A PlatformError says that the image is not to be had for the platform that
// was asked for.
type PlatformError struct {
	Want string
	Has  []string
}

func (e *PlatformError) Error() string {
	if len(e.Has) == 0 {
		return "no " + e.Want
	}
	return oneLine(fmt.Sprintf("no %s (has: %s)", e.Want, shorten(e.Has)))
}
func (e *PlatformError) Code() string { return "platform" }
func (e *PlatformError) Hint() string {
	if len(e.Has) == 0 {
		return ""
	}
	return oneLine("--platform " + e.Has[0])
}

// A CorruptError says that a part of the image is damaged, missing, or not
// what its digest promises.
type CorruptError struct {
	Object string // "config sha256:…", "layer 2/4 sha256:…"
	Reason string

	missing bool // the blob is not there
}

func (e *CorruptError) Error() string { return oneLine(e.Object + ": " + e.Reason) }
func (e *CorruptError) Code() string  { return "corrupt" }
func (e *CorruptError) Hint() string  { return "" }

func corrupt(object, format string, args ...any) error {
	return &CorruptError{Object: object, Reason: fmt.Sprintf(format, args...)}
}

// A TruncatedError says that an archive ends too early.
type TruncatedError struct {
	Size   int64  // of the archive, in bytes
	Inside string // "layer 4/5", else the name of the member; "" between members
	Want   int64  // length of that member, in bytes

	asked bool // it was that member which was to be opened
}

func (e *TruncatedError) Error() string {
	size := units.HumanSizeWithPrecision(float64(e.Size), 3)
	if e.Inside == "" {
		return fmt.Sprintf("ends at %s inside a header: incomplete download?", size)
	}
	return oneLine(fmt.Sprintf("ends at %s inside %s, which should be %s long: incomplete download?",
		size, e.Inside, units.HumanSizeWithPrecision(float64(e.Want), 3)))
}
func (e *TruncatedError) Code() string { return "truncated" }
func (e *TruncatedError) Hint() string { return "" }

// A RemoteError says that an image is named that lies in a registry, or in the
// store of another tool.
type RemoteError struct {
	Ref string
}

func (e *RemoteError) Error() string {
	return "only images in files and directories are read, none of registries or of other tools' stores"
}
func (e *RemoteError) Code() string { return "remote" }
func (e *RemoteError) Hint() string { return oneLine("copy it: skopeo copy " + e.Ref + " oci:DIR:TAG") }

// maxText bounds the text of an error, in bytes.
const maxText = 2000

// oneLine takes out what would break a line or speak to the terminal: names
// out of an image are anything, and of any length.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}
