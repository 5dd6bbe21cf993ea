package toc

import "time"

// Type is what an entry is: a kind of file, a second name of one, or a mark
// that changes what lower layers show.
type Type uint8

const (
	Regular  Type = iota + 1
	Dir           //
	Symlink       // Link is the target, byte by byte as in the tar
	Hardlink      // Link is the clean path of the other name
	Char          //
	Block         //
	Fifo          //
	Whiteout      // Path does not show what lower layers have there
	Opaque        // the directory Path does not show its lower children
)

// An Entry is one member of a layer: one tar header with all that belongs to
// it resolved (PAX and GNU records, sparse maps, whiteout names).
type Entry struct {
	Path string // clean; "" is the root; bytes, not necessarily UTF-8
	Type Type
	Mode uint16 // permission bits with setuid, setgid, sticky: 07777
	UID  uint32
	GID  uint32
	// Mtime is the modification time.
	Mtime Time
	// Size is the length in bytes as a program sees it, holes included.
	// Zero for all but Regular.
	Size int64
	// Link is the target of a Symlink or the other name of a Hardlink.
	Link string
	// Major and Minor are the device number of Char and Block.
	Major, Minor uint32
	// Off is where the data begins in the uncompressed layer, in bytes.
	Off int64
	// Sparse lists the data of a sparse file, rising, not overlapping; what
	// lies between is zeros. The data lies packed in the layer from Off on.
	// Nil for a file without holes; empty but not nil for a file that is one hole.
	Sparse []Extent
	// Xattrs are sorted by name; a name stands once.
	Xattrs []Xattr
}

// Marker says whether the entry is a mark and not a file.
func (e *Entry) Marker() bool { return e.Type == Whiteout || e.Type == Opaque }

// Time is a POSIX time: seconds since the epoch, negative before it, and
// nanoseconds in [0, 1e9) after that second.
type Time struct {
	Sec  int64
	Nsec uint32
}

// Time gives t as Go's own type, in UTC.
func (t Time) Time() time.Time { return time.Unix(t.Sec, int64(t.Nsec)).UTC() }

// An Extent is a run of data in a sparse file, in bytes of the file as a
// program sees it.
type Extent struct{ Off, Len int64 }

// An Xattr is an extended attribute with its full name ("user.mime_type").
type Xattr struct {
	Name  string
	Value []byte
}
