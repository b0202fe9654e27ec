# A stand: one dashboard with its embedded Redis and one agent, in a fresh folder, on free ports, stopped by process id. Each row has its own,
# so that no row measures what another one left. Sourced by `run`.
# Sets: dashboard_port, dashboard_pid, redis_port, agent_pid, agent_config, stand (the folder).

stand= dashboard_pid= dashboard_port= redis_port= agent_pid= agent_config= stands=0

# Whatever MUSTER_… stands in the caller's environment is meant for other programs than these.
clean=(env)
while IFS= read -r name; do clean+=(-u "$name"); done < <(compgen -e MUSTER_ || true)

stand_start() {
  stands=$((stands + 1))
  stand="$work/stand$stands"
  mkdir -p "$stand"
  dashboard_start
}

dashboard_start() {
  : >"$stand/dashboard.out"
  "${clean[@]}" setsid "$programs/dashboard" serve --listen 127.0.0.1:0 --data "$stand/dashboard" >"$stand/dashboard.out" 2>&1 </dev/null &
  dashboard_pid=$!
  for _ in {1..1200}; do
    kill -0 "$dashboard_pid" 2>/dev/null || break
    dashboard_port=$(sed -n 's|.*http://127\.0\.0\.1:\([0-9]*\).*|\1|p' "$stand/dashboard.out" | head -n 1)
    if [[ -n "$dashboard_port" ]] && "$tools/ask" "$dashboard_port" GET /v1/health >/dev/null 2>&1; then
      redis_port=$(<"$stand/dashboard/redis/port")
      # Accepting is one thing; the loops begin when it has become the writing dashboard.
      for _ in {1..300}; do
        [[ -z "$(redis-cli -p "$redis_port" get muster:dashboard)" ]] || return 0
        sleep 0.02
      done
      stop "the dashboard does not begin to write" "$stand/dashboard.out"
    fi
    sleep 0.05
  done
  stop "the dashboard did not start" "$stand/dashboard.out"
}

# agent_start NAME CONCURRENCY
agent_start() {
  agent_config="$stand/agent.json"
  cat >"$agent_config" <<JSON
{
  "uuid": "$1",
  "tags": "bench",
  "redis": { "addr": "127.0.0.1", "port": $redis_port },
  "http": { "listen": "127.0.0.1:0" },
  "task": { "concurrency": $2 },
  "state": { "path": "$stand/agent" }
}
JSON
  "${clean[@]}" setsid "$programs/agent" run -f "$agent_config" >"$stand/agent.out" 2>&1 </dev/null &
  agent_pid=$!
  for _ in {1..600}; do
    kill -0 "$agent_pid" 2>/dev/null || break
    if "$tools/ask" "$dashboard_port" GET "/v1/agents/$1" 2>/dev/null | grep -q '"online":true'; then return 0; fi
    sleep 0.05
  done
  stop "the agent did not come online" "$stand/agent.out"
}

# TERM, and KILL when it takes longer than it promises (10 s).
end_process() {
  [[ -n "$1" ]] && kill -TERM "$1" 2>/dev/null || return 0
  for _ in {1..240}; do
    kill -0 "$1" 2>/dev/null || break
    sleep 0.05
  done
  kill -KILL "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

agent_stop() {
  if [[ -n "$agent_pid" ]] && kill -0 "$agent_pid" 2>/dev/null; then
    "${clean[@]}" timeout 15 "$programs/agent" stop --kill -f "$agent_config" >>"$stand/agent.out" 2>&1 || true
  fi
  end_process "$agent_pid"
  agent_pid=
}

dashboard_stop() {
  end_process "$dashboard_pid"
  dashboard_pid=
  # Only one that a killed dashboard has left still answers; by now another's may have its port.
  if [[ -n "$redis_port" ]] && timeout 5 redis-cli -p "$redis_port" config get dir 2>/dev/null | grep -qxF "$stand/dashboard/redis"; then
    timeout 5 redis-cli -p "$redis_port" shutdown nosave >/dev/null 2>&1 || true
  fi
  redis_port=
}

stand_stop() {
  agent_stop
  dashboard_stop
  [[ -z "$stand" ]] || rm -rf "$stand"
  stand=
}

# The last lines of a log, then the end of everything.
stop() {
  [[ -z "${2:-}" ]] || tail -n 15 "$2" >&2
  printf 'bench: %s\n' "$1" >&2
  exit 1
}

# memory PID: resident and anonymous MiB.
memory() { awk '/^Rss:/ { r = $2 } /^Anonymous:/ { a = $2 } END { printf "%.1f %.1f\n", r / 1024, a / 1024 }' "/proc/$1/smaps_rollup"; }
# peak_from_now PID begins; peak PID: the most resident since then, MiB.
peak_from_now() { echo 5 >"/proc/$1/clear_refs"; }
peak() { awk '/^VmHWM:/ { printf "%.1f\n", $2 / 1024 }' "/proc/$1/status"; }
# Its open connections to Redis.
redis_connections() {
  local hex inode count=0
  hex=$(printf '0100007F:%04X' "$redis_port")
  for inode in $(ls -l "/proc/$1/fd" 2>/dev/null | sed -n 's/.*socket:\[\([0-9]*\)\]$/\1/p'); do
    if awk -v i="$inode" -v p="$hex" '$10 == i && $3 == p && $4 == "01" { f = 1 } END { exit !f }' "/proc/$1/net/tcp"; then count=$((count + 1)); fi
  done
  echo "$count"
}
# The agent's children: its runners.
runners() { cat "/proc/$1"/task/*/children 2>/dev/null | tr ' ' '\n' | sed '/^$/d'; }
