// All hosts, or those of a project, or those that are online or not.
import { h, fill, setText, keyed, paced } from "../dom.js";
import { number, visible } from "../format.js";
import { agents, allAgents, needAgents, on, shared } from "../store.js";
import { empty, problem, time, heading, firstAgent } from "../parts.js";
import { mark, remark } from "../states.js";
import { keep, link } from "../router.js";

const step = 200;

export function view(root, route, signal) {
  const filter = { state: route.query.get("state"), project: route.query.get("project"), q: route.query.get("q") ?? "", sort: route.query.get("sort") };
  let most = step;
  const total = h("span.muted");
  const field = h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter by name, host name, address", value: filter.q, spellcheck: "false",
    oninput() { filter.q = field.value; most = step; save(); show(); } });
  const states = h("div.choices", { role: "group", "aria-label": "Presence" });
  const list = h("ol.rows");
  const foot = h("div.foot");
  const end = h("div.end");
  root.append(
    heading("Agents", total, h("span.spring"),
      filter.project ? h("a.button.small", { href: link(["new"], { target: filter.project }) }, "New task for these") : null),
    h("div.filters", null, states, field, filter.project ? h("a.chip", { href: link(["agents"], { state: filter.state, q: filter.q }), title: "Show all projects" }, `project ${filter.project}`, h("span", { "aria-hidden": "true" }, " ×")) : null),
    list, foot, end);

  function save() { keep({ state: filter.state, project: filter.project, q: filter.q, sort: filter.sort }); }
  function show() {
    fill(states, [[null, "all"], ["online", "online"], ["offline", "offline"]].map(([state, text]) => h("a", {
      href: link(["agents"], { state, project: filter.project, q: filter.q }), "aria-current": filter.state === state ? "true" : null }, text)));
    const words = filter.q.toLowerCase();
    const found = allAgents().filter(one =>
      (!filter.state || one.online === (filter.state === "online")) && (!filter.project || one.projects.includes(filter.project))
      && (!words || `${one.uuid} ${one.hostname ?? ""} ${one.address ?? ""}`.toLowerCase().includes(words)));
    setText(total, shared.complete ? number(found.length) : `${number(found.length)} so far`);
    keyed(list, found.slice(0, most), one => one.uuid, make, update);
    foot.replaceChildren();
    if (shared.agentsError && !agents.size) foot.append(problem(shared.agentsError));
    else if (!found.length && shared.complete) foot.append(agents.size ? empty("No host matches", h("p", null, h("a", { href: "#/agents" }, "Show all"))) : firstAgent());
    else if (found.length > most) {
      foot.append(h("button.button.more", { type: "button", onclick: () => { most += step; show(); } }, `Show more (${number(found.length - most)} left)`));
    }
  }
  new IntersectionObserver(entries => {
    if (entries.some(one => one.isIntersecting) && foot.querySelector(".more")) { most += step; show(); }
  }, { rootMargin: "600px" }).observe(end);

  on("agents", paced(250, show, signal), signal);
  needAgents(signal);
  show();
  return { title: filter.project ? `${filter.project} · agents` : "agents" };
}

const make = agent => h("li.row.agent", null,
  h("a.row-link", { href: link(["agents", agent.uuid]), "data-row": agent.uuid, "aria-label": agent.uuid }),
  h("span.c-state"), h("span.c-host", null, agent.uuid), h("span.c-projects"), h("span.c-hostname"), h("span.c-busy.number"), h("span.c-load.number"), h("span.c-when"));

function update(row, agent) {
  const state = agent.online ? "online" : "offline";
  const place = row.querySelector(".c-state");
  if (place.firstChild) remark(place.firstChild, state); else place.append(mark(state));
  const version = JSON.stringify([agent.projects, agent.hostname, agent.address, agent.running, agent.waiting, agent.concurrency, agent.load1, agent.online ? 0 : agent.lastSeenAt, agent.health]);
  if (row.dataset.version === version) return;
  row.dataset.version = version;
  fill(row.querySelector(".c-projects"), agent.projects.map(name => h("a", { href: link(["agents"], { project: name }) }, name)));
  const ill = agent.online && agent.health && agent.health !== "healthy";
  const about = row.querySelector(".c-hostname");
  fill(about, ill ? mark("unknown", visible(agent.health)) : [agent.hostname, agent.address].filter(Boolean).map(one => [h("bdi", null, visible(one)), "  "]));
  about.title = about.textContent;
  setText(row.querySelector(".c-busy"), agent.online ? `${agent.running ?? 0}/${agent.concurrency ?? "?"}${agent.waiting ? ` +${agent.waiting}` : ""} busy` : "");
  setText(row.querySelector(".c-load"), agent.load1 != null ? `load ${agent.load1.toFixed(2)}` : "");
  fill(row.querySelector(".c-when"), agent.online ? "" : ["last seen ", time(agent.lastSeenAt)]);
}
