// Command mica mounts container images as they are and shows what is in them.
//
// Each command is in a file of its own name: it parses flags, calls a library
// and prints. Standard output is the answer alone; everything else goes to
// standard error, failures as one line and perhaps a hint (see errors.go).
package main
