package e2e

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// corpus are Dockerfiles that mica and buildah make the same image of, but for
// times. They begin with what stands for the busybox image of both.
var corpus = []struct{ about, files string }{
	{"destinations", `
-- Dockerfile --
FROM base
WORKDIR /w
COPY a b/x new/
COPY a name
COPY d /copied
COPY d/ /copied/again
COPY d/sub/* /flat/
COPY a /tmp
COPY l link
COPY ld /led/
COPY a /srv/up/../deep/er/
COPY ["a", "with space/"]
-- a --
of a
-- b/x --
of b
-- d/f --
-- d/sub/one --
-- d/sub/two --
-- d/up -> ../a --
-- l -> d/f --
-- ld -> d/sub --
`},
	{"owners and modes", `
-- Dockerfile --
FROM base
COPY --chown=1000:50 d /d1/x/
COPY --chown=bob a /d2/
COPY --chown=ada:wheel a /a
COPY --chmod=4755 a /m
ADD --chown=7 a /d3/
-- a --
-- d/f --
-- d/g/h --
`},
	{"stages", `
-- Dockerfile --
ARG WHAT=one
FROM base AS one
RUN mkdir -p /out/sub && echo 1 > /out/f && chmod 600 /out/f && chown ada /out/f && ln /out/f /out/h && ln -s f /out/l
FROM base AS two
RUN echo never; exit 1
FROM base AS three
COPY --from=one /out /three
FROM ${WHAT}
COPY --from=three /three /x/
COPY --from=0 /out/f /y/
COPY --from=base /etc/group /z
`},
	{"variables and config", `
-- Dockerfile --
FROM base
ARG A=a B
ENV X=1 Y="two words" Z=${A}-${B:-none}-$X
ENV W=$X$Z P=${X:+set}
ENV OLD form of it
LABEL l=$A "m n"='$A' o="\$A"
USER ada:staff
WORKDIR /w
WORKDIR sub
RUN echo "$A $X $Y $Z $W" > /tmp/vars
VOLUME /v1 /v2
VOLUME ["/v3"]
EXPOSE 80 443/tcp 53/udp
STOPSIGNAL SIGINT
SHELL ["/bin/sh", "-ec"]
ENTRYPOINT ["/bin/echo", "$X"]
CMD ["one", "two"]
`},
	{"deletions and changes", `
-- Dockerfile --
FROM base
RUN mkdir -p /d/e/f && echo 1 > /d/a && echo 2 > /d/e/b && echo 3 > /d/e/f/c && echo keep > /keep
RUN rm -rf /d/e && mkdir /d/e && echo new > /d/e/new
RUN rm /d/a /etc/group && mv /keep /kept && chmod 700 /d && touch -d '2001-01-01 00:00:00' /etc/passwd
RUN ln -s /d /s && mkfifo /p
COPY f /s/
-- f --
`},
	{"archives", `
-- Dockerfile --
FROM base AS make
RUN mkdir -p /t/d && echo x > /t/d/x && chown 5:6 /t/d/x && cd /t && tar -cf /t.tar d && tar -czf /t.tgz d
FROM base
COPY --from=make /t /kept
ADD plain.txt /p/
-- plain.txt --
no archive
`},
	{"ignored", `
-- Dockerfile --
FROM base
COPY . /all/
COPY dir /d/
-- .dockerignore --
# a comment
Dockerfile
**/*.o
/secret
dir/*
!dir/keep
*/skip
-- a.o --
-- a.c --
-- secret --
-- dir/keep --
-- dir/drop --
-- e/skip --
-- e/b.o --
-- e/f --
`},
	{"onbuild", `
-- Dockerfile --
FROM base AS parent
ONBUILD ENV T=triggered
ONBUILD RUN echo $T > /trigger
FROM parent
RUN cat /trigger > /seen
`},
	{"commands", `
-- Dockerfile --
FROM base
RUN ["/bin/sh", "-c", "echo $0 > /json"]
RUN echo one \
    # not part of it
    && echo two > /two
RUN --mount=type=bind,target=/c cat /c/f > /f
RUN --mount=type=tmpfs,target=/scratch echo x > /scratch/x
RUN echo a; \
  echo b > "/with space"
-- f --
mounted
`},
}

// TestBuildLikeBuildah builds the corpus with both. umoci unpacks the results.
func TestBuildLikeBuildah(t *testing.T) {
	needTool(t, "buildah")
	needTool(t, "umoci")
	y := newYard(t)
	buildah := func(t *testing.T, args ...string) {
		t.Helper()
		args = append([]string{"--root", filepath.Join(y.dir, "root"), "--runroot", filepath.Join(y.dir, "run"), "--storage-driver", "vfs"}, args...)
		if _, err := output(exec.Command("buildah", args...)); err != nil {
			t.Fatal(err)
		}
	}
	archive := filepath.Join(y.dir, "base.tar")
	y.mica("tag", "base", "localhost/base")
	y.mica("save", "-o", archive, "localhost/base")
	buildah(t, "pull", "-q", "docker-archive:"+archive)
	for _, tt := range corpus {
		t.Run(tt.about, func(t *testing.T) {
			h := *y.host
			h.t = t
			y := &yard{&boxes{&h, y.image}}
			id, _ := y.build(tt.files)
			ours, theirs := filepath.Join(newDir(t), "ours"), filepath.Join(newDir(t), "theirs")
			y.mica("tag", id, "result:1")
			y.mica("save", "--format", "oci", "-o", ours, "result:1")
			dir := y.context(strings.ReplaceAll(tt.files, "base", "localhost/base"))
			buildah(t, "bud", "-q", "--layers", "--format", "docker", "--isolation", "chroot", "-t", "localhost/result:1", dir)
			buildah(t, "push", "-q", "localhost/result:1", "oci:"+theirs+":1")
			sameTree(t, timeless(unpack(t, theirs, "1")), timeless(unpack(t, ours, "1")))
			sameConfig(t, configIn(t, theirs), configIn(t, ours))
		})
	}
	buildah(t, "rmi", "-a", "-f")
}

// timeless is a tree without the times of what the build has made or changed, and
// without what buildah mounts on and leaves in the image.
func timeless(tr tree) tree {
	out := maps.Clone(tr)
	for _, stub := range []string{"etc/hostname", "etc/hosts", "etc/resolv.conf", "run"} {
		delete(out, stub)
	}
	for p, n := range out {
		if n.Mtime.Sec > 1_500_000_000 || n.Mode&unix.S_IFMT == unix.S_IFDIR {
			n.Mtime = unix.Timespec{}
		}
		n.AnyMtime = false
		out[p] = n
	}
	return out
}

// configIn gives what the config of the image of a layout says of a container.
func configIn(t *testing.T, layout string) v1.ImageConfig {
	t.Helper()
	read := func(path string, v any) {
		b, err := os.ReadFile(filepath.Join(layout, path))
		if err == nil {
			err = json.Unmarshal(b, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	blob := func(d v1.Descriptor) string { return filepath.Join("blobs", "sha256", d.Digest.Encoded()) }
	var index v1.Index
	var manifest v1.Manifest
	var config v1.Image
	read("index.json", &index)
	read(blob(index.Manifests[0]), &manifest)
	read(blob(manifest.Config), &config)
	return config.Config
}

// sameConfig compares what containers are made by; labels that name the tool are
// left out.
func sameConfig(t *testing.T, want, got v1.ImageConfig) {
	t.Helper()
	maps.DeleteFunc(want.Labels, func(name, _ string) bool { return strings.HasPrefix(name, "io.buildah.") })
	w, g := string(toJSON(want)), string(toJSON(got))
	if w != g {
		t.Errorf("config:\n%s\nbuildah has\n%s", g, w)
	}
}
