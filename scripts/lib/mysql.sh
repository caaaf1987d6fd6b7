# shellcheck shell=bash
# MySQL from Debian's unstable suite (the stable one has MariaDB only), unpacked, never installed.

MYSQL_FOLDER=$CACHE/mysql-sid-1 # the number changes with the recipe

provision_mysql() { provision_into "$MYSQL_FOLDER" mysql build_mysql; }

build_mysql() {
  debian_unpack sid mysql-server-core "$1"
  make_mysql_template "$1"
}

# Initialising a data folder takes seconds and copying one does not: so it is done once, with the database that
# DATABASE_URL names already in it.
make_mysql_template() {
  printf 'CREATE DATABASE holdfast;\n' >"$1/create.sql"
  mysql_command "$1"
  "${COMMAND[@]}" --initialize-insecure --datadir="$1/template" --init-file="$1/create.sql"
  rm -f "$1/template/auto.cnf" # each copy is a server with an identity of its own
}

# exec_mysql PORT DIR [OPTION...]. Durability is left at the defaults: the log is flushed and the binary log synchronised
# at every commit. The socket is relative to DIR: a path has at most 107 bytes.
exec_mysql() {
  local port=$1 dir=$2
  shift 2
  [ -d "$dir/mysql" ] || cp -a --sparse=always "$MYSQL_FOLDER/template/." "$dir/"
  mysql_command "$MYSQL_FOLDER"
  exec "${COMMAND[@]}" --datadir="$dir" --port="$port" --bind-address=127.0.0.1 --socket=mysql.sock --pid-file=mysql.pid \
    --mysqlx=OFF --max-connections=500 "$@"
}

mysql_command() {
  local prefix=$1
  prefix_command "$prefix" usr/sbin/mysqld
  COMMAND+=(--no-defaults --basedir="$prefix/usr" --plugin-dir="$prefix/usr/lib/mysql/plugin"
    --lc-messages-dir="$prefix/usr/share/mysql" --character-sets-dir="$prefix/usr/share/mysql/charsets"
    --secure-file-priv=NULL)
  [ "$(id -u)" -ne 0 ] || COMMAND+=(--user=root) # the server refuses root unless it is told
}

mysql_ready='ready for connections'
mysql_url() { printf 'mysql://root@127.0.0.1:%s/holdfast\n' "$1"; }
