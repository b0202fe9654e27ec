// One task: what was asked, a strip that fills as verdicts come, runs that ended alike as groups, and every run.
import { get, query, sample } from "../api.js";
import { h, fill, keyed, paced, say, setText } from "../dom.js";
import { command, count, number, visible } from "../format.js";
import { on } from "../store.js";
import { copyable, ending, heading, origin, pagedList, problem, runRow, strip, time, empty } from "../parts.js";
import { icon, isOpen, order, tone, word } from "../states.js";
import { link } from "../router.js";
import { pieces } from "../ansi.js";

export function view(root, route, signal) {
  const name = route.path[1];
  const state = route.query.getAll("state");
  const head = h("div"), bar = h("div"), wrong = h("div"), partly = h("p.muted"), groups = h("ol.groups"), below = h("div");
  root.append(head, wrong, bar, partly, groups, below);
  let task = null, list = null;

  const load = paced(1200, async () => {
    try {
      const before = task;
      task = await get(`/v1/tasks/${encodeURIComponent(name)}`, signal);
      wrong.replaceChildren();
      if (!before) showHead();
      showCounts();
      showGroups();
      const done = !Object.keys(task.counts).some(isOpen);
      if (before && done && Object.keys(before.counts).some(isOpen)) {
        say(`All runs have ended: ${order.filter(one => task.counts[one]).map(one => `${task.counts[one]} ${word(one)}`).join(", ")}`);
      }
    } catch (error) {
      if (!signal.aborted && (error.status !== 0 || !task)) fill(wrong, problem(error));
    }
  }, signal);

  function showHead() {
    const shown = command(task);
    fill(head,
      heading(h("code.wide", { title: shown }, shown)),
      h("p.about", null, h("span", null, "on ", h("a", { href: link(["agents"], { project: task.target }) }, task.target)), h("span", null, "posted ", time(task.createdAt)),
        h("span", null, origin(task)), h("code.id", { title: "The task's auuid" }, task.auuid),
        h("span.spring"), h("a.button.small", { href: link(["new"], { target: task.target, command: task.taskname, args: task.args?.join("\n") }) }, "Again…")),
      task.taskname.includes("\n") ? copyable(visible(task.taskname)) : null);
    document.title = `${shown.slice(0, 60)} · Muster`;
    list = pagedList({
      name: "runs", signal, key: run => run.auuid, row: runRow({ what: false }),
      load: after => get(`/v1/runs${query({ task: task.task, state, limit: 100, after })}`, signal),
      none: () => empty(state.length ? "No run is in that state now" : "No runs"),
    });
    fill(below, h("h2.over", null, state.length ? ["Runs that are ", state.map(word).join(", "), " ", h("a.chip", { href: link(["tasks", name]) }, "show all ×")] : "Runs"), list.root);
    list.refresh();
  }

  function showCounts() { fill(bar, strip(task.counts, one => link(["tasks", name], { state: one }))); }

  function showGroups() {
    const found = new Map();
    for (const run of task.runs) {
      const ended = !isOpen(run.state);
      const key = ended ? [run.state, run.exitCode, run.signal, run.reason, run.stdoutSha256, run.stderrSha256].join("|") : run.state;
      (found.get(key) ?? found.set(key, []).get(key)).push(run);
    }
    const sorted = [...found].sort(([, a], [, b]) => order.indexOf(a[0].state) - order.indexOf(b[0].state) || b.length - a.length);
    groups.hidden = task.runs.length < 2 || sorted.length > 50;
    const total = Object.values(task.counts).reduce((sum, one) => sum + one, 0);
    setText(partly, total > task.runs.length ? `Groups of the first ${number(task.runs.length)} of ${count(total, "run")}:` : "");
    if (!groups.hidden) keyed(groups, sorted, ([key]) => key, makeGroup, updateGroup);
  }

  function makeGroup() {
    const details = h("details", {
      ontoggle() { if (details.open) openGroup(details.parentElement); },
    }, h("summary", { "data-row": "" }), h("div.group-body", null, h("div.group-sample"), h("p.group-hosts")));
    return h("li.group-row", null, details);
  }
  function updateGroup(row, [key, runs]) {
    row.runs = runs;
    const [run] = runs;
    const summary = row.querySelector("summary");
    summary.dataset.row = key;
    const alike = isOpen(run.state) ? "" : run.outputBytes === 0 ? "no output" : runs.length > 1 ? "same output" : "";
    fill(summary, h("b.number", null, count(runs.length, "host")), h("span.mark", { class: `tone-${tone(run.state)}` }, icon(run.state), word(run.state)),
      h("span", null, [ending(run), alike].filter(Boolean).join(", ")), h("span.muted.group-names", null, runs.slice(0, 12).map(one => one.uuid).join(" ")));
    if (row.firstChild.open) openGroup(row);
  }
  async function openGroup(row) {
    const { runs } = row, [run] = runs;
    fill(row.querySelector(".group-hosts"), runs.slice(0, 300).map(one => [h("a", { href: link(["runs", one.auuid]) }, one.uuid), " "]),
      runs.length > 300 ? `and ${number(runs.length - 300)} more` : null);
    const box = row.querySelector(".group-sample");
    if (box.dataset.of === `${run.auuid} ${run.outputBytes}`) return;
    box.dataset.of = `${run.auuid} ${run.outputBytes}`;
    if (!run.outputBytes && !isOpen(run.state)) return fill(box);
    try {
      const text = new TextDecoder().decode(await sample(run.auuid, 2048, signal));
      const lines = text.split("\n").slice(0, 12).map(line => visible(pieces(line.replace(/\r$/, "")).map(([part]) => part).join("")));
      fill(box, h("pre", null, lines.join("\n")), h("p.muted", null, "from ", h("a", { href: link(["runs", run.auuid]) }, run.uuid)));
    } catch (error) {
      if (!signal.aborted) fill(box, problem(error));
    }
  }

  on("runs", (items, missed) => {
    if (!task || !(missed || items.some(one => one.task === task.task && one.state))) return;
    load();
    refresh();
  }, signal);
  const refresh = paced(1200, () => list?.refresh(), signal);
  on("again", () => { load(); refresh(); }, signal);
  load();
  return { title: name };
}
