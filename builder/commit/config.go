package commit

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mica/builder/dockerfile"
)

// A config is that of a new image while it is made.
type config struct {
	raw     []byte // of the base; nil is none
	was, is dockerspec.DockerOCIImage
	entry   ocispec.History // the new one
}

func newConfig(base Base, o Options) (*config, error) {
	c := &config{raw: base.Image.RawConfig}
	if c.raw == nil { // a root file system
		c.raw = []byte("{}")
		c.is.Architecture, c.is.OS = runtime.GOARCH, runtime.GOOS
	}
	for _, to := range []*dockerspec.DockerOCIImage{&c.was, &c.is} {
		if err := json.Unmarshal(c.raw, to); err != nil {
			return nil, fmt.Errorf("config of the image: %w", err)
		}
	}
	if err := Configure(&c.is, o.Instructions); err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	if o.Epoch != nil {
		now = o.Epoch.UTC()
	}
	c.is.Created = &now
	if o.Author != "" {
		c.is.Author = o.Author
	}
	c.is.History = lowerHistory(c.is.History, len(base.DiffIDs))
	c.entry = ocispec.History{Created: &now, CreatedBy: o.CreatedBy, Author: o.Author, Comment: o.Message}
	return c, nil
}

// lowerHistory gives the entries of the lower layers: up to the last of them, and what
// follows it without a layer.
func lowerHistory(all []ocispec.History, layers int) []ocispec.History {
	for i, h := range all {
		if h.EmptyLayer {
			continue
		}
		if layers == 0 {
			return slices.Clip(all[:i])
		}
		layers--
	}
	return slices.Clip(all)
}

// layersIn counts the layers that a history tells of.
func layersIn(all []ocispec.History) (n int) {
	for _, h := range all {
		if !h.EmptyLayer {
			n++
		}
	}
	return n
}

// finish gives the bytes of the config.
func (c *config) finish(diffIDs []digest.Digest, more bool) ([]byte, error) {
	// A layer that no line tells of yet, of a root file system, is this one's.
	c.entry.EmptyLayer = !more && layersIn(c.is.History) >= len(diffIDs)
	c.is.History = append(c.is.History, c.entry)
	c.is.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: diffIDs}
	was, err := fields(c.was)
	if err != nil {
		return nil, err
	}
	is, err := fields(c.is)
	if err != nil {
		return nil, err
	}
	all := map[string]any{}
	if err := json.Unmarshal(c.raw, &all); err != nil {
		return nil, err
	}
	// What docker once noted of the container that an image was made from is not
	// of this one.
	for _, stale := range []string{"container", "container_config", "id", "parent"} {
		delete(all, stale)
	}
	replace(all, was, is)
	return json.Marshal(all)
}

// fields gives a value as JSON has it.
func fields(v any) (m map[string]any, err error) {
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	return m, err
}

// replace changes the known fields of an object and leaves the others.
func replace(all, was, is map[string]any) {
	for k := range was {
		if _, ok := is[k]; !ok {
			delete(all, k)
		}
	}
	for k, v := range is {
		sub, isObject := v.(map[string]any)
		old, wasObject := all[k].(map[string]any)
		if k == "config" && isObject && wasObject {
			before, _ := was[k].(map[string]any)
			replace(old, before, sub)
			continue
		}
		all[k] = v
	}
}

// errNotConfig says of an instruction that it is none for a config.
var errNotConfig = errors.New("only CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME and WORKDIR can be given")

// Configure has instructions of a Dockerfile change a config, in their order.
func Configure(img *dockerspec.DockerOCIImage, all []string) error {
	for _, text := range all {
		if err := configure(img, text); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	return nil
}

func configure(img *dockerspec.DockerOCIImage, text string) error {
	f, err := dockerfile.Parse("instruction", []byte("FROM "+dockerfile.Scratch+"\n"+text+"\n"))
	if err != nil {
		return plainly(err)
	}
	plan, err := f.Plan(dockerfile.Options{})
	if err != nil {
		return plainly(err)
	}
	if len(plan.Target.Commands) != 1 || len(plan.Stages) != 1 {
		return errNotConfig
	}
	cmd := plan.Target.Commands[0]
	switch dockerfile.Plain(cmd).(type) {
	case *instructions.ArgCommand, *instructions.MaintainerCommand:
		return errNotConfig
	}
	hadPath := hasPath(img)
	state, onbuild := plan.NewState(*img)
	state.Image.Config.OnBuild = onbuild // they are for who builds on this one
	if err := state.Expand(cmd); err != nil {
		return plainly(err)
	}
	done, err := state.Apply(cmd)
	if err != nil {
		return plainly(err)
	}
	if !done {
		return errNotConfig
	}
	if !hadPath && !setsPath(cmd) {
		// NewState gives one to an image that has none, for RUN.
		state.Image.Config.Env = slices.DeleteFunc(state.Image.Config.Env, isPath)
	}
	*img = state.Image
	return nil
}

func setsPath(cmd instructions.Command) bool {
	env, ok := dockerfile.Plain(cmd).(*instructions.EnvCommand)
	return ok && slices.ContainsFunc(env.Env, func(kv instructions.KeyValuePair) bool { return kv.Key == "PATH" })
}

func isPath(kv string) bool { return strings.HasPrefix(kv, "PATH=") }

func hasPath(img *dockerspec.DockerOCIImage) bool { return slices.ContainsFunc(img.Config.Env, isPath) }

// plainly leaves out where in the text an error is: it is one line.
func plainly(err error) error {
	if at := (*dockerfile.Error)(nil); errors.As(err, &at) {
		return at.Err
	}
	return err
}
