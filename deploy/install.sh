#!/bin/sh
# Installs the coordinator or the agent on this machine, as root:
#
#   sh deploy/install.sh agent|coordinator [DIRECTORY]
#
# DIRECTORY holds the built programs; if it is not said, target/release for the coordinator, and target/small for the agent,
# which is built for its size. Nothing is started and no file of /etc/interlock is touched: certificates and configuration
# come next (README.md). With DESTDIR set, all goes below it, as for a package, and no user is made.
set -eu

role=${1:-}
here=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR:-}

case $role in
agent) profile=small ;;
coordinator) profile=release ;;
*)
    echo "say what to install: sh deploy/install.sh agent|coordinator [DIRECTORY]" >&2
    exit 64
    ;;
esac
built=${2:-$here/../target/$profile}
if [ ! -x "$built/interlock-$role" ]; then
    echo "$built/interlock-$role is not there: build it with 'cargo build --profile $profile --package interlock-$role', or name its directory" >&2
    exit 1
fi

install -D -m 755 "$built/interlock-$role" "$root/usr/bin/interlock-$role"
install -D -m 644 "$here/systemd/interlock-$role.service" "$root/usr/lib/systemd/system/interlock-$role.service"
for page in "$here/man/interlock-$role"*.8; do
    [ ! -f "$page" ] || install -D -m 644 "$page" "$root/usr/share/man/man8/${page##*/}"
done
install -d -m 755 "$root/etc/interlock"
# Readable for the coordinator's user: certificates are no secret, each key has its own mode.
install -d -m 755 "$root/etc/interlock/tls"
if [ "$role" = coordinator ]; then
    install -D -m 644 "$here/systemd/interlock.sysusers" "$root/usr/lib/sysusers.d/interlock.conf"
    [ -n "$root" ] || systemd-sysusers interlock.conf
fi
[ -n "$root" ] || systemctl daemon-reload
echo "installed: /usr/bin/interlock-$role and its unit interlock-$role.service, not started"
