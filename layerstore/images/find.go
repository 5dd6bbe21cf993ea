package images

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// Find gives the rows that a name or an ID means: all of one image if it is
// given by ID, else one. None is no error.
func (s *Store) Find(typed string) ([]Named, error) {
	rows, err := s.List()
	if err != nil {
		return nil, err
	}
	named, parseErr := reference.ParseNormalizedNamed(typed)
	if parseErr == nil {
		if found := byName(rows, named); found != nil {
			return found, nil
		}
	}
	if found, err := s.byID(rows, typed); found != nil || err != nil {
		return found, err
	}
	return nil, nil
}

// byName finds a name in full. A digest wins over a tag, and must be of an
// image of that repository.
func byName(rows []Named, named reference.Named) []Named {
	if digested, ok := named.(reference.Digested); ok {
		for _, r := range rows {
			have, err := reference.ParseNormalizedNamed(r.Name)
			if err == nil && have.Name() == named.Name() && r.Desc.Digest == digested.Digest() {
				return []Named{r}
			}
		}
		return nil
	}
	full := reference.TagNameOnly(named).String()
	for _, r := range rows {
		if r.Name == full {
			return []Named{r}
		}
	}
	return nil
}

// minID is how many digits tell an ID from a name.
const minID = 4

// byID finds by the beginning of a digest, that of the config or of the manifest.
func (s *Store) byID(rows []Named, typed string) ([]Named, error) {
	hex := strings.TrimPrefix(typed, "sha256:")
	if len(hex) < minID || strings.Trim(hex, "0123456789abcdef") != "" {
		return nil, nil
	}
	var found []Named
	ids := map[digest.Digest]bool{}
	for _, r := range rows {
		config := s.configOf(r.Desc.Digest)
		if strings.HasPrefix(r.Desc.Digest.Encoded(), hex) || config != "" && strings.HasPrefix(config.Encoded(), hex) {
			found = append(found, r)
			ids[r.Desc.Digest] = true
		}
	}
	if len(ids) > 1 {
		return nil, &AmbiguousError{typed, found}
	}
	return found, nil
}

// configOf gives the digest of an image's config, "" of what has none.
func (s *Store) configOf(d digest.Digest) digest.Digest {
	refs, err := s.References(d)
	if err != nil || refs.Config == nil {
		return ""
	}
	return refs.Config.Digest
}

// An AmbiguousError says that several images have an ID that begins so.
type AmbiguousError struct {
	Typed string
	Found []Named
}

func (e *AmbiguousError) Error() string {
	var list []string
	for _, r := range e.Found {
		list = append(list, fmt.Sprintf("%.12s (%s)", r.Desc.Digest.Encoded(), r.Familiar()))
	}
	return "ambiguous: " + strings.Join(list, ", ")
}
func (e *AmbiguousError) Code() string { return "ambiguous" }
func (e *AmbiguousError) Hint() string { return "" }

// Familiar is the name as people write it.
func (n Named) Familiar() string {
	named, err := reference.ParseNormalizedNamed(n.Name)
	if err != nil {
		return n.Name
	}
	return reference.FamiliarString(named)
}
