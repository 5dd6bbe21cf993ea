package main

// mountRows are about mounting.
func mountRows() []row {
	const umounted = "mica umount $M"
	return []row{
		{
			name:   "first-gzip",
			what:   "first mount of a gzip image never seen, and ls -lR of all of it",
			images: []string{"app", "big"},
			sides: []side{
				{name: "mica", before: "rm -rf $MICA_ROOT; warm $LAYERS", run: "mica mount $REF $M && ls -lR $M", after: umounted},
				{name: "umoci", before: "fresh; warm $LAYERS", run: "umoci raw unpack --image $IMAGES/oci:$IMAGE $F/u && ls -lR $F/u"},
				{name: "podman", before: "fresh; PODMAN=$F/podman; warm $LAYERS",
					run:   "ls -lR $(podman image mount $(podman pull -q oci:$IMAGES/oci:$IMAGE))/",
					after: "podman image umount -a >/dev/null"},
			},
			bars: []bar{{of: speedup, limit: 5, aim: 10}},
			note: "perf over mica mount of app: 1.3 s of processor time, 37 % in inflate's inner loop (as fast as igzip), 32 % in SHA-256 of what is stored and what is decoded (the SHA instructions, 1.5 GB/s), 5 % in CRC-32 and CRC-32C, 3 % in compressing windows; each of the rest is below 2 %. Two processors need .65 s for that, if nothing ever waits. Five times umoci's speed takes one of the two hashes away, of which neither can be: the digest says that it is this blob, the diffID that it is this layer, and both are checked before there is a mount. What could be had is hashing two streams at once (the instructions wait for each other: 1.7 times the speed at best), a tenth of the whole.",
		},
		{
			name:   "first-zstd",
			what:   "the same in zstd, as buildah writes it (this umoci does not read it)",
			images: []string{"app", "big"},
			sides: []side{
				{name: "mica", before: "rm -rf $MICA_ROOT; warm $ZSTD_LAYERS", run: "mica mount oci:$IMAGES/oci-zstd:$IMAGE $M && ls -lR $M", after: umounted},
				{name: "podman", before: "fresh; PODMAN=$F/podman; warm $ZSTD_LAYERS",
					run:   "ls -lR $(podman image mount $(podman pull -q oci:$IMAGES/oci-zstd:$IMAGE))/",
					after: "podman image umount -a >/dev/null"},
			},
			bars: []bar{{of: speedup, limit: 6, aim: 12}},
		},
		{
			name:   "archive",
			what:   "first mount of an uncompressed docker archive of 1.7 GB",
			images: []string{"big"},
			sides: []side{
				{name: "mica", before: "rm -rf $MICA_ROOT; warm $IMAGES/$IMAGE.docker.tar", run: "mica mount docker-archive:$IMAGES/$IMAGE.docker.tar $M", after: umounted},
				{name: "podman", before: "fresh; PODMAN=$F/podman; warm $IMAGES/$IMAGE.docker.tar", run: "podman load -q -i $IMAGES/$IMAGE.docker.tar"},
			},
			bars: []bar{{of: speedup, limit: 40, aim: 100}, {of: value, limit: .5}},
		},
		{
			name:   "again",
			what:   "mounted again, with its index there",
			images: []string{"busybox", "app", "big", "million"},
			runs:   15,
			setup:  "remount $REF; " + umounted,
			sides:  []side{{name: "mica", run: "mica mount $REF $M", after: umounted}},
			bars:   []bar{{of: value, limit: .03, aim: .01}},
		},
		{
			name:   "busybox",
			what:   "mount of busybox never seen, ls -R and a read of all of it, against tar x of its layers",
			images: []string{"busybox"},
			runs:   11,
			sides: []side{
				{name: "mica", before: "rm -rf $MICA_ROOT", run: "mica mount $REF $M; ls -R $M; find $M -type f -exec cat {} +", after: umounted},
				{name: "tar x", before: "rm -rf $DIR/x; mkdir $DIR/x", run: "for l in $LAYERS; do tar xzf $l -C $DIR/x; done"},
			},
			bars: []bar{{of: excess, limit: .03}},
		},
		{
			name:  "start",
			what:  "start of the program",
			runs:  15,
			sides: []side{{name: "mica", run: "mica version"}},
			bars:  []bar{{of: value, limit: .01}},
		},
	}
}
