# PID 1 of a plain host, in its new namespaces.
#   $1 its root   $2 its name   $3 directory of the built programs   $4 where they are inside
set -eu
hostname "$2"
mount --bind "$3" "$1$4"
mount -t proc proc "$1/proc"
mount -t sysfs -o ro sysfs "$1/sys"
mount --rbind /dev "$1/dev"
mount -t tmpfs -o mode=755 tmpfs "$1/run"
mkdir "$1/run/lock"
exec chroot "$1" sh -c 'trap "exit 0" TERM; while :; do sleep 3600 & wait; done'
