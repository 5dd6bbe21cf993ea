package ondisk

import (
	"golang.org/x/sys/unix"

	"mica/layerstore/toc"
	"mica/overlay"
)

// Attr gives what stat(2) told of a file as a node with the number id.
func Attr(id overlay.NodeID, st *unix.Stat_t) overlay.Attr {
	major, minor := unix.Major(st.Rdev), unix.Minor(st.Rdev)
	return overlay.Attr{
		ID: id, Mode: st.Mode, Nlink: uint32(st.Nlink), UID: st.Uid, GID: st.Gid, Size: st.Size, Blocks: st.Blocks,
		Atime: Time(st.Atim), Mtime: Time(st.Mtim), Ctime: Time(st.Ctim),
		Rdev: minor&0xff | major&0xfff<<8 | (minor&0xfff00)<<12,
	}
}

// Time is a time of a file as the tree has it.
func Time(ts unix.Timespec) toc.Time { return toc.Time{Sec: ts.Sec, Nsec: uint32(ts.Nsec)} }
