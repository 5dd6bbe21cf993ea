// Package layerstore keeps what mica knows of layers on disk: an index for
// each, made in one pass over the blob that also checks its digests, and what
// is built from indexes.
//
//	transport.Layer ─Store.Layer→ index file there? ─yes→ Layer
//	                                   │no
//	              read → inflate/zstd ─┬→ tar scan, block sums ─→ index file
//	                   └→ digest       └→ diffID                      ↑
//	              footer → table of contents, if the manifest names its digest
//
// # Invariants
//
//   - Everything in the store but images can be deleted at any time.
//   - A file in the store is whole: written under a temporary name, synced,
//     renamed. What is damaged all the same is found by its checksums and made
//     again.
//   - One process makes a file, others wait for it: a flock that dies with
//     its holder.
//   - An index exists only of a blob whose digest and diffID were right, or of
//     one with a table whose digest was: its chunks then have digests of their
//     own, and its name says which table that is.
package layerstore
