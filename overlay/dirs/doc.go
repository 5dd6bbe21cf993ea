// Package dirs is a read-only union of directories, as overlayfs makes one of
// its lower layers; a layer may also be an image. It is put together as it is
// looked at: nothing is read before it is asked for.
//
//	layers, topmost first:  directories on disk ─┬─→ Union ─┬─→ fs, read-only
//	                        trees of images ─────┘          └─→ writable.View, as its lower
//
// A directory of the union is a stack of folders, one of each layer that has
// it. Which those are is found out when it is first entered: marks of one layer
// say whether the ones below count, and where they have it (see merge.go).
// A file is a name in one of the folders of its directory.
//
// # Invariants
//
//   - The layers do not change while they are used; what does change may be seen
//     or not, and does no harm to anything else.
//   - A number means the same to each server of a mount, as it is made of what
//     the file systems say: see number.go. A number that is not known is looked
//     for in all of the union (index.go), so that what is known may be forgotten.
//   - Symlinks are never followed, mounts within a layer not entered: a union
//     that is mounted below one of its layers does not meet itself.
//   - Lock order: Union.building, then Union.mu, then a cache's. None is held
//     over a system call, but for building.
package dirs
