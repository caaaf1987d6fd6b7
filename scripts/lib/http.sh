# shellcheck shell=bash
# Just enough HTTP to wait for a service and to seed it, on machines without curl.

REQUEST_WAIT_S=30

# request METHOD PORT PATH [BODY [TOKEN]]: the whole response on the loopback, or a failure when nobody answers.
request() {
  local body=${4:-} authorization=${5:+Authorization: Bearer $5$'\r\n'} length
  length=$(printf '%s' "$body" | wc -c)
  (
    exec 3<>"/dev/tcp/127.0.0.1/$2"
    printf '%s %s HTTP/1.0\r\nHost: 127.0.0.1:%s\r\nContent-Type: application/json\r\nContent-Length: %s\r\n%s\r\n%s' \
      "$1" "$3" "$2" "$length" "$authorization" "$body" >&3
    timeout "$REQUEST_WAIT_S" cat <&3
  ) 2>/dev/null
}

# The status code of a response on the standard input.
status_of() { sed -n '1s/^HTTP[^ ]* \([0-9]*\).*/\1/p'; }
