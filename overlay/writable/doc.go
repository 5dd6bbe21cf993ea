// Package writable is a layer that changes go to, over a tree that stays as it
// is: reads come from the upper directory where that has a name, else from the
// [overlay.Lower] below it.
//
//	program ─→ fs ─→ View ─┬─ Upper: a directory on disk, in the form of an overlayfs upper
//	                       └─ Lower: the image
//
// The upper is one that the kernel's overlayfs can mount: character device 0/0
// for what is deleted, trusted.overlay.opaque and trusted.overlay.redirect (or
// user.overlay.* for an ordinary user). What mica adds, the number that a node
// had before it was copied up, is an attribute that overlayfs ignores.
//
// # Invariants
//
//   - A node keeps its number over copy-up, rename and remount: of what the lower
//     has, the lower's; of what is only in the upper, the upper's inode number
//     with the bit [overlay.UpperNodes].
//   - A name in the upper is absent or whole: copy-up fills a file in the work
//     directory, syncs it and renames it into place.
//   - All names of a lower file are copied up together, as hard links.
//   - What is deleted is kept in the work directory until the kernel forgets it,
//     so that a server which takes over finds it.
//   - No path longer than a name is given to the kernel: files are opened
//     relative to their directory, and symlinks are never followed.
//   - Lock order: View.mu, then descriptors.mu. Data is read and written with
//     neither.
package writable
