package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mica/fs"
	"mica/overlay"
)

// mountOptions are what -o says, in the words of mount(8), of FUSE and of
// fuse-overlayfs.
type mountOptions struct {
	fs       fs.Options
	uid, gid *uint32 // own all files, if not nil
	root     string  // as --root
	platform string  // as --platform
	upper    string  // as --upper
	work     string  // as --work
	rw       bool    // as --rw, unless there is an upper
	lowers   string  // as overlayfs has it, escaped: see parseLowers
	userMark bool    // marks in directories are user.overlay.*
}

// parseMountOptions reads lists of options with commas between, of which later
// ones win.
func parseMountOptions(lists []string) (*mountOptions, error) {
	o := &mountOptions{}
	for _, list := range lists {
		for _, word := range splitOptions(list) {
			if err := o.set(word); err != nil {
				return nil, &usageError{err: fmt.Errorf("-o %s: %w", word, err), hint: "options: ro rw nosuid nodev noexec noatime allow_other default_permissions nonempty uid= gid= fsname= root= platform= lowerdir= upperdir= workdir= userxattr"}
			}
		}
	}
	return o, nil
}

// splitOptions splits at commas. One after a backslash is part of a word; the
// backslash stays, as that before a colon does.
func splitOptions(list string) []string { return splitEscaped(list, ',') }

// splitEscaped splits at each separator that has no backslash before it.
func splitEscaped(s string, at byte) (parts []string) {
	from := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case at:
			parts = append(parts, s[from:i])
			from = i + 1
		}
	}
	return append(parts, s[from:])
}

// unescape takes away the backslash before any character.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// overlayOptions are those of overlayfs that ask for what is so anyway, or for
// what a mount in a user's space has no use for.
var overlayOptions = []string{"index", "redirect_dir", "metacopy", "xino", "nfs_export", "uuid", "volatile", "verity"}

// plainOptions are those that mean something to whoever reads fstab, or that
// say what is so anyway.
var plainOptions = []string{
	"", "defaults", "async", "sync", "dirsync", "relatime", "norelatime", "strictatime", "nostrictatime",
	"lazytime", "nolazytime", "diratime", "nodiratime", "silent", "loud", "mand", "nomand", "iversion", "noiversion",
	"_netdev", "nofail", "auto", "noauto", "user", "nouser", "users", "nousers", "owner", "noowner", "group", "nogroup",
}

func (o *mountOptions) set(word string) error {
	name, value, hasValue := strings.Cut(word, "=")
	if slices.Contains(plainOptions, word) || strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "X-") || name == "comment" ||
		slices.Contains(overlayOptions, name) {
		return nil
	}
	if word == "rw" || word == "ro" {
		o.rw = word == "rw"
		return nil
	}
	if flag, to := o.flag(word); flag != nil {
		*flag = to
		return nil
	}
	escaped := value
	value = unescape(value)
	var err error
	switch name {
	case "lowerdir":
		o.lowers = escaped
	case "uid":
		o.uid, err = parseID(value)
	case "gid":
		o.gid, err = parseID(value)
	case "fsname":
		o.fs.Source = value
	case "root":
		o.root = value
	case "platform":
		o.platform = value
	case "upperdir":
		o.upper = value
	case "workdir":
		o.work = value
	default:
		return fmt.Errorf("unknown mount option %q", name)
	}
	if !hasValue || value == "" {
		return fmt.Errorf("needs a value")
	}
	return err
}

// flag gives what a word without a value sets, and to what; nil if it is none.
func (o *mountOptions) flag(word string) (flag *bool, to bool) {
	switch word {
	case "nosuid", "suid":
		return &o.fs.NoSuid, word == "nosuid"
	case "nodev", "dev":
		return &o.fs.NoDev, word == "nodev"
	case "noexec", "exec":
		return &o.fs.NoExec, word == "noexec"
	case "noatime", "atime":
		return &o.fs.NoAtime, word == "noatime"
	case "allow_other":
		return &o.fs.AllowOther, true
	case "default_permissions":
		return &o.fs.DefaultPermissions, true
	case "nonempty":
		return &o.fs.Nonempty, true
	case "userxattr":
		return &o.userMark, true
	}
	return nil, false
}

func parseID(s string) (*uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("not a number: %q", s)
	}
	id := uint32(n)
	return &id, nil
}

// An ownedView is a view in which all files belong to one user or group.
type ownedView struct {
	fs.View
	uid, gid *uint32 // nil leaves it as it is
}

// Unwrap gives the view with the image's owners.
func (v *ownedView) Unwrap() fs.View { return v.View }

func (v *ownedView) own(a overlay.Attr) overlay.Attr {
	if v.uid != nil {
		a.UID = *v.uid
	}
	if v.gid != nil {
		a.GID = *v.gid
	}
	return a
}

func (v *ownedView) Lookup(parent overlay.NodeID, name string) (overlay.Attr, error) {
	a, err := v.View.Lookup(parent, name)
	return v.own(a), err
}

func (v *ownedView) Attr(id overlay.NodeID) (overlay.Attr, error) {
	a, err := v.View.Attr(id)
	return v.own(a), err
}

func (v *ownedView) ReadDir(dir overlay.NodeID, cookie uint64, emit func(name string, a overlay.Attr, next uint64) bool) error {
	return v.View.ReadDir(dir, cookie, func(name string, a overlay.Attr, next uint64) bool {
		return emit(name, v.own(a), next)
	})
}
