package e2e

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/txtar"
)

// A yard is a host that builds from a busybox image, called "base" in
// Dockerfiles.
type yard struct{ *boxes }

func newYard(t *testing.T) *yard {
	t.Helper()
	b := newBoxes(t, v1.ImageConfig{Env: []string{"PATH=/bin"}, Cmd: []string{"sh"}})
	b.mica("copy", "-q", "oci:"+b.image+":latest", "base")
	return &yard{b}
}

// context makes a directory of the files of a txtar archive. A name that ends
// with " -> TARGET" is a symlink.
func (y *yard) context(files string) string {
	y.t.Helper()
	dir, err := os.MkdirTemp(y.dir, "context")
	if err != nil {
		y.t.Fatal(err)
	}
	for _, f := range txtar.Parse([]byte(files)).Files {
		name, target, link := strings.Cut(f.Name, " -> ")
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			y.t.Fatal(err)
		}
		if link {
			err = os.Symlink(target, at)
		} else {
			err = os.WriteFile(at, f.Data, 0o644)
		}
		if err != nil {
			y.t.Fatal(err)
		}
	}
	return dir
}

// build builds a context and gives the ID of the image, and what was shown.
func (y *yard) build(files string, flags ...string) (id, shown string) {
	y.t.Helper()
	r := y.try(append(append([]string{"build"}, flags...), y.context(files))...)
	if r.status != 0 {
		y.t.Fatalf("mica build: status %d\n%s", r.status, r.stderr)
	}
	return strings.TrimSpace(r.stdout), r.stderr
}

// TestBuild builds with each instruction, and looks at the image from inside.
func TestBuild(t *testing.T) {
	y := newYard(t)
	for _, tt := range []struct {
		about, files string
		flags        []string
		script, want string // run in the image; "" is its own command
	}{
		{"files and commands", `
-- Dockerfile --
FROM base
WORKDIR /srv/app
COPY a b/ ./
RUN cat a c > d && rm a && echo out
CMD cat d; ls
-- a --
of a
-- b/c --
of c
`, nil, "", "of a\nof c\nc\nd\n"},
		{"stages", `
-- Dockerfile --
FROM base AS one
RUN echo 1 > /out
FROM base AS unneeded
RUN exit 9
FROM base
COPY --from=one /out /one
COPY --from=0 /out /two
COPY --from=base /etc/passwd /three
CMD cat /one /two; head -1 /three
`, nil, "", "1\n1\nroot:x:0:0:root:/root:/bin/sh\n"},
		{"users and modes", `
-- Dockerfile --
FROM base
COPY --chown=ada:staff --chmod=640 f /n/
COPY --chmod=u+x,go-r f /g
USER ada
RUN id -u > /tmp/id
WORKDIR /srv/mine
CMD stat -c '%U %G %a' /n /n/f /g /srv/mine; cat /tmp/id
-- f --
`, nil, "", "ada staff 755\nada staff 640\nroot root 700\nada ada 755\n1000\n"},
		{"variables", `
-- Dockerfile --
ARG TAG=base
FROM $TAG
ARG A=1 B
ARG C=c
ENV E=${A}-$B-${C:-x}-${NONE:-none}
RUN echo "$E $A $B $C" > /out
CMD cat /out; echo "$E ${A:-no}"
`, []string{"--build-arg", "B=b"}, "", "1-b-c-none 1 b c\n1-b-c-none no\n"},
		{"here-documents", `
-- Dockerfile --
FROM base
RUN <<EOF
echo one > /out
echo two >> /out
EOF
RUN <<EOF
#!/bin/cat
three
EOF
COPY <<A <<"B" /d/
$PATH
A
$PATH
B
RUN cat > /e <<EOF
four
EOF
CMD cat /out /d/A /d/B /e
`, nil, "", "one\ntwo\n/bin\n$PATH\nfour\n"},
		{"mounts of RUN", `
-- Dockerfile --
FROM base AS one
RUN echo stage > /f
FROM base
RUN --mount=target=/ctx cat /ctx/f > /out
RUN --mount=from=one,target=/one --mount=type=tmpfs,target=/t cat /one/f >> /out && echo x > /t/x
RUN --mount=type=secret,id=s cat /run/secrets/s >> /out
RUN --mount=type=secret,id=s,env=WORD echo $WORD >> /out
RUN --mount=type=cache,target=/c echo cached > /c/f
RUN --mount=type=cache,target=/c cat /c/f >> /out
CMD cat /out; ls -d /ctx /one /t /run/secrets /c 2>&1 | grep -c 'No such'
-- f --
context
`, []string{"--secret", "id=s,env=HIDDEN"}, "", "context\nstage\nsecret-secret-\ncached\n5\n"},
		{"archives", `
-- Dockerfile --
FROM base AS pack
RUN mkdir -p /p/sub && echo in > /p/sub/f && tar -czf /p.tgz -C /p .
FROM base
COPY --from=pack /p.tgz /as-it-is.tgz
ADD plain /plain/
RUN test -s /as-it-is.tgz
CMD cat /plain/plain
-- plain --
no archive
`, nil, "", "no archive\n"},
		{"ignored", `
-- Dockerfile --
FROM base
COPY . /c
CMD cd /c && find . -type f | sort
-- .dockerignore --
*.log
!keep.log
d
-- a.log --
-- keep.log --
-- d/x --
-- e/f.log --
`, nil, "", "./.dockerignore\n./Dockerfile\n./e/f.log\n./keep.log\n"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			t.Setenv("HIDDEN", "secret-")
			h := *y.host
			h.t = t
			y := &yard{&boxes{&h, y.image}}
			id, shown := y.build(tt.files, tt.flags...)
			if got := y.run(id); got != tt.want {
				t.Errorf("in the image: %q, want %q; the build:\n%s", got, tt.want, shown)
			}
		})
	}
	if left := y.mica("ps", "-aq"); left != "" {
		t.Errorf("containers are left: %s", left)
	}
}

// TestBuildFails: what is wrong is told with its place, nothing is tagged, and
// nothing is left but what can be gone on with.
func TestBuildFails(t *testing.T) {
	y := newYard(t)
	before := y.mica("images", "--format", "json")
	for _, tt := range []struct{ about, files, want string }{
		{"unknown instruction", "-- Dockerfile --\nFROM base\n\nRUNN x\n", "mica: build: Dockerfile:3:1: RUNN x: unknown instruction (did you mean RUN?)\n"},
		{"unknown image", "-- Dockerfile --\nFROM nonesuch\n", "mica: build: Dockerfile:1:6: FROM nonesuch: no image \"nonesuch\" here\nhint: fetch it: mica pull nonesuch\n"},
		{"missing file", "-- Dockerfile --\nFROM base\nCOPY a \\\n  b /\n-- a --\n", "mica: build: Dockerfile:3:3: b /: b: no such file or directory\n"},
		{"file of .dockerignore", "-- Dockerfile --\nFROM base\nCOPY a /\n-- a --\n-- .dockerignore --\na\n", "mica: build: Dockerfile:2:6: COPY a /: a: left out by .dockerignore\n"},
		{"outside", "-- Dockerfile --\nFROM base\nCOPY ../a /\n", "mica: build: Dockerfile:2:6: COPY ../a /: ../a leads out of the build context\n"},
		{"symlink out", "-- Dockerfile --\nFROM base\nCOPY l /\n-- l -> /etc/passwd --\n", "mica: build: Dockerfile:2:6: COPY l /: l leads to l, a symlink to /etc/passwd: not in the build context, and what is outside of it cannot be copied\n"},
		{"unknown user", "-- Dockerfile --\nFROM base\nCOPY --chown=eve a /\n-- a --\n", "mica: build: Dockerfile:2:14: COPY --chown=eve a /: --chown=eve: no user eve in /etc/passwd of the image\n"},
		{"URL", "-- Dockerfile --\nFROM base\nADD https://x.org/y /\n", "mica: build: Dockerfile:2:5: ADD https://x.org/y /: URLs and git repositories are not fetched; download it into the context, or in a RUN\n"},
		{"a command that fails", "-- Dockerfile --\nFROM base\nRUN touch /x\nRUN echo last words; exit 7\n", "mica: build: Dockerfile:3:1: RUN echo last words; exit 7: exit status 7: last words\nhint: to look at the image as it was before: mica run -it --rm "},
		{"a command that is not there", "-- Dockerfile --\nFROM base\nRUN [\"nonesuch\"]\n", "mica: build: Dockerfile:2:1: RUN [\"nonesuch\"]: nonesuch: not found in the PATH of the container\n"},
		{"a command that is killed", "-- Dockerfile --\nFROM base\nRUN sh -c 'kill -9 $$'; exit $?\n", "mica: build: Dockerfile:2:1: RUN sh -c 'kill -9 $$'; exit $?: exit status 137 (signal 9): Killed\n"},
		{"nothing to run in", "-- Dockerfile --\nFROM scratch\nRUN x\n", "mica: build: Dockerfile:2:1: RUN x: there is nothing in the image that could be run\n"},
		{"required secret", "-- Dockerfile --\nFROM base\nRUN --mount=type=secret,id=s,required=true x\n", "mica: build: Dockerfile:2:25: RUN --mount=type=secret,id=s,required=true x: secret s is required: --secret id=s,src=FILE\n"},
		{"no Dockerfile", "-- f --\n", ": no Dockerfile and no Containerfile in it; -f FILE names another\n"},
	} {
		r := y.try("build", "-t", "result", y.context(tt.files))
		if r.status == 0 || !strings.Contains(r.stderr, tt.want) {
			t.Errorf("%s: status %d\n%s\nwant %s", tt.about, r.status, r.stderr, tt.want)
		}
		if r.stdout != "" {
			t.Errorf("%s: standard output is %q", tt.about, r.stdout)
		}
	}
	if after := y.mica("images", "--format", "json"); after != before {
		t.Errorf("images after builds that failed:\n%s\nbefore:\n%s", after, before)
	}
	if left := y.mica("ps", "-aq"); left != "" {
		t.Errorf("containers are left: %s", left)
	}
	rooms, err := filepath.Glob(filepath.Join(y.dir, "*", "build", "rooms", "*"))
	if err != nil || len(rooms) > 0 {
		t.Errorf("rooms are left: %v, %v", rooms, err)
	}
}

// TestBuildCache: a step is made anew if and only if something that goes into it
// is another.
func TestBuildCache(t *testing.T) {
	y := newYard(t)
	const files = `
-- Dockerfile --
FROM base AS one
COPY a /a
RUN cat /a > /b
FROM base
LABEL x=%s
COPY --from=one /b /
RUN --mount=source=d,target=/c cat /c/f > /f
-- a --
%s
-- d/f --
%s
`
	build := func(x, a, f string) (id string, cached int) {
		id, shown := y.build(fmt.Sprintf(files, x, a, f))
		return id, strings.Count(shown, "CACHED")
	}
	first, n := build("1", "a", "f")
	if n != 0 {
		t.Errorf("the first build: %d steps are cached", n)
	}
	for _, tt := range []struct {
		about   string
		x, a, f string
		cached  int
		same    bool
	}{
		{"the same", "1", "a", "f", 4, true},
		{"a label alone", "2", "a", "f", 4, false},
		{"what is copied", "1", "other", "f", 0, false},
		{"what is mounted", "1", "a", "other", 3, false},
		{"as at first", "1", "a", "f", 4, true},
	} {
		id, n := build(tt.x, tt.a, tt.f)
		if n != tt.cached || (id == first) != tt.same {
			t.Errorf("%s: %d steps are cached, want %d; the same image: %v, want %v", tt.about, n, tt.cached, id == first, tt.same)
		}
	}
}

// TestBuildIsReproducible: with SOURCE_DATE_EPOCH the same files and base make the
// same image, whoever puts changes over it, and however often.
func TestBuildIsReproducible(t *testing.T) {
	y := newYard(t)
	t.Setenv("SOURCE_DATE_EPOCH", "1000000000")
	const files = `
-- Dockerfile --
FROM base AS one
RUN mkdir /x && echo 1 > /x/a && rm /etc/group
FROM base
WORKDIR /w
COPY . .
COPY --from=one /x /x
RUN ln -s a b && chmod 700 /x && rm /x/a && echo new > /etc/new
LABEL a=b
`
	want := ""
	for _, engine := range []string{"kernel", "kernel", "fuse"} {
		id, shown := y.build(files, "--no-cache", "--engine", engine)
		if want == "" {
			want = id
		}
		if id != want {
			t.Errorf("engine %s: %s, want %s\n%s", engine, id, want, shown)
		}
	}
}

// TestBuildKilled: of a build that was killed nothing is left once the next one
// has run a command.
func TestBuildKilled(t *testing.T) {
	y := newYard(t)
	dir := y.context("-- Dockerfile --\nFROM base\nRUN echo ready; sleep 1000\n")
	cmd := y.command("build", dir)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(stderr); lines.Scan() && !strings.HasSuffix(lines.Text(), " ready"); {
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	y.build("-- Dockerfile --\nFROM base\nRUN true\n")
	if left := y.mica("ps", "-aq"); left != "" {
		t.Errorf("containers are left: %s", left)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), y.dir) {
		t.Errorf("mounts are left: %v\n%s", err, mounts)
	}
}
