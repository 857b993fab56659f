# shellcheck shell=bash
# deps and build. Everything comes from the distribution; what is installed already is not touched.

DEPS_BUILD=(build-essential cmake pkg-config liblua5.4-dev libuv1-dev libcurl4-openssl-dev libpq-dev libjansson-dev
  libwslay-dev libyaml-dev libssl-dev libedit-dev libcmocka-dev lua-argparse lua-unit ca-certificates)
DEPS_TEST=(clang-format clang-tidy lua5.4 lua-check shellcheck valgrind openssl procps patch libxml2-utils tmux bsdutils e2fsprogs
  btrfs-progs groff-base mandoc zsh)
# Ubuntu has its browser as a snap alone, which does not run everywhere: there nobody looks at the reports.
[ "$(os_release ID)" != debian ] || DEPS_TEST+=(chromium)

deps_main() {
  install_packages "${DEPS_BUILD[@]}" "${DEPS_TEST[@]}"
  deps_postgres
}

# deps_postgres: PostgreSQL with pg_auto_failover, for the provider that runs a formation on this machine itself.
deps_postgres() {
  local packages fence=/etc/postgresql-common/createcluster.d/pgafrun.conf
  mapfile -t packages < <(postgres_packages)
  if [ ${#packages[@]} -eq 0 ]; then
    apt_lists_refreshed
    mapfile -t packages < <(postgres_packages)
  fi
  [ ${#packages[@]} -gt 0 ] || die "this distribution has no package postgresql-N-auto-failover"
  [ -n "$(missing_packages "${packages[@]}")" ] || return 0
  # The server's package would make and start a cluster of its own. Only this one install is kept from it.
  as_root install -d /etc/postgresql-common/createcluster.d
  echo 'create_main_cluster = false' | as_root tee "$fence" >/dev/null
  install_packages "${packages[@]}" || { as_root rm -f "$fence"; die "the installation failed"; }
  as_root rm -f "$fence"
}

# The newest PostgreSQL that pg_auto_failover is packaged for; one that is installed already goes first.
postgres_packages() {
  local extension
  extension=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 'postgresql-*-auto-failover' 2>/dev/null |
    sed -n 's/^installed //p' | sort -V | tail -n 1 || true)
  [ -n "$extension" ] ||
    extension=$(apt-cache pkgnames postgresql- | grep -xE 'postgresql-[0-9]+-auto-failover' | sort -V | tail -n 1 || true)
  [ -z "$extension" ] || printf '%s\n' "$extension" pg-auto-failover-cli
}

# build_main [PRESET]: configures and builds one of CMakePresets.json; `default` makes build/pgafrun.
build_main() {
  local preset=${1:-default} directory=build
  [ "$preset" = default ] || directory=build-$preset
  # A cache made in another place, by a copied or moved checkout, cannot be used.
  if [ -f "$directory/CMakeCache.txt" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" "$directory/CMakeCache.txt"; then
    rm -rf "$directory"
  fi
  cmake --preset "$preset" >/dev/null
  cmake --build "$directory" -j "$(nproc)" >/dev/null
}
