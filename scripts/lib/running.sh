# shellcheck shell=bash
# Starting, waiting for and stopping servers. A run is a folder: RUN/SERVER/{pid,port,data} and LOGS/SERVER.log.

START_ATTEMPTS_MAX=3
READY_WAIT_S=90
LOGS_KEPT=10
STANDING=$ROOT/.servers # the run of `up`: one a checkout

variable_of() { case $1 in mysql) echo DATABASE_URL ;; redis) echo REDIS_URL ;; kafka) echo KAFKA_BROKERS ;; esac }

# Servers among the arguments whose URL the environment does not give.
not_given() {
  local server variable
  for server in "$@"; do
    variable=$(variable_of "$server")
    [ -n "${!variable:-}" ] || printf '%s\n' "$server"
  done
}

# launch SERVER PREFIX-WORD...: in a session of its own, so that a Ctrl-C reaches the command before its servers.
launch() {
  local server=$1 port
  shift
  port=$(free_port)
  rm -rf "${RUN:?}/$server"
  mkdir -p "$RUN/$server/data" "$LOGS"
  printf '%s\n' "$port" >"$RUN/$server/port"
  "$@" "$SELF" start-one "$server" --port "$port" --dir "$RUN/$server/data" </dev/null >"$LOGS/$server.log" 2>&1 9>&- &
  write_pid_file "$RUN/$server/pid" $!
}

# Ready is what the server itself says in its log: another process may be the one that answers on a port.
await_ready() {
  local server=$1 ready=${1}_ready deadline=$((SECONDS + READY_WAIT_S))
  while ((SECONDS < deadline)); do
    if grep -q "${!ready}" "$LOGS/$server.log"; then return 0; fi
    is_running "$RUN/$server/pid" || return 1
    sleep 0.05
  done
  return 1
}

# start_servers "SERVER..." PREFIX-WORD...: all at once; one that dies (its port was taken meanwhile) tries another port.
start_servers() {
  local servers=$1 server attempt
  shift
  for server in $servers; do launch "$server" "$@"; done
  for server in $servers; do
    attempt=1
    until await_ready "$server"; do
      stop_by_pid_file "$RUN/$server/pid"
      ((attempt++ < START_ATTEMPTS_MAX)) || {
        show_logs "$server"
        die "$server did not start"
      }
      launch "$server" "$@"
    done
  done
}

# All are asked first, so that they stop side by side.
stop_servers() {
  local file stopping=()
  for file in "$RUN"/*/pid "$RUN"/started/*; do
    [ -f "$file" ] || continue
    stop_by_pid_file "$file" &
    stopping+=($!)
  done
  [ ${#stopping[@]} -eq 0 ] || wait "${stopping[@]}" || true
}

# A server that still runs is seldom why a command failed.
show_logs() {
  local server lines
  for server in "$@"; do
    lines=30
    if is_running "$RUN/$server/pid"; then lines=3; fi
    [ -s "$LOGS/$server.log" ] || continue
    printf -- '--- %s, the end of %s\n' "$server" "$LOGS/$server.log" >&2
    tail -n "$lines" "$LOGS/$server.log" | cut -c 1-300 >&2
  done
}

url_of() { "$1_url" "$(cat "$RUN/$1/port")"; }

# with [SERVER...] -- CMD...
with_servers() {
  local wanted=() servers skipped server code=0
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    is_server "$1" || die "with: '$1' is not a server; the command comes after --"
    wanted+=("$1")
    shift
  done
  [ $# -gt 1 ] || die "with: no command; usage: scripts/servers with [mysql|redis|kafka]... -- CMD..."
  shift
  [ ${#wanted[@]} -gt 0 ] || wanted=("${SERVERS[@]}")

  choose_servers "${wanted[@]}"
  export HOLDFAST_SKIP_SERVERS=${skipped% } HOLDFAST_SERVERS_SCRIPT=$SELF
  if [ -n "$servers" ]; then
    open_run
    trap close_run EXIT
    # A server does not outlive this process, even when it is killed.
    start_servers "$servers" setsid setpriv --pdeathsig KILL
    for server in $servers; do export "$(variable_of "$server")=$(url_of "$server")"; done
    say "started ${servers% } (logs: $LOGS)"
  fi
  "$@" || code=$?
  # shellcheck disable=SC2086 # a list of words
  [ "$code" -eq 0 ] || [ -z "$servers" ] || show_logs $servers
  [ -z "$skipped" ] || say "skipped: what needs ${skipped% } (could not be had, see above)"
  exit "$code"
}

# choose_servers SERVER...: sets `servers` to those to start and `skipped` to those that cannot be had or must not be
# started. With CI=true the latter are an error.
choose_servers() {
  local server
  servers='' skipped=''
  for server in $(not_given "$@"); do
    if [[ " ${HOLDFAST_SKIP_SERVERS:-} " == *" $server "* ]]; then skipped+="$server "; else servers+="$server "; fi
  done
  # shellcheck disable=SC2086 # a list of words
  provision_what_can_be $servers
  for server in "${NOT_PROVISIONED[@]}"; do
    servers=${servers/"$server "/}
    skipped+="$server "
  done
  [ -z "$skipped" ] || [ "${CI:-}" != true ] || die "CI=true: a missing server is a failure (${skipped% })"
}

# A run that others may register servers of their own in (`start-one` inside the command), stopped with it.
open_run() {
  local stamp
  sweep_dead_runs
  stamp=$(date +%Y%m%dT%H%M%S)-$$
  export HOLDFAST_RUN=$CACHE/runs/$stamp
  RUN=$HOLDFAST_RUN
  LOGS=$CACHE/logs/$stamp
  mkdir -p "$RUN/started" "$LOGS"
  write_pid_file "$RUN/owner" $$
  find "$CACHE/logs" -mindepth 1 -maxdepth 1 -type d | sort -r | tail -n "+$((LOGS_KEPT + 1))" | xargs -r rm -rf
}

close_run() {
  stop_servers
  rm -rf "$RUN"
}

# What a killed `with` left behind: its servers died with it, those started inside its command may not have.
sweep_dead_runs() {
  local run
  for run in "$CACHE"/runs/*; do
    if [ ! -f "$run/owner" ] || is_running "$run/owner"; then continue; fi
    RUN=$run stop_servers
    rm -rf "$run"
  done
}

register_in_run() {
  [ -n "${HOLDFAST_RUN:-}" ] && [ -d "$HOLDFAST_RUN/started" ] || return 0
  write_pid_file "$HOLDFAST_RUN/started/$$" $$
}

servers_up() {
  RUN=$STANDING LOGS=$STANDING/logs
  mkdir -p "$RUN"
  (
    flock 9
    local server starting=
    for server in $(not_given "${SERVERS[@]}"); do
      is_running "$RUN/$server/pid" || starting+="$server "
    done
    # shellcheck disable=SC2086 # a list of words
    [ -z "$starting" ] || {
      provision $starting
      start_servers "$starting" setsid
    }
  ) 9>"$RUN/lock"
  servers_status
  # shellcheck disable=SC2016 # for the reader to type
  say 'use them with: eval "$(scripts/servers env)"'
}

servers_down() {
  RUN=$STANDING LOGS=$STANDING/logs
  [ -d "$RUN" ] || return 0
  (
    flock 9
    local server
    stop_servers
    for server in "${SERVERS[@]}"; do rm -rf "${RUN:?}/$server"; done
  ) 9>"$RUN/lock"
  say "stopped (logs: $LOGS)"
}

servers_status() {
  RUN=$STANDING
  local server variable pid
  for server in "${SERVERS[@]}"; do
    variable=$(variable_of "$server")
    if [ -n "${!variable:-}" ]; then
      printf '%-6s given by %s\n' "$server" "$variable"
    elif is_running "$RUN/$server/pid"; then
      read -r pid _ <"$RUN/$server/pid"
      printf '%-6s up, process %s, %s\n' "$server" "$pid" "$(url_of "$server")"
    else
      printf '%-6s down\n' "$server"
    fi
  done
}

servers_env() {
  RUN=$STANDING
  local server variable missing=()
  for server in "${SERVERS[@]}"; do
    variable=$(variable_of "$server")
    if [ -n "${!variable:-}" ]; then
      printf 'export %s=%q\n' "$variable" "${!variable}"
    elif is_running "$RUN/$server/pid"; then
      printf 'export %s=%q\n' "$variable" "$(url_of "$server")"
    else
      missing+=("$server")
    fi
  done
  [ ${#missing[@]} -eq 0 ] || die "not up: ${missing[*]} (start them with: scripts/servers up)"
}
