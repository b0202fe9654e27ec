// One host: what it is, what it does now, what it did.
import { get, query } from "../api.js";
import { h, fill, paced } from "../dom.js";
import { visible, count } from "../format.js";
import { on } from "../store.js";
import { heading, pagedList, problem, runRow, time, empty, copyable } from "../parts.js";
import { mark } from "../states.js";
import { link } from "../router.js";

export function view(root, route, signal) {
  const uuid = route.path[1];
  const state = h("span"), facts = h("dl.facts"), wrong = h("div");
  root.append(
    heading(uuid, state, h("span.spring"), h("a.button.small", { href: link(["new"], { target: uuid }) }, "New task for this host")), wrong, facts);

  const load = paced(1000, async () => {
    try {
      const agent = await get(`/v1/agents/${encodeURIComponent(uuid)}`, signal);
      wrong.replaceChildren();
      show(agent);
    } catch (error) {
      if (!signal.aborted && (error.status !== 0 || !facts.childElementCount)) fill(wrong, problem(error));
    }
  }, signal);

  function show(agent) {
    fill(state, mark(agent.online ? "online" : "offline"));
    const fact = (name, ...value) => (value.every(one => one == null || one === "") ? null : [h("dt", null, name), h("dd", null, value)]);
    const ill = agent.online && agent.health && agent.health !== "healthy";
    fill(facts,
      ill ? fact("health", mark("unknown", visible(agent.health))) : null,
      fact("projects", agent.projects.map((name, index) => [index ? ", " : null, h("a", { href: link(["agents"], { project: name }) }, name)])),
      fact("host name", agent.hostname && visible(agent.hostname)), fact("address", agent.address && visible(agent.address)),
      agent.online ? fact("now", `${count(agent.running ?? 0, "run")} of ${agent.concurrency ?? "?"} at once${agent.waiting ? `, ${agent.waiting} waiting` : ""}`) : null,
      agent.load1 == null ? null : fact("load", agent.load1.toFixed(2)),
      fact(agent.online ? "last word" : "last seen", time(agent.lastSeenAt)), fact("agent started", time(agent.startedAt)),
      fact("system", [agent.os, agent.arch].filter(Boolean).map(visible).join(", ")), fact("agent version", agent.version && visible(agent.version)),
      agent.httpPort ? fact("own port", String(agent.httpPort)) : null);
  }

  const runs = pagedList({
    name: `runs on ${uuid}`, signal, key: run => run.auuid, row: runRow({ host: false }),
    load: after => get(`/v1/runs${query({ uuid, limit: 50, after })}`, signal),
    none: () => empty("No run yet", h("p", null, "Post one here, or:"), copyable(`curl -d '{"taskname":"uptime"}' ${location.origin}/v1/producer/${uuid}/task`)),
  });
  root.append(h("h2.over", null, "Runs"), runs.root);
  const refresh = paced(800, () => runs.refresh(), signal);
  on("runs", (items, missed) => { if (missed || items.some(one => one.uuid === uuid)) { refresh(); load(); } }, signal);
  on("agents", load, signal);
  on("again", () => { refresh(); load(); }, signal);
  const timer = setInterval(() => { if (!document.hidden) load(); }, 5000);
  signal.addEventListener("abort", () => clearInterval(timer));
  load();

  return { title: uuid, ready: runs.refresh() };
}
