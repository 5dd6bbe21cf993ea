// Package change tells what an upper directory changes of the image that it
// lies over, and writes that as one more layer.
//
//	upper directory ─┐
//	                 ├─ dirs.Union ─┐
//	image ───────────┴──────────────┴─ walk, name by name ─→ Change ─┬→ a list (diff)
//	                                                                 └→ a tar (commit)
//
// Both sides are file trees: that of the image, and that which programs see in
// the union. So it does not matter how the upper says something, by whiteouts,
// opaque directories, redirects or metadata alone, and who has written it: mica,
// the kernel's overlayfs, podman. What only the image has is passed over without
// being looked at.
//
// # Invariants
//
//   - What is told is what differs, in metadata or in contents: a file that was
//     copied up and is as before is not among it.
//   - A directory is told before what is in it, and with each change that is in
//     it: a layer's readers would make up what it does not name. The same may be
//     told twice of directories of hard links.
//   - All names of a file are told if one is, after everything else: so a layer
//     never links to what a layer below has, which is out of reach for who
//     unpacks each by itself.
//   - The tar is a function of the two trees alone: not of the order of names on
//     disk, of holes, of block sizes, of who writes it.
package change
