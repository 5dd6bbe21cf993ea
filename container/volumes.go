package container

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A MountError says what is wrong with a mount that was asked for.
type MountError struct{ Flag, Text string }

func (e *MountError) Error() string { return e.Flag + ": " + e.Text }

// ParseVolume reads what -v takes: [SOURCE:]TARGET[:OPTIONS]. A source with a
// slash is a path, else the name of a volume; without one the volume goes with
// the container.
func ParseVolume(text string) (Mount, error) {
	bad := func(format string, args ...any) (Mount, error) {
		return Mount{}, &MountError{"-v " + text, fmt.Sprintf(format, args...)}
	}
	m := Mount{Type: "volume", RW: true}
	parts := strings.Split(text, ":")
	switch len(parts) {
	case 1:
		m.Destination, m.Anonymous = parts[0], true
	case 3:
		m.Mode = parts[2]
		fallthrough
	case 2:
		m.Source, m.Destination = parts[0], parts[1]
	default:
		return bad("want [SOURCE:]TARGET[:OPTIONS]")
	}
	switch {
	case m.Anonymous:
	case strings.HasPrefix(m.Source, "/"), strings.HasPrefix(m.Source, "."), strings.HasPrefix(m.Source, "~"):
		abs, err := filepath.Abs(m.Source)
		if err != nil {
			return bad("%v", err)
		}
		m.Type, m.Source = "bind", abs
	case nameForm.MatchString(m.Source):
		m.Name, m.Source = m.Source, ""
	default:
		return bad("%q is neither a path nor a name", m.Source)
	}
	for _, o := range strings.Split(m.Mode, ",") {
		switch o {
		case "", "rw", "z", "Z", "cached", "delegated", "consistent":
		case "ro":
			m.RW = false
		case "nocopy":
			m.NoCopy = true
		case "private", "rprivate", "shared", "rshared", "slave", "rslave":
			m.Propagation = o
		default:
			return bad("no such option: %s", o)
		}
	}
	return m, m.check("-v " + text)
}

// check refuses targets that are no place for a mount.
func (m *Mount) check(flag string) error {
	if !strings.HasPrefix(m.Destination, "/") {
		return &MountError{flag, fmt.Sprintf("target %q is not an absolute path", m.Destination)}
	}
	m.Destination = path.Clean(m.Destination)
	if m.Destination == "/" {
		return &MountError{flag, "the target cannot be the root"}
	}
	return nil
}

// ParseMount reads what --mount takes: type=bind|volume|tmpfs,src=…,dst=…,….
func ParseMount(text string) (Mount, error) {
	flag := "--mount " + text
	m := Mount{Type: "volume", RW: true}
	source := ""
	for _, field := range strings.Split(text, ",") {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "type":
			m.Type = value
		case "source", "src":
			source = value
		case "target", "destination", "dst":
			m.Destination = value
		case "readonly", "ro":
			m.RW = value == "false" || value == "0"
		case "bind-propagation":
			m.Propagation = value
		case "volume-nocopy":
			m.NoCopy = value != "false"
		case "tmpfs-size":
			m.Options = append(m.Options, "size="+value)
		case "tmpfs-mode":
			m.Options = append(m.Options, "mode="+value)
		case "consistency", "bind-recursive":
		default:
			return m, &MountError{flag, fmt.Sprintf("no such key: %s", key)}
		}
	}
	switch m.Type {
	case "bind":
		if source == "" {
			return m, &MountError{flag, "a bind has a source"}
		}
		abs, err := filepath.Abs(source)
		if err != nil {
			return m, err
		}
		m.Source = abs
		if _, err := os.Stat(abs); err != nil { // -v makes the directory, --mount does not
			return m, &MountError{flag, "source: " + err.Error()}
		}
	case "volume":
		m.Name, m.Anonymous = source, source == ""
		if source != "" && !nameForm.MatchString(source) {
			return m, &MountError{flag, fmt.Sprintf("invalid name %q", source)}
		}
	case "tmpfs":
	default:
		return m, &MountError{flag, fmt.Sprintf("no such type: %s (bind, volume, tmpfs)", m.Type)}
	}
	return m, m.check(flag)
}

// ParseTmpfs reads what --tmpfs takes: TARGET[:OPTIONS].
func ParseTmpfs(text string) (Mount, error) {
	m := Mount{Type: "tmpfs", RW: true}
	m.Destination, m.Mode, _ = strings.Cut(text, ":")
	for _, o := range strings.Split(m.Mode, ",") {
		switch o {
		case "", "rw":
		case "ro":
			m.RW = false
		default:
			m.Options = append(m.Options, o)
		}
	}
	return m, m.check("--tmpfs " + text)
}

// volumeDir is where the files of a volume lie.
func (s *Store) volumeDir(name string) string {
	return filepath.Join(s.layers.Root(), "volumes", name, "_data")
}

// PrepareMounts makes what is to be mounted and is not there: directories of -v,
// and volumes, which get what the root file system has at their target. The root
// file system is mounted.
func (c *Container) PrepareMounts() error {
	for i := range c.Config.Mounts {
		m := &c.Config.Mounts[i]
		switch m.Type {
		case "bind":
			if _, err := os.Stat(m.Source); os.IsNotExist(err) {
				if err := os.MkdirAll(m.Source, 0o755); err != nil {
					return err
				}
			}
		case "volume":
			if m.Source != "" {
				continue // made at an earlier start
			}
			if m.Name == "" {
				id := make([]byte, 32)
				if _, err := rand.Read(id); err != nil {
					return err
				}
				m.Name = hex.EncodeToString(id)
			}
			if err := c.prepareVolume(m); err != nil {
				return fmt.Errorf("volume %s: %w", m.Name, err)
			}
		}
	}
	mounts := c.Config.Mounts
	return c.Configure(func(cfg *Config) error {
		cfg.Mounts = mounts
		return nil
	})
}

func (c *Container) prepareVolume(m *Mount) error {
	m.Source = c.store.volumeDir(m.Name)
	if _, err := os.Stat(m.Source); err == nil {
		return nil
	}
	// Filled under another name: a volume is there whole, or not at all.
	parent := filepath.Dir(m.Source)
	if err := os.MkdirAll(parent, 0o711); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(parent, ".new-")
	if err != nil {
		return err
	}
	err = os.Chmod(temp, 0o755)
	if err == nil && !m.NoCopy {
		err = copyFromRoot(c.Root(), m.Destination, temp)
	}
	if err == nil {
		err = os.Rename(temp, m.Source)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	return nil
}

// copyFromRoot copies what a directory of a root file system holds, with all of
// its metadata. What is no directory holds nothing.
func copyFromRoot(root, dir, to string) error {
	from, err := openInRoot(root, dir, unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer from.Close()
	cp := exec.Command("cp", "-a", "/proc/self/fd/3/.", to)
	cp.ExtraFiles = []*os.File{from}
	if out, err := cp.CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// RemoveVolumes removes the volumes that go with a container.
func (c *Container) RemoveVolumes() (err error) {
	for _, m := range c.Config.Mounts {
		if m.Type == "volume" && m.Anonymous && m.Name != "" && m.Source != "" {
			err = errors.Join(err, os.RemoveAll(filepath.Dir(c.store.volumeDir(m.Name))))
		}
	}
	return err
}

// anonymousLen is the length of the names of volumes that no user has named.
const anonymousLen = 64

// PruneVolumes removes the volumes that no user has named and no container has,
// and gives their names.
func (s *Store) PruneVolumes() (gone []string, err error) {
	cs, err := s.load()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(s.layers.Root(), "volumes"))
	if os.IsNotExist(err) {
		return nil, nil
	}
	for _, e := range entries {
		name := e.Name()
		used := slices.ContainsFunc(cs, func(c *Container) bool {
			return slices.ContainsFunc(c.Config.Mounts, func(m Mount) bool { return m.Name == name })
		})
		if used || len(name) != anonymousLen {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.layers.Root(), "volumes", name)); err != nil {
			return gone, err
		}
		gone = append(gone, name)
	}
	return gone, err
}
