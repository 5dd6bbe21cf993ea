// Package overlay is the union: layers merged into one read-only [Tree], and
// the [View] that joins a tree with the bytes of its layers. It knows names,
// whiteouts and hard links; it knows no FUSE, and of tar only how to write one.
//
//	index files, bottom to top ─Merge→ tree file ─mmap→ Tree ─┐
//	blob readers, one a layer ────────────────────────────────┴→ View ─→ fs
//
// # Invariants
//
//   - A Tree never changes, so it is read without a lock.
//   - Node numbers are a function of the layers: the same at each mount.
//   - A Tree that opened is sound: each section's checksum held, and each
//     reference is checked where it is followed, so that a forged file gives
//     an error and never a panic.
package overlay
