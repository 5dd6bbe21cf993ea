package dockerfile

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
)

// A State is how far a stage has come: the config of its image, and the
// variables that its instructions see.
type State struct {
	// Image is the config, without history and rootfs. It is the state's own.
	Image dockerspec.DockerOCIImage

	plan   *Plan
	args   environment // of ARG
	cmdSet bool        // in this stage, so that ENTRYPOINT leaves it
}

// DefaultPath is the PATH of an image that has none.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// NewState begins a stage on the config of its base. The triggers of the base
// are taken out of it: see [File.Triggers].
func (p *Plan) NewState(base dockerspec.DockerOCIImage) (s *State, onbuild []string) {
	onbuild = base.Config.OnBuild
	base.Config.OnBuild = nil
	base.Config.Env = slices.Clone(base.Config.Env)
	base.Config.Labels = maps.Clone(base.Config.Labels)
	base.Config.ExposedPorts = maps.Clone(base.Config.ExposedPorts)
	base.Config.Volumes = maps.Clone(base.Config.Volumes)
	if _, ok := environment(base.Config.Env).Get("PATH"); !ok {
		base.Config.Env = append(base.Config.Env, "PATH="+DefaultPath)
	}
	return &State{Image: base, plan: p}, onbuild
}

// lookup is what a variable in an instruction stands for: ENV before ARG
// (Dockerfile reference, "Using ARG variables").
func (s *State) lookup() environment { return s.args.over(s.Image.Config.Env) }

// Env is the environment of a RUN: ARG, and ENV over it.
func (s *State) Env() []string {
	var free environment
	for _, name := range freeArgs {
		if v, ok := s.plan.options.Args[name]; ok {
			free.set(name, v)
		}
	}
	return free.over(s.lookup())
}

// StableEnv is what of [State.Env] makes one RUN another than the next.
func (s *State) StableEnv() []string {
	return slices.DeleteFunc(slices.Clone(s.lookup()), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		_, set := environment(s.Image.Config.Env).Get(name)
		return !set && slices.Contains(freeArgs, name)
	})
}

// Args are the values of ARG that a RUN sees and that are not hidden by ENV, as
// NAME=VALUE.
func (s *State) Args() []string {
	var out []string
	for _, kv := range s.args {
		name, _, _ := strings.Cut(kv, "=")
		if _, hidden := environment(s.Image.Config.Env).Get(name); !hidden && !slices.Contains(freeArgs, name) {
			out = append(out, kv)
		}
	}
	return out
}

// Expand puts the values of variables into an instruction, in place.
func (s *State) Expand(cmd instructions.Command) error {
	env := s.lookup()
	cmd = Plain(cmd)
	if c, ok := cmd.(instructions.SupportsSingleWordExpansion); ok {
		err := c.Expand(func(word string) (string, error) { return s.plan.File.word(word, env) })
		if err != nil {
			return err
		}
	}
	if c, ok := cmd.(instructions.SupportsSingleWordExpansionRaw); ok {
		// A here-document keeps its quotes, and its escapes are backslashes.
		return c.ExpandRaw(func(word string) (string, error) {
			lex := shell.NewLex('\\')
			lex.SkipProcessQuotes = true
			out, _, err := lex.ProcessWord(word, env)
			return out, err
		})
	}
	return nil
}

// Abs gives a path of an instruction from the root, as WORKDIR has it. A slash
// at the end stays, as it says that a directory is meant; so does a last ".".
func (s *State) Abs(p string) string {
	out := path.Join("/", s.Image.Config.WorkingDir, p)
	if path.IsAbs(p) {
		out = path.Clean(p)
	}
	if last := p[strings.LastIndexByte(p, '/')+1:]; (last == "" || last == ".") && out != "/" {
		out += "/"
	}
	return out
}

// Shell is what runs a command that is given as text.
func (s *State) Shell() []string {
	if len(s.Image.Config.Shell) > 0 {
		return s.Image.Config.Shell
	}
	return []string{"/bin/sh", "-c"}
}

// withShell gives the command line of an instruction.
func (s *State) withShell(line instructions.ShellDependantCmdLine) []string {
	if !line.PrependShell {
		return line.CmdLine
	}
	return append(slices.Clone(s.Shell()), strings.Join(line.CmdLine, " "))
}

// errFiles says that an instruction changes files.
var errFiles = errors.New("changes files")

// Apply has an instruction that has been expanded change the config. It reports
// false for one that changes files: RUN, COPY, ADD. WORKDIR does both.
func (s *State) Apply(cmd instructions.Command) (done bool, err error) {
	err = s.apply(Plain(cmd))
	if err == errFiles {
		return false, nil
	}
	return true, err
}

func (s *State) apply(cmd instructions.Command) error {
	cfg := &s.Image.Config
	switch c := cmd.(type) {
	case *instructions.EnvCommand:
		for _, kv := range c.Env {
			if kv.Key == "" || strings.ContainsAny(kv.Key, "=\x00") {
				return fmt.Errorf("%q is no name of a variable", kv.Key)
			}
			(*environment)(&cfg.Env).set(kv.Key, kv.Value)
		}
	case *instructions.ArgCommand:
		s.declare(c)
	case *instructions.LabelCommand:
		for _, kv := range c.Labels {
			put(&cfg.Labels, kv.Key, kv.Value)
		}
	case *instructions.MaintainerCommand:
		s.Image.Author = c.Maintainer
	case *instructions.CmdCommand:
		cfg.Cmd, s.cmdSet = s.withShell(c.ShellDependantCmdLine), true
	case *instructions.EntrypointCommand:
		cfg.Entrypoint = s.withShell(c.ShellDependantCmdLine)
		// The base's command was meant for its own entrypoint.
		if !s.cmdSet {
			cfg.Cmd = nil
		}
	case *instructions.ExposeCommand:
		return s.expose(c)
	case *instructions.UserCommand:
		cfg.User = c.User
	case *instructions.VolumeCommand:
		for _, v := range c.Volumes {
			if v = strings.TrimSpace(v); v == "" {
				return errors.New("a volume without a path")
			}
			put(&cfg.Volumes, v, struct{}{})
		}
	case *instructions.WorkdirCommand:
		if c.Path == "" {
			return errors.New("the path is empty")
		}
		cfg.WorkingDir = path.Clean(s.Abs(c.Path))
	case *instructions.StopSignalCommand:
		return s.stopSignal(c.Signal)
	case *instructions.ShellCommand:
		cfg.Shell = c.Shell
	case *instructions.HealthCheckCommand:
		cfg.Healthcheck = c.Health
	case *instructions.OnbuildCommand:
		cfg.OnBuild = append(cfg.OnBuild, c.Expression)
	default:
		return errFiles
	}
	return nil
}

// put sets a key of a map that may be nil.
func put[V any](m *map[string]V, key string, value V) {
	if *m == nil {
		*m = make(map[string]V)
	}
	(*m)[key] = value
}

// declare makes the variables of an ARG known from here on.
func (s *State) declare(c *instructions.ArgCommand) {
	for _, arg := range c.Args {
		value, ok := s.plan.options.Args[arg.Key]
		if !ok && arg.Value != nil {
			value, ok = *arg.Value, true
		}
		if !ok {
			value, ok = s.plan.global.Get(arg.Key)
		}
		if ok {
			s.args.set(arg.Key, value)
		}
	}
}
