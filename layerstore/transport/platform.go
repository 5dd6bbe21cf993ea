package transport

import (
	"fmt"
	"os"
	"slices"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A platform is the one that is looked for.
type platform struct {
	platforms.MatchComparer
	text     string
	explicit bool // asked for, not just this machine's
}

func wantedPlatform(s string) (platform, error) {
	if s == "" {
		s = os.Getenv("DOCKER_DEFAULT_PLATFORM")
	}
	if s == "" {
		host := platforms.DefaultSpec()
		// Variants of amd64 are not told apart: v1 is what everybody builds.
		return platform{MatchComparer: platforms.Only(host), text: platforms.Format(host)}, nil
	}
	p, err := platforms.Parse(s)
	if err != nil {
		return platform{}, &ReferenceError{what: "platform", Ref: s, Reason: "it is os/arch[/variant], as linux/arm64/v8"}
	}
	return platform{platforms.Only(p), platforms.Format(platforms.Normalize(p)), true}, nil
}

// best gives the index of the candidate that fits best. nil is a candidate
// whose platform is not known.
func (want platform) best(candidates []*ocispec.Platform) (int, error) {
	if len(candidates) == 1 && (!want.explicit || candidates[0] == nil) {
		return 0, nil
	}
	at := -1
	for i, p := range candidates {
		if p != nil && want.Match(*p) && (at < 0 || want.Less(*p, *candidates[at])) {
			at = i
		}
	}
	if at < 0 {
		return 0, &PlatformError{want.text, formatAll(candidates)}
	}
	return at, nil
}

// check refuses an image that is not for the platform asked for.
func (want platform) check(p ocispec.Platform) error {
	if want.explicit && p.OS != "" && p.Architecture != "" && !want.Match(p) {
		return &PlatformError{want.text, formatAll([]*ocispec.Platform{&p})}
	}
	return nil
}

func formatAll(list []*ocispec.Platform) []string {
	var out []string
	for _, p := range list {
		if p == nil {
			continue
		}
		if s := platforms.Format(platforms.Normalize(*p)); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// refuseWindows refuses what is no Linux root filesystem: Windows layers hold
// Files/ and registry hives.
func refuseWindows(p ocispec.Platform) error {
	if p.OS == "windows" {
		return &UnsupportedError{
			Text: fmt.Sprintf("is a Windows image (%s): its layers are no root filesystem", platforms.Format(p)),
			hint: "if it was made for Linux too, copy that: skopeo copy --override-os linux SRC DST",
		}
	}
	return nil
}

// BestPlatform gives the index of the candidate that fits a platform best, nil
// being one that is not known; text is as [Options.Platform].
func BestPlatform(text string, candidates []*ocispec.Platform) (int, error) {
	want, err := wantedPlatform(text)
	if err != nil {
		return 0, err
	}
	return want.best(candidates)
}
