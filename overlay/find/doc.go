// Package find is the expression language of find(1) over a tree of package
// overlay.
//
//	arguments ─Parse→ Query{paths, depths, tests and actions} ─Run→ actions on the files that pass
//
// # Invariants
//
//   - A test means what it means to GNU find, to the rounding of sizes and ages.
//   - Tests look at the tree only; no byte of a layer is read.
package find
