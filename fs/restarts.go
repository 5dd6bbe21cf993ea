package fs

import "time"

// restarts decides when a server that died is followed by another one, if it
// is. The zero value knows of no death yet.
type restarts struct {
	crashes, kills int // in a row, each soon after the start
}

const (
	// soon is how long a server must have lived for its death to stand alone.
	soon = 10 * time.Second
	// mostCrashes is how many servers in a row may fail by themselves.
	mostCrashes = 5
	firstDelay  = 50 * time.Millisecond
	// freeKills is how many servers in a row may be killed before the next one
	// waits a little: a killer that does not tire shall not take a processor.
	freeKills = 10
	killDelay = 50 * time.Millisecond
)

// after says how long to wait after the death of a server that has lived that
// long. It gives up, with ok false, on servers that crash one after another: the
// next one would be sent the same request. Whoever kills them from outside, the
// kernel short of memory or a person, does not tell of a fault of theirs.
func (r *restarts) after(lived time.Duration, killed bool) (wait time.Duration, ok bool) {
	if lived >= soon {
		*r = restarts{}
	}
	if killed {
		if r.kills++; r.kills > freeKills {
			return killDelay, true
		}
		return 0, true
	}
	r.crashes++
	switch {
	case r.crashes > mostCrashes:
		return 0, false
	case r.crashes == 1:
		return 0, true
	}
	return firstDelay << (r.crashes - 2), true
}
