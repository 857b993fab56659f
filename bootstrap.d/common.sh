# shellcheck shell=bash
# What every part of ./bootstrap uses: speaking, root, and apt. Pipes here end in `grep >/dev/null`, never `grep -q`:
# under pipefail a grep that stops reading fails the pipe at random.

say() { printf '==> %s\n' "$*" >&2; }
warn() { printf 'bootstrap: %s\n' "$*" >&2; }
die() { warn "$*"; exit 1; }

is_root() { [ "$(id -u)" -eq 0 ]; }

# os_release FIELD: of /etc/os-release.
os_release() {
  # shellcheck source=/dev/null
  (. /etc/os-release && echo "${!1:-}")
}

# as_root COMMAND...: runs it as root, through sudo when needed.
as_root() {
  if is_root; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "this needs root and there is no sudo: $*"
  fi
}

# apt_run ARGUMENTS...: apt-get. Another one that is at work, such as a new machine's own update, is waited for: apt's
# DPkg::Lock::Timeout is for dpkg's lock alone.
apt_run() {
  local said status tries
  for ((tries = 0; tries < 300; tries++)); do
    status=0
    said=$(as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
      apt-get -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 -qq "$@" 2>&1 >/dev/null </dev/null) || status=$?
    if [ "$status" -eq 0 ] || [[ "$said" != *"Could not get lock"* ]]; then break; fi
    [ "$tries" -gt 0 ] || say "another apt is at work: waiting for it"
    sleep 1
  done
  [ -z "$said" ] || printf '%s\n' "$said" >&2
  return "$status"
}

# apt_lists_refreshed: at most one `apt-get update` for each run of ./bootstrap.
apt_lists_refreshed() {
  [ -z "${APT_UPDATED:-}" ] || return 0
  say "refreshing the package lists"
  apt_run update
  APT_UPDATED=yes
}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# missing_packages PACKAGE...: prints those that are not installed.
missing_packages() {
  local package
  declare -A have=()
  while read -r package; do have[$package]=1; done < <(
    dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p')
  for package; do [ -n "${have[$package]:-}" ] || echo "$package"; done
}

# install_packages PACKAGE...: installs what is missing and touches nothing else; quick when nothing is.
install_packages() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  is_root || command -v sudo >/dev/null ||
    die "not root, and no sudo. Have these packages installed, then run this again: ${missing[*]}"
  apt_lists_refreshed
  hold_to_installed missing libpq-dev libpq5
  hold_to_installed missing libcurl4-openssl-dev libcurl4
  say "installing ${missing[*]}"
  apt_run install --no-install-recommends "${missing[@]}"
}

# hold_to_installed ARRAY DEV LIBRARY: a -dev package wants its library in just its own version. Where the library is
# on hold, asks for the -dev of that version.
hold_to_installed() {
  local -n list=$1
  local i
  apt-mark showhold | grep -E "^$3(:.*)?$" >/dev/null || return 0
  for i in "${!list[@]}"; do
    if [ "${list[i]}" = "$2" ]; then list[i]=$2=$(dpkg-query -W -f '${Version}' "$3"); fi
  done
}

# apt_sources: one line for each package list this machine itself uses from its distribution: "URI SUITE COMPONENT".
# Repositories of third parties are left out.
apt_sources() {
  # The words in $() are apt's, not the shell's.
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    sed -nE 's/^(Debian|Ubuntu) //p' | sort -u
}
