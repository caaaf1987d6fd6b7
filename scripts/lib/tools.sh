# shellcheck shell=bash
# The few system tools a fresh machine may lack. As root on Debian they are installed; elsewhere their lack is explained.

JAVA_VERSION_MIN=17 # Kafka 4 brokers

# require_tools cc c++ make java mvn: any of these.
require_tools() {
  local missing
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0
  with_lock system-packages install_packages "$@"
  missing=$(missing_packages "$@")
  [ -z "$missing" ] || die "$(explain_missing "$missing")"
}

missing_packages() {
  local tool
  for tool in "$@"; do
    has_tool "$tool" || package_of "$tool"
  done | sort -u | tr '\n' ' '
}

has_tool() {
  case $1 in
    java) command -v java >/dev/null && [ "$(java_version)" -ge "$JAVA_VERSION_MIN" ] ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

java_version() {
  local version
  version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
  printf '%s\n' "${version:-0}"
}

package_of() {
  case $1 in
    cc) echo gcc libc6-dev ;;
    c++) echo g++ ;; # librdkafka builds its C++ half even for a C caller
    java) echo default-jdk-headless ;;
    mvn) echo maven ;;
    *) echo "$1" ;;
  esac
}

install_packages() {
  local missing log=$CACHE/logs/system-packages.log
  missing=$(missing_packages "$@") # again: another process may have installed them while this one waited
  [ -n "$missing" ] && may_install || return 0
  mkdir -p "$CACHE/logs"
  say "installing $missing(log: $log)"
  # shellcheck disable=SC2086 # a list of words
  if ! {
    apt-get update && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $missing
  } </dev/null >"$log" 2>&1; then
    tail -n 5 "$log" >&2
  fi
}

may_install() {
  [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null && [ -z "${HOLDFAST_NO_INSTALL:-}" ]
}

explain_missing() {
  printf 'missing: %s\n' "$1"
  printf '  On Debian or Ubuntu:  apt-get install %s(as root; this script does it itself when it is run as root)\n' "$1"
  printf '  Elsewhere: install a C and C++ compiler, make, a JDK (%s or later) and Maven, and put them on the PATH.' "$JAVA_VERSION_MIN"
}
