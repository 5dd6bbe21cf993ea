// Package dockerfile says what a Dockerfile asks for: its stages, what each of
// them needs of others, and what each instruction means once variables have
// their values. The grammar is that of BuildKit, whose parser reads it; nothing
// is built here.
//
//	bytes ─Parse→ File ─Plan→ stages that the target needs
//	config of a base ─NewState→ State ─Expand, Apply→ config of the stage
//
// # Invariants
//
//   - Each error about the text is an [*Error] with line and column.
//   - Stages of a [Plan] stand in an order in which each comes after all those
//     that it needs, and none needs itself.
package dockerfile
