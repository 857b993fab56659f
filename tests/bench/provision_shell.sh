#!/usr/bin/env bash
# The baseline of the provisioning benchmark: monitor + two data nodes from nothing, by parallel `incus exec` and nothing
# else. It ends in the state that scripts/postgres_ha.lua ends in (same packages, same files, same commands), so the ratio
# of the two times is what the runtime itself costs.
#
# usage: provision_shell.sh [--image ALIAS] [--keep] PREFIX
#   makes PREFIX-monitor, PREFIX-n1 and PREFIX-n2 in the remote and project the incus client points at, waits until the
#   formation is whole, prints the seconds, and deletes the three again unless --keep is given.
# exit: 0 whole, 1 something failed (the instances are deleted all the same), 64 usage.
set -euo pipefail

image=debian/12
keep=no
while [ $# -gt 0 ]; do
  case $1 in
    --image) image=${2:?--image needs an alias}; shift 2 ;;
    --keep) keep=yes; shift ;;
    -*) echo "usage: $0 [--image ALIAS] [--keep] PREFIX" >&2; exit 64 ;;
    *) break ;;
  esac
done
case $#:${1:-} in
  1:[a-z]*) ;;
  *) echo "usage: $0 [--image ALIAS] [--keep] PREFIX" >&2; exit 64 ;;
esac
case $1 in *[!a-z0-9-]*) echo "$0: $1: a prefix is lower-case letters, digits and hyphens" >&2; exit 64 ;; esac

monitor=$1-monitor
first=$1-n1
second=$1-n2
nodes="$first $second"
all="$monitor $nodes"
major=15
bin=/usr/lib/postgresql/$major/bin
home=/var/lib/postgresql/pgaf
work=$(mktemp -d)
started=$(date +%s%3N)

say() { printf '%7d ms  %s\n' "$(($(date +%s%3N) - started))" "$*" >&2; }
die() { say "$*"; exit 1; }

# The instances of this run only: the tag is set by `launch`, so an instance that merely has the name is never deleted.
finish() {
  local status=$? name
  rm -rf "$work"
  if [ "$keep" = no ]; then
    for name in $all; do
      if [ "$(incus config get "$name" user.pgafrun.bench </dev/null 2>/dev/null)" = "$started" ]; then
        incus delete --force "$name" </dev/null &
      fi
    done
    wait
  fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# each FUNCTION NAME...: the function once for each name, side by side; fails when one of them fails.
each() {
  local function=$1 name pid pids=()
  shift
  for name in "$@"; do
    "$function" "$name" >"$work/$name.$function" 2>&1 &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do
    wait "$pid" || { tail -n 20 "$work"/*."$function" >&2; die "$function failed"; }
  done
}

# root NAME, pg NAME: run the script on stdin there. Scripts and secrets travel on stdin, never in an argument list.
root() { incus exec "$1" --force-noninteractive -- sh -eu; }
pg() {
  { echo 'set -a; . /etc/pgafrun/env; set +a; umask 077; cd ~'; cat; } |
    incus exec "$1" --force-noninteractive -- runuser -u postgres -- sh -eu
}
address() { cat "$work/$1.address"; }

launch() {
  incus launch "$image" "$1" -c "user.pgafrun.bench=$started" </dev/null
  root "$1" >"$work/$1.address" <<'END'
until ip -4 -o addr show dev eth0 scope global | grep -q inet && systemctl is-system-running 2>/dev/null | grep -Eq 'running|degraded'; do
  sleep 0.1
done
ip -4 -o addr show dev eth0 scope global | sed 's/.*inet \([0-9.]*\).*/\1/'
END
}

install() {
  root "$1" <<END
install -d /etc/pgafrun /etc/postgresql-common/createcluster.d
echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/pgafrun.conf
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q -y --no-install-recommends install postgresql-$major-auto-failover pg-auto-failover-cli
END
}

# What every node has before any Postgres runs: names, environment, unit, key and request.
baseline() {
  local name=$1
  root "$name" <<END
cat >>/etc/hosts <<'HOSTS'
$(for node in $all; do echo "$(address "$node") $node.lxd $node"; done)
HOSTS
cat >/etc/pgafrun/env <<'ENV'
HOME=$home
PGDATA=$home/pg/data
PGHOST=/var/run/postgresql
PGPASSFILE=$home/pgpass
PGSSLMODE=verify-full
PGSSLROOTCERT=$home/tls/ca.crt
XDG_CONFIG_HOME=$home/config
XDG_DATA_HOME=$home/share
XDG_RUNTIME_DIR=/run/pgafrun
LANG=C.UTF-8
LC_ALL=C.UTF-8
PATH=$bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV
echo 'd /run/pgafrun 0700 postgres postgres -' >/etc/tmpfiles.d/pgafrun.conf
systemd-tmpfiles --create /etc/tmpfiles.d/pgafrun.conf
install -d -o postgres -g postgres -m 700 $home $home/pg $home/tls $home/config $home/share
cat >/etc/systemd/system/pgafrun.service <<'UNIT'
[Unit]
Description=pg_auto_failover $name
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
User=postgres
Group=postgres
WorkingDirectory=$home
EnvironmentFile=/etc/pgafrun/env
Environment=PG_OOM_ADJUST_FILE=/proc/self/oom_score_adj PG_OOM_ADJUST_VALUE=0
UMask=0077
ExecStartPre=/bin/sh -c 'f=\$\$PGDATA/postmaster.pid; [ ! -e "\$\$f" ] || [ "\$\$(readlink /proc/\$\$(head -n 1 "\$\$f")/cwd)" = "\$\$PGDATA" ] || rm -f "\$\$f"; rm -f "\$\$XDG_RUNTIME_DIR/pg_autoctl\$\$PGDATA/pg_autoctl.pid"'
ExecStart=/usr/bin/pg_autoctl run --pgdata $home/pg/data
Restart=on-failure
RestartSec=2
KillMode=mixed
TimeoutStopSec=120
LimitNOFILE=65536
OOMScoreAdjust=-900
NoNewPrivileges=yes

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl -q enable pgafrun.service
END
  pg "$name" <<END
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout tls/server.key -out tls/server.csr -subj /CN=$name
END
}

authority() {
  root "$monitor" <<'END'
umask 077
mkdir -p /etc/pgafrun/ca
cd /etc/pgafrun/ca
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 3650 \
  -subj '/CN=pgafrun formation' -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign
END
  incus exec "$monitor" -- cat /etc/pgafrun/ca/ca.crt </dev/null >"$work/ca.crt"
}

# The key never leaves the node, the authority's key never leaves the monitor: only request and certificate travel.
certify() {
  local name=$1
  {
    cat <<END
cd /etc/pgafrun/ca
cat >$name.csr <<'CSR'
$(incus exec "$name" -- cat $home/tls/server.csr </dev/null)
CSR
printf '%s\n' basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature extendedKeyUsage=serverAuth \
  subjectAltName=DNS:$name,DNS:$name.lxd,IP:$(address "$name") >$name.ext
openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -set_serial 0x\$(openssl rand -hex 16) -days 3650 -sha256 -extfile $name.ext
END
  } | root "$monitor" >"$work/$name.crt"
  pg "$name" <<END
cat >tls/ca.crt <<'CRT'
$(cat "$work/ca.crt")
CRT
cat >tls/server.crt <<'CRT'
$(sed -n '/BEGIN/,/END/p' "$work/$name.crt")
CRT
rm tls/server.csr
END
}

common_conf() {
  cat <<END
unix_socket_directories = '/var/run/postgresql'
hba_file = '$home/pg/pg_hba.conf'
ident_file = '$home/pg/pg_ident.conf'
ssl_ca_file = '$home/tls/ca.crt'
ssl_cert_file = '$home/tls/server.crt'
ssl_key_file = '$home/tls/server.key'
ssl_min_protocol_version = 'TLSv1.2'
password_encryption = 'scram-sha-256'
log_statement = 'none'
work_mem = '4MB'
maintenance_work_mem = '64MB'
END
}

# A cluster of our own making, complete before it gets its name: no server ever runs with initdb's defaults.
cluster() {
  cat <<END
rm -rf pg/data.new
initdb -D pg/data.new --data-checksums --auth-local=peer --auth-host=reject --encoding=UTF8 --locale=C.UTF-8 >/dev/null
echo "include_if_exists = '../node.conf'" >>pg/data.new/postgresql.conf
postgres --single -c exit_on_error=on -c log_min_error_statement=panic -D "\$HOME/pg/data.new" postgres >/dev/null <<'SQL'
$1
SQL
END
}

monitor_files() {
  pg "$monitor" <<END
cat >pg/node.conf <<'CONF'
$(common_conf)
shared_buffers = '64MB'
effective_cache_size = '256MB'
CONF
echo 'pgafrun postgres autoctl_node' >pg/pg_ident.conf
cat >pg/pg_hba.conf <<'HBA'
local   all              postgres     peer
local   pg_auto_failover autoctl_node peer map=pgafrun
$(for node in $nodes; do echo "hostssl pg_auto_failover autoctl_node $(address "$node")/32 scram-sha-256"; done)
HBA
$(cluster "create role autoctl_node login password '$monitor_password'")
mv pg/data.new pg/data
END
}

node_files() {
  pg "$1" <<END
cat >pgpass <<'PASS'
$monitor.lxd:5432:pg_auto_failover:autoctl_node:$monitor_password
*:*:*:pgautofailover_replicator:$replication_password
PASS
cat >pg/node.conf <<'CONF'
$(common_conf)
shared_buffers = '128MB'
effective_cache_size = '384MB'
wal_retrieve_retry_interval = '200ms'
wal_keep_size = '256MB'
max_slot_wal_keep_size = '1GB'
CONF
: >pg/pg_ident.conf
cat >pg/pg_hba.conf <<'HBA'
local   all postgres peer
hostssl postgres pgautofailover_monitor $(address "$monitor")/32 scram-sha-256
$(for node in $nodes; do echo "hostssl replication,postgres,appdb pgautofailover_replicator $(address "$node")/32 scram-sha-256"; done)
hostssl appdb app samenet scram-sha-256
HBA
END
}

first_cluster() {
  local grant='grant execute on function pg_catalog.pg_ls_dir(text,boolean,boolean), pg_catalog.pg_stat_file(text,boolean), pg_catalog.pg_read_binary_file(text), pg_catalog.pg_read_binary_file(text,bigint,bigint,boolean) to pgautofailover_replicator'
  pg "$first" <<END
$(cluster "create role pgautofailover_monitor login connection limit 1 password 'pgautofailover_monitor'
create role pgautofailover_replicator login replication password '$replication_password'
create role app login password '$application_password'
create database appdb owner app
revoke connect on database appdb from public
grant connect on database appdb to pgautofailover_replicator
$grant")
mv pg/data.new pg/data
END
}

create_monitor() {
  pg "$monitor" <<END
timeout 120 pg_autoctl create monitor --pgdata "\$PGDATA" --pgctl $bin/pg_ctl --pgport 5432 --hostname $monitor.lxd --skip-pg-hba \
  --ssl-mode verify-full --ssl-ca-file $home/tls/ca.crt --server-cert $home/tls/server.crt --server-key $home/tls/server.key
END
  root "$monitor" <<'END'
systemctl start pgafrun.service
END
  pg "$monitor" <<'END'
until psql -Atqd pg_auto_failover -c 'select 1 from pgautofailover.formation' >/dev/null 2>&1; do sleep 0.05; done
END
}

create_node() {
  pg "$1" <<END
timeout 300 pg_autoctl create postgres --pgdata "\$PGDATA" --pgctl $bin/pg_ctl --pgport 5432 --pghost "\$PGHOST" --listen '*' \
  --hostname $1.lxd --name $1 --formation default --dbname appdb --skip-pg-hba \
  --monitor 'postgres://autoctl_node@$monitor.lxd:5432/pg_auto_failover?sslmode=verify-full&sslrootcert=$home/tls/ca.crt' \
  --ssl-mode verify-full --ssl-ca-file $home/tls/ca.crt --server-cert $home/tls/server.crt --server-key $home/tls/server.key
END
  root "$1" <<'END'
systemctl start pgafrun.service
END
}

whole() {
  pg "$monitor" <<'END'
until [ "$(psql -Atqd pg_auto_failover -c "select count(*) from pgautofailover.node where health = 1 and reportedstate = goalstate
    and reportedstate in ('primary', 'secondary') and now() - reporttime < '3s'")" = 2 ]; do
  sleep 0.05
done
END
}

monitor_password=$(openssl rand -hex 24)
replication_password=$(openssl rand -hex 24)
application_password=$(openssl rand -hex 24)

# shellcheck disable=SC2086 # the lists of names are meant to be split
{
  each launch $all
  say "launched"
  each install $all
  say "packages installed"
  each baseline $all
  say "keys made"
  authority
  each certify $all
  say "certificates signed"
  each node_files $nodes
}
first_cluster &
prepared=$!
monitor_files
create_monitor
say "monitor answers"
wait "$prepared"
create_node "$first"
say "$first registered"
until pg "$first" <<<'psql -Atqd postgres -c checkpoint' >/dev/null 2>&1; do sleep 0.05; done
create_node "$second"
say "$second joined"
whole
say "formation whole"
awk -v ms="$(($(date +%s%3N) - started))" 'BEGIN { printf "%.2f\n", ms / 1000 }'
