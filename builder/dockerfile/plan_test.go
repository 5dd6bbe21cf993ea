package dockerfile

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var linux = ocispec.Platform{OS: "linux", Architecture: "amd64"}

func planOf(src, target string, args map[string]string) (*Plan, error) {
	f, err := Parse("Dockerfile", []byte(src))
	if err != nil {
		return nil, err
	}
	return f.Plan(Options{Args: args, Target: target, Platform: linux, BuildPlatform: linux})
}

func TestPlanOrdersStages(t *testing.T) {
	for _, tt := range []struct {
		about, src, target string
		args               map[string]string
		want               []string // stages, "name=base"
	}{
		{about: "one stage without a name", src: "FROM a", want: []string{"0=a"}},
		{about: "stages that nobody needs are left out", src: "FROM a AS x\nFROM b AS y\nFROM c", want: []string{"2=c"}},
		{about: "a stage as a base, whatever its case", src: "FROM a AS x\nFROM X AS y", want: []string{"x=a", "y=stage x"}},
		{about: "copied from, by name and by number", src: "FROM a AS x\nFROM b\nFROM c\nCOPY --from=1 . .\nCOPY --from=x . .", want: []string{"1=b", "x=a", "2=c"}},
		{about: "copied from an image", src: "FROM a\nCOPY --from=busybox /bin/ls /", want: []string{"0=a"}},
		{about: "mounted from", src: "FROM a AS x\nFROM b\nRUN --mount=from=x,target=/m true", want: []string{"x=a", "1=b"}},
		{about: "copied from a later stage", src: "FROM a AS x\nCOPY --from=y . .\nFROM b AS y\nFROM x", want: []string{"y=b", "x=a", "2=stage x"}},
		{about: "a target by name", src: "FROM a AS x\nFROM b AS y\nFROM c", target: "Y", want: []string{"y=b"}},
		{about: "a target by number", src: "FROM a AS x\nFROM b AS y", target: "0", want: []string{"x=a"}},
		{about: "ARG before FROM", src: "ARG V=1\nARG W=$V.2\nFROM a:$W", want: []string{"0=a:1.2"}},
		{about: "ARG before FROM, given", src: "ARG V=1\nARG W=$V.2\nFROM a:$W", args: map[string]string{"V": "7"}, want: []string{"0=a:7.2"}},
		{about: "a default in the FROM", src: "FROM ${BASE:-debian}", want: []string{"0=debian"}},
		{about: "the target's platform", src: "FROM --platform=$TARGETPLATFORM a-$TARGETARCH", want: []string{"0=a-amd64"}},
		{about: "another escape", src: "# escape=`\nFROM a\nRUN x `\n y", want: []string{"0=a"}},
	} {
		p, err := planOf(tt.src, tt.target, tt.args)
		if err != nil {
			t.Errorf("%s: %v", tt.about, err)
			continue
		}
		var got []string
		for _, st := range p.Stages {
			base := st.Image
			if st.Base != nil {
				base = "stage " + st.Base.Name
			}
			got = append(got, st.Name+"="+base)
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s: stages (-want +got):\n%s", tt.about, d)
		}
		if last := p.Stages[len(p.Stages)-1]; last != p.Target {
			t.Errorf("%s: the last stage is %s, want the target %s", tt.about, last.Name, p.Target.Name)
		}
	}
}

func TestErrorsTellThePlace(t *testing.T) {
	for _, tt := range []struct{ src, target, want string }{
		{src: "", want: `Dockerfile: no instructions in it`},
		{src: "# nothing\n", want: `Dockerfile: no instructions in it`},
		{src: "ARG A=1\n", want: `Dockerfile: no FROM in it, so nothing to build`},
		{src: "FROM a\n\n  RUNN apt-get update", want: `Dockerfile:3:3: RUNN apt-get update: unknown instruction (did you mean RUN?)`},
		{src: "FROM a\nQWERTZ x", want: `Dockerfile:2:1: QWERTZ x: unknown instruction`},
		{src: "RUN x\nFROM a", want: `Dockerfile:1:1: RUN x: comes before the first FROM`},
		{src: "FROM a\nCOPY x", want: `Dockerfile:2:1: COPY x: COPY requires at least two arguments, but only one was provided. Destination could not be determined`},
		{src: "FROM a\nCOPY --form=x y z", want: `Dockerfile:2:1: COPY --form=x y z: unknown flag: --form (did you mean from?)`},
		{src: "FROM a AS x\nCOPY --from=x . .", want: `Dockerfile:2:13: COPY --from=x . .: a stage cannot copy from itself`},
		{src: "FROM a AS x\nCOPY --from=3 . .", want: `Dockerfile:2:13: COPY --from=3 . .: no stage 3; has: x`},
		{src: "FROM a AS x\nCOPY --from=y . .\nFROM b AS y\nCOPY --from=x . .", want: `Dockerfile:3:1: FROM b AS y: stages need each other: y → x → y`},
		{src: "FROM a AS x\nFROM b AS X", want: `Dockerfile:2:11: FROM b AS X: a stage before this one is called x, too`},
		{src: "FROM a AS build\nFROM b", target: "biuld", want: `Dockerfile: no stage biuld (did you mean build?); has: build, 1`},
		{src: "FROM $BASE", want: `Dockerfile:1:6: FROM $BASE: $BASE is empty; give it a value: ARG before the first FROM, or --build-arg`},
		{src: "FROM --platform=q/r/s/t a", want: `Dockerfile:1:17: FROM --platform=q/r/s/t a: platform "q/r/s/t": "q/r/s/t": cannot parse platform specifier: invalid argument`},
		{src: "FROM a\x00", want: `Dockerfile: not a text file`},
		{src: "FROM a\nRUN <<EOF\nx", want: `Dockerfile:2:1: RUN <<EOF: unterminated heredoc`},
	} {
		_, err := planOf(tt.src, tt.target, nil)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%q: %v\nwant %s", tt.src, err, tt.want)
		}
		if e := (*Error)(nil); err != nil && !errors.As(err, &e) {
			t.Errorf("%q: a %T, want an *Error", tt.src, err)
		}
	}
}

func TestLongFilesAreRefused(t *testing.T) {
	if _, err := Parse("Dockerfile", []byte("FROM a\n"+strings.Repeat("RUN x\n", 10<<20/6))); err == nil {
		t.Error("a Dockerfile of 10 MB is read")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("FROM a AS x\nARG V=1\nENV A=${V:-x}\nCOPY --from=x <<E /\nq\nE\nRUN --mount=type=cache,target=/x y")
	f.Add("# escape=`\nFROM a\nONBUILD RUN x\nHEALTHCHECK NONE\nSHELL [\"a\"]")
	f.Fuzz(func(t *testing.T, src string) {
		_, err := planOf(src, "", nil)
		if e := (*Error)(nil); err != nil && !errors.As(err, &e) {
			t.Errorf("%v is a %T, want an *Error", err, err)
		}
	})
}
