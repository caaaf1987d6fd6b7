# shellcheck shell=bash
# How packages come from the two registries, Debian's and Maven Central: through the mirrors that the system's own
# configuration names, with that system's own clients.

# debian_unpack SUITE PACKAGE PREFIX: a package and all it depends on, the C library included, unpacked under PREFIX.
# apt runs on a state of its own with nothing "installed", so the system is neither read nor changed.
debian_unpack() {
  local suite=$1 package=$2 prefix=$3 state archive mirror
  mirror=$(debian_mirror) || exit 1
  state=$prefix.apt
  rm -rf "$state"
  mkdir -p "$state"/lists/partial "$state"/cache/archives/partial "$prefix"
  : >"$state/status"
  printf 'deb [signed-by=%s] %s %s main\n' "$DEBIAN_KEYRING" "$mirror" "$suite" >"$state/sources.list"
  private_apt "$state" update || die "$(explain_registry "Debian's archive" "$mirror, suite $suite" "$package")"
  private_apt "$state" --yes --download-only --no-install-recommends install "$package" \
    || die "$(explain_registry "Debian's archive" "$mirror, suite $suite" "$package")"
  for archive in "$state"/cache/archives/*.deb; do
    dpkg -x "$archive" "$prefix"
  done
  rm -rf "$state" "$prefix"/usr/share/{doc,man,locale,lintian}
}

DEBIAN_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

private_apt() {
  local state=$1
  shift
  timeout 900 apt-get \
    -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State="$state" -o Dir::State::Lists="$state/lists" -o Dir::State::status="$state/status" \
    -o Dir::Cache="$state/cache" -o Dir::Log="$state" \
    -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none -o Acquire::Retries=3 -o Acquire::http::Timeout=30 \
    "$@" </dev/null
}

# The mirror of Debian's main archive: the first source of the system's own that holds this release or a general suite.
debian_mirror() {
  local codename mirror
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null || [ ! -r "$DEBIAN_KEYRING" ]; then
    die "MySQL and Redis are fetched from Debian's archive with apt-get, which this machine lacks." \
      "Use a Debian machine, or start the servers yourself (docker compose up --detach mysql redis kafka)" \
      "and set DATABASE_URL, REDIS_URL and KAFKA_BROKERS."
  fi
  codename=$(debian_codename)
  mirror=$(debian_sources | awk -v codename="$codename" '
    $2 == codename || $2 ~ /^(stable|testing|unstable|sid)$/ { print $1; exit }')
  [ -n "$mirror" ] || die "no source for Debian's main archive in /etc/apt/sources.list or /etc/apt/sources.list.d:" \
    "add one, or set DATABASE_URL, REDIS_URL and KAFKA_BROKERS to servers of your own."
  printf '%s\n' "$mirror"
}

debian_codename() { (. /etc/os-release && printf '%s\n' "${VERSION_CODENAME:-stable}"); }

# "URI SUITE" lines of the enabled binary sources that hold component main, from both formats.
debian_sources() {
  local file
  for file in /etc/apt/sources.list.d/*.sources; do
    [ -r "$file" ] && awk '
      function flush(  i, j, uri, suite) {
        if (types ~ /(^| )deb( |$)/ && components ~ /(^| )main( |$)/ && enabled !~ /^(no|false|0)$/)
          for (i = split(uris, uri, " "); i > 0; i--)
            for (j = split(suites, suite, " "); j > 0; j--) print uri[i], suite[j]
        types = uris = suites = components = enabled = ""
      }
      /^#/ { next }
      /^[[:space:]]*$/ { flush(); next }
      { key = tolower($1); $1 = ""; sub(/^ /, "") }
      key == "types:" { types = $0 }
      key == "uris:" { uris = $0 }
      key == "suites:" { suites = $0 }
      key == "components:" { components = $0 }
      key == "enabled:" { enabled = tolower($0) }
      END { flush() }' "$file"
  done
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -r "$file" ] && sed -n 's/^deb[[:space:]]\{1,\}\(\[[^]]*\][[:space:]]*\)\{0,1\}\(.*\)/\2/p' "$file" \
      | awk '/ main( |$)/ { print $1, $2 }'
  done
  true
}

# COMMAND becomes the words that run PREFIX/BINARY with the loader and the libraries it was unpacked with.
prefix_command() {
  local prefix=$1 binary=$2 loader folder libraries=''
  loader=$(find "$prefix" -maxdepth 5 -path '*/lib*/ld-linux*.so.*' -type f -print -quit)
  [ -n "$loader" ] || die "$prefix holds no loader: remove the folder and run again"
  for folder in "$prefix"/lib/*-linux-gnu* "$prefix"/usr/lib/*-linux-gnu*; do
    [ -d "$folder" ] && libraries+=${libraries:+:}$folder
  done
  COMMAND=("$loader" --library-path "$libraries" "$prefix/$binary")
}

DEPENDENCY_PLUGIN=org.apache.maven.plugins:maven-dependency-plugin:3.8.1

# maven_copy POM FOLDER: the artifacts a pom names and all they depend on.
maven_copy() {
  maven -f "$1" "$DEPENDENCY_PLUGIN:copy-dependencies" -DincludeScope=runtime -DoutputDirectory="$2"
}

# maven_unpack POM GROUP:ARTIFACT:VERSION FOLDER: one artifact's content, without what it depends on. The plugin leaves
# its markers beside the pom.
maven_unpack() {
  maven -f "$1" "$DEPENDENCY_PLUGIN:unpack" -Dartifact="$2" -DoutputDirectory="$3"
  rm -rf "$(dirname "$1")/target"
}

# One Maven at a time: its local repository is not made for two.
maven() {
  with_lock maven timeout 900 mvn -B -ntp -Dstyle.color=never "$@" </dev/null \
    || die "$(explain_registry "Maven Central" "the mirror in Maven's settings.xml" "the jars")"
}

# maven_pom FILE GROUP:ARTIFACT:VERSION...
maven_pom() {
  local file=$1 coordinate group artifact version
  shift
  {
    printf '<project><modelVersion>4.0.0</modelVersion>\n'
    printf '<groupId>holdfast</groupId><artifactId>servers</artifactId><version>1</version><packaging>pom</packaging>\n'
    printf '<dependencies>\n'
    for coordinate in "$@"; do
      IFS=: read -r group artifact version <<<"$coordinate"
      printf '<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>\n' \
        "$group" "$artifact" "$version"
    done
    printf '</dependencies></project>\n'
  } >"$file"
}

explain_registry() { # REGISTRY WHERE WHAT
  printf 'cannot get %s from %s (%s).\n' "$3" "$1" "$2"
  printf '  Check the network and the mirror, then run again.\n'
  printf '  Or start the servers yourself (docker compose up --detach mysql redis kafka) and set DATABASE_URL, REDIS_URL and KAFKA_BROKERS.'
}

# provision_into FOLDER NAME FUNCTION: runs FUNCTION PARTIAL-FOLDER once, under a lock, its output in a log.
provision_into() {
  [ -d "$1" ] || with_lock "$2" provision_locked "$@"
}

provision_locked() {
  local folder=$1 name=$2 function=$3 log=$CACHE/logs/provision-$2.log partial started=$SECONDS
  [ -d "$folder" ] && return 0 # another process was first
  mkdir -p "$CACHE/logs"
  rm -rf "$CACHE/partial-$name" # left by one that was killed: the lock says that nobody is using it
  partial=$CACHE/partial-$name
  mkdir -p "$partial"
  say "fetching $name (log: $log)"
  # A trap, not a condition: inside a condition the shell would go on after a failing step.
  # shellcheck disable=SC2064 # expanded now, while the names exist
  trap "show_provision_failure '$name' '$log'" EXIT
  ("$function" "$partial") >"$log" 2>&1
  trap - EXIT
  publish "$partial" "$folder"
  say "$name is ready after $((SECONDS - started)) s"
}

show_provision_failure() { # NAME LOG
  local plain
  plain=$(sed 's/\x1b\[[0-9;]*m//g' "$2")
  {
    sed '/^servers: error/,$d' <<<"$plain" | grep -E '^(E:|\[ERROR\])' | head -n 2 | cut -c 1-300 || true
    sed -n '/^servers: error/,$p' <<<"$plain"
  } >&2 || true
  say "error: $1 could not be provisioned (log: $2)"
}
