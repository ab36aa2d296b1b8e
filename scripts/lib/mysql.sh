# shellcheck shell=bash disable=SC2154  # scripts, name, dir and data are the caller's
# What scripts/server must know of MariaDB and MySQL.

# The client's options, and the statements that make users and databases: the server runs them before it answers.
write_mysql_files() {
  local password=$1 extra=$2
  (
    umask 077
    cat >"$dir/client.cnf" <<TEXT
[client]
user = admin
password = $password
host = 127.0.0.1
protocol = tcp
TEXT
    cat >"$dir/first-start.sql" <<TEXT
CREATE USER IF NOT EXISTS 'assent'@'%' IDENTIFIED BY '$password';
CREATE USER IF NOT EXISTS 'admin'@'%' IDENTIFIED BY '$password';
GRANT ALL ON *.* TO 'admin'@'%' WITH GRANT OPTION;
CREATE DATABASE IF NOT EXISTS assent_test;
CREATE DATABASE IF NOT EXISTS assent_test2;
GRANT ALL ON assent_test.* TO 'assent'@'%';
GRANT ALL ON assent_test2.* TO 'assent'@'%';
$extra
TEXT
  )
}

# A temporary directory of its own: a server that starts removes what another keeps in a shared one.
mysql_options() {
  echo "--user=$(id -un)" "--datadir=$data" "--tmpdir=$dir/tmp" "--socket=$dir/socket" \
    --bind-address=127.0.0.1 "--port=$(cat "$dir/port")" \
    --skip-name-resolve --max-connections=200 --innodb-buffer-pool-size=64M --innodb-flush-log-at-trx-commit=1
  was_started || echo "--init-file=$dir/first-start.sql"
}

mariadb_find_programs() {
  command -v mariadbd >/dev/null || fail "MariaDB's server is not installed: run scripts/install" 3
}

mariadb_create() {
  mkdir -m 700 "$data"
  write_mysql_files "$(cat "$dir/password")" ''
  mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$data" --tmpdir="$dir/tmp" \
    --skip-test-db --skip-name-resolve --auth-root-authentication-method=socket --auth-root-socket-user="$(id -un)" \
    --innodb-log-file-size=32M
}

mariadb_launch() {
  local options
  read -r -d '' -a options < <(mysql_options) || true # read fails at the end of input, which is where it stops
  launch mariadbd --no-defaults "${options[@]}" --innodb-log-file-size=32M --pid-file="$dir/mariadbd.pid"
}

mariadb_answers() {
  mariadb-admin --defaults-file="$dir/client.cnf" --port="$(cat "$dir/port")" --connect-timeout=3 ping
}

mariadb_prepare_databases() { mariadb_answers; }

mysql_find_programs() {
  if was_started; then
    root=$(cat "$dir/root")
  else
    root=$("$scripts/fetch-mysql") || exit 3
  fi
}

mysql_create() {
  echo "$root" >"$dir/root"
  mkdir -m 700 "$data"
  write_mysql_files "$(cat "$dir/password")" "ALTER USER 'root'@'localhost' IDENTIFIED BY '$(cat "$dir/password")';
GRANT XA_RECOVER_ADMIN ON *.* TO 'assent'@'%';"
  "$root/bin/mysqld" --initialize-insecure --user="$(id -un)" --datadir="$data" --tmpdir="$dir/tmp" \
    --innodb-redo-log-capacity=32M
}

mysql_launch() {
  local options
  read -r -d '' -a options < <(mysql_options) || true # read fails at the end of input, which is where it stops
  [[ $name != mysql-nobinlog ]] || options+=(--skip-log-bin)
  rm -f "$dir/socket.lock" # as with PostgreSQL
  launch "$root/bin/mysqld" "${options[@]}" --innodb-redo-log-capacity=32M --mysqlx=OFF --pid-file="$dir/mysqld.pid"
}

mysql_answers() {
  "$root/bin/mysqladmin" --defaults-file="$dir/client.cnf" --port="$(cat "$dir/port")" --connect-timeout=3 ping
}

mysql_prepare_databases() { mysql_answers; }
