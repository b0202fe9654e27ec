// What the whole page shares: hosts, counters, health, and whether the dashboard can be reached. One event stream per tab feeds it.
// A hidden tab gives its stream back after a while (browsers allow six connections to one server) and asks again when it is seen.
import { get, pages, onReach } from "./api.js";
import { follow } from "./stream.js";

const listeners = new Map();
/** Topics: agents, counters, health, link, runs (items, missed), again (everything may have changed). */
export function on(topic, listener, signal) {
  const set = listeners.get(topic) ?? listeners.set(topic, new Set()).get(topic);
  set.add(listener);
  signal?.addEventListener("abort", () => set.delete(listener));
}
function tell(topic, ...news) { for (const listener of [...(listeners.get(topic) ?? [])]) listener(...news); }

export const agents = new Map();
export const shared = {
  counters: null,
  health: null,
  /** Whether `agents` holds all hosts. */
  complete: false,
  agentsError: null,
  /** `since`: when the last answer came. */
  link: { up: true, since: Date.now(), lost: null, next: null },
};

// MARK: the link

function setLink(up, next = null) {
  const { link } = shared;
  if (up) link.since = Date.now();
  if (up === link.up && next === link.next) return;
  const back = up && !link.up;
  if (!up && link.up) link.lost = Date.now();
  Object.assign(link, { up, next });
  tell("link");
  if (back) again();
}

function again() {
  loadHealth();
  if (wanted) loadAgents();
  tell("again");
}

// MARK: events

let stream = null;
let everOpen = false;
function open() {
  stream ??= new AbortController();
  follow("/v1/events", {
    signal: stream.signal,
    state(what, detail) {
      if (what === "open") {
        setLink(true);
        if (everOpen) again();
        everOpen = true;
      } else if (what === "away") setLink(false, Date.now() + detail);
    },
    event(name, data) {
      shared.link.since = Date.now();
      if (name === "overview") { shared.counters = data; tell("counters"); }
      else if (name === "runs") tell("runs", data.items, data.missed);
      else if (name === "agents") presence(data);
    },
  });
}

function presence({ online, offline, missed }) {
  let stranger = missed;
  const now = new Date().toISOString();
  for (const [list, is] of [[online, true], [offline, false]]) {
    for (const uuid of list) {
      const agent = agents.get(uuid);
      if (agent) Object.assign(agent, { online: is, lastSeenAt: now, ...(is ? {} : { running: null, waiting: null, load1: null }) });
      else stranger = true;
    }
  }
  if (stranger && wanted) loadAgents();
  tell("agents");
}

export function start() {
  onReach(ok => {
    if (ok) { if (shared.link.up) shared.link.since = Date.now(); }
    else setLink(false, shared.link.next);
  });
  // A tab that was opened behind others waits until it is looked at.
  if (document.hidden) everOpen = true; else open();
  loadHealth();
  setInterval(() => { if (!document.hidden && shared.link.up) loadHealth(); }, 10_000);
  let hide = 0;
  const rest = () => { stream?.abort(); stream = null; tell("hidden"); };
  const wake = () => { if (!stream) { open(); tell("seen"); } };
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hide);
    if (document.hidden) hide = setTimeout(rest, 10_000); else wake();
  });
  // A page that a browser keeps for its back button must not keep a connection.
  addEventListener("pagehide", rest);
  addEventListener("pageshow", wake);
}

async function loadHealth() {
  try {
    // 503 is an answer too: the parts stand in it.
    const response = await fetch("/v1/health", { cache: "no-store" });
    shared.health = await response.json();
    tell("health");
  } catch { /* the stream tells of that */ }
}

// MARK: hosts

let wanted = 0, loading = null, loaded = 0, changes = 0;
/** Keeps `agents` filled and fresh until `signal` is aborted. */
export function needAgents(signal) {
  wanted += 1;
  const age = performance.now() - loaded;
  if (!shared.complete || age > 5000) loadAgents();
  const timer = setInterval(() => {
    // A large fleet's list is long: it is asked for less often. Presence itself comes by events.
    if (!document.hidden && shared.link.up && performance.now() - loaded > Math.max(5000, agents.size * 6)) loadAgents();
  }, 1000);
  signal.addEventListener("abort", () => { wanted -= 1; clearInterval(timer); });
}

function loadAgents() {
  loading ??= (async () => {
    const found = new Set();
    try {
      await pages("/v1/agents", {}, items => {
        for (const agent of items) {
          if (!agents.has(agent.uuid)) changes += 1;
          agents.set(agent.uuid, agent);
          found.add(agent.uuid);
        }
        if (!shared.complete) tell("agents");
      });
      for (const uuid of agents.keys()) if (!found.has(uuid)) { agents.delete(uuid); changes += 1; }
      shared.complete = true;
      shared.agentsError = null;
    } catch (error) {
      shared.agentsError = error;
    } finally {
      loaded = performance.now();
      loading = null;
    }
    tell("agents");
  })();
  return loading;
}

/** By name, numbers in it by their value. */
export const byName = new Intl.Collator("en", { numeric: true }).compare;

let sorted = [], sortedFor = "";
/** All hosts by name. Sorting ten thousand names takes a while: done only when hosts came or went. */
export function allAgents() {
  const version = `${agents.size} ${changes}`;
  if (sortedFor !== version) {
    sorted = [...agents.keys()].sort(byName);
    sortedFor = version;
  }
  return sorted.map(uuid => agents.get(uuid));
}

/** Projects and their hosts, by name; hosts without one last, under null. `first`: each host only under its first project. */
export function byProject(first = false) {
  const groups = new Map();
  for (const agent of allAgents()) {
    const names = agent.projects.length ? (first ? agent.projects.slice(0, 1) : agent.projects) : [null];
    for (const name of names) (groups.get(name) ?? groups.set(name, []).get(name)).push(agent);
  }
  return [...groups].sort(([a], [b]) => (a === null) - (b === null) || byName(a, b));
}

/** What a target's name stands for now: `{kind, agents, online}`, or null while it is not known here. */
export function match(target) {
  const agent = agents.get(target);
  if (agent) return { kind: "agent", agents: 1, online: agent.online ? 1 : 0 };
  let total = 0, online = 0;
  for (const one of agents.values()) if (one.projects.includes(target)) { total += 1; online += one.online ? 1 : 0; }
  return total ? { kind: "project", agents: total, online } : null;
}
