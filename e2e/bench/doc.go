// Command bench measures mica beside the tools that do the same work, and
// writes docs/BENCHMARKS.md; make bench runs it.
//
//	rows ─┬→ side: mica ──bash──→ seconds ─┐
//	      └→ side: umoci, podman, overlayfs ┴→ comparison ─bars→ report
//
// # Invariants
//
//   - The sides of a comparison take turns within one run, so that what else the
//     machine does hits them alike; a ratio is the median of those of the rounds.
//   - What is timed is a line of shell that the report prints, wherever it can be:
//     a reader can run it by hand.
//   - All that is written lies in one directory, which is removed at the end, with
//     a store, records and mounts of its own.
//   - A row that misses its bar is reported like any other.
package main
