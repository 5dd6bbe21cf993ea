package main

import "slices"

// rows are all that is measured, in the order of the report.
func rows() []row {
	return slices.Concat(mountRows(), warmRows(), coldRows(), sizeRows(), liveRows())
}
