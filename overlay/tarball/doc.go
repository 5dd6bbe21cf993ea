// Package tarball writes tars of files that are described as a layer's index
// describes them, [toc.Entry]: the same entries are always the same bytes.
//
// The format is ustar, and PAX where that does not hold all: times below a
// second, long names, large numbers, extended attributes (SCHILY.xattr). Marks
// are the files that stand for them in an image's layer (image-spec layer.md,
// "Whiteouts"). Files with holes are in GNU's sparse format 1.0, which all but
// the simplest readers know.
package tarball
