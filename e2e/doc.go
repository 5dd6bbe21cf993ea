// Package e2e holds mica to its promises as its users meet them: it builds the
// program, runs it on images that other tools or the tests themselves wrote,
// and compares what a mount shows with what those tools unpack.
//
//	layers ─image→ OCI layout, docker archive, rootfs tar ─┬→ mica mount ─→ tree ─┐
//	testdata/script/*.txtar: the command line              └→ umoci unpack → tree ┴→ equal?
//
// # Invariants
//
//   - mica runs as its own process. A test that reads a mount of its own
//     process could wait for itself.
//   - Whatever a test mounts is unmounted when it ends, failed or not.
//   - What needs root, /dev/fuse or a tool says so through need, which skips
//     the test, or fails it under MICA_TEST_STRICT=1.
//   - No test needs a network, or a file outside of the repository. With
//     MICA_TEST_IMAGES set, the real images in that directory are compared too.
package e2e
