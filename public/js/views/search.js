// Hosts, projects and tasks whose name holds some words; an id that is pasted is looked up.
import { get, query } from "../api.js";
import { h, fill, keyed, paced } from "../dom.js";
import { command, number } from "../format.js";
import { allAgents, byProject, needAgents, on, shared } from "../store.js";
import { empty, heading, problem, runRow } from "../parts.js";
import { mark } from "../states.js";
import { link } from "../router.js";
import { make, update } from "./tasks.js";

const most = 20, recent = 500;

export function view(root, route, signal) {
  const words = (route.query.get("q") ?? "").trim(), lower = words.toLowerCase();
  const exactly = h("div"), hosts = part("Hosts"), projects = part("Projects"), tasks = part(`Tasks, of the last ${recent}`), none = h("div");
  root.append(heading("Search", h("span.muted", null, words)), exactly, projects.root, hosts.root, tasks.root, none);
  let asked = !words, wrong = null;

  function part(title) {
    const list = h("ol.rows"), more = h("p.muted");
    return { root: h("section", { hidden: true }, h("h2.over", null, title), list, more), list, more };
  }
  function show(one, items, key, build, change = () => {}) {
    one.root.hidden = items.length === 0;
    keyed(one.list, items.slice(0, most), key, build, change);
    one.more.textContent = items.length > most ? `and ${number(items.length - most)} more` : "";
  }
  function local() {
    if (!words) return;
    const found = allAgents().filter(one => `${one.uuid} ${one.hostname ?? ""} ${one.address ?? ""}`.toLowerCase().includes(lower));
    show(hosts, found, one => `${one.uuid} ${one.online}`, one => h("li.row", null, h("a.row-link", { href: link(["agents", one.uuid]), "data-row": one.uuid, "aria-label": one.uuid }),
      h("span.c-host", null, one.uuid), mark(one.online ? "online" : "offline")));
    if (found.length > most) fill(hosts.more, h("a", { href: link(["agents"], { q: words }) }, `All ${number(found.length)} hosts`));
    show(projects, byProject().filter(([name]) => name?.toLowerCase().includes(lower)), ([name]) => name, ([name, members]) => h("li.row", null,
      h("a.row-link", { href: link(["agents"], { project: name }), "data-row": name, "aria-label": name }), h("span.c-host", null, name), h("span.muted", null, `${number(members.length)} hosts`)));
    nothing();
  }
  function nothing() {
    const any = exactly.childElementCount || [hosts, projects, tasks].some(one => !one.root.hidden);
    fill(none, wrong ? problem(wrong) : !words ? empty("What are you looking for?", h("p", null, "A host, an address, a project, a part of a command, or an id."))
      : !any && asked && shared.complete ? empty("Nothing found", h("p", null, "Tasks are looked for among the last ", number(recent), ".")) : null);
  }
  async function remote() {
    try {
      if (/[0-9A-HJKMNP-TV-Z]{26}$/i.test(words)) await byId();
      const { items } = await get(`/v1/tasks${query({ limit: recent, runs: 1 })}`, signal);
      show(tasks, items.filter(one => command(one).toLowerCase().includes(lower) || one.target.toLowerCase().includes(lower) || one.task.toLowerCase().includes(lower)), one => one.task, make, update);
    } catch (error) {
      if (signal.aborted) return;
      wrong = error;
    }
    asked = true;
    nothing();
  }
  async function byId() {
    const row = runRow();
    for (const path of ["runs", "tasks"]) {
      try {
        const found = await get(`/v1/${path}/${encodeURIComponent(words)}`, signal);
        const list = h("ol.rows");
        if (path === "runs") keyed(list, [found], one => one.auuid, row.make, row.update);
        else keyed(list, [found], one => one.task, make, update);
        return fill(exactly, h("h2.over", null, path === "runs" ? "The run" : "The task"), list);
      } catch (error) { if (error.status !== 404) throw error; }
    }
  }
  on("agents", paced(300, local, signal), signal);
  needAgents(signal);
  local();
  if (words) remote(); else nothing();
  return { title: words ? `${words} · search` : "search" };
}
