// Package commit makes an image of another one and of what an upper directory
// changes: its layers, a layer with the change, a config that says so.
//
//	base ──────────── layers ──────────┐
//	change.Tree ─tar─ images.Derive ─→ layer, indexed ─┬─→ manifest ─→ names
//	config of base ─ instructions, history ─→ config ──┘
//
// # Invariants
//
//   - The same base, change and options with an Epoch give the same image,
//     byte by byte.
//   - What the config of the base has that mica does not know stays in it.
//   - A change that is none adds no layer, and an entry of the history that says so.
package commit
