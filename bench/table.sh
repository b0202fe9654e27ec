# The table: rows are gathered while they are measured and printed at the end. Sourced by `run`.
# A row: what | reached | limit beside it | ratio | target | met. Every number is made by `awk`; bash knows no fractions.

cells=()
columns=6

say() { printf 'bench: %s\n' "$*" >&2; }

row() { cells+=("$1" "$2" "$3" "$4" "$5" "$6"); }

# value WORDS NAME: the value of `NAME=` in a tool's line.
value() { tr ' ' '\n' <<<"$1" | sed -n "s/^$2=//p"; }
# number TEXT: with thousands apart.
number() { awk -v n="$1" 'BEGIN { s = sprintf("%.0f", n); while (match(s, /[0-9][0-9][0-9][0-9]($| )/)) s = substr(s, 1, RSTART) " " substr(s, RSTART + 1); print s }'; }
# ratio A B: A as a percentage of B.
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.0f %%\n", 100 * a / b; else print "–" }'; }
# times A B: how many times B A is.
times() { awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.1f ×\n", a / b; else print "–" }'; }
# met EXPRESSION: yes or no, for the last column.
met() { awk "BEGIN { print ($1) ? \"yes\" : \"no\" }"; }
calculate() { awk "BEGIN { printf \"%.3f\\n\", ($1) }"; }

heading() {
  local model commit
  model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
  commit=$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)
  facts=(
    "$(date -u +%Y-%m-%dT%H:%MZ), commit $commit, programs $programs"
    "$(nproc) cores (${model:-unknown}) shared by everything: dashboard, Redis, agent, runners, commands, load generator; Linux $(uname -r)"
    "data on $(df --output=fstype "$work" | tail -n 1); load average at the start $(cut -d ' ' -f 1-3 /proc/loadavg); $seconds s per load${quick:+; QUICK: rough}"
  )
}

table() {
  local head=("what" "reached" "limit, in the same run" "ratio" "target" "met") widths=() i line
  local all=("${head[@]}" "${cells[@]}")
  for ((i = 0; i < columns; i++)); do widths[i]=0; done
  for ((i = 0; i < ${#all[@]}; i++)); do
    ((${#all[i]} > widths[i % columns])) && widths[i % columns]=${#all[i]}
  done
  printf '%s\n' "${facts[@]}"
  [[ -z "$markdown" ]] || echo
  [[ -z "$markdown" ]] && echo
  for ((i = 0; i < ${#all[@]}; i++)); do
    line+="${markdown:+| }${all[i]}"
    # By characters, which printf does not count.
    line+=$(printf '%*s' $((widths[i % columns] - ${#all[i]})) '')
    if (((i + 1) % columns)); then
      line+="${markdown:+ }"
      [[ -n "$markdown" ]] || line+='  '
    else
      [[ -n "$markdown" ]] && line+=' |' || line=${line%%+( )}
      printf '%s\n' "$line"
      line=
      if ((i + 1 == columns)) && [[ -n "$markdown" ]]; then printf '|---|---|---|---|---|---|\n'; fi
    fi
  done
}
