package dockerfile

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Scratch is the name of the image without anything.
const Scratch = "scratch"

// Options are what is said of a build besides its Dockerfile.
type Options struct {
	Args   map[string]string // --build-arg
	Target string            // the name or number of a stage; "" is the last
	// Target's platform, and that of the machine that builds.
	Platform, BuildPlatform ocispec.Platform
}

// A Plan is the stages that have to be built for a target.
type Plan struct {
	File   *File
	Stages []*Stage // each comes after those that it needs
	Target *Stage

	options Options
	global  environment // ARG before the first FROM, platforms
	all     []*Stage    // by their number
}

// A Stage is what stands from one FROM to the next.
type Stage struct {
	Number   int
	Name     string // its number where it has no other
	Image    string // what FROM names, if that is no stage
	Base     *Stage // the stage that FROM names, or nil
	Platform *ocispec.Platform
	Commands []instructions.Command

	source   string
	location []parser.Range
	needs    []*Stage
}

// FromScratch reports whether the stage begins with nothing.
func (st *Stage) FromScratch() bool { return st.Base == nil && st.Image == Scratch }

// Source is the FROM of the stage, as it is written.
func (st *Stage) Source() string { return st.source }

// Plan says what has to be built, in which order.
func (f *File) Plan(o Options) (*Plan, error) {
	p := &Plan{File: f, options: o}
	if err := p.globals(); err != nil {
		return nil, err
	}
	for i := range f.stages {
		st, err := p.stage(i, &f.stages[i])
		if err != nil {
			return nil, err
		}
		p.all = append(p.all, st)
	}
	for _, st := range p.all {
		if err := p.link(st); err != nil {
			return nil, err
		}
	}
	p.Target = p.all[len(p.all)-1]
	if o.Target != "" {
		if p.Target = p.Find(o.Target); p.Target == nil {
			return nil, f.errorAt(nil, "", fmt.Errorf("no stage %s%s; has: %s", o.Target, didYouMean(o.Target, p.names()), strings.Join(p.names(), ", ")))
		}
	}
	return p, p.order(p.Target, nil)
}

// globals evaluates what stands before the first FROM.
func (p *Plan) globals() error {
	p.global = platformArgs(&p.options)
	for i := range p.File.global {
		cmd := &p.File.global[i]
		for _, arg := range cmd.Args {
			v, given := p.options.Args[arg.Key]
			if !given && arg.Value != nil {
				var err error
				if v, err = p.File.word(*arg.Value, p.global); err != nil {
					return p.File.errorAt(cmd.Location(), *arg.Value, err)
				}
				given = true
			}
			if given {
				p.global.set(arg.Key, v)
			}
		}
	}
	return nil
}

// stage evaluates a FROM.
func (p *Plan) stage(number int, from *instructions.Stage) (*Stage, error) {
	st := &Stage{Number: number, Name: stageName(from, number), Commands: from.Commands, source: from.SourceCode, location: from.Location}
	name, err := p.File.word(from.BaseName, p.global)
	if err == nil && name == "" {
		err = fmt.Errorf("%s is empty; give it a value: ARG before the first FROM, or --build-arg", from.BaseName)
	}
	if err != nil {
		return nil, p.File.errorAt(from.Location, from.BaseName, err)
	}
	st.Image = name
	if from.Platform != "" {
		text, err := p.File.word(from.Platform, p.global)
		if err != nil {
			return nil, p.File.errorAt(from.Location, from.Platform, err)
		}
		platform, err := platforms.Parse(text)
		if err != nil {
			return nil, p.File.errorAt(from.Location, from.Platform, fmt.Errorf("platform %q: %v", text, err))
		}
		st.Platform = &platform
	}
	// FROM means a stage that stands before it, COPY --from any.
	if st.Base = p.named(name); st.Base != nil {
		st.Image = ""
		st.needs = append(st.needs, st.Base)
	}
	return st, nil
}

// named finds a stage among those that have been read, by its name alone.
func (p *Plan) named(name string) *Stage {
	for _, st := range p.all {
		if strings.EqualFold(p.File.stages[st.Number].Name, name) {
			return st
		}
	}
	return nil
}

// Find finds a stage by its name, or else by its number; nil is none.
func (p *Plan) Find(name string) *Stage {
	if st := p.named(name); st != nil {
		return st
	}
	if n, err := strconv.Atoi(name); err == nil && n >= 0 && n < len(p.all) {
		return p.all[n]
	}
	return nil
}

func (p *Plan) names() []string {
	var names []string
	for _, st := range p.all {
		names = append(names, st.Name)
	}
	return names
}

// sources gives what an instruction takes files from: stages or images.
func sources(cmd instructions.Command) []string {
	switch c := Plain(cmd).(type) {
	case *instructions.CopyCommand:
		if c.From != "" {
			return []string{c.From}
		}
	case *instructions.RunCommand:
		var from []string
		for _, m := range instructions.GetMounts(c) {
			if m.From != "" {
				from = append(from, m.From)
			}
		}
		return from
	}
	return nil
}

// link notes which stages a stage needs.
func (p *Plan) link(st *Stage) error {
	for _, cmd := range st.Commands {
		for _, name := range sources(cmd) {
			if _, err := p.Source(st, cmd, name); err != nil {
				return err
			}
			if from := p.Find(name); from != nil && !slices.Contains(st.needs, from) {
				st.needs = append(st.needs, from)
			}
		}
	}
	return nil
}

// Source gives the stage that --from of an instruction names, nil where that is
// an image.
func (p *Plan) Source(st *Stage, cmd instructions.Command, name string) (*Stage, error) {
	from := p.Find(name)
	if n, err := strconv.Atoi(name); from == nil && err == nil {
		return nil, p.File.At(cmd, name, fmt.Errorf("no stage %d; has: %s", n, strings.Join(p.names(), ", ")))
	}
	if from == st {
		return nil, p.File.At(cmd, name, errors.New("a stage cannot copy from itself"))
	}
	if _, triggered := cmd.(*trigger); triggered && from != nil && p.reaches(from, st, map[*Stage]bool{}) {
		return nil, p.File.At(cmd, "", fmt.Errorf("stage %s needs stage %s, which needs it", st.Name, from.Name))
	}
	return from, nil
}

func (p *Plan) reaches(from, to *Stage, seen map[*Stage]bool) bool {
	if from == to {
		return true
	}
	if seen[from] {
		return false
	}
	seen[from] = true
	return slices.ContainsFunc(from.needs, func(st *Stage) bool { return p.reaches(st, to, seen) })
}

// order adds a stage after all that it needs. path is how it was come to.
func (p *Plan) order(st *Stage, path []*Stage) error {
	if at := slices.Index(path, st); at >= 0 {
		var names []string
		for _, on := range append(path[at:], st) {
			names = append(names, on.Name)
		}
		return p.File.errorAt(st.location, "", fmt.Errorf("stages need each other: %s", strings.Join(names, " → ")))
	}
	if slices.Contains(p.Stages, st) {
		return nil
	}
	for _, need := range st.needs {
		if err := p.order(need, append(path, st)); err != nil {
			return err
		}
	}
	p.Stages = append(p.Stages, st)
	return nil
}

// word puts the values of variables into a word, and takes its quotes away.
func (f *File) word(word string, env shell.EnvGetter) (string, error) {
	out, _, err := shell.NewLex(f.escape).ProcessWord(word, env)
	return out, err
}

// Declares reports whether any ARG names a variable, or the build knows it
// anyway, so that --build-arg has a meaning.
func (p *Plan) Declares(name string) bool {
	if _, ok := p.global.Get(name); ok || slices.Contains(freeArgs, name) {
		return true
	}
	for _, st := range p.all {
		for _, cmd := range st.Commands {
			arg, ok := cmd.(*instructions.ArgCommand)
			if ok && slices.ContainsFunc(arg.Args, func(kv instructions.KeyValuePairOptional) bool { return kv.Key == name }) {
				return true
			}
		}
	}
	return false
}
