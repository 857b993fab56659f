# shellcheck shell=bash
# What every part of ./bootstrap uses: speaking, root, and apt.

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

apt_run() {
  as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
    apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 -qq "$@" </dev/null
}

# apt_lists_refreshed: at most one `apt-get update` for each run of ./bootstrap.
apt_lists_refreshed() {
  [ -z "${APT_UPDATED:-}" ] || return 0
  say "refreshing the package lists"
  apt_run update
  APT_UPDATED=yes
}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# install_packages PACKAGE...: installs what is missing and touches nothing else; silent and quick when nothing is.
install_packages() {
  local package missing=()
  for package; do is_installed "$package" || missing+=("$package"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  is_root || command -v sudo >/dev/null ||
    die "not root and no sudo. Have these packages installed, then run this again: ${missing[*]}"
  apt_lists_refreshed
  say "installing ${missing[*]}"
  apt_run install --no-install-recommends "${missing[@]}" >&2
}

# apt_sources: one line for each package list this machine itself uses from its distribution: "URI SUITE COMPONENT".
# Repositories of third parties are left out.
apt_sources() {
  # The words in $() are apt's, not the shell's.
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    sed -nE 's/^(Debian|Ubuntu) //p' | sort -u
}
