// Package unzstd decodes zstd (RFC 8878) fast, notes places where decoding can
// go on, and goes on there.
//
//	src ─input→ frame header ─→ block ─┬─ literals ───────────┬─→ history ─→ Read's buffer
//	                              │    └─ sequences, by batch ┘      │
//	                              └────────── Points (OnPoint) ──────┘
//
// The usual zstd file is a single frame, in which any match may reach back by
// the window, mostly 8 MiB. A first pass through [NewReader] finds out which
// of these bytes the output up to the next Point really refers to; they are
// few. A Point keeps them, so that [Resume] makes that stretch of the output
// without what is before it.
//
// # Invariants
//
//   - A block's output is whole or absent: what Read gives is never followed
//     by an error that concerns it, but for the frame's content size and checksum.
//   - Output lies in history, contiguous for each block; Read copies it out
//     before the next block is decoded.
//   - The distance of each match is checked by Reader.farMatch, but of those
//     that fastExecute finds to be short enough for none of its rules.
//   - What fast.go does is what its plain twins do; tests and a fuzz test hold
//     the two against each other.
package unzstd
