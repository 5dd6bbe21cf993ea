// Package builder makes images out of Dockerfiles: each step is a layer over the
// image so far. COPY, ADD and WORKDIR write theirs straight as a tar, without a
// mount; RUN runs a container, whose upper becomes one.
//
//	dockerfile.Plan ─→ stages, each in a goroutine of its own, once
//	                     │ step by step
//	                     ▼
//	   inputs of the step ─→ cache: a record? ─yes→ its layer
//	                              │ no
//	                              ▼
//	   source.Tree ─ select, write ─┐
//	   Runner ─ upper ─ change ─────┴→ images.Create ─→ layer, record
//
// # Invariants
//
//   - A step is known by what goes into it: the layers below by their contents,
//     what is copied by its digest, the command with its environment. Where it
//     stands, what it is called and when it is built do not matter.
//   - What a build has made is held by its lease until a row of the store leads to
//     it. A build that fails names nothing.
//   - A record is believed only if its layer is there.
package builder
