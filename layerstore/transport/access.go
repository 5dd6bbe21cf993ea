package transport

import (
	"fmt"
	iofs "io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// An accessError says whose file it is that we may not open.
type accessError struct {
	*iofs.PathError
}

func (e *accessError) Error() string {
	st, err := os.Stat(e.Path)
	if err != nil {
		return e.PathError.Error()
	}
	sys := st.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%v (mode %04o %s:%s; you are uid %d)", e.PathError, st.Mode().Perm(), userName(sys.Uid), groupName(sys.Gid), os.Geteuid())
}
func (e *accessError) Unwrap() error { return e.PathError }
func (e *accessError) Hint() string  { return "" }
func (e *accessError) Code() string  { return "permission" }

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

func groupName(gid uint32) string {
	id := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}
