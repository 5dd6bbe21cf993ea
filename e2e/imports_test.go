package e2e

import (
	"bufio"
	"go/parser"
	"go/token"
	iofs "io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// may says which of mica's packages each package may import: one direction
// only, so that each can be read, tested and replaced without those above it.
var may = map[string][]string{
	"builder/commit":       {"builder/dockerfile", "overlay/change", "layerstore/images", "layerstore/transport", "layerstore"},
	"builder":              {"fs", "builder/dockerfile", "builder/source", "overlay/change", "overlay/tarball", "overlay/writable", "overlay", "layerstore/images", "layerstore", "layerstore/transport", "layerstore/toc", "layerstore/blob", "layerstore/scratch"},
	"builder/dockerfile":   {},
	"builder/source":       {"overlay", "layerstore/toc"},
	"cmd/mica":             {"builder", "builder/commit", "builder/dockerfile", "builder/source", "container", "fs", "overlay/writable", "overlay/dirs", "overlay/ondisk", "overlay/change", "overlay/diff", "overlay/find", "overlay", "layerstore/images", "layerstore/registry", "layerstore", "layerstore/transport", "layerstore/toc", "layerstore/blob"},
	"container":            {"fs", "layerstore"},
	"fs":                   {"overlay/writable", "overlay", "layerstore/blob"},                    // of blob its error alone, which becomes an errno
	"overlay/writable":     {"overlay", "overlay/ondisk", "layerstore/toc", "layerstore/scratch"}, // of toc the time alone
	"overlay/dirs":         {"overlay/ondisk", "overlay"},
	"overlay/ondisk":       {"overlay", "layerstore/toc"}, // of toc the time alone
	"overlay/change":       {"overlay/dirs", "overlay/ondisk", "overlay/diff", "overlay/tarball", "overlay", "layerstore/toc"},
	"overlay/diff":         {"overlay", "layerstore/toc"},
	"overlay/find":         {"overlay"},
	"overlay":              {"overlay/tarball", "layerstore", "layerstore/toc", "layerstore/blob", "layerstore/scratch"},
	"overlay/tarball":      {"layerstore/toc"},
	"layerstore/images":    {"layerstore", "layerstore/transport", "layerstore/blob"},
	"layerstore":           {"layerstore/toc", "layerstore/blob", "layerstore/inflate", "layerstore/unzstd", "layerstore/scratch"},
	"layerstore/registry":  {},
	"layerstore/transport": {"layerstore/blob"},
	"layerstore/blob":      {"layerstore/toc", "layerstore/inflate", "layerstore/unzstd"},
	"layerstore/toc":       {"layerstore/inflate", "layerstore/unzstd", "layerstore/scratch"},
	"layerstore/inflate":   {},
	"layerstore/unzstd":    {"layerstore/scratch"},
	"layerstore/scratch":   {},
	"e2e":                  {},
	"e2e/bench":            {"layerstore/inflate"}, // beside compress/flate, without what a process costs
}

// mayFUSE are the packages that may know of FUSE, by this module.
const fuseModule = "github.com/hanwen/go-fuse/v2"

var mayFUSE = []string{"fs"}

// direct are the modules that mica or its tests import. docs/ARCHITECTURE.md
// says why each is there; add to both.
var direct = []string{
	"github.com/BurntSushi/toml",                       // settings of podman and containerd
	"github.com/agext/levenshtein",                     // what a misspelt name or flag may have meant
	"github.com/containerd/console",                    // terminals of containers, as go-runc gives them
	"github.com/containerd/go-runc",                    // drives the OCI runtime
	"github.com/containerd/platforms",                  // which manifest of an index is this machine's
	"github.com/containerd/stargz-snapshotter/estargz", // tests: writes eStargz and zstd:chunked
	"github.com/distribution/reference",                // the grammar of image names, the norm
	"github.com/docker/go-units",                       // sizes as docker prints them
	"github.com/google/go-cmp",                         // tests: what differs
	"github.com/google/go-containerregistry",           // tests: writes images as ko, kaniko and crane do
	"github.com/hanwen/go-fuse/v2",                     // decodes and dispatches FUSE requests
	"github.com/klauspost/compress",                    // zstd
	"github.com/moby/buildkit",                         // reads Dockerfiles: parser, instructions, shell
	"github.com/moby/docker-image-spec",                // what docker's configs have besides the OCI's
	"github.com/moby/patternmatcher",                   // .dockerignore and --exclude
	"github.com/moby/profiles/seccomp",                 // docker's default seccomp profile, as data
	"github.com/moby/sys/user",                         // reads /etc/passwd and /etc/group of an image
	"github.com/moby/sys/mountinfo",                    // reads /proc/self/mountinfo
	"github.com/opencontainers/go-digest",              // digests, as image-spec has them
	"github.com/opencontainers/runtime-spec",           // the types of what a runtime is told
	"github.com/opencontainers/image-spec",             // the types of manifests and configs
	"github.com/rogpeppe/go-internal",                  // tests: command-line scripts
	"github.com/spf13/cobra",                           // the command line
	"github.com/spf13/pflag",                           // its flags
	"github.com/vbauerster/mpb/v8",                     // progress bars on a terminal
	"oras.land/oras-go/v2",                             // registries: tokens, credentials, retries
	"golang.org/x/sync",                                // errgroup
	"golang.org/x/sys",                                 // system calls
	"golang.org/x/term",                                // is it a terminal
}

// A source is a Go file of mica's.
type source struct {
	pkg     string // its directory
	name    string
	imports []string
	test    bool
}

// sources reads all Go files of the module.
func sources(t *testing.T) []source {
	t.Helper()
	var files []source
	err := filepath.WalkDir("..", func(p string, d iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == ".git" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if filepath.Ext(p) != ".go" {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("..", p)
		if err != nil {
			return err
		}
		s := source{pkg: filepath.Dir(rel), name: rel, test: strings.HasSuffix(rel, "_test.go")}
		for _, im := range parsed.Imports {
			name, err := strconv.Unquote(im.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, name)
		}
		files = append(files, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestImportsGoOneWay holds DESIGN: each package imports what may lists, and
// only fs knows FUSE. Tests may import whatever they want to compare with.
func TestImportsGoOneWay(t *testing.T) {
	strangers := map[string]bool{}
	for _, s := range sources(t) {
		allowed, known := may[s.pkg]
		if !known && !strangers[s.pkg] {
			t.Errorf("%s: package %s is not in the table", s.name, s.pkg)
			strangers[s.pkg] = true
		}
		if s.test {
			continue
		}
		for _, im := range s.imports {
			if own, ok := strings.CutPrefix(im, "mica/"); ok && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s: %s may import %v", s.name, im, s.pkg, allowed)
			}
			if strings.HasPrefix(im, fuseModule) && !slices.Contains(mayFUSE, s.pkg) {
				t.Errorf("%s imports %s: only %v may", s.name, im, mayFUSE)
			}
		}
	}
}

// TestDocs: each package has a doc.go with its document, and nothing else in it.
func TestDocs(t *testing.T) {
	documented := map[string]bool{"cmd/mica": true} // its document is its help
	for _, s := range sources(t) {
		if path.Base(s.name) == "doc.go" {
			documented[s.pkg] = true
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", s.name), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if len(f.Decls) > 0 || f.Doc == nil {
				t.Errorf("%s: want a package comment and nothing else", s.name)
			}
		}
	}
	for pkg := range may {
		if !documented[pkg] {
			t.Errorf("%s has no doc.go", pkg)
		}
	}
}

// TestDependencies: the modules that are imported are those of the table, and
// the architecture document names each.
func TestDependencies(t *testing.T) {
	required := requiredModules(t)
	used := map[string]bool{}
	for _, s := range sources(t) {
		for _, im := range s.imports {
			if first, _, _ := strings.Cut(im, "/"); !strings.Contains(first, ".") {
				continue // the standard library, or mica itself
			}
			i := slices.IndexFunc(required, func(m string) bool { return im == m || strings.HasPrefix(im, m+"/") })
			if i < 0 {
				t.Errorf("%s imports %s, which is of no module in go.mod", s.name, im)
				continue
			}
			used[required[i]] = true
		}
	}
	architecture, err := os.ReadFile("../docs/ARCHITECTURE.md")
	if err != nil {
		t.Error(err)
	}
	for _, m := range direct {
		if !used[m] {
			t.Errorf("%s is in the table, and nothing imports it", m)
		}
		delete(used, m)
		if !strings.Contains(string(architecture), strings.TrimPrefix(m, "github.com/")) {
			t.Errorf("docs/ARCHITECTURE.md does not say why %s is there", m)
		}
	}
	for m := range used {
		t.Errorf("%s is imported and not in the table", m)
	}
}

// requiredModules are the modules that go.mod names.
func requiredModules(t *testing.T) []string {
	t.Helper()
	f, err := os.Open("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var modules []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(strings.TrimPrefix(lines.Text(), "require "))
		if len(fields) >= 2 && strings.HasPrefix(fields[1], "v") {
			modules = append(modules, fields[0])
		}
	}
	// The longest first: a module may lie in a directory of another.
	slices.SortFunc(modules, func(a, b string) int { return len(b) - len(a) })
	return modules
}

// TestNoPathsOfAMachine: the repository names no directory that exists only
// where it was written.
func TestNoPathsOfAMachine(t *testing.T) {
	foreign := []string{"/home" + "/", "/wo" + "rk/", "/tmp" + "/img", "/roo" + "t/go"}
	for _, root := range []string{"../cmd", "../fs", "../overlay", "../layerstore", "../e2e", "../docs", "../.ci", "../Makefile", "../README.md"} {
		err := filepath.WalkDir(root, func(p string, d iofs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || filepath.Ext(p) == ".test" { // which go test -c leaves
				return err
			}
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			for _, f := range foreign {
				if strings.Contains(string(b), f) {
					t.Errorf("%s names %s…", p, f)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}
