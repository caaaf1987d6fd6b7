# shellcheck shell=bash
# What every part of scripts/servers leans on: the cache, messages, locks, free ports, process identities.

SERVERS=(mysql redis kafka)
CACHE=${HOLDFAST_SERVERS_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/holdfast/servers}

LOCK_WAIT_S=1200 # longer than the slowest provisioning another process may be busy with

say() { printf 'servers: %s\n' "$*" >&2; }

die() {
  printf 'servers: error: %s\n' "$*" >&2
  exit 1
}

is_server() { case $1 in mysql | redis | kafka) true ;; *) false ;; esac }

# with_lock NAME COMMAND...: one process at a time. The lock goes when the holder does, however it ends;
# descriptor 9 is closed for the command so that a server started inside cannot keep it.
with_lock() {
  local name=$1
  shift
  mkdir -p "$CACHE/locks"
  (
    flock -w "$LOCK_WAIT_S" 9 || die "another process has held the lock '$name' for $LOCK_WAIT_S s"
    "$@" 9>&-
  ) 9>"$CACHE/locks/$name"
}

# publish PARTIAL FINAL: a folder appears whole or not at all.
publish() {
  rm -rf "$2"
  mv "$1" "$2"
}

# A port nobody listens on, below the range the kernel hands out for outgoing connections: a server that is killed and
# started again finds its port still free.
free_port() {
  local port tries
  for ((tries = 0; tries < 100; tries++)); do
    port=$((10000 + (RANDOM * 32768 + RANDOM) % 20000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      printf '%s\n' "$port"
      return
    fi
  done
  die "found no free port between 10000 and 30000"
}

# When a process started, in clock ticks since boot: with its id, an identity that survives the reuse of ids.
# Empty when there is no such process, or only its zombie.
start_of() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  stat=${stat##*) } # the name in parentheses may hold anything
  local fields
  read -ra fields <<<"$stat"
  [ "${fields[0]}" = Z ] || printf '%s\n' "${fields[19]}"
}

# A pid file holds "PID START".
write_pid_file() { printf '%s %s\n' "$2" "$(start_of "$2")" >"$1"; }

is_running() { # PID-FILE
  local pid='' start=''
  if [ -f "$1" ]; then read -r pid start <"$1" || true; fi
  [ -n "$start" ] && [ "$(start_of "$pid")" = "$start" ]
}

STOP_WAIT_S=15

# Asks, waits, then kills: only the process that the file describes.
stop_by_pid_file() {
  local pid start deadline=$((SECONDS + STOP_WAIT_S))
  if is_running "$1"; then
    read -r pid start <"$1"
    kill -TERM "$pid" 2>/dev/null || true
    kill -CONT "$pid" 2>/dev/null || true # a stopped process cannot heed the request
    while is_running "$1" && ((SECONDS < deadline)); do sleep 0.1; done
    if is_running "$1"; then
      say "process $pid did not stop in $STOP_WAIT_S s: killed"
      kill -KILL "$pid" 2>/dev/null || true
    fi
  fi
  rm -f "$1"
}
