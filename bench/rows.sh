# The rows, each measured by one function on stands of its own (stand.sh). Sourced by `run`; the targets are those of the design, section 9.
# How each is measured, and what it does not say: README.md.

samples() { if [[ -n "$quick" ]]; then echo "$1"; else echo "$2"; fi; }

# ---- keep-alive GET

# The server on one core, the generator on another one (where there are two), so that "one core" is what it says.
row_http() {
  local connections=32 path kind floor text words bare rate limit body type reply_pid reply_port server=() client=()
  (($(nproc) < 2)) || client=(taskset -c 1)
  stand_start
  (($(nproc) < 2)) || taskset -acp 0 "$dashboard_pid" >/dev/null
  for text in "/v1/version|answered on the loop|1" "/v1/overview|waiting handler|0.6" "/v1/tasks?limit=1|waiting, reads the store|"; do
    IFS='|' read -r path kind floor <<<"$text"
    body=$("$tools/ask" "$dashboard_port" GET "$path" 2>/dev/null)
    (($(nproc) < 2)) || server=(taskset -c 0)
    "${server[@]}" "$tools/reply" "${#body}" application/json >"$work/reply.port" &
    reply_pid=$!
    helpers+=("$reply_pid")
    for _ in {1..100}; do [[ -s "$work/reply.port" ]] && break; sleep 0.02; done
    reply_port=$(<"$work/reply.port")
    # In turns, so that a disturbance meets both.
    rate=0 limit=0
    for _ in 1 2; do
      words=$("${client[@]}" "$tools/load" "$dashboard_port" "$connections" "$(calculate "$seconds / 2")" GET "$path")
      bare=$("${client[@]}" "$tools/load" "$reply_port" "$connections" "$(calculate "$seconds / 2")" GET "$path")
      rate=$(calculate "$rate + $(value "$words" rate) / 2")
      limit=$(calculate "$limit + $(value "$bare" rate) / 2")
    done
    kill "$reply_pid"
    wait "$reply_pid" 2>/dev/null || true
    helpers=()
    : >"$work/reply.port"
    if [[ -n "$floor" ]]; then
      row "GET $path, $kind" "$(number "$rate")/s" "$(number "$limit")/s libmicrohttpd, ${#body} B" "$(ratio "$rate" "$limit")" \
        "≥ $(ratio "$floor" 1)" "$(met "$rate >= $floor * $limit")"
    else
      row "GET $path, $kind" "$(number "$rate")/s" "$(number "$limit")/s libmicrohttpd, ${#body} B" "$(ratio "$rate" "$limit")" "" ""
    fi
  done
  stand_stop
}

# ---- accepted tasks

row_accept() {
  local connections words bare who rate limit p99 target is_met i=0
  stand_start
  # Known by its key, seen long ago: its work waits in the store.
  redis-cli -p "$redis_port" zadd muster:agents 1 away >/dev/null
  [[ ! -x "$programs/agent" ]] || busy_agent
  for who in away busy; do
    [[ "$who" == away || -n "$agent_pid" ]] || continue
    for connections in 1 16 64; do
      # In turns, so that a disturbance meets both.
      rate=0 limit=0 p99=0
      for _ in 1 2; do
        i=$((i + 1))
        words=$("$tools/load" "$dashboard_port" "$connections" "$(calculate "$seconds / 2")" POST "/v1/producer/$who/task" '{"taskname":"echo hi"}')
        bare=$("$tools/inserts" "$root/migrations" "$stand/inserts$i.sqlite" "$connections" "$(calculate "$seconds / 2")")
        rate=$(calculate "$rate + $(value "$words" rate) / 2")
        limit=$(calculate "$limit + $(value "$bare" rate) / 2")
        p99=$(calculate "$(value "$words" p99) > $p99 ? $(value "$words" p99) : $p99")
      done
      target= is_met=
      if ((connections == 64)); then target="≥ 20 000/s" is_met=$(met "$rate >= 20000"); fi
      row "accepted tasks, agent $who, $connections at once" "$(number "$rate")/s, p99 $p99 ms" "$(number "$limit")/s SQLite in C, groups of $connections" \
        "$(ratio "$rate" "$limit")" "$target" "$is_met"
    done
  done
  stand_stop
}

# A living agent whose slots and window are full, so that accepting alone is measured and not the running as well.
busy_agent() {
  local i
  agent_start busy 1
  for i in {1..80}; do "$tools/ask" "$dashboard_port" POST /v1/producer/busy/task '{"taskname":"exec sleep 1000"}' >/dev/null 2>&1; done
}

# ---- short commands end to end

row_commands() {
  local words one two count
  need_agent || return 0
  count=$(samples 300 5000)
  one=$("$tools/bare" commands 1 "$seconds")
  two=$("$tools/bare" commands 2 "$seconds")
  stand_start
  agent_start runs 4
  words=$("$tools/burst" "$dashboard_port" runs "$(samples 50 200)" 4 '{"taskname":"echo hi"}') # warms up
  stand_stop
  stand_start
  agent_start runs 4
  words=$("$tools/burst" "$dashboard_port" runs "$count" 16 '{"taskname":"echo hi"}') || stop "not every run succeeded: $words"
  stand_stop
  row "short commands end to end, $count runs, 4 slots" "$(number "$(value "$words" rate)")/s" "$(number "$(value "$two" rate)")/s posix_spawn, two processes" \
    "$(ratio "$(value "$words" rate)" "$(value "$two" rate)")" "≥ 50 %" "$(met "$(value "$words" rate) >= 0.5 * $(value "$two" rate)")"
  row "" "" "$(number "$(value "$one" rate)")/s posix_spawn, one process" "$(ratio "$(value "$words" rate)" "$(value "$one" rate)")" "" ""
}

# ---- latency

# What nobody can avoid: accepting and taking are each on the disk before the next step; a result's end and its verdict too.
row_latency() {
  local words bare sync count pause floor50 floor99
  need_agent || return 0
  count=$(samples 30 300)
  pause=$(samples 20 60)
  mkfifo "$work/fifo"
  sync=$("$tools/bare" sync "$work" "$(samples 100 1000)")
  stand_start
  agent_start runs 4
  words=$("$tools/latency" started "$dashboard_port" runs "$tools/stamp" "$work/fifo" "$count" "$pause")
  bare=$("$tools/bare" started "$tools/stamp" "$work/fifo" "$count")
  floor50=$(calculate "$(value "$bare" p50) + 2 * $(value "$sync" p50)")
  floor99=$(calculate "$(value "$bare" p99) + 2 * $(value "$sync" p99)")
  latency_rows "POST → process started, idle" "spawn + 2 syncs" 2.5 8
  words=$("$tools/latency" result "$dashboard_port" runs "$count" "$pause")
  bare=$("$tools/bare" result "$count")
  floor50=$(calculate "$(value "$bare" p50) + 4 * $(value "$sync" p50)")
  floor99=$(calculate "$(value "$bare" p99) + 4 * $(value "$sync" p99)")
  latency_rows "POST ?wait → result of \`true\`, idle" "sh + 4 syncs" 4 10
  stand_stop
  rm "$work/fifo"
}

latency_rows() {
  row "$1, p50" "$(value "$words" p50) ms" "$floor50 ms $2" "$(times "$(value "$words" p50)" "$floor50")" "≤ $3 ms" "$(met "$(value "$words" p50) <= $3")"
  row "$1, p99" "$(value "$words" p99) ms" "$floor99 ms $2" "$(times "$(value "$words" p99)" "$floor99")" "≤ $4 ms" "$(met "$(value "$words" p99) <= $4")"
}

# ---- live output

row_live() {
  local words
  need_agent || return 0
  stand_start
  agent_start runs 4
  if ! words=$("$tools/latency" live "$dashboard_port" runs "$tools/stamp" "$(samples 20 100)" 100 2>"$work/live.err"); then
    row "live output, write → reader" "$(tail -n 1 "$work/live.err")" "" "" "≤ 200 ms" "no"
    stand_stop
    return 0
  fi
  stand_stop
  row "live output, write → reader, a line each ~100 ms, p50" "$(value "$words" p50) ms" "" "" "" ""
  row "live output, write → reader, a line each ~100 ms, p99" "$(value "$words" p99) ms" "" "" "≤ 200 ms" "$(met "$(value "$words" p99) <= 200")"
}

# ---- idle

row_memory() {
  local rss anonymous before after processor connections runner quiet span
  stand_start
  if need_agent; then
    agent_start runs 4
    # It has worked once, and has come to rest: its second connection closes after half a minute.
    "$tools/burst" "$dashboard_port" runs 20 4 '{"taskname":"echo hi"}' >/dev/null
    quiet=$(samples 3 40) span=$(samples 5 30)
    sleep "$quiet"
    before=$("$tools/processor" "$agent_pid")
    sleep "$span"
    after=$("$tools/processor" "$agent_pid")
    processor=$(calculate "($after - $before) / $span / 1e7")
    connections=$(redis_connections "$agent_pid")
    read -r rss anonymous < <(memory "$agent_pid")
    row "idle agent, resident" "$rss MiB" "" "" "≤ 16 MiB" "$(met "$rss <= 16")"
    row "idle agent, anonymous" "$anonymous MiB" "" "" "≤ 4 MiB" "$(met "$anonymous <= 4")"
    row "idle agent, of a core, over $span s" "$processor %" "" "" "≤ 0.1 %" "$(met "$processor <= 0.1")"
    row "idle agent, connections to Redis" "$connections" "" "" "$([[ -n "$quick" ]] && echo "1 (after 30 s)" || echo 1)" "$([[ -n "$quick" ]] || met "$connections == 1")"
    runner=$(runners "$agent_pid" | head -n 1)
    if [[ -n "$runner" ]]; then
      read -r rss anonymous < <(memory "$runner")
      row "idle runner, resident; anonymous" "$rss; $anonymous MiB" "" "" "" ""
    fi
  fi
  read -r rss anonymous < <(memory "$dashboard_pid")
  row "idle dashboard, resident; anonymous" "$rss; $anonymous MiB" "" "" "≤ 300 MiB (large)" "$(met "$rss <= 300")"
  stand_stop
}

# ---- one run that prints 1 GB

row_output() {
  local total words bare begun took whole answer auuid agent_peak runner_peak=0 p runner kept state cap=33554432
  need_agent || return 0
  total=$(samples 67108864 1073741824)
  bare=$("$tools/bare" pipe "$tools/stamp" "$total")
  stand_start
  agent_start runs 4
  "$tools/ask" "$dashboard_port" POST '/v1/producer/runs/task?wait=10' '{"taskname":"true"}' >/dev/null 2>&1
  peak_from_now "$agent_pid"
  begun=$(date +%s%N)
  answer=$("$tools/ask" "$dashboard_port" POST '/v1/producer/runs/task' "{\"taskname\":\"$tools/stamp\",\"args\":[\"print\",\"$total\"]}" 2>/dev/null)
  auuid=$(sed 's/.*"runs":.*"auuid":"\([^"]*\)".*/\1/' <<<"$answer")
  state=
  for _ in {1..6000}; do
    for runner in $(runners "$agent_pid"); do
      p=$(peak "$runner" 2>/dev/null) || p=
      runner_peak=$(awk -v a="$runner_peak" -v b="${p:-0}" 'BEGIN { print (a > b ? a : b) }')
    done
    answer=$("$tools/ask" "$dashboard_port" GET "/v1/runs/$auuid" 2>/dev/null)
    state=$(sed 's/.*"state":"\([a-zA-Z]*\)".*/\1/' <<<"$answer")
    case "$state" in queued | sent | running) sleep 0.02 ;; *) break ;; esac
  done
  took=$(calculate "($(date +%s%N) - $begun) / 1e9")
  [[ "$state" == succeeded ]] || stop "the run that prints ended $state: $answer" "$stand/agent.out"
  # The last of the kept output may be on its way when the verdict is there.
  kept=
  for _ in {1..150}; do
    if kept=$("$tools/kept" "$dashboard_port" "$auuid" "$total" "$cap" 2>"$work/kept.err"); then break; fi
    kept=
    sleep 0.2
  done
  whole=$(calculate "($(date +%s%N) - $begun) / 1e9")
  agent_peak=$(peak "$agent_pid")
  stand_stop
  row "one run prints $((total >> 20)) MiB, until its verdict" "$took s" "$(value "$bare" seconds) s read from a pipe in C" "$(times "$took" "$(value "$bare" seconds)")" "" ""
  row "  the agent's peak, resident" "$agent_peak MiB" "" "" "≤ 32 MiB" "$(met "$agent_peak <= 32")"
  row "  its runner's peak, resident" "$runner_peak MiB" "" "" "" ""
  if [[ -n "$kept" ]]; then
    row "  kept within the cap, compared byte for byte" "$(number "$(value "$kept" kept)") B, after $whole s" "" "" "all" "yes"
  else
    row "  kept within the cap, compared byte for byte" "$(tail -n 1 "$work/kept.err")" "" "" "all" "no"
  fi
}

need_agent() {
  [[ -x "$programs/agent" ]] && return 0
  say "  left out: no $programs/agent"
  return 1
}

# ---- 10,000 agents, a million runs

row_large() {
  local agents tasks words broadcast answer task begun took=none simulator rss anonymous bare first_ms first_page again_ms again_page whole_ms online counts first_unknown last_unknown
  agents=$(samples 500 10000)
  tasks=$(samples 20 100)
  stand_start
  dashboard_stop
  say "  writing $((agents * tasks)) runs of history"
  "$tools/history" "$stand/dashboard/muster.sqlite" "$agents" "$tasks" fleet >/dev/null
  dashboard_start
  task=$("$tools/ask" "$dashboard_port" GET "/v1/tasks?limit=1&runs=0" 2>/dev/null | sed 's/.*"task":"\([^"]*\)".*/\1/')
  pages "$task"
  first_ms=$slowest first_page=$slowest_page
  read -r rss anonymous < <(memory "$dashboard_pid")

  say "  starting $agents simulated agents"
  "$tools/agents" "$redis_port" "$agents" fleet "$root/Sources/Shared/Bus/Scripts.swift" >"$work/agents.out" 2>&1 &
  simulator=$!
  helpers+=("$simulator")
  for _ in {1..1200}; do
    kill -0 "$simulator" 2>/dev/null || stop "the simulated agents have ended" "$work/agents.out"
    online=$("$tools/ask" "$dashboard_port" GET /v1/overview 2>/dev/null | sed 's/.*"online":\([0-9]*\).*/\1/')
    ((online == agents)) && break
    sleep 0.1
  done
  ((online == agents)) || stop "only $online of $agents simulated agents came online" "$stand/dashboard.out"
  sleep "$(samples 1 10)"
  pages "$task"
  again_ms=$slowest again_page=$slowest_page
  whole_ms=$("$tools/ask" "$dashboard_port" GET /v1/tasks 2>&1 >/dev/null)
  whole_ms=${whole_ms#ms=}
  bare=$("$tools/inserts" "$root/migrations" "$stand/inserts.sqlite" 512 "$seconds")

  begun=$(date +%s%N)
  answer=$("$tools/ask" "$dashboard_port" POST /v1/producer/fleet/task '{"taskname":"echo hi"}' 2>/dev/null)
  broadcast=$(sed 's/.*"task":"\([^"]*\)".*/\1/' <<<"$answer")
  for _ in {1..2000}; do
    answer=$("$tools/ask" "$dashboard_port" GET "/v1/tasks?limit=1&runs=0" 2>/dev/null)
    if grep -q "\"task\":\"$broadcast\".*\"counts\":{\"succeeded\":$agents}" <<<"$answer"; then
      took=$(calculate "($(date +%s%N) - $begun) / 1e9")
      break
    fi
    sleep 0.03
  done
  [[ "$took" != none ]] || stop "not all results came: $answer" "$stand/dashboard.out"
  read -r rss anonymous < <(memory "$dashboard_pid")

  say "  all of them run something and die at once"
  "$tools/ask" "$dashboard_port" POST /v1/producer/fleet/task '{"taskname":"hold"}' >/dev/null 2>&1
  counted running "$agents" 60 || stop "not all of them run it: $counts" "$stand/dashboard.out"
  kill -9 "$simulator"
  begun=$(date +%s%N)
  wait "$simulator" 2>/dev/null || true
  counted unknown 1 40 || stop "nobody is unknown: $counts" "$stand/dashboard.out"
  first_unknown=$(calculate "($(date +%s%N) - $begun) / 1e9")
  counted unknown "$agents" 40 || stop "not all of them are unknown: $counts" "$stand/dashboard.out"
  last_unknown=$(calculate "($(date +%s%N) - $begun) / 1e9")
  helpers=()
  stand_stop
  answer=$(calculate "2 * $agents / $(value "$bare" rate)")
  row "one broadcast to $(number "$agents") simulated agents, all results stored" "$took s" "$answer s the same rows twice in SQLite in C" \
    "$(times "$took" "$answer")" "≤ 5 s" "$(met "$took <= 5")"
  row "$(number "$agents") simulated agents die at once: the first, the last run is \`unknown\` after" "$first_unknown; $last_unknown s" "" "" \
    "10 to 22 s" "$(met "$first_unknown >= 10 && $last_unknown <= 22")"
  row "$(number $((agents * tasks))) runs of history: slowest page's first answer" "$first_ms ms ($first_page)" "" "" "≤ 50 ms" "$(met "$first_ms <= 50")"
  row "  the same with all agents online" "$again_ms ms ($again_page)" "" "" "≤ 50 ms" "$(met "$again_ms <= 50")"
  row "  GET /v1/tasks with its default of 100 tasks and 2 000 runs" "$whole_ms ms" "" "" "" ""
  row "  dashboard then, resident; anonymous" "$rss; $anonymous MiB" "" "" "≤ 300 MiB" "$(met "$rss <= 300")"
}

# Waits until the newest task counts so many runs in that state; leaves the counts in `counts`.
counted() {
  local state=$1 wanted=$2 deadline=$((SECONDS + $3)) there
  while ((SECONDS < deadline)); do
    counts=$("$tools/ask" "$dashboard_port" GET "/v1/tasks?limit=1&runs=0" 2>/dev/null | sed 's/.*"counts":\({[^}]*}\).*/\1/')
    there=$(sed -n "s/.*\"$state\":\([0-9]*\).*/\1/p" <<<"$counts")
    ((${there:-0} >= wanted)) && return 0
    sleep 0.05
  done
  return 1
}

# What the page and its lists ask for, once each; sets the slowest.
pages() {
  local path ms
  slowest=0 slowest_page=
  for path in / /v1/overview /v1/health /v1/projects "/v1/agents?limit=1000" "/v1/agents?state=online" /v1/agents/sim-00042 \
    "/v1/tasks?limit=50&runs=1" "/v1/tasks?limit=1000&runs=0" "/v1/tasks?state=failed&limit=50&runs=1" "/v1/tasks/$1" \
    "/v1/runs?limit=100" "/v1/runs?state=running&limit=8" "/v1/runs?state=failed&state=timedOut&state=lost&limit=8" "/v1/runs?uuid=sim-00042&limit=50" \
    "/v1/runs?task=$1&limit=100" "/v1/runs?project=fleet&state=failed" "/v1/runs/sim-00042-$1" "/v1/runs/sim-00042-$1/log"; do
    ms=$("$tools/ask" "$dashboard_port" GET "$path" 2>&1 >/dev/null) || stop "GET $path fails"
    ms=${ms#ms=}
    say "  ${path//"$1"/<task>}: $ms ms"
    if [[ "$(met "$ms > $slowest")" == yes ]]; then slowest=$ms slowest_page=${path//"$1"/<task>}; fi
  done
}
