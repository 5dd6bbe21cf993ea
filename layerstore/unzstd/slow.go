//go:build !amd64 && !arm64

package unzstd

// On other machines there are no fast loops: these do nothing, and say so.

func (t *huffTable) fast4([]byte, int, *[4]backBits) int { return 0 }

func (s *sequenceReader) fastRead([]sequence) int { return 0 }

func (r *Reader) fastExecute([]sequence, int) (n, dist int, isFar bool) { return 0, 0, false }
