package dockerfile

import (
	"slices"
	"strings"

	"github.com/containerd/platforms"
)

// An environment is variables in the order in which they were first set. It is
// small: to look one up is a walk over all.
type environment []string // NAME=VALUE

// Get gives the value of a variable; see shell.EnvGetter.
func (e environment) Get(name string) (string, bool) {
	for _, kv := range e {
		if k, v, _ := strings.Cut(kv, "="); k == name {
			return v, true
		}
	}
	return "", false
}

// Keys gives the names.
func (e environment) Keys() []string {
	keys := make([]string, len(e))
	for i, kv := range e {
		keys[i], _, _ = strings.Cut(kv, "=")
	}
	return keys
}

func (e *environment) set(name, value string) {
	for i, kv := range *e {
		if k, _, _ := strings.Cut(kv, "="); k == name {
			(*e)[i] = name + "=" + value
			return
		}
	}
	*e = append(*e, name+"="+value)
}

// over gives an environment with what another has put over it.
func (e environment) over(top environment) environment {
	out := slices.Clone(e)
	for _, kv := range top {
		k, v, _ := strings.Cut(kv, "=")
		out.set(k, v)
	}
	return out
}

// platformArgs are the variables that a FROM may use without an ARG
// (Dockerfile reference, "Automatic platform ARGs").
func platformArgs(o *Options) environment {
	var env environment
	target := o.Target
	if target == "" {
		target = "default"
	}
	for _, kv := range [][2]string{
		{"BUILDPLATFORM", platforms.Format(o.BuildPlatform)},
		{"BUILDOS", o.BuildPlatform.OS},
		{"BUILDOSVERSION", o.BuildPlatform.OSVersion},
		{"BUILDARCH", o.BuildPlatform.Architecture},
		{"BUILDVARIANT", o.BuildPlatform.Variant},
		{"TARGETPLATFORM", platforms.Format(o.Platform)},
		{"TARGETOS", o.Platform.OS},
		{"TARGETOSVERSION", o.Platform.OSVersion},
		{"TARGETARCH", o.Platform.Architecture},
		{"TARGETVARIANT", o.Platform.Variant},
		{"TARGETSTAGE", target},
	} {
		value := kv[1]
		if given, ok := o.Args[kv[0]]; ok {
			value = given
		}
		env.set(kv[0], value)
	}
	return env
}

// freeArgs may be given by --build-arg without an ARG. They are in the
// environment of RUN and neither in the image's history nor in what the cache
// goes by (Dockerfile reference, "Predefined ARGs").
var freeArgs = []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"}
