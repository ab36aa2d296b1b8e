# shellcheck shell=bash disable=SC2154  # name, dir and data are the caller's
# What scripts/server must know of PostgreSQL.

# PostgreSQL refuses to run as root.
as_postgres=()
((EUID != 0)) || as_postgres=(setpriv --reuid=postgres --regid=postgres --init-groups)

postgres_find_programs() {
  local found
  found=$(find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -path '*/bin/initdb' 2>/dev/null | sort -V | tail -n 1)
  [[ -n $found ]] || fail "PostgreSQL's server is not installed: run scripts/install" 3
  bin=$(dirname "$found")
}

postgres_create() {
  mkdir -m 700 "$data"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$dir/server.key" -out "$dir/server.crt"
  cp "$dir/password" "$dir/initdb-password"
  chmod 600 "$dir/server.key"
  chmod 644 "$dir/server.crt"
  if ((EUID == 0)); then
    chown postgres:postgres "$dir" "$data" "$dir/server.key" "$dir/initdb-password"
    "${as_postgres[@]}" test -x "$data" || fail "the user postgres cannot reach $data"
  fi
  "${as_postgres[@]}" "$bin/initdb" --pgdata="$data" --username=admin --pwfile="$dir/initdb-password" \
    --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync
  rm "$dir/initdb-password"
  cat >>"$data/postgresql.conf" <<TEXT
listen_addresses = '127.0.0.1'
unix_socket_directories = '$dir'
max_connections = 200
max_prepared_transactions = 100
shared_buffers = 32MB
dynamic_shared_memory_type = mmap   # nothing left behind in /dev/shm after kill -9
ssl = on
ssl_cert_file = '$dir/server.crt'
ssl_key_file = '$dir/server.key'
TEXT
}

postgres_launch() {
  # After kill -9 these name a process that may be a zombie or a stranger's by now; that none of ours runs is certain.
  rm -f "$data/postmaster.pid" "$dir"/.s.PGSQL.*.lock
  launch "${as_postgres[@]}" "$bin/postgres" -D "$data" -p "$(cat "$dir/port")"
}

postgres_answers() { "$bin/pg_isready" --host=127.0.0.1 --port="$(cat "$dir/port")" --timeout=3; }

postgres_prepare_databases() {
  PGPASSWORD=$(cat "$dir/password") "$bin/psql" --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --host=127.0.0.1 \
    --port="$(cat "$dir/port")" --username=admin --dbname=postgres <<TEXT
CREATE ROLE assent LOGIN PASSWORD '$(cat "$dir/password")';
CREATE DATABASE assent_test OWNER assent;
CREATE DATABASE assent_test2 OWNER assent;
TEXT
}

# What the kernel keeps of a killed PostgreSQL until the next start: one small segment of shared memory.
remove_shared_memory() {
  local id
  id=$(sed -n '7s/^ *[0-9]* *//p' "$data/postmaster.pid" 2>/dev/null) || return 0
  # PostgreSQL may have taken it away itself; what is left costs a few bytes, and the next start does not need it gone.
  [[ -z $id ]] || ipcrm --shmem-id "$id" 2>/dev/null || true
}
