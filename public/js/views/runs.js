// Runs of every task, narrowed by state, host, project or time.
import { get, query } from "../api.js";
import { h, paced } from "../dom.js";
import { on } from "../store.js";
import { heading, pagedList, runRow, empty } from "../parts.js";
import { link } from "../router.js";
import { order, word, icon, tone } from "../states.js";
import { chips } from "./tasks.js";

export function view(root, route, signal) {
  const filter = { state: route.query.getAll("state") };
  for (const name of ["project", "uuid", "task", "since", "until"]) filter[name] = route.query.get(name);
  const toggled = state => (filter.state.includes(state) ? filter.state.filter(one => one !== state) : [...filter.state, state]);
  root.append(heading("Runs", h("span.spring"), h("a.button.small", { href: link(["tasks"], { ...filter, task: null }) }, "Tasks instead")),
    h("div.filters", null,
      h("div.choices.states", { role: "group", "aria-label": "States" }, order.map(state => h("a", {
        href: link(["runs"], { ...filter, state: toggled(state) }), "aria-current": filter.state.includes(state) ? "true" : null, class: `tone-${tone(state)}` },
      icon(state), word(state)))),
      chips(["runs"], filter)));
  const list = pagedList({
    name: "runs", signal, key: run => run.auuid, row: runRow(),
    load: after => get(`/v1/runs${query({ ...filter, limit: 100, after })}`, signal),
    none: () => empty("No run matches", h("p", null, h("a", { href: "#/runs" }, "Show all"))),
  });
  root.append(list.root);
  const refresh = paced(800, () => list.refresh(), signal);
  on("runs", (items, missed) => { if (missed || items.some(one => one.state)) refresh(); }, signal);
  on("again", refresh, signal);
  return { title: "runs", ready: list.refresh() };
}
