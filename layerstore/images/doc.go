// Package images keeps images by name in a directory: an OCI image layout that
// any tool reads as it is, and beside it what lets many processes change it at
// once without one of them being in charge.
//
//	images/            oci-layout, index.json, blobs/sha256/…: the layout
//	partial/           blobs that are still arriving; what a killed process has
//	                   left is gone on with
//	leases/            a file for each process that adds: the digests it needs
//	locks/images       flock: shared to read and to lease, alone to change
//
// # Invariants
//
//   - A blob is in the layout whole and with the digest of its name: it is
//     checked while it arrives, synced, then renamed into place.
//   - index.json is replaced by a rename under the lock. A name is written
//     after all that it leads to, so what is named is never missing.
//   - A blob is deleted by [Store.Collect] alone, under the lock, and only if
//     no name and no living lease leads to it. Who adds has the digest in his
//     lease before he looks whether the blob is there.
//   - A lease and a blob that arrives are flocked by their owner: what the dead
//     leave is told by its lock.
//   - Who has opened an image has its files open, which outlive their names.
package images
