// Projects: how many hosts each has, and how many of them are there.
import { get, query } from "../api.js";
import { h, fill, paced } from "../dom.js";
import { count, number } from "../format.js";
import { on } from "../store.js";
import { empty, heading, pagedList } from "../parts.js";
import { mark } from "../states.js";
import { link } from "../router.js";

export function view(root, route, signal) {
  const list = pagedList({
    name: "projects", signal, key: one => one.project, row: { make, update },
    load: after => get(`/v1/projects${query({ limit: 200, after })}`, signal),
    none: () => empty("No project yet", h("p", null, "A project is a tag that agents carry: ", h("code", null, "\"tags\": \"web\""), " in an agent's settings.")),
  });
  root.append(heading("Projects"), list.root);
  const refresh = paced(2000, () => list.refresh(), signal);
  on("agents", refresh, signal);
  on("again", refresh, signal);
  const timer = setInterval(() => { if (!document.hidden) refresh(); }, 10_000);
  signal.addEventListener("abort", () => clearInterval(timer));
  return { title: "projects", ready: list.refresh() };
}

const make = one => h("li.row.project", null,
  h("a.row-link", { href: link(["agents"], { project: one.project }), "data-row": one.project, "aria-label": one.project }),
  h("span.c-host", null, one.project), h("span.c-state"), h("span.c-strip", null, h("div.strip", null, h("div.strip-bar", { "aria-hidden": "true" }, h("i.tone-succeeded"), h("i.tone-waiting")))),
  h("span.c-links", null, h("a", { href: link(["tasks"], { project: one.project }) }, "tasks"), h("a", { href: link(["new"], { target: one.project }) }, "new task")));

function update(row, one) {
  fill(row.querySelector(".c-state"), one.online === one.agents ? mark("online", `${count(one.agents, "host")}, all online`)
    : mark("offline", `${number(one.online)} of ${count(one.agents, "host")} online`));
  const [there, away] = row.querySelectorAll(".strip-bar i");
  away.hidden = one.online === one.agents;
  there.style.flexGrow = one.online / one.agents;
  away.style.flexGrow = 1 - one.online / one.agents;
}
