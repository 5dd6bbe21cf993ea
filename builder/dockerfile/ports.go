package dockerfile

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"golang.org/x/sys/unix"
)

// expose notes ports: "80", "80/udp", "8000-8010", "${PORT} 90".
func (s *State) expose(c *instructions.ExposeCommand) error {
	env := s.lookup()
	for _, text := range c.Ports {
		words, err := shell.NewLex(s.plan.File.escape).ProcessWords(text, env)
		if err != nil {
			return err
		}
		for _, word := range words {
			if err := s.exposeOne(word); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *State) exposeOne(word string) error {
	ports, proto, given := strings.Cut(word, "/")
	proto = strings.ToLower(proto)
	switch {
	case !given:
		proto = "tcp"
	case proto != "tcp" && proto != "udp" && proto != "sctp":
		return fmt.Errorf("%s: protocol %q (has: tcp, udp, sctp)", word, proto)
	}
	// Of what docker run -p takes, the part in the container.
	ports = ports[strings.LastIndexByte(ports, ':')+1:]
	from, to, isRange := strings.Cut(ports, "-")
	if !isRange {
		to = from
	}
	first, err := strconv.ParseUint(from, 10, 16)
	last, err2 := strconv.ParseUint(to, 10, 16)
	if err != nil || err2 != nil || first > last {
		return fmt.Errorf("%q is no port", word)
	}
	for n := first; n <= last; n++ {
		put(&s.Image.Config.ExposedPorts, fmt.Sprintf("%d/%s", n, proto), struct{}{})
	}
	return nil
}

// lastSignal is SIGRTMAX.
const lastSignal = 64

// stopSignal takes a number or a name, with SIG or without.
func (s *State) stopSignal(text string) error {
	name := strings.ToUpper(text)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	n, err := strconv.Atoi(text)
	known := err == nil && n > 0 && n <= lastSignal
	if !known && err != nil {
		realtime, _, _ := strings.Cut(strings.ReplaceAll(name, "-", "+"), "+")
		known = unix.SignalNum(name) != 0 || realtime == "SIGRTMIN" || realtime == "SIGRTMAX"
	}
	if !known {
		return fmt.Errorf("%q is no signal", text)
	}
	s.Image.Config.StopSignal = text
	return nil
}
