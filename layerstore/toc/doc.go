// Package toc is the table of contents of one layer: read from a tar stream
// in one pass, or from a table of another format, kept as a compact index file, read back with every byte checked.
//
//	tar stream ─Scan→ entries ─────────────┐
//	another's table ─Describer→ entries ───┤
//	checkpoints, span sums, or chunks ─────┴─Write→ index file ─Open→ Index
//
// # Invariants
//
//   - An [Entry] has a clean path: relative, no empty, "." or ".." elements.
//     The root is "".
//   - Entries keep the order of the tar stream; what a later one does to an
//     earlier one is decided by package overlay, not here.
//   - An [Index] that opened is sound: each section's checksum held and each
//     offset lies within the file and the layer.
package toc
