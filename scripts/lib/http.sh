# shellcheck shell=bash
# Just enough HTTP to wait for a service and to seed it, on machines without curl.

REQUEST_WAIT_S=30

# request METHOD PORT PATH [BODY]: the whole response on the loopback, or a failure when nobody answers.
request() {
  local body=${4:-} length
  length=$(printf '%s' "$body" | wc -c)
  (
    exec 3<>"/dev/tcp/127.0.0.1/$2"
    printf '%s %s HTTP/1.0\r\nHost: 127.0.0.1:%s\r\nContent-Type: application/json\r\nContent-Length: %s\r\n\r\n%s' \
      "$1" "$3" "$2" "$length" "$body" >&3
    timeout "$REQUEST_WAIT_S" cat <&3
  ) 2>/dev/null
}

# The status code of a response on the standard input.
status_of() { sed -n '1s/^HTTP[^ ]* \([0-9]*\).*/\1/p'; }
