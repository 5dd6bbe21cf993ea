#!/usr/bin/env bash
# images.sh DIR: makes the images that the benchmarks take, those that are not there.
#
#   busybox 2 layers: Debian's busybox-static and links to it          2 MB
#   app     4 layers: Debian, Python with numpy and git, an
#           application, and what it deletes and replaces            500 MB
#   big     3 layers: Debian, Python, compilers, a JDK, PostgreSQL   1.7 GB
#
# DIR/oci has them in gzip, DIR/oci-zstd in zstd, DIR/NAME.docker.tar as docker save
# writes them. Needs root, and Debian's debootstrap, buildah, busybox-static.
set -euo pipefail
out=$(mkdir -p "${1:?usage: images.sh DIR}" && cd "$1" && pwd)
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=overlay
b() { buildah --root "$out/.store" --runroot "$out/.run" "$@"; }
have() { b inspect --type image "bench-$1" >/dev/null 2>&1; }

# layer FROM TO SCRIPT: one more layer, what SCRIPT does as root in the image.
layer() {
  have "$2" && return
  local c
  c=$(b from "$1")
  b run "$c" -- sh -ec "$3" >"$out/.$2.log" 2>&1
  b commit -q --rm "$c" "bench-$2" >/dev/null
}

# root DIR TO: an image of one layer, all that is in DIR.
root() {
  local c
  c=$(b from scratch)
  b add -q "$c" "$1" / >/dev/null
  b config --cmd /bin/sh --env PATH=/usr/sbin:/usr/bin:/sbin:/bin "$c"
  b commit -q --rm "$c" "bench-$2" >/dev/null
}

if ! have busybox; then
  r=$out/.busybox
  mkdir -p "$r"/{bin,etc,proc,sys,dev}
  cp "$(type -P busybox)" "$r/bin/busybox"
  for a in $(busybox --list); do [ "$a" = busybox ] || ln -s busybox "$r/bin/$a"; done
  root "$r" busybox-1
  rm -r "$r"
  layer bench-busybox-1 busybox 'echo busybox >/etc/hostname'
fi
if ! have base; then
  debootstrap --variant=minbase bookworm "$out/.debian" >"$out/.debootstrap.log"
  root "$out/.debian" base
  rm -r "$out/.debian"
fi
apt='export DEBIAN_FRONTEND=noninteractive; apt-get update; apt-get install -y --no-install-recommends'
layer bench-base python "$apt python3 python3-numpy git perl ca-certificates; apt-get clean"
layer bench-python app-1 'mkdir -p /srv/app; for i in $(seq 2000); do echo "file $i" >/srv/app/$i; done; cp -a /usr/share/doc /srv/app/doc'
layer bench-app-1 app 'rm -r /usr/share/doc /usr/share/man; rm -r /srv/app/doc; mv /srv/app /srv/moved; ln /srv/moved/1 /srv/one'
layer bench-python big "$apt gcc g++ golang-go nodejs default-jdk-headless postgresql; apt-get clean"

for name in busybox app big; do
  [ -s "$out/$name.docker.tar" ] || b push -q "bench-$name" "docker-archive:$out/$name.docker.tar:mica/$name:latest"
  b push -q --compression-format gzip "bench-$name" "oci:$out/oci:$name"
  b push -q --compression-format zstd "bench-$name" "oci:$out/oci-zstd:$name"
done
