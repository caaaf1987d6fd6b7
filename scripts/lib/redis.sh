# shellcheck shell=bash
# Redis: the system's own when it is recent enough, else this Debian release's package, unpacked, never installed.

REDIS_FOLDER=$CACHE/redis-$(debian_codename 2>/dev/null || echo none)-1
REDIS_MAJOR_MIN=7

provision_redis() {
  has_system_redis || provision_into "$REDIS_FOLDER" redis build_redis
}

build_redis() { debian_unpack "$(debian_codename)" redis-server "$1"; }

has_system_redis() {
  local major
  major=$(redis-server --version 2>/dev/null | sed -n 's/.* v=\([0-9]*\).*/\1/p')
  [ "${major:-0}" -ge "$REDIS_MAJOR_MIN" ]
}

# exec_redis PORT DIR [OPTION...]. Nothing is kept across a restart unless an option says so (`--appendonly yes`).
exec_redis() {
  local port=$1 dir=$2
  shift 2
  if has_system_redis; then
    COMMAND=(redis-server)
  else
    prefix_command "$REDIS_FOLDER" usr/bin/redis-server
  fi
  exec "${COMMAND[@]}" --port "$port" --bind 127.0.0.1 --dir "$dir" --save '' --appendonly no --daemonize no "$@"
}

redis_ready='Ready to accept connections'
redis_url() { printf 'redis://127.0.0.1:%s\n' "$1"; }
