package builder

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// cacheVersion changes when the same inputs make another layer than before.
const cacheVersion = "1"

// An Input is one of the things that a step depends on.
type Input struct {
	Name, Value string
}

// keyOf names inputs. No two lists have one name.
func keyOf(inputs []Input) string {
	h := sha256.New()
	enc := json.NewEncoder(h)
	// Neither a hash nor strings can fail.
	_ = enc.Encode(cacheVersion)
	_ = enc.Encode(inputs)
	return hex.EncodeToString(h.Sum(nil))
}

// A record is what is known of a step that was built.
type record struct {
	Inputs  []Input            `json:"inputs"`
	Layer   ocispec.Descriptor `json:"layer"` // of no size where the step made none
	DiffID  digest.Digest      `json:"diffID"`
	Created time.Time          `json:"created"`
}

// A cache keeps records in the store, below a directory for each instruction as
// it is written: so that of one that misses it can be told what was else before.
type cache struct{ dir string }

func (c *cache) path(instruction, key string) string {
	sum := sha256.Sum256([]byte(instruction))
	return filepath.Join(c.dir, hex.EncodeToString(sum[:16]), key+".json")
}

// get gives the record of inputs, nil if there is none that is sound.
func (c *cache) get(instruction, key string) (*record, error) {
	b, err := os.ReadFile(c.path(instruction, key))
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r record
	if json.Unmarshal(b, &r) != nil || keyOf(r.Inputs) != key {
		return nil, nil
	}
	return &r, nil
}

// put keeps a record. Not synced: one that is torn is no record.
func (c *cache) put(instruction string, r *record) error {
	path := c.path(instruction, keyOf(r.Inputs))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// last gives the newest record of an instruction, nil if there is none.
func (c *cache) last(instruction string) *record {
	dir := filepath.Dir(c.path(instruction, ""))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	newest, at := "", time.Time{}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && !strings.HasPrefix(e.Name(), ".") && info.ModTime().After(at) {
			newest, at = e.Name(), info.ModTime()
		}
	}
	r, err := c.get(instruction, strings.TrimSuffix(newest, ".json"))
	if err != nil {
		return nil
	}
	return r
}

// changes tells which inputs are others than in a record, one line each.
func (r *record) changes(inputs []Input) []string {
	var lines []string
	had := map[string]string{}
	for _, in := range r.Inputs {
		had[in.Name] = in.Value
	}
	for _, in := range inputs {
		was, ok := had[in.Name]
		delete(had, in.Name)
		switch {
		case !ok:
			lines = append(lines, in.Name+" is new")
		case was != in.Value:
			lines = append(lines, in.Name+" "+clip(was)+" → "+clip(in.Value))
		}
	}
	for name := range had {
		lines = append(lines, name+" is gone")
	}
	slices.Sort(lines)
	return lines
}

// clip shortens a value for a line.
func clip(s string) string {
	if d := digest.Digest(s); d.Validate() == nil {
		return d.Encoded()[:12]
	}
	if s = strings.ToValidUTF8(s, "?"); len(s) > 40 {
		s = strings.ToValidUTF8(s[:40], "") + "…"
	}
	return cmp.Or(s, "(nothing)")
}
