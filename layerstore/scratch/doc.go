// Package scratch gives files that have no name: room for what is needed for a
// while, which nobody else sees and nothing has to clear away.
package scratch
