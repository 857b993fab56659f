# shellcheck shell=bash
# The lab: a private Incus daemon beside any other, with its own directory, bridge, subnet and client configuration.
#
#   /var/lib/pgafrun-lab          INCUS_DIR: database, containers, logs, unix.socket
#   /var/lib/pgafrun-lab-client   INCUS_CONF: remotes `lab` (socket) and `lab-tls` (HTTPS, pinned, client certificate)
#   /var/cache/pgafrun-lab        the image, kept by `lab down`, removed by `lab down --purge`
#
# A second lab can stand beside it: set all four of the variables below.

LAB_NAME=${PGAFRUN_LAB:-pgafrun-lab}
LAB_BRIDGE=${PGAFRUN_LAB_BRIDGE:-pgafbr0}           # at most 15 characters, the kernel's limit
LAB_ADDRESS=${PGAFRUN_LAB_ADDRESS:-10.177.64.1/24}
LAB_PORT=${PGAFRUN_LAB_PORT:-18443}
LAB_DIR=/var/lib/$LAB_NAME
LAB_CLIENT=/var/lib/$LAB_NAME-client
LAB_CACHE=/var/cache/pgafrun-lab

# lab_incus ARGUMENTS...: the client, on the lab's socket.
lab_incus() { INCUS_CONF=$LAB_CLIENT INCUS_DIR=$LAB_DIR INCUS_SOCKET='' incus "$@" </dev/null; }

lab_answers() { [ -S "$LAB_DIR/unix.socket" ] && INCUS_DIR=$LAB_DIR timeout 10 incus query /1.0 >/dev/null 2>&1 </dev/null; }

lab_main() {
  is_root || command -v sudo >/dev/null || die "the lab needs root, and there is no sudo"
  is_root || exec sudo --preserve-env=PGAFRUN_LAB,PGAFRUN_LAB_BRIDGE,PGAFRUN_LAB_ADDRESS,PGAFRUN_LAB_PORT "$0" lab "$@"
  exec {LAB_LOCK}>"/run/$LAB_NAME.lock"
  flock -w 600 "$LAB_LOCK" || die "another ./bootstrap lab has been at work for ten minutes"
  case "${1:-up}" in
    up) lab_up ;;
    down) lab_down "${2:-}" ;;
    status) lab_status ;;
    image) lab_image "${2:?a release: 12 or 13}" ;;
    *) die "lab up, lab image 13, lab down [--purge] or lab status, not: lab $1" ;;
  esac
}

lab_up() {
  lab_install
  lab_limits
  if lab_answers; then
    say "the lab's daemon is running"
  else
    lab_sweep
    lab_start
  fi
  lab_client_config
  lab_configure
  lab_trust
  lab_import_image
  lab_usage
}

# Every systemd takes some inotify instances, and all containers count as one user: at the kernel's 128 the twentieth
# container dies while it boots. Raised until the machine's next boot, never lowered.
lab_limits() {
  local name=/proc/sys/fs/inotify/max_user_instances
  [ ! -w "$name" ] || [ "$(cat "$name")" -ge 1024 ] || echo 1024 >"$name"
}

# ---------------------------------------------------------------- packages

lab_install() {
  if ! is_installed incus-base && ! is_installed incus; then
    lab_backports
    apt_lists_refreshed
    # Ubuntu's package is not split.
    if apt-cache show incus-base >/dev/null 2>&1; then install_packages incus-base; else install_packages incus; fi
  fi
  # The Incus client is not needed by pgafrun itself; the lab and its tests use it to look from outside.
  install_packages incus-client dnsmasq-base nftables iproute2 mmdebstrap openssl util-linux ca-certificates
}

# lab_backports: on Debian 12 Incus is in backports only. The suite is taken from the mirror this machine already
# uses, and pinned so that nothing but Incus, and what only backports has, ever comes from it.
lab_backports() {
  local codename mirror
  codename=$(os_release VERSION_CODENAME)
  [ "$codename" = bookworm ] || return 0
  if ! apt_sources | grep " $codename-backports " >/dev/null; then
    apt_lists_refreshed
    mirror=$(apt_sources | awk -v suite="$codename" '$2 == suite && $3 == "main" { print $1; exit }')
    [ -n "$mirror" ] || die "found no Debian mirror for $codename in this machine's apt sources"
    printf 'Types: deb\nURIs: %s\nSuites: %s-backports\nComponents: main\nSigned-By: %s\n' "$mirror" "$codename" \
      /usr/share/keyrings/debian-archive-keyring.gpg >/etc/apt/sources.list.d/pgafrun-backports.sources
    unset APT_UPDATED
  fi
  printf 'Package: %s\nPin: release n=%s-backports\nPin-Priority: %s\n\n' \
    '*' "$codename" 50 src:incus "$codename" 500 >/etc/apt/preferences.d/pgafrun-backports
}

# ---------------------------------------------------------------- the daemon

lab_start() {
  local incusd template
  incusd=$(PATH=/usr/libexec/incus:/usr/lib/incus:/opt/incus/bin:$PATH command -v incusd) || die "the package installed no incusd"
  for template in /usr/share/lxc/config /opt/incus/share/lxc/config; do [ -d "$template" ] && break; done
  if ip -4 -o addr show to "${LAB_ADDRESS%/*}/${LAB_ADDRESS#*/}" | grep -v " $LAB_BRIDGE " | grep . >/dev/null; then
    die "$LAB_ADDRESS is in use on this machine: set PGAFRUN_LAB_ADDRESS to another network"
  fi

  say "starting the lab's daemon in $LAB_DIR"
  install -d -m 0711 "$LAB_DIR"
  # A session of its own, so that the daemon outlives this script and the terminal.
  env -i PATH="${incusd%/*}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" HOME=/root LANG=C.UTF-8 \
    INCUS_DIR="$LAB_DIR" INCUS_LXC_TEMPLATE_CONFIG="$template" \
    setsid nohup "$incusd" --group incus-admin >>"$LAB_DIR/daemon.out" 2>&1 </dev/null {LAB_LOCK}>&- &
  if ! INCUS_DIR=$LAB_DIR timeout 90 "$incusd" waitready --timeout 80 </dev/null; then
    tail -n 20 "$LAB_DIR/daemon.out" >&2
    die "the lab's daemon did not become ready; its log is $LAB_DIR/daemon.out, './bootstrap lab down' starts from nothing"
  fi
}

lab_configure() {
  INCUS_DIR=$LAB_DIR incus admin init --preseed >/dev/null <<EOF
config:
  core.https_address: 127.0.0.1:$LAB_PORT
networks:
- name: $LAB_BRIDGE
  type: bridge
  config:
    ipv4.address: $LAB_ADDRESS
    ipv4.nat: "true"
    ipv6.address: none
    dns.domain: lxd
storage_pools:
- name: default
  driver: dir
profiles:
- name: default
  devices:
    root: {type: disk, path: /, pool: default}
    eth0: {type: nic, network: $LAB_BRIDGE, name: eth0}
EOF
  lab_repair_nat
}

# A firewall that was reloaded on this machine has dropped the daemon's rules, and the daemon does not notice: it sets
# them again when the network's configuration changes.
lab_repair_nat() {
  lab_incus query /1.0 | grep '"firewall": "nftables"' >/dev/null || return 0
  ! nft list chain inet incus "pstrt.$LAB_BRIDGE" >/dev/null 2>&1 || return 0
  say "the network's NAT rules are gone: setting them again"
  lab_incus network set "$LAB_BRIDGE" ipv4.nat=false
  lab_incus network set "$LAB_BRIDGE" ipv4.nat=true
}

# lab_client_config: remotes as the Incus client keeps them. The key is private to root, or to who called sudo.
lab_client_config() {
  install -d -m 0700 "$LAB_CLIENT" "$LAB_CLIENT/servercerts"
  if [ ! -s "$LAB_CLIENT/client.crt" ]; then
    (umask 077 && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:secp384r1 -sha384 -days 3650 -nodes \
      -subj "/O=pgafrun/CN=lab" -addext extendedKeyUsage=clientAuth \
      -keyout "$LAB_CLIENT/client.key" -out "$LAB_CLIENT/client.crt" 2>/dev/null)
  fi
  cp "$LAB_DIR/server.crt" "$LAB_CLIENT/servercerts/lab-tls.crt"
  cat >"$LAB_CLIENT/config.yml" <<EOF
default-remote: lab
remotes:
  lab:
    addr: unix://$LAB_DIR/unix.socket
    protocol: incus
    public: false
  lab-tls:
    addr: https://127.0.0.1:$LAB_PORT
    auth_type: tls
    protocol: incus
    public: false
aliases: {}
EOF
  if [ -n "${SUDO_UID:-}" ]; then chown -R "$SUDO_UID:${SUDO_GID:-0}" "$LAB_CLIENT"; fi
}

lab_trust() {
  local fingerprint
  fingerprint=$(openssl x509 -in "$LAB_CLIENT/client.crt" -noout -fingerprint -sha256 | sed 's/.*=//; s/://g' | tr A-F a-f)
  lab_incus query "/1.0/certificates/$fingerprint" >/dev/null 2>&1 ||
    lab_incus config trust add-certificate "$LAB_CLIENT/client.crt" --name lab-client
}

lab_import_image() {
  local base have
  if [ "$(os_release ID)" != debian ]; then
    # No Debian mirror on this machine to make one from: take the public one.
    lab_incus image info "$IMAGE_ALIAS" >/dev/null 2>&1 ||
      lab_incus image copy "images:$IMAGE_ALIAS" lab: --alias "$IMAGE_ALIAS"
    return
  fi
  base=$(image_build "$LAB_CACHE")
  have=$(lab_incus image get-property "$IMAGE_ALIAS" pgafrun.recipe 2>/dev/null || true)
  [ "$have" != "${base##*-}" ] || return 0
  [ -z "$have" ] || lab_incus image delete "$IMAGE_ALIAS"
  say "importing the image $IMAGE_ALIAS"
  lab_incus image import "$base.meta.tar" "$base.rootfs.tar" --alias "$IMAGE_ALIAS" "pgafrun.recipe=${base##*-}" >/dev/null
}

# lab_image RELEASE: another image than the lab has from the beginning.
lab_image() {
  image_choose "$1"
  lab_answers || die "the lab is not running: ./bootstrap lab"
  lab_import_image
}

lab_usage() {
  cat <<EOF
The lab is up. Its network is $LAB_BRIDGE, $LAB_ADDRESS; its image $IMAGE_ALIAS.
  export INCUS_CONF=$LAB_CLIENT     remotes lab (unix socket) and lab-tls (https://127.0.0.1:$LAB_PORT)
  incus launch $IMAGE_ALIAS c1 && incus exec c1 -- systemctl is-system-running --wait
Logs: $LAB_DIR/logs, $LAB_DIR/daemon.out.   './bootstrap lab down' removes every trace.
EOF
}

lab_status() {
  if ! lab_answers; then
    echo "the lab is not running"
    return 3
  fi
  echo "the lab is running in $LAB_DIR (Incus $(lab_incus query /1.0 | sed -n 's/.*"server_version": "\(.*\)".*/\1/p'))"
  lab_incus list
}
