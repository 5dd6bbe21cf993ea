package container

import (
	"fmt"
	"strings"

	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A UserError says that the user of a container is not one of its root file system.
type UserError struct {
	User string
	err  error
}

func (e *UserError) Error() string {
	return fmt.Sprintf("user %q: %v", e.User, e.err)
}
func (e *UserError) Unwrap() error { return e.err }
func (e *UserError) Code() string  { return "bad-user" }
func (e *UserError) Hint() string {
	return "numbers need no entry: -u UID:GID; see /etc/passwd and /etc/group of the image"
}

// lookupUser finds what USER[:GROUP] is in the files of a root file system, and
// the home directory.
func lookupUser(root, who string, more []string) (specs.User, string, error) {
	passwd, err := accounts(root, "/etc/passwd")
	if err != nil {
		return specs.User{}, "", &UserError{who, err}
	}
	group, err := accounts(root, "/etc/group")
	if err != nil {
		return specs.User{}, "", &UserError{who, err}
	}
	found, err := user.GetExecUser(who, &user.ExecUser{Home: "/"}, passwd, group)
	if err != nil {
		return specs.User{}, "", &UserError{who, err}
	}
	u := specs.User{UID: uint32(found.Uid), GID: uint32(found.Gid)}
	for _, g := range found.Sgids {
		u.AdditionalGids = append(u.AdditionalGids, uint32(g))
	}
	if len(more) > 0 {
		group, err := accounts(root, "/etc/group")
		if err != nil {
			return specs.User{}, "", &UserError{who, err}
		}
		gids, err := user.GetAdditionalGroups(more, group)
		if err != nil {
			return specs.User{}, "", &UserError{strings.Join(more, ","), err}
		}
		for _, g := range gids {
			u.AdditionalGids = append(u.AdditionalGids, uint32(g))
		}
	}
	// As docker has it: the group itself is among them.
	u.AdditionalGids = withGid(u.AdditionalGids, u.GID)
	return u, found.Home, nil
}

func withGid(gids []uint32, gid uint32) []uint32 {
	for _, g := range gids {
		if g == gid {
			return gids
		}
	}
	return append([]uint32{gid}, gids...)
}
