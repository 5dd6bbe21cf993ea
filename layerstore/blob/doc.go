// Package blob gives random access to the uncompressed bytes of a layer,
// whatever its compression and wherever it is kept, each byte checked.
//
//	Source ─span i: checkpoint → inflate or zstd→ bytes ─checksum→ span cache ─→ ReadAt
//
// # Invariants
//
//   - Bytes are handed out only after the checksum of their block, or the
//     digest of their chunk, held; of a layer with chunks, only if the file's tar
//     header says what the table says.
//   - A span is decoded once for any number of readers that wait for it, and
//     no lock is held meanwhile.
//   - The span cache is bounded in bytes.
package blob
