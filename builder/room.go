package builder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"golang.org/x/sys/unix"

	"mica/builder/dockerfile"
	"mica/builder/source"
	"mica/fs"
	"mica/layerstore"
	"mica/layerstore/toc"
)

// A room is what a RUN has besides the image while it runs: files that are mounted
// into it, and locks of caches. All of it goes with the command, but for the
// contents of caches.
type room struct {
	build *build
	dir   string // locked, so that what a killed build leaves is told by it
	lock  *os.File
	held  []*os.File // locks of caches
	n     int        // of files made in dir
}

// newRoom makes one.
func (b *build) newRoom() (*room, error) {
	dir, lock, err := MakeRoom(b.Images.Layers())
	return &room{build: b, dir: dir, lock: lock}, err
}

// MakeRoom gives an empty directory that is removed by [RemoveRoom], or by the
// next build if this process is killed; what is mounted in it is unmounted then.
// It is the caller's as long as the lock is open.
func MakeRoom(s *layerstore.Store) (dir string, lock *os.File, err error) {
	all := filepath.Join(Dir(s), "rooms")
	if err := os.MkdirAll(all, 0o700); err != nil {
		return "", nil, err
	}
	guard, err := os.Open(all)
	if err != nil {
		return "", nil, err
	}
	defer guard.Close()
	// Until a new one is locked it looks dead to others.
	if err := unix.Flock(int(guard.Fd()), unix.LOCK_EX); err != nil {
		return "", nil, &os.PathError{Op: "flock", Path: all, Err: err}
	}
	removeDeadRooms(all)
	if dir, err = os.MkdirTemp(all, ""); err != nil {
		return "", nil, err
	}
	if lock, err = os.Open(dir); err != nil {
		return "", nil, err
	}
	return dir, lock, unix.Flock(int(lock.Fd()), unix.LOCK_EX)
}

func removeDeadRooms(all string) {
	entries, _ := os.ReadDir(all) // of what cannot be read nothing is removed
	for _, e := range entries {
		f, err := os.Open(filepath.Join(all, e.Name()))
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = RemoveRoom(f.Name()) // the next one tries again
		}
		f.Close()
	}
}

// RoomInUse reports whether whoever made a room is there still.
func RoomInUse(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
}

// RemoveRoom unmounts what is mounted in a room, and removes it.
func RemoveRoom(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		at := filepath.Join(dir, e.Name())
		mounted, mountErr := fs.MountedAt(at)
		if mounted {
			mountErr = fs.Unmount(at, true)
		}
		if mountErr != nil {
			return errors.Join(err, mountErr) // nothing is removed below a mount
		}
	}
	return errors.Join(err, os.RemoveAll(dir))
}

func (r *room) close() error {
	var err error
	for _, f := range r.held {
		err = errors.Join(err, f.Close())
	}
	return errors.Join(err, RemoveRoom(r.dir), r.lock.Close())
}

// place gives a new name in the room.
func (r *room) place() string {
	r.n++
	return filepath.Join(r.dir, fmt.Sprint(r.n))
}

// furnish makes what the mounts of a job are of.
func (r *room) furnish(ctx context.Context, j *Job, line dockerfile.Command, mounts []*mount) error {
	if line.Script != nil {
		at := r.place()
		if err := os.WriteFile(at, line.Script, 0o755); err != nil {
			return err
		}
		j.Mounts = append(j.Mounts, Mount{Source: at, Target: dockerfile.ScriptPath, ReadOnly: true})
	}
	for _, m := range mounts {
		if err := r.one(ctx, j, m); err != nil {
			return fmt.Errorf("--mount=type=%s,target=%s: %w", m.Type, m.target, err)
		}
	}
	return nil
}

func (r *room) one(ctx context.Context, j *Job, m *mount) (err error) {
	out := Mount{Target: m.target, ReadOnly: m.ReadOnly, Source: m.direct}
	switch m.Type {
	case instructions.MountTypeTmpfs:
		out.Size = m.SizeLimit
	case instructions.MountTypeBind:
		if out.Source == "" {
			out.Source = r.place()
			err = r.copyOut(ctx, m, out.Source)
		}
	case instructions.MountTypeCache:
		out.Source, err = r.cacheDir(ctx, m)
	case instructions.MountTypeSecret:
		if m.secret == nil {
			return nil
		}
		if name := m.secretEnv(); name != "" {
			j.Env = append(j.Env, name+"="+string(m.secret.Data))
			if m.Mount.Target == "" {
				return nil
			}
		}
		out.Source = r.place()
		err = r.writeSecret(m, out.Source)
	}
	j.Mounts = append(j.Mounts, out)
	return err
}

// ids gives owner and mode of a mount that has them.
func ids(m *mount, mode uint32) (uid, gid int, perm os.FileMode) {
	if m.UID != nil {
		uid = int(*m.UID)
	}
	if m.GID != nil {
		gid = int(*m.GID)
	}
	if m.Mode != nil {
		mode = uint32(*m.Mode)
	}
	return uid, gid, os.FileMode(mode)
}

func (r *room) writeSecret(m *mount, at string) error {
	uid, gid, mode := ids(m, 0o400)
	if err := os.WriteFile(at, m.secret.Data, 0o600); err != nil {
		return err
	}
	return errors.Join(os.Chown(at, uid, gid), unix.Chmod(at, uint32(mode)))
}

// copyOut writes the files of a bind mount to disk.
func (r *room) copyOut(ctx context.Context, m *mount, at string) error {
	return source.Write(ctx, m.tree, m.items, source.Rewrite{}, func(e *toc.Entry, contents source.WriteContents) error {
		return put(filepath.Join(at, strings.TrimPrefix(e.Path, "m")), at, e, contents)
	})
}

// cacheDir gives the directory of a cache mount, locked as its sharing says.
func (r *room) cacheDir(ctx context.Context, m *mount) (string, error) {
	sum := sha256.Sum256([]byte(m.CacheID))
	dir := filepath.Join(Dir(r.build.Images.Layers()), "caches", hex.EncodeToString(sum[:16]))
	for n := 0; ; n++ {
		at := dir
		if n > 0 {
			at = fmt.Sprintf("%s-%d", dir, n)
		}
		got, err := r.lockCache(ctx, m, at)
		if err != nil || got {
			return filepath.Join(at, "data"), err
		}
		// Private, and in use: the next is its own.
	}
}

// lockCache makes a cache if it is not there, and locks it. It reports false for
// a private one that another has.
func (r *room) lockCache(ctx context.Context, m *mount, at string) (bool, error) {
	if err := os.MkdirAll(at, 0o700); err != nil {
		return false, err
	}
	f, err := os.Open(at)
	if err != nil {
		return false, err
	}
	r.held = append(r.held, f)
	switch m.CacheSharing {
	case instructions.MountSharingPrivate:
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
			return false, nil
		}
	case instructions.MountSharingLocked:
		err = layerstore.Flock(ctx, f, unix.LOCK_EX)
	default:
		err = layerstore.Flock(ctx, f, unix.LOCK_SH)
	}
	if err != nil {
		return false, err
	}
	data := filepath.Join(at, "data")
	if _, err := os.Stat(data); !errors.Is(err, iofs.ErrNotExist) {
		return true, err
	}
	return true, r.newCache(ctx, m, data)
}

// newCache fills a cache that was not there, out of sight until it is complete.
func (r *room) newCache(ctx context.Context, m *mount, data string) error {
	at := r.place()
	if err := os.Mkdir(at, 0o755); err != nil {
		return err
	}
	if m.items != nil {
		if err := r.copyOut(ctx, m, at); err != nil {
			return err
		}
	}
	uid, gid, mode := ids(m, 0o755)
	if err := errors.Join(os.Chown(at, uid, gid), unix.Chmod(at, uint32(mode))); err != nil {
		return err
	}
	err := unix.Renameat2(unix.AT_FDCWD, at, unix.AT_FDCWD, data, unix.RENAME_NOREPLACE)
	if err == unix.EEXIST {
		return nil // another was faster
	}
	return err
}
