# Takes a lab down. Runs in a session of its own from the lab's start, and waits for the first line or
# the end of its standard input: "clean" from a test that ended well, the end of the input from one that
# did not, however it died. Idempotent: the sweep runs it again for a lab whose own run was killed.
#
#   $1 directory of the lab   $2 its id   $3 its v2 control group   $4 its v1 group (name=systemd), or ""
set -u
directory=$1 id=$2 unified=$3 named=$4
read -r verdict || verdict=failed

exec 9>"$directory/teardown.lock" || exit 1
flock -w 60 9 || { echo "another teardown of $directory hangs" >&2; exit 1; }
[ -e "$directory/owner" ] || exit 0
status=0

# Processes. Forking ones may escape one kill, hence the loop; frozen ones die too.
tries=0
while grep -qs 'populated 1' "$unified/cgroup.events"; do
  echo 1 > "$unified/cgroup.kill"
  tries=$((tries + 1))
  [ $tries -le 300 ] || { echo "processes of $unified do not die" >&2; status=1; break; }
  sleep 0.05
done

if [ "$verdict" != clean ]; then
  for host in "$directory"/hosts/*; do
    journal=$host/upper/var/log/journal
    [ ! -d "$journal" ] || journalctl --quiet --directory="$journal" --output=short-precise \
      > "$directory/logs/journal-${host##*/}.log" 2>&1
  done
fi

for root in "$directory"/hosts/*/root; do
  mountpoint -q "$root" || continue
  umount "$root" || umount --lazy "$root" || status=1
done

# A test that still lives may be tidying up the same things: what counts is that they are gone.
for namespace in /run/netns/"$id" /run/netns/"$id".*; do
  [ ! -e "$namespace" ] || ip netns del "${namespace##*/}" || [ ! -e "$namespace" ] || status=1
done

for group in "$unified" "$named"; do
  tries=0
  while [ -n "$group" ] && [ -d "$group" ]; do
    find "$group" -depth -type d -exec rmdir {} +
    tries=$((tries + 1))
    [ $tries -le 100 ] || { echo "$group cannot be removed" >&2; status=1; break; }
    [ ! -d "$group" ] || sleep 0.05
  done
done

# The owner's record goes last, so that a teardown that was itself interrupted is swept up later.
[ $status -eq 0 ] || exit $status
rm -rf --one-file-system "$directory/hosts" || exit 1
if [ "$verdict" = clean ]; then
  rm -rf --one-file-system "$directory"
else
  rm -f "$directory/owner" "$directory/teardown.lock"
fi
