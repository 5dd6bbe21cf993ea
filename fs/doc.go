// Package fs is the FUSE server: it mounts a [View] at a directory, answers
// the kernel, and unmounts. It knows the kernel's cache rules, mount(2) and
// fusermount3; it knows neither images nor layers.
//
//	/dev/fuse ─session: read→ request ─go-fuse: decode→ handlers ─→ View
//	              ↑ one write a reply ←─ encode ←─ status ←──────────┘
//
// Two processes belong to a mount. The server answers. The holder has the
// descriptor of /dev/fuse and what else a server needs open, and has another
// server started when one dies; it is small, reads nothing, and knows no more
// than to pass on what it keeps (held.go):
//
//	holder ─starts, passes on: device, INIT, state, log, the image's files→ server
//	       ←"serving" · "drain", "resend"→
//	       ←mica upgrade: a program to become
//
// One loop reads /dev/fuse and answers at once what needs no waiting: all
// metadata, and reads whose bytes are decoded already. A read that must decode
// or fetch goes to a bounded set of workers, so that it never holds up an ls.
//
// # Invariants
//
//   - What is put into the kernel's cache unasked (push.go) is of files that nobody
//     is known to read at that time, and done by workers.
//   - The server keeps no state that it could lose: node numbers belong to the
//     View, there are no file handles (OPEN and OPENDIR are answered ENOSYS,
//     and the kernel opens by itself from then on), FORGET does nothing. A
//     server that takes over the descriptor and the INIT request of a dead one
//     goes on where that stopped ([Held.Attach]).
//   - A mount is served as long as its holder or its server lives. When both are
//     gone, the kernel answers ENOTCONN by itself.
//   - Nothing in the view changes while it is mounted, so that the kernel is
//     told to keep names, attributes, symlinks, directories and data for ever:
//     what was read once is not asked for again.
//   - Every request that wants a reply gets exactly one, whatever a handler
//     does: a panic is EIO for that request, and the mount lives on.
//   - status is the one place where an error becomes an errno.
//   - HandleRequest of go-fuse is used in session.go alone.
//   - No lock is held while the View is asked. The one lock, of the worker
//     queue, guards a few pointers.
package fs
