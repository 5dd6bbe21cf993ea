package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
)

func newDemo(std streams) *cobra.Command {
	var keep string
	cmd := &cobra.Command{
		Use:   "demo [flags]",
		Short: "Make an image out of mica itself, mount it and look around",
		Long: `Demo makes a small image of three layers out of this very program, mounts it,
and shows what can be done with it. Each command it prints is truly run.
Nothing is downloaded, and nothing stays behind unless --keep is given.`,
		Example: `  mica demo
  mica demo --keep demo-image
  mica demo --keep demo-image && mica layers demo-image`,
		RunE: func(cmd *cobra.Command, _ []string) error { return demo(cmd.Context(), std, keep) },
	}
	cmd.Flags().StringVar(&keep, "keep", "", "leave the image, an OCI layout, in `DIR`, which must not be there")
	return cmd
}

func demo(ctx context.Context, std streams, keep string) (err error) {
	stage, err := newStage(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	image := stage.path("image")
	if keep != "" {
		if image, err = filepath.Abs(keep); err != nil {
			return err
		}
		if err := os.Mkdir(image, 0o755); err != nil {
			return err
		}
		if err := os.Symlink(image, stage.path("image")); err != nil {
			return err
		}
	}
	program, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer program.Close()
	layers, err := writeDemoImage(image, program)
	if err != nil {
		return err
	}
	g := &guide{stage: stage, std: std, topLayer: layers[len(layers)-1].Digest, bold: isTerminal(std.out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
	g.say("This is an image, made of this very program: three layers, as docker or podman would store them.")
	g.run("mica layers image")
	g.say("Mounted, it is a directory like any other. No layer was unpacked, no daemon runs, and root is not needed.")
	if g.run("mica mount image mnt") {
		g.mounted()
	} else {
		g.say("So it cannot be mounted here; mica doctor says more. The same can be had without a mount.")
		g.unmounted()
	}
	if err := errors.Join(ctx.Err(), g.err); err != nil {
		return err
	}
	g.next(keep)
	return g.err
}

// A guide shows things to a newcomer, by commands that are truly run.
type guide struct {
	*stage
	std      streams
	bold     bool
	topLayer digest.Digest
	err      error // the first while printing
}

func (g *guide) print(format string, args ...any) {
	if g.err == nil {
		_, g.err = fmt.Fprintf(g.std.out, format, args...)
	}
}

// say prints a sentence that leads to the command after it.
func (g *guide) say(text string) { g.print("\n%s\n", text) }

// run prints a command, runs it and reports whether it succeeded.
func (g *guide) run(line string) bool {
	if g.err != nil || g.ctx.Err() != nil {
		return false
	}
	if g.bold {
		g.print("\x1b[1m$ %s\x1b[0m\n", line)
	} else {
		g.print("$ %s\n", line)
	}
	cmd := g.command(line)
	cmd.Stdout, cmd.Stderr = g.std.out, g.std.err
	return cmd.Run() == nil
}

func (g *guide) mounted() {
	g.run("ls -l mnt mnt/bin")
	g.say("A program is read, and decompressed, as it is started.")
	g.run("mnt/bin/hello")
	g.say("Two layers have this file. The upper one counts.")
	g.run("cat mnt/etc/motd")
	g.say("Which layer is a file from?")
	if _, err := exec.LookPath("getfattr"); err == nil {
		g.run("getfattr -n user.mica.layer mnt/etc/motd mnt/etc/passwd")
	} else {
		g.run("mica stat image /etc/motd")
	}
	g.say("Layer 3 deletes docs/draft.txt. That is a mark in its tar file, which hides the file below ...")
	g.run("tar -tzf image/blobs/sha256/" + shortDigest(g.topLayer.String()) + "*")
	g.run("ls mnt/docs")
	g.say("... while the file is still in layer 1, for whoever gets the image.")
	g.say("An image does not change.")
	g.run("touch mnt/etc/motd")
	g.say("Any way of unmounting is fine: umount, fusermount3 -u, or")
	g.run("mica umount mnt")
}

func (g *guide) unmounted() {
	g.run("mica ls -l image / /bin")
	g.say("Two layers have this file. The upper one counts.")
	g.run("mica cat image /etc/motd")
	g.say("Which layer is a file from?")
	g.run("mica stat image /etc/motd")
	g.say("Layer 3 deletes docs/draft.txt: a mark in its tar file hides the file below.")
	g.run("mica ls image /docs")
}

// next says what to try, of things that work as they are typed.
func (g *guide) next(keep string) {
	image := keep
	if keep == "" {
		image = "demo-image"
		g.say("That was all; nothing is left of it. To try for yourself:")
		g.print("  mica demo --keep demo-image                   # this image again, to keep\n")
	} else {
		g.say("The image stays. To try for yourself:")
	}
	g.print("  mica mount --mkdir %s m && ls -l m ; mica umount m\n", image)
	g.print("  mica find %s -name '*.txt'\n", image)
	g.print("  mica inspect %s\n", image)
	g.print("And with an image of your own:\n")
	g.print("  docker save debian:12 -o debian.tar           # or: podman save, skopeo copy\n")
	g.print("  mica mount --mkdir debian.tar m && ls m/etc ; mica umount m\n")
	g.print("  mica help ; mica doctor\n")
}
