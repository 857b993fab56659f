# shellcheck shell=bash
# Taking the lab down, and clearing what a killed daemon left. One way for both, that does not ask the daemon: it may
# be dead, or hang. Everything is recognised by the lab's own directory and bridge; another Incus on the machine is
# left alone.

# lab_pids WHICH: the processes of the lab. `service`: the daemon and its dnsmasq; `guest`: all that runs on a root
# below the lab's storage; `helper`: what the daemon leaves beside each container.
lab_pids() {
  local pid args
  if [ "$1" = guest ]; then
    # A process may end while it is read.
    awk -v below="/$LAB_NAME/storage-pools/" '$5 == "/" && index($4, below) { split(FILENAME, p, "/"); print p[3] }' \
      /proc/[0-9]*/mountinfo 2>/dev/null | sort -u || true
    return
  fi
  for pid in $(pgrep 'incusd|dnsmasq' || true); do
    args=$(tr '\0' ' ' <"/proc/$pid/cmdline") || continue
    case $1:$args in
      *dnsmasq*" --interface=$LAB_BRIDGE "*) echo "$pid" ;;
      service:*'incusd --group '* | helper:*)
        if tr '\0' '\n' <"/proc/$pid/environ" | grep -xF "INCUS_DIR=$LAB_DIR" >/dev/null; then echo "$pid"; fi ;;
    esac
  done 2>/dev/null
}

# lab_kill WHICH SIGNAL: sends it, and SIGKILL after five seconds; returns when they are gone.
lab_kill() {
  local pids signal=$2 tries
  for ((tries = 0; tries < 100; tries++)); do
    mapfile -t pids < <(lab_pids "$1")
    [ ${#pids[@]} -gt 0 ] || return 0
    if [ "$tries" -eq 50 ]; then signal=KILL; fi
    if [ $((tries % 50)) -eq 0 ] || [ "$signal" = KILL ]; then kill -s "$signal" "${pids[@]}" 2>/dev/null || true; fi
    sleep 0.1
  done
  die "these processes of the lab do not end: ${pids[*]}"
}

lab_sweep() {
  lab_kill service TERM # time to close its database
  lab_kill guest KILL
  lab_kill helper KILL
  lab_unmount
  lab_sweep_links
  lab_sweep_nft
  lab_sweep_cgroups
  lab_sweep_apparmor
  rm -rf "/run/lxc/lock$LAB_DIR" "$LAB_DIR/unix.socket"
}

# The bridge, and first what hangs on it: a container that failed to start leaves its pair of interfaces behind.
lab_sweep_links() {
  local link
  ip link show "$LAB_BRIDGE" >/dev/null 2>&1 || return 0
  for link in $(ip -o link show master "$LAB_BRIDGE" | sed -nE 's/^[0-9]+: ([^@:]+).*/\1/p'); do
    ip link delete "$link" 2>/dev/null || true
  done
  ip link delete "$LAB_BRIDGE"
}

# Deepest first; a mount can be stacked on another, hence the loop.
lab_unmount() {
  local point
  while read -r point; do
    umount -l "$point" 2>/dev/null || true
  done < <(awk '{ print $5 }' /proc/self/mountinfo | grep -F "$LAB_DIR/" | sort -r)
}

# Incus keeps the chains of all its bridges in one table; ours end in our bridge's name.
lab_sweep_nft() {
  local family chain
  command -v nft >/dev/null || return 0
  for family in inet bridge ip ip6; do
    nft list table "$family" incus >/dev/null 2>&1 || continue
    while read -r chain; do
      case $chain in *."$LAB_BRIDGE") nft delete chain "$family" incus "$chain" ;; esac
    done < <(nft list table "$family" incus | awk '$1 == "chain" { print $2 }')
    nft list table "$family" incus | grep chain >/dev/null || nft delete table "$family" incus
  done
}

# Empty control groups of our instances: liblxc would otherwise number its next ones around them. Names may be shared
# with another daemon's instances, so a group with a process in it is never touched.
lab_sweep_cgroups() {
  local name group
  for name in "$LAB_DIR"/containers/*; do
    [ -e "$name" ] || [ -L "$name" ] || continue
    name=${name##*/}
    while read -r group; do
      if ! find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null | grep . >/dev/null; then
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
      fi
    done < <(find /sys/fs/cgroup -maxdepth 3 -type d \( -name lxc.pivot -o -name "lxc.payload.$name" -o -name "lxc.monitor.$name" \
      -o -name "lxc.payload.$name-*" -o -name "lxc.monitor.$name-*" \) 2>/dev/null)
  done
}

lab_sweep_apparmor() {
  local profile
  [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ] || return 0
  for profile in "$LAB_DIR"/security/apparmor/profiles/*; do
    [ -f "$profile" ] && apparmor_parser -R "$profile" 2>/dev/null
  done
  return 0
}

# lab_down [--purge]: the installed packages stay; the image's cache too, unless purged.
lab_down() {
  case $1 in '' | --purge) ;; *) die "lab down [--purge], not: lab down $1" ;; esac
  say "taking the lab down"
  lab_sweep
  rm -rf --one-file-system "$LAB_DIR" "$LAB_CLIENT"
  if [ "$1" = --purge ]; then
    rm -rf "$LAB_CACHE"
    rm -f /etc/apt/sources.list.d/pgafrun-backports.sources /etc/apt/preferences.d/pgafrun-backports
  fi
  rm -f "/run/$LAB_NAME.lock"
}
