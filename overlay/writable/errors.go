package writable

import (
	"errors"
	iofs "io/fs"
)

// notExist reports whether an error says that there is no such name.
func notExist(err error) bool { return errors.Is(err, iofs.ErrNotExist) }
