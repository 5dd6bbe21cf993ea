package e2e

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A recorder is a disk whose writes and flushes are recorded in the order in
// which they come: the backing file of a loop device, served by a process of its
// own. What was written after the last flush a disk may lose when the power
// fails, any part of it.
type recorder struct {
	image string // what it began with
	log   string
	file  string // the disk
}

// recorderEnv has this program serve a disk: its directory.
const recorderEnv = "MICA_TEST_RECORDER"

// Names in the directory of a recorder.
const (
	recorderImage  = "image"
	recorderDisk   = "disk" // the mount point; the file in it has the same name
	recorderLog    = "log"
	recorderNodeID = 2
)

// A record's head is where it was written, or recordFlush, and how many bytes
// follow, both little-endian.
const (
	recordHead  = 12
	recordFlush = ^uint64(0)
)

// newRecorder makes a disk with an empty ext4 on it.
func newRecorder(t *testing.T, size int64) *recorder {
	t.Helper()
	needRoot(t)
	needFUSE(t)
	_, err := os.Stat("/dev/loop-control")
	need(t, err == nil, "loop devices")
	dir := newDir(t)
	r := &recorder{image: filepath.Join(dir, recorderImage), log: filepath.Join(dir, recorderLog), file: filepath.Join(dir, recorderDisk, recorderDisk)}
	if err := errors.Join(os.WriteFile(r.image, nil, 0o600), os.Truncate(r.image, size), os.Mkdir(filepath.Dir(r.file), 0o700)); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "mkfs.ext4", "-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", r.image)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), recorderEnv+"="+dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go cmd.Wait() // it ends when it is unmounted
	waitFor(func() bool { _, err = os.Stat(r.file); return err == nil })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// position is how long the record is by now.
func (r *recorder) position() int64 {
	st, err := os.Stat(r.log)
	must(err)
	return st.Size()
}

// cuts are the positions between two records from one position on.
func (r *recorder) cuts(from int64) (cuts []int64, err error) {
	err = r.each(func(end int64, _ uint64, _ []byte) error {
		if end >= from {
			cuts = append(cuts, end)
		}
		return nil
	})
	return cuts, err
}

// each gives all records: where each ends, and what it is.
func (r *recorder) each(do func(end int64, off uint64, data []byte) error) error {
	f, err := os.Open(r.log)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	var head [recordHead]byte
	for end := int64(0); ; {
		if _, err := io.ReadFull(in, head[:]); err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		} else if err != nil {
			return err
		}
		data := make([]byte, binary.LittleEndian.Uint32(head[8:]))
		if _, err := io.ReadFull(in, data); err != nil {
			return nil // it is being written
		}
		end += int64(len(head) + len(data))
		if err := do(end, binary.LittleEndian.Uint64(head[:]), data); err != nil {
			return err
		}
	}
}

// after writes what the disk has after the power failed at a position: all up to
// the last flush, and some blocks of what came later.
func (r *recorder) after(path string, cut int64, random *rand.Rand) error {
	flushed := int64(0)
	if err := r.each(func(end int64, off uint64, _ []byte) error {
		if off == recordFlush && end <= cut {
			flushed = end
		}
		return nil
	}); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "--sparse=always", r.image, path).CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w\n%s", err, out)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	const block = 4096 // written whole or not, as the file system relies on for its own
	return r.each(func(end int64, off uint64, data []byte) error {
		for at := 0; at < len(data) && end <= cut; at += block {
			if end > flushed && random.IntN(2) == 0 {
				continue
			}
			if _, err := f.WriteAt(data[at:min(at+block, len(data))], int64(off)+int64(at)); err != nil {
				return err
			}
		}
		return nil
	})
}

// A recorderServer serves the disk in a directory of a recorder.
type recorderServer struct {
	fuse.RawFileSystem
	disk, log *os.File
}

// serveRecorder serves until the disk is unmounted.
func serveRecorder(dir string) error {
	path := filepath.Join(dir, recorderDisk+".now")
	if out, err := exec.Command("cp", "--sparse=always", filepath.Join(dir, recorderImage), path).CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w\n%s", err, out)
	}
	disk, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(dir, recorderLog), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	s := &recorderServer{RawFileSystem: fuse.NewDefaultRawFileSystem(), disk: disk, log: log}
	server, err := fuse.NewServer(s, filepath.Join(dir, recorderDisk), &fuse.MountOptions{DirectMountStrict: true, SingleThreaded: true, MaxWrite: 1 << 20})
	if err != nil {
		return err
	}
	server.Serve()
	return errors.Join(disk.Close(), log.Close())
}

func (s *recorderServer) Lookup(_ <-chan struct{}, _ *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if name != recorderDisk {
		return fuse.ENOENT
	}
	out.NodeId = recorderNodeID
	return s.attr(recorderNodeID, &out.Attr)
}

func (s *recorderServer) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return s.attr(in.NodeId, &out.Attr)
}

func (s *recorderServer) attr(node uint64, a *fuse.Attr) fuse.Status {
	a.Ino, a.Mode, a.Nlink = node, unix.S_IFDIR|0o700, 2
	if node == recorderNodeID {
		st, err := s.disk.Stat()
		if err != nil {
			return fuse.EIO
		}
		a.Mode, a.Nlink, a.Size = unix.S_IFREG|0o600, 1, uint64(st.Size())
	}
	return fuse.OK
}

func (s *recorderServer) Open(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status {
	return fuse.OK
}

func (s *recorderServer) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	n, err := s.disk.ReadAt(buf[:in.Size], int64(in.Offset))
	if err != nil && err != io.EOF {
		return nil, fuse.EIO
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

func (s *recorderServer) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	if _, err := s.disk.WriteAt(data, int64(in.Offset)); err != nil {
		return 0, fuse.EIO
	}
	return uint32(len(data)), s.record(in.Offset, data)
}

func (s *recorderServer) Fsync(<-chan struct{}, *fuse.FsyncIn) fuse.Status {
	return s.record(recordFlush, nil)
}

func (s *recorderServer) record(off uint64, data []byte) fuse.Status {
	b := binary.LittleEndian.AppendUint64(nil, off)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	if _, err := s.log.Write(append(b, data...)); err != nil {
		return fuse.EIO
	}
	return fuse.OK
}
