// Package registry speaks the distribution protocol with one repository of a
// registry: manifests, blobs from any offset on, uploads.
//
//	reference.Named ─Dial→ Repository ─auth.Client→ retry.Transport → registry
//	registries.conf, hosts.toml ─routes→ mirrors, each a Repository of its own
//
// # Invariants
//
//   - A manifest's bytes are those of its digest, and bounded. A blob's bytes
//     are the caller's to check: this package sees to it that they come.
//   - What may pass is tried again: 408, 429 with its Retry-After, 5xx, resets.
//     A blob that breaks off is gone on with by a range request.
//   - Credentials go to the registry that they are of, and to nobody that it
//     redirects to. They are in no error.
//   - Mirrors are read from before the repository itself, and gone on from where
//     one breaks off; written to is the repository alone. Each place has the
//     credentials of its own host.
//   - Plain HTTP is spoken only where asked to, and with loopback addresses.
package registry
