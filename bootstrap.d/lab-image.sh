# shellcheck shell=bash
# The lab's container images: a small Debian with systemd, made with mmdebstrap from the machine's own mirror.

# image_choose RELEASE: 12 or 13.
image_choose() {
  case $1 in
    12) IMAGE_SUITE=bookworm ;;
    13) IMAGE_SUITE=trixie ;;
    *) die "the lab has images of Debian 12 and 13, not: $1" ;;
  esac
  IMAGE_ALIAS=debian/$1
  IMAGE_FILE=debian-$1
}
image_choose 12

# systemd-networkd waits for udev for ever in a container with a writable /sys; ifupdown does not care.
IMAGE_PACKAGES=systemd,systemd-sysv,dbus,iproute2,ifupdown,isc-dhcp-client,ca-certificates,netbase,procps

# image_sources: the sources.list of the image, "deb URI SUITE COMPONENT" lines. The suites' names are mapped from the
# machine's release to the image's, so that a newer Debian makes the same image from the same mirror.
image_sources() {
  local codename
  codename=$(os_release VERSION_CODENAME)
  apt_sources | awk -v have="$codename" -v want="$IMAGE_SUITE" '
    $2 == have || $2 == have "-updates" || $2 == have "-security" {
      sub("^" have, want, $2)
      if ($3 == "main") print "deb " $1 " " $2 " main"
    }'
}

# image_apt_conf: how this machine reaches its mirror (proxies, clock checks), for apt in the containers.
image_apt_conf() {
  apt-config dump | grep -E '^Acquire::(https?::.*Proxy.*|https?::Proxy|Check-Valid-Until|Check-Date) ' || true
}

# image_make_overlay DIRECTORY: fills it with the files to lay over the image's root.
image_make_overlay() {
  local root=$1
  mkdir -p "$root"/etc/network "$root"/etc/apt/apt.conf.d "$root"/usr/local/share/ca-certificates
  printf 'auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n' >"$root"/etc/network/interfaces
  : >"$root"/etc/resolv.conf # dhclient fills it
  : >"$root"/etc/machine-id  # each container makes its own
  image_apt_conf >"$root"/etc/apt/apt.conf.d/90lab
  echo 'Acquire::Languages "none";' >>"$root"/etc/apt/apt.conf.d/90lab
  find /usr/local/share/ca-certificates -name '*.crt' -exec cp -t "$root"/usr/local/share/ca-certificates {} + 2>/dev/null || true
  # dpkg's fsync of every file costs most of an install's time, and a lab's container is not kept.
  mkdir -p "$root"/etc/dpkg/dpkg.cfg.d
  printf 'force-unsafe-io\n' >"$root"/etc/dpkg/dpkg.cfg.d/lab
}

# image_recipe: everything that decides what the image is; its digest names the cached file.
image_recipe() {
  image_sources
  image_apt_conf
  find /usr/local/share/ca-certificates -name '*.crt' -exec sha256sum {} + 2>/dev/null | sort || true
  cat "$BASH_SOURCE_IMAGE"
}
BASH_SOURCE_IMAGE=${BASH_SOURCE[0]}

# image_build CACHE_DIR: makes $CACHE_DIR/debian-RELEASE-DIGEST.{meta.tar,rootfs.tar} unless it is there already; prints
# the path without the endings.
image_build() {
  local cache=$1 digest base work
  digest=$(image_recipe | sha256sum | cut -c1-16)
  base=$cache/$IMAGE_FILE-$digest
  if [ -s "$base.rootfs.tar" ] && [ -s "$base.meta.tar" ]; then echo "$base"; return; fi

  [ -n "$(image_sources)" ] || die "no Debian mirror in this machine's apt sources to make the lab's image from"
  say "making the image $IMAGE_ALIAS (once: it is kept in $cache)"
  mkdir -p "$cache"
  rm -rf "$cache/$IMAGE_FILE"-* "$cache"/work.*
  work=$(mktemp -d "$cache/work.XXXXXX")
  image_make_overlay "$work/overlay"
  image_sources >"$work/sources.list"
  # $1 in the hooks is mmdebstrap's: the new root.
  # shellcheck disable=SC2016
  mmdebstrap --quiet --mode=root --variant=minbase --include="$IMAGE_PACKAGES" \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg --aptopt='Acquire::Retries "3"' \
    --aptopt="$work/overlay/etc/apt/apt.conf.d/90lab" \
    --customize-hook="copy-in $work/overlay/etc $work/overlay/usr /" \
    --customize-hook='chroot "$1" update-ca-certificates >/dev/null 2>&1' \
    --customize-hook='rm -f "$1"/etc/hostname' \
    "$IMAGE_SUITE" "$work/rootfs.tar" "$work/sources.list" >&2 </dev/null
  printf 'architecture: %s\ncreation_date: %s\nproperties:\n  os: debian\n  release: %s\n  description: pgafrun lab %s\n' \
    "$(uname -m)" "$(date +%s)" "$IMAGE_SUITE" "$digest" >"$work/metadata.yaml"
  tar -C "$work" -cf "$work/meta.tar" metadata.yaml
  mv "$work/rootfs.tar" "$base.rootfs.tar"
  mv "$work/meta.tar" "$base.meta.tar"
  rm -rf "$work"
  echo "$base"
}
