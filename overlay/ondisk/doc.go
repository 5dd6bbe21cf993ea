// Package ondisk reads directories that are layers of a union, as overlayfs
// keeps them: entries, attributes, and the marks among those.
//
// Nothing is named by a path: a file is a name in a directory that is open, so
// that neither the length of a path nor a symlink in it matters. Symlinks are
// never followed.
package ondisk
