// Package transport finds the image that a user names and gives its manifest,
// its config and its layers as they lie: nothing is copied or unpacked.
//
//	what was typed ─location→ path, selector
//	path ─recognise→ directory or archive (files) ─→ form: OCI, docker save, skopeo dir, rootfs
//	form ─list, select by name, digest, number, platform→ Image{manifest, config, []Layer{blob.Source}}
//
// # Forms
//
//	oci:DIR[:TAG|@DIGEST]           an OCI image layout
//	oci-archive:FILE[:TAG|@DIGEST]  the same in one tar file
//	docker-archive:FILE[:REF|:@N]   docker save, old and new; with neither manifest.json nor index.json too
//	dir:DIR                         what skopeo copy … dir: writes
//	rootfs:FILE                     a tar of a root filesystem, compressed or not: one layer, no config
//	PATH[:TAG|:REF|:@N|@DIGEST]     any of the above but rootfs, recognised by what it holds
//
// A path that exists wins over any other reading of its colons. Archives may
// be compressed as a whole, see [Options.Expand].
//
// # Invariants
//
//   - Manifests, indexes and configs are bounded in size and checked against
//     their digest before they are parsed. Layers are opened and their size is
//     compared; their digest is checked by whoever indexes them.
//   - A name in an archive leads to a member of that archive only, whatever
//     links say. In a directory symbolic links are followed, as tools that
//     share blobs between layouts make them: digests say what is in there.
//   - Work is bounded: members of an archive, layers, nested indexes, links.
package transport
