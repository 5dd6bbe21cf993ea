package builder

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// common are the inputs of all steps that make a layer.
func (b *build) common() []Input {
	in := []Input{{"compression", fmt.Sprint(b.Packing.Codec, b.Packing.Level)}}
	if b.Epoch != nil {
		in = append(in, Input{"SOURCE_DATE_EPOCH", fmt.Sprint(b.Epoch.Unix())})
	}
	return in
}

// cached gives the step the layer that its record names, or makes it. written is
// the instruction as it stands there, by which records are found to compare with,
// text what the history says.
func (r *stageRun) cached(ctx context.Context, s *running, written, text string, inputs []Input, make func() (*layer, error)) error {
	rec, err := r.lookup(ctx, written, inputs)
	if err != nil {
		return err
	}
	outcome := Cached
	if rec == nil {
		r.explain(s, written, inputs)
		made := r.now().UTC()
		l, err := make()
		if err != nil {
			return err
		}
		outcome, rec = Done, &record{Inputs: inputs, Layer: l.Descriptor, DiffID: l.diffID, Created: made}
		if err := r.cache.put(written, rec); err != nil {
			return err
		}
	}
	l := &layer{rec.Layer, rec.DiffID, text}
	r.img = r.note(text, l, &rec.Created)
	s.size = rec.Layer.Size
	if outcome == Done {
		if _, err := r.intermediate(ctx, *r.img); err != nil {
			return err
		}
	}
	s.end(outcome)
	return nil
}

// lookup gives the record of inputs if its layer is there, else nil.
func (r *stageRun) lookup(ctx context.Context, written string, inputs []Input) (*record, error) {
	if r.NoCache {
		return nil, nil
	}
	rec, err := r.cache.get(written, keyOf(inputs))
	if rec == nil || err != nil {
		return nil, err
	}
	// First held, then looked for: in between it may be collected.
	if err := r.lease.Hold(ctx, rec.Layer.Digest); err != nil {
		return nil, err
	}
	if !r.Images.Has(rec.Layer) {
		return nil, nil
	}
	// So that what is used is told from what is not.
	now := unix.NsecToTimespec(time.Now().UnixNano())
	_ = unix.UtimesNanoAt(unix.AT_FDCWD, r.cache.path(written, keyOf(inputs)), []unix.Timespec{now, now}, 0)
	return rec, nil
}

// explain tells why a step was not cached.
func (r *stageRun) explain(s *running, written string, inputs []Input) {
	switch last := r.cache.last(written); {
	case !r.Explain:
	case r.NoCache:
		s.note("not cached: --no-cache")
	case last == nil:
		s.note("not cached: the instruction is new")
	case keyOf(last.Inputs) == keyOf(inputs):
		s.note("not cached: its layer is not in the store any more")
	default:
		s.note("not cached: %s", strings.Join(last.changes(inputs), "; "))
	}
}
