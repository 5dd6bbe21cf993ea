// Package source is the files that COPY and ADD take: those of a build context
// or of an image, chosen by the rules of the Dockerfile reference.
//
//	directory ─┐                    ┌→ digest, for the cache
//	tar, image ┴→ Tree ─Select→ Item ┤
//	            .dockerignore        └→ entries of a layer
//
// # Invariants
//
//   - Nothing outside of the root of a tree is ever looked at: symlinks lead to
//     places below it, or nowhere, also while somebody changes the directory.
//   - Items come in one order, that of their paths, whatever the order on disk.
//   - A digest is of what a layer would hold, but for times: names, kinds, modes,
//     owners, attributes, contents.
package source
