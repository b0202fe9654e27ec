// What was posted, newest first, with how it stands.
import { get, query } from "../api.js";
import { h, fill, paced } from "../dom.js";
import { command, exact } from "../format.js";
import { on } from "../store.js";
import { heading, pagedList, strip, taskMark, time, empty, copyable, origin } from "../parts.js";
import { isOpen } from "../states.js";
import { link } from "../router.js";

const choices = [["all", []], ["open", ["queued", "sent", "running", "unknown"]], ["failed", ["failed", "timedOut", "lost"]], ["succeeded", ["succeeded"]]];

export function view(root, route, signal) {
  const filter = {
    state: route.query.getAll("state"), project: route.query.get("project"), uuid: route.query.get("uuid"),
    since: route.query.get("since"), until: route.query.get("until"),
  };
  root.append(heading("Tasks", h("span.spring"), h("a.button.small", { href: link(["runs"], filter) }, "Runs instead")),
    h("div.filters", null,
      h("div.choices", { role: "group", "aria-label": "State" }, choices.map(([text, state]) => h("a", {
        href: link(["tasks"], { ...filter, state }), "aria-current": String(state) === String(filter.state) ? "true" : null }, text))),
      chips(["tasks"], filter)));
  const list = pagedList({
    name: "tasks", signal, key: task => task.task, row: { make, update },
    load: after => get(`/v1/tasks${query({ ...filter, limit: 50, runs: 1, after })}`, signal),
    none: () => (Object.values(filter).some(one => one?.length) ? empty("No task matches", h("p", null, h("a", { href: "#/tasks" }, "Show all"))) : firstTask()),
  });
  root.append(list.root);
  const refresh = paced(800, () => list.refresh(), signal);
  on("runs", (items, missed) => {
    const known = new Set(list.items.slice(0, 50).map(task => task.task));
    const moved = items.some(one => one.state);
    // Output alone changes nothing here.
    if (missed || moved || items.some(one => !known.has(one.task))) refresh();
  }, signal);
  on("again", refresh, signal);
  return { title: "tasks", ready: list.refresh() };
}

export function firstTask() {
  return empty("Nothing has been posted yet", h("p", null, h("a.button.primary", { href: "#/new" }, "New task"), " or from a shell:"),
    copyable(`curl -d '{"taskname":"uptime"}' ${location.origin}/v1/producer/<host or project>/task`));
}

/** What a list is narrowed to, each with its way out. */
export function chips(path, filter) {
  const chip = (name, text) => h("a.chip", { href: link(path, { ...filter, [name]: null }), title: "Remove this filter" }, text, h("span", { "aria-hidden": "true" }, " ×"));
  return ["project", "uuid", "task", "since", "until"].filter(name => filter[name]).map(name => {
    const value = filter[name];
    const date = name === "since" || name === "until" ? Date.parse(value) : NaN;
    return chip(name, `${name} ${Number.isNaN(date) ? value : exact(date).slice(0, 16)}`);
  });
}

/** A task on one host is its run: one click less. */
export const taskLink = task => {
  const total = Object.values(task.counts).reduce((sum, one) => sum + one, 0);
  return total === 1 && task.runs?.length === 1 ? link(["runs", task.runs[0].auuid]) : link(["tasks", task.task]);
};

export const make = task => h("li.row.task", null,
  h("a.row-link", { href: taskLink(task), "data-row": task.task, "aria-label": `${command(task)} on ${task.target}` }),
  h("span.c-state"), h("code.c-command", { title: command(task) }, command(task)), h("span.c-target", null, task.target),
  h("span.c-strip"), h("span.c-when", null, origin(task) ? h("span.muted", null, `${origin(task)}, `) : null, time(task.createdAt)));

export function update(row, task) {
  const version = JSON.stringify(task.counts);
  if (row.dataset.version === version) return;
  row.dataset.version = version;
  row.classList.toggle("open", Object.keys(task.counts).some(isOpen));
  fill(row.querySelector(".c-state"), taskMark(task.counts));
  const total = Object.values(task.counts).reduce((sum, one) => sum + one, 0);
  fill(row.querySelector(".c-strip"), total > 1 ? strip(task.counts) : null);
}
