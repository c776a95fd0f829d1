set -eu
root=$1
# Tests decide what runs on a host; nothing is to wake up by itself in the middle of one.
systemctl --root="$root" disable haproxy.service mariadb.service nginx.service postgresql.service \
  redis-server.service smbd.service nmbd.service e2scrub_reap.service
systemctl --root="$root" mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
  e2scrub_all.timer fstrim.timer getty.target console-getty.service systemd-networkd-wait-online.service
systemctl --root="$root" enable systemd-networkd.service
# The journal stays on the host's disk, so that it tells of earlier boots, and of a host that is off.
mkdir -p "$root/etc/systemd/journald.conf.d" "$root/usr/lib/interlock"
printf '[Journal]\nStorage=persistent\nSystemMaxUse=64M\n' > "$root/etc/systemd/journald.conf.d/lab.conf"
chroot "$root" passwd --delete root
# Each host gets an id of its own at its first boot.
rm -f "$root/etc/hostname"
: > "$root/etc/machine-id"
