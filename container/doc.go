// Package container keeps containers: an image's tree with an upper of its own
// over it, processes that run on it, and what is remembered of both. The
// processes are an OCI runtime's (runc), driven through go-runc; the root file
// system is mounted by whoever calls, who knows of images.
//
//	create ─→ containers/ID/{container.json, state.json, upper, work}
//	start  ─→ root file system ─mount→ containers/ID/rootfs
//	          supervisor ─runc run→ init ─exit→ state.json, runc delete, unmount
//	          standard streams ─→ log, clients of containers/ID/attach
//
// There is no daemon. Each running container has one small process of its own,
// the supervisor: parent of init, reader of its output, keeper of its exit
// status, who starts it again where the restart policy says so.
//
// # Files of a container
//
//	container.json   what was asked for; replaced as a whole by update and rename
//	state.json       what has become of it; read and written with "lock" held
//	lock             flock: short, around each change of the two
//	alive            flock: of whoever is in charge, for as long as that takes
//	upper, work      its changes, an overlayfs upper
//	rootfs           where its root file system is mounted while it runs
//	bundle/          what the runtime is given: config.json, pid
//	etc/             hosts, hostname, resolv.conf, mounted into it
//	log.json         its output, as docker's json-file has it; log.json.1, … are older
//	attach           socket, see attach.go
//
// # Invariants
//
//   - Who has "alive" locked is in charge: the supervisor, or a command that
//     creates, starts or removes. The kernel lets the lock go with the process,
//     so nothing can claim that a dead supervisor lives.
//   - A process is told by its number, the time of its start and the boot: a
//     number that was given anew, or before a reboot, is not it.
//   - What state.json says of a container that nobody is in charge of is
//     compared with the processes before it is believed ([Container.Settle]).
//   - A name is of one container: names are given with locks/containers held.
//   - Lock order: locks/containers, alive, lock.
package container
