package fs

// A MountError says why there is no mount, in words for whoever asked for one.
type MountError struct {
	code string
	text string
	hint string
	err  error
	// Mounted is what is mounted there already, for the code "mounted"; else nil.
	Mounted *Info
}

func (e *MountError) Error() string { return e.text }

// Code is a stable word for programs: "no-fuse", "no-fusermount",
// "no-mountpoint", "not-directory", "not-empty", "mounted", "mount-refused".
func (e *MountError) Code() string { return e.code }

// Hint is what would help, a command or a file to change; "" if nothing is known.
func (e *MountError) Hint() string { return e.hint }

func (e *MountError) Unwrap() error { return e.err }
