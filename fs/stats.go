package fs

import (
	"os"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"time"

	"mica/layerstore/blob"
)

// Stats is what a server has done since it started. Sizes are in bytes.
type Stats struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"` // of this server; the mount may be older
	Source  string    `json:"source"`
	Dir     string    `json:"dir"`
	// Requests are the kinds of which there was one, the most frequent first.
	// What the kernel answers out of its caches is not among them.
	Requests []RequestStats `json:"requests"`
	Waiting  int            `json:"waiting"` // reads that are in work, or wait for it
	Read     uint64         `json:"read"`    // bytes of files that were handed out
	Pushed   uint64         `json:"pushed"`  // files that were handed out before they were asked for
	Cache    blob.Stats     `json:"cache"`   // of decoded spans
	Memory   MemoryStats    `json:"memory"`
}

// RequestStats are the requests of a kind; durations are those inside of the
// server, of which half and 99 of a hundred were not longer.
type RequestStats struct {
	Kind  string        `json:"kind"` // as <linux/fuse.h> has it
	Count uint64        `json:"count"`
	P50   time.Duration `json:"p50"` // in nanoseconds
	P99   time.Duration `json:"p99"`
}

// MemoryStats is what the server takes: nothing of it is counted twice.
type MemoryStats struct {
	Heap   int64 `json:"heap"`   // of the Go runtime, with its garbage
	Cache  int64 `json:"cache"`  // decoded spans
	Mapped int64 `json:"mapped"` // files: the tree, indexes, the program itself
}

// A cacheCounter is a View that has a cache.
type cacheCounter interface{ CacheStats() blob.Stats }

// Stats takes the counts of this moment.
func (s *Server) Stats() *Stats {
	st := &Stats{PID: os.Getpid(), Started: s.started, Source: s.source, Dir: s.dir, Read: s.h.read.Load()}
	if v, ok := feature[cacheCounter](s.h.view); ok {
		st.Cache = v.CacheStats()
	}
	st.Memory = MemoryStats{Heap: heapSize(), Cache: st.Cache.Used, Mapped: mappedSize()}
	st.Requests = []RequestStats{}
	if s.session == nil {
		return st
	}
	if s.session.push != nil {
		st.Pushed = s.session.push.files.Load()
		st.Read += s.session.push.bytes.Load()
	}
	st.Waiting = s.session.work.waiting() + s.session.making.waiting()
	for op := range s.session.requests {
		if n := s.session.requests[op].Load(); n > 0 {
			p50, p99 := s.session.took[op].percentiles()
			st.Requests = append(st.Requests, RequestStats{opName(op), n, p50, p99})
		}
	}
	slices.SortStableFunc(st.Requests, func(a, b RequestStats) int { return int(int64(b.Count) - int64(a.Count)) })
	return st
}

// heapSize is what the Go runtime has of the system and has not given back.
func heapSize() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}

// mappedSize is how much of files is mapped and in memory (proc(5), status).
func mappedSize() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if kb, ok := strings.CutPrefix(line, "RssFile:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(kb), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}
