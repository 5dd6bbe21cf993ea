package dockerfile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// runStage has the target's instructions change the config of a base, and gives
// what RUN would execute.
func runStage(src string, args map[string]string, base dockerspec.DockerOCIImageConfig) (*State, []Command, error) {
	p, err := planOf(src, "", args)
	if err != nil {
		return nil, nil, err
	}
	s, onbuild := p.NewState(dockerspec.DockerOCIImage{Config: base})
	commands, err := p.File.Triggers(p.Target, onbuild)
	if err != nil {
		return nil, nil, err
	}
	var runs []Command
	for _, cmd := range append(commands, p.Target.Commands...) {
		if err := s.Expand(cmd); err != nil {
			return nil, nil, err
		}
		if _, err := s.Apply(cmd); err != nil {
			return nil, nil, err
		}
		if run, ok := Plain(cmd).(*instructions.RunCommand); ok {
			c, err := s.Run(run)
			if err != nil {
				return nil, nil, err
			}
			runs = append(runs, c)
		}
	}
	return s, runs, nil
}

// show gives what of a config is set, a line each.
func show(s *State) []string {
	c := s.Image.Config
	var out []string
	add := func(name string, v any, set bool) {
		if set {
			out = append(out, fmt.Sprintf("%s=%v", name, v))
		}
	}
	for _, kv := range c.Env {
		add("env", kv, !strings.HasPrefix(kv, "PATH="))
	}
	add("entrypoint", fmt.Sprintf("%q", c.Entrypoint), c.Entrypoint != nil)
	add("cmd", fmt.Sprintf("%q", c.Cmd), c.Cmd != nil)
	add("dir", c.WorkingDir, c.WorkingDir != "")
	add("user", c.User, c.User != "")
	add("labels", c.Labels, c.Labels != nil)
	add("ports", c.ExposedPorts, c.ExposedPorts != nil)
	add("volumes", c.Volumes, c.Volumes != nil)
	add("signal", c.StopSignal, c.StopSignal != "")
	add("shell", c.Shell, c.Shell != nil)
	add("onbuild", fmt.Sprintf("%q", c.OnBuild), c.OnBuild != nil)
	add("author", s.Image.Author, s.Image.Author != "")
	return out
}

func TestInstructionsChangeTheConfig(t *testing.T) {
	for _, tt := range []struct {
		about, src string
		args       map[string]string
		base       dockerspec.DockerOCIImageConfig
		want       []string
	}{
		{about: "values of one ENV are those before it", src: "ENV A=1\nENV A=2 B=$A\nENV C=$A-$B", want: []string{"env=A=2", "env=B=1", "env=C=2-1"}},
		{about: "the old form of ENV", src: "ENV A b c", want: []string{"env=A=b c"}},
		{about: "quotes and escapes", src: `ENV A="x y" B='$A' C=\$A D=a\ b`, want: []string{"env=A=x y", "env=B=$A", "env=C=$A", "env=D=a b"}},
		{about: "operators", src: `ENV E= S=aXbXc` + "\n" + `ENV A=${E:-d} B=${E-d} C=${S:+y} D=${N+y} F=${S#*X} G=${S%%X*} H=${S//X/-}`,
			want: []string{"env=E=", "env=S=aXbXc", "env=A=d", "env=B=", "env=C=y", "env=D=", "env=F=bXc", "env=G=a", "env=H=a-b-c"}},
		{about: "ARG, given", src: "ARG V=1\nENV A=$V", args: map[string]string{"V": "2"}, want: []string{"env=A=2"}},
		{about: "ARG, its default", src: "ARG V=1 W=$V\nENV A=$W", want: []string{"env=A="}},
		{about: "ARG is not known before it", src: "ENV A=$V\nARG V=1", want: []string{"env=A="}},
		{about: "ENV hides ARG", src: "ENV V=env\nARG V=arg\nENV A=$V", want: []string{"env=V=env", "env=A=env"}},
		{about: "ARG that is not declared", src: "ENV A=$V", args: map[string]string{"V": "2"}, want: []string{"env=A="}},
		{about: "the platform is to be declared", src: "ENV A=$TARGETARCH\nARG TARGETARCH\nENV B=$TARGETARCH", want: []string{"env=A=", "env=B=amd64"}},
		{about: "WORKDIR is relative to the last", src: "WORKDIR /a\nWORKDIR b\nENV X=y\nWORKDIR ../$X/", want: []string{"env=X=y", "dir=/a/y"}},
		{about: "ENTRYPOINT takes the base's command away", src: `ENTRYPOINT ["e"]`, base: dockerspec.DockerOCIImageConfig{}, want: []string{`entrypoint=["e"]`}},
		{about: "ENTRYPOINT leaves a CMD of its stage", src: "CMD c\nENTRYPOINT [\"e\"]", want: []string{`entrypoint=["e"]`, `cmd=["/bin/sh" "-c" "c"]`}},
		{about: "SHELL", src: `SHELL ["/bin/bash","-ec"]` + "\nCMD c d", want: []string{`cmd=["/bin/bash" "-ec" "c d"]`, "shell=[/bin/bash -ec]"}},
		{about: "ports", src: "ARG P=9000-9001\nEXPOSE 80 443/UDP $P", want: []string{"ports=map[443/udp:{} 80/tcp:{} 9000/tcp:{} 9001/tcp:{}]"}},
		{about: "labels, volumes, user, signal, author", src: "LABEL a=b \"c d\"=e\nVOLUME /v [\"/w\"]\nVOLUME [\"/x\"]\nUSER u:g\nSTOPSIGNAL SIGINT\nMAINTAINER m",
			want: []string{"user=u:g", "labels=map[a:b c d:e]", `volumes=map[/v:{} /x:{} [/w]:{}]`, "signal=SIGINT", "author=m"}},
		{about: "ONBUILD is kept as it is", src: "ONBUILD RUN echo $X\nONBUILD COPY . /app", want: []string{`onbuild=["RUN echo $X" "COPY . /app"]`}},
		{about: "triggers of the base come first, and go", src: "ENV B=$A", base: dockerspec.DockerOCIImageConfig{DockerOCIImageConfigExt: dockerspec.DockerOCIImageConfigExt{OnBuild: []string{"ENV A=1", "WORKDIR /t"}}}, want: []string{"env=A=1", "env=B=1", "dir=/t"}},
	} {
		s, _, err := runStage("FROM a\n"+tt.src, tt.args, tt.base)
		if err != nil {
			t.Errorf("%s: %v", tt.about, err)
			continue
		}
		if d := cmp.Diff(tt.want, show(s)); d != "" {
			t.Errorf("%s: config (-want +got):\n%s", tt.about, d)
		}
	}
}

func TestInstructionsThatMeanNothing(t *testing.T) {
	for src, want := range map[string]string{
		"EXPOSE 99999":       `"99999" is no port`,
		"EXPOSE 90-80":       `"90-80" is no port`,
		"EXPOSE 80/xyz":      `80/xyz: protocol "xyz" (has: tcp, udp, sctp)`,
		"STOPSIGNAL SIGNOPE": `"SIGNOPE" is no signal`,
		"STOPSIGNAL 99":      `"99" is no signal`,
		"ENV A=${B?needed}":  `failed to process "${B?needed}": B: needed`,
		"WORKDIR $NONE":      `the path is empty`,
	} {
		_, _, err := runStage("FROM a\n"+src, nil, dockerspec.DockerOCIImageConfig{})
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", src, err, want)
		}
	}
}

func TestRunCommands(t *testing.T) {
	for _, tt := range []struct {
		about, src string
		want       Command
	}{
		{"a line", "RUN a  b", Command{Args: []string{"/bin/sh", "-c", "a  b"}}},
		{"a line goes on", "RUN a \\\n # note\n b", Command{Args: []string{"/bin/sh", "-c", "a  b"}}},
		{"words", `RUN ["a","b c"]`, Command{Args: []string{"a", "b c"}}},
		{"a script", "RUN <<E\na\nb\nE", Command{Args: []string{"/bin/sh", "-c", "a\nb\n"}}},
		{"a script with its interpreter", "RUN <<E\n#!/bin/x\na\nE", Command{Args: []string{ScriptPath}, Script: []byte("#!/bin/x\na\n")}},
		{"tabs at the front", "RUN <<-E\n\ta\nE", Command{Args: []string{"/bin/sh", "-c", "a\n"}}},
		{"a document for a program", "RUN cat <<E > /f\na\nE", Command{Args: []string{"/bin/sh", "-c", "cat <<E > /f\na\nE"}}},
		{"variables are the shell's", "ARG V=1\nRUN echo $V", Command{Args: []string{"/bin/sh", "-c", "echo $V"}}},
	} {
		_, runs, err := runStage("FROM a\n"+tt.src, nil, dockerspec.DockerOCIImageConfig{})
		if err != nil {
			t.Errorf("%s: %v", tt.about, err)
			continue
		}
		if d := cmp.Diff([]Command{tt.want}, runs); d != "" {
			t.Errorf("%s: (-want +got):\n%s", tt.about, d)
		}
	}
}

func TestEnvironmentOfRun(t *testing.T) {
	s, _, err := runStage("FROM a\nARG A=1\nENV A=2\nARG B=3", map[string]string{"http_proxy": "p"}, dockerspec.DockerOCIImageConfig{ImageConfig: ocispec.ImageConfig{Env: []string{"PATH=/bin"}}})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"http_proxy=p", "A=2", "B=3", "PATH=/bin"}, s.Env()); d != "" {
		t.Errorf("Env (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"B=3"}, s.Args()); d != "" {
		t.Errorf("Args (-want +got):\n%s", d)
	}
}
