package fs

import (
	"slices"

	"mica/overlay"
)

// A sequentialView is a View that never changes, and numbers its files in the
// order in which a walk finds them in a directory.
type sequentialView interface {
	// NextFile gives the first regular file above a number that has contents, and
	// how many bytes; 0 if there is none near.
	NextFile(id overlay.NodeID) (next overlay.NodeID, size int64)
}

const (
	// A window is so many files, at first and at most, and at most so many bytes.
	firstWindow, mostWindow = 4, 128
	windowBytes             = 1 << 20
	// maxStreams is how many programs that read in order are told apart.
	maxStreams = 4
)

// A stream is one program's reading of files in the order of their numbers.
type stream struct {
	last   overlay.NodeID // that was asked for or pushed
	window int            // files that the next read in order has pushed; 0 as long as there was none
	busy   bool           // a window is being pushed
}

// asked says whether the read of a file has a window pushed: those that follow.
// Each that is used up is followed by one of twice the size.
func (s *stream) asked(id overlay.NodeID, order sequentialView) bool {
	if next, _ := order.NextFile(s.last); id != next || s.busy {
		return false
	}
	s.last, s.window = id, min(max(2*s.window, firstWindow), mostWindow)
	s.busy = true
	return true
}

// streams are those that were used last, the last one first.
type streams []*stream

// asked gives the stream that has a window pushed for the read of a file, nil if
// there is none.
func (ss *streams) asked(id overlay.NodeID, order sequentialView) *stream {
	i := slices.IndexFunc(*ss, func(s *stream) bool { return s.asked(id, order) })
	if i < 0 {
		// It may be the first of a stream.
		if len(*ss) == maxStreams {
			*ss = (*ss)[:maxStreams-1]
		}
		*ss = slices.Insert(*ss, 0, &stream{last: id})
		return nil
	}
	s := (*ss)[i]
	*ss = slices.Insert(slices.Delete(*ss, i, i+1), 0, s)
	return s
}
