#!/bin/sh
# A stand-in for the cluster manager (pcs) that moves jtel's virtual address between the load balancers: it lives and
# dies with haproxy.service. It takes the address when nobody answers for it, keeps it while it runs, and gives it up at
# its end, so that the first load balancer to come is the active one, and the other takes over when that one goes.
#   $1 the address   $2 the interface
address=$1 interface=$2
has() { ip -o address show dev "$interface" to "$address" | grep -q .; }
release() {
  has && ip address delete "$address/24" dev "$interface"
  exit 0
}
trap release TERM
while :; do
  # Duplicate address detection, arping(8): 0 if nobody else has it.
  if ! has && arping -D -q -c 2 -w 2 -I "$interface" "$address"; then
    ip address add "$address/24" dev "$interface"
    arping -U -q -c 2 -w 2 -I "$interface" "$address"
  fi
  sleep 1 &
  wait $!
done
