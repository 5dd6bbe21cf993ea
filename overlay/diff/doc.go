// Package diff compares two file trees by content: images, images as they were
// after one of their layers, directories on disk.
//
//	Side a ─┐                      ┌→ metadata differs ────────────────→ Change
//	        ├ walk, name by name ──┼→ same place of the same layer: equal, not read
//	Side b ─┘                      ├→ sizes differ: not read ──────────→ Change
//	                               └→ the rest: read, in the layers' order → Change?
//
// # Invariants
//
//   - What is told as equal is equal in each respect that was asked for.
//   - Contents are read only where nothing else decides.
//   - Changes come in the order of a walk: a directory before what is in it,
//     names by their bytes.
package diff
