package main

import (
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mica/fs"
)

func newInfo(std streams) *cobra.Command {
	var flags imageFlags
	var format choice
	cmd := &cobra.Command{
		Use:   "info [flags]",
		Short: "Tell where mica keeps what, and how much",
		Long: `Info tells the version, the settings and where each comes from, what the store
holds, and what of the system matters to mica. All that is in the store may be
deleted while nothing is mounted, and is made again.`,
		Example: `  mica info
  mica info --format json | jq -r .root.value
  MICA_ROOT=/mnt/big mica info`,
		RunE: func(*cobra.Command, []string) error {
			in, err := flags.info()
			if err != nil {
				return err
			}
			if format.word == "json" {
				return printJSON(std.out, in)
			}
			return printTable(std.out, in.lines())
		},
	}
	flags.addRoot(cmd.Flags())
	addChoice(cmd.Flags(), &format, "format", "what to print", "text", "json")
	return cmd
}

// An information is what info prints; sizes are in bytes.
type information struct {
	Version  string         `json:"version"`
	Go       string         `json:"go"`
	Platform string         `json:"platform"`
	Root     setting        `json:"root"`    // directory of the store
	Runtime  setting        `json:"runtime"` // directory with a record of each mount
	Log      setting        `json:"log"`     // of servers in the background
	Index    usage          `json:"index"`
	Tree     usage          `json:"tree"`
	Mounts   int            `json:"mounts"`
	Memory   fs.MemoryStats `json:"memory"` // of the servers of all mounts that answer
	Kernel   string         `json:"kernel"`
	Fuse     string         `json:"fuse"` // how the kernel has it
}

// A setting is a value and where it comes from.
type setting struct {
	Value string `json:"value"`
	From  string `json:"from"` // a flag, a variable of the environment, or "default"
}

// A usage is what a kind of file takes.
type usage struct {
	Files int   `json:"files"`
	Size  int64 `json:"size"`
}

func (f *imageFlags) info() (*information, error) {
	store, err := f.store()
	if err != nil {
		return nil, err
	}
	in := &information{
		Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Root:    setting{store.Root(), f.rootFrom()},
		Runtime: setting{fs.RuntimeDir(store.Root()), "default"},
		Log:     setting{logPath(store), "default"},
		Kernel:  kernelRelease(), Fuse: fuseSupport(),
	}
	if os.Getenv("MICA_LOG") != "" {
		in.Log.From = "MICA_LOG"
	}
	if os.Geteuid() != 0 && os.Getenv("XDG_RUNTIME_DIR") != "" {
		in.Runtime.From = "XDG_RUNTIME_DIR"
	}
	for kind, u := range map[string]*usage{"index": &in.Index, "tree": &in.Tree} {
		if *u, err = diskUsage(filepath.Join(store.Root(), kind)); err != nil {
			return nil, err
		}
	}
	mounts, err := f.mounts()
	in.Mounts = len(mounts)
	in.Memory = memoryOf(mounts)
	return in, err
}

// memoryOf adds up what servers take. One that does not tell, as it is of an
// older mica or begins or ends just now, is left out.
func memoryOf(mounts []fs.Info) (sum fs.MemoryStats) {
	all := make([]*fs.Stats, len(mounts))
	var wait sync.WaitGroup // at once, as one may not answer
	for i, m := range mounts {
		wait.Go(func() { all[i], _ = fs.ReadStats(m) })
	}
	wait.Wait()
	for _, st := range all {
		if st != nil {
			sum.Heap += st.Memory.Heap
			sum.Cache += st.Memory.Cache
			sum.Mapped += st.Memory.Mapped
		}
	}
	return sum
}

// rootFrom tells which setting says where the store is.
func (f *imageFlags) rootFrom() string {
	switch {
	case f.root != "":
		return "--root"
	case os.Getenv("MICA_ROOT") != "":
		return "MICA_ROOT"
	case os.Geteuid() != 0 && filepath.IsAbs(os.Getenv("XDG_DATA_HOME")):
		return "XDG_DATA_HOME"
	}
	return "default"
}

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown: " + err.Error()
	}
	return unix.ByteSliceToString(u.Release[:])
}

// fuseSupport tells whether the kernel knows FUSE, as far as can be seen
// without using it.
func fuseSupport() string {
	b, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return "unknown: " + err.Error()
	}
	if slices.Contains(strings.Fields(string(b)), "fuse") {
		return "present"
	}
	return "not loaded"
}

// diskUsage counts the files below a directory, which need not be there, and
// the bytes they take on disk.
func diskUsage(dir string) (u usage, err error) {
	err = filepath.WalkDir(dir, func(path string, e iofs.DirEntry, err error) error {
		if os.IsNotExist(err) { // or gone since it was listed
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err == nil {
			u.Files++
			u.Size += st.Blocks * 512
		}
		return nil
	})
	return u, err
}

func (in *information) lines() [][]string {
	s := func(s setting) string { return fmt.Sprintf("%s (%s)", s.Value, s.From) }
	u := func(u usage) string { return fmt.Sprintf("%s in %s", size(u.Size), plural(u.Files, "file")) }
	return [][]string{
		{"Version:", fmt.Sprintf("%s, %s, %s", in.Version, in.Go, in.Platform)},
		{"Store:", s(in.Root)},
		{"  indexes:", u(in.Index)},
		{"  trees:", u(in.Tree)},
		{"Records of mounts:", s(in.Runtime)},
		{"Log of mounts:", s(in.Log)},
		{"Mounts:", in.mounts()},
		{"Kernel:", in.Kernel + ", FUSE " + in.Fuse},
	}
}

func (in *information) mounts() string {
	if in.Mounts == 0 {
		return "0"
	}
	return fmt.Sprintf("%d: %s", in.Mounts, memoryText(in.Memory))
}
