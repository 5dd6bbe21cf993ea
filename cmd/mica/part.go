package main

import (
	"fmt"
	"path"
	"strconv"

	"github.com/spf13/pflag"

	"mica/layerstore/transport"
	"mica/overlay"
)

// A part says which layers of an image are looked at. The zero value is all.
type part struct {
	at   string // up to this layer
	only string // this layer by itself
}

func (p *part) add(flags *pflag.FlagSet) {
	flags.StringVar(&p.at, "at", "", "show the image as it was after layer `LAYER`: its number as in mica history,\n-1 for all but the top one, or a pattern of the command that made it")
	flags.StringVar(&p.only, "only", "", "show what is in layer `LAYER` alone, what it deletes as .wh. files")
}

// source gives what a mount of the part shows as its source.
func (p *part) source(meta *transport.Image) string {
	switch {
	case p.at != "":
		return meta.Source + "#at=" + p.at
	case p.only != "":
		return meta.Source + "#only=" + p.only
	}
	return meta.Source
}

// of gives the layers that are meant, and whether the last of them is meant
// alone.
func (p *part) of(layers []overlay.Layer) (chosen []overlay.Layer, alone bool, err error) {
	which, flag := p.at, "at"
	if p.only != "" {
		which, flag = p.only, "only"
	}
	switch {
	case p.at != "" && p.only != "":
		return nil, false, fmt.Errorf("--at and --only exclude each other")
	case which == "":
		return layers, false, nil
	}
	n, err := layerNumber(which, layers)
	if err != nil {
		return nil, false, fmt.Errorf("--%s %s: %w", flag, which, err)
	}
	return layers[:n], p.only != "", nil
}

// layerNumber gives the number, from 1 at the bottom, of the layer that which
// means.
func layerNumber(which string, layers []overlay.Layer) (int, error) {
	if n, err := strconv.Atoi(which); err == nil {
		if n < 0 {
			n += len(layers)
		}
		if n < 1 || n > len(layers) {
			return 0, fmt.Errorf("the image has %s", plural(len(layers), "layer"))
		}
		return n, nil
	}
	for n := len(layers); n > 0; n-- {
		ok, err := path.Match(which, layers[n-1].History)
		if err != nil {
			return 0, fmt.Errorf("malformed pattern")
		}
		if ok {
			return n, nil
		}
	}
	return 0, fmt.Errorf("no layer was made by such a command")
}
