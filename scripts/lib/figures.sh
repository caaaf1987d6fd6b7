# shellcheck shell=bash
# The figures of a load test, from JMeter's samples (timeStamp,elapsed,label,responseCode,..., in milliseconds).

# print_figures JTL STOCK. A label's rate is its samples over the time from its first start to its last end.
print_figures() {
  local jtl=$1 stock=$2 winners completions errors
  printf '\n%-12s %9s %12s %9s %9s %9s\n' sample count per_second p50_ms p99_ms max_ms
  label_figures "$jtl" winner winners
  label_figures "$jtl" sold-out sold-out
  label_figures "$jtl" completion completed
  label_figures "$jtl" sign-in sign-ins
  winners=$(count_label "$jtl" winner)
  completions=$(count_label "$jtl" completion)
  errors=$(failures "$jtl" | wc -l)
  printf '\nerrors: %s\n' "$errors"
  failures "$jtl" | cut -d, -f3-4,9 | sort | uniq -c | sort -rn | head -n 10
  [ "$winners" -gt 0 ] || die "nobody won: see the logs beside the samples"
  [ "$winners" -le "$stock" ] || die "$winners winners, but only $stock units"
  [ "$completions" -eq "$winners" ] || die "$completions of $winners winners have a completed purchase"
  [ "$errors" -eq 0 ] || die "$errors samples failed"
}

# A message may span lines, and its later lines start with no time stamp.
samples() { grep -E '^[0-9]{13},' "$1" || true; }

# The column `success` comes after a message that may hold commas, so it is found from the data type before it.
succeeded() { samples "$1" | grep -E ',(text|bin)?,true,' || true; }
failures() { samples "$1" | grep -Ev ',(text|bin)?,true,' || true; }

count_label() { succeeded "$1" | awk -F, -v label="$2" '$3 == label { n++ } END { print n + 0 }'; }

label_figures() { # JTL LABEL NAME
  succeeded "$1" | awk -F, -v label="$2" '$3 == label { print $2, $1 }' | sort -n | awk -v name="$3" '
    { elapsed[NR] = $1; start = $2 + 0; end = $2 + $1
      if (NR == 1 || start < first) first = start
      if (end > last) last = end }
    function at(share,  i) { i = int(NR * share); if (i < NR * share) i++; return elapsed[i < 1 ? 1 : i] }
    END {
      if (NR == 0) { printf "%-12s %9d %12s %9s %9s %9s\n", name, 0, "-", "-", "-", "-"; exit }
      seconds = (last - first) / 1000; if (seconds < 0.001) seconds = 0.001
      printf "%-12s %9d %12.1f %9d %9d %9d\n", name, NR, NR / seconds, at(0.5), at(0.99), elapsed[NR]
    }'
}
