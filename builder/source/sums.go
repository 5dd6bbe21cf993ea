package source

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	iofs "io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// The file of a Sums: magic, a record for each file, CRC-32C of all before it.
// Little-endian. It is a cache: what is not right is as if it were not there.
const (
	sumsMagic = "micasum1"
	sumsLen   = 5*8 + len(Sum{}) // device, inode, size, mtime, ctime, digest
	maxSums   = 500_000          // files; more are not remembered
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// LoadSums reads what [Sums.Save] has written. Without the file it is empty.
func LoadSums(path string) (*Sums, error) {
	s := &Sums{known: map[Stamp]Sum{}}
	st, err := os.Stat(path)
	if errors.Is(err, iofs.ErrNotExist) || err == nil && st.Size() > int64(len(sumsMagic)+maxSums*sumsLen+4) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	n := len(b) - len(sumsMagic) - 4
	if n < 0 || n%sumsLen != 0 || string(b[:len(sumsMagic)]) != sumsMagic ||
		binary.LittleEndian.Uint32(b[len(b)-4:]) != crc32.Checksum(b[:len(b)-4], castagnoli) {
		return s, nil
	}
	for b = b[len(sumsMagic) : len(b)-4]; len(b) > 0; b = b[sumsLen:] {
		u := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
		st := Stamp{ID{u(0), u(1)}, int64(u(2)), int64(u(3)), int64(u(4))}
		s.known[st] = Sum(b[5*8 : sumsLen])
	}
	return s, nil
}

// Save writes what is known if something is new. Of two processes that do so at
// once one is right.
func (s *Sums) Save(path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.fresh || len(s.known) > maxSums {
		return nil
	}
	b := []byte(sumsMagic)
	for st, sum := range maps.All(s.known) {
		for _, n := range []uint64{st.ID.Dev, st.ID.Ino, uint64(st.Size), uint64(st.Mtime), uint64(st.Ctime)} {
			b = binary.LittleEndian.AppendUint64(b, n)
		}
		b = append(b, sum[:]...)
	}
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(slices.Clip(b))
	// Not synced: a torn file has another checksum, and is made again.
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	s.fresh = false
	return nil
}
