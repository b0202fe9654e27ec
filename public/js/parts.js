// Pieces that several views are made of: times that go on, errors where they happen, rows of runs, a strip of counts, lists in pages.
import { h, fill, setText, keyed } from "./dom.js";
import { ago, exact, duration, count, number, command, visible } from "./format.js";
import { order, states, mark, remark, icon, tone, word, isOpen } from "./states.js";
import { link } from "./router.js";

// MARK: times

/** "3 m ago", with the exact time on hover; goes on by itself. */
export function time(iso) {
  if (!iso) return h("span.muted", null, "–");
  const at = Date.parse(iso);
  return h("time", { datetime: iso, title: exact(at), "data-at": at }, ago(at));
}
/** How long something took, or takes while `to` is null. */
export function span(from, to) {
  const start = Date.parse(from);
  const element = h("span.span", from && !to ? { "data-since": start } : null);
  element.textContent = from ? duration((to ? Date.parse(to) : Date.now()) - start) : "";
  return element;
}
setInterval(() => {
  if (document.hidden) return;
  const now = Date.now();
  for (const element of document.querySelectorAll("[data-at]")) setText(element, ago(Number(element.dataset.at), now));
  for (const element of document.querySelectorAll("[data-since]")) setText(element, duration(Math.max(0, now - Number(element.dataset.since))));
}, 1000);

// MARK: errors and emptiness

/** An error where it happened, with what helps. */
export function problem(error, retry) {
  return h("div.problem", { role: "alert" }, h("strong", null, visible(error.message)), error.hint ? h("p", null, visible(error.hint)) : null,
    retry ? h("button.button", { type: "button", onclick: retry }, "Try again") : null);
}
/** Nothing to show, and what to do about it. */
export function empty(title, ...more) { return h("div.empty", null, h("h2", null, title), more); }

/** Asks once before something that cannot be taken back. `act`: what the button says. Resolves to whether it was pressed. */
export function confirmed(title, words, act) {
  return new Promise(resolve => {
    const dialog = h("dialog", {
      "aria-labelledby": "ask-title",
      onclose() { dialog.remove(); resolve(dialog.returnValue === "yes"); },
      onclick(event) { if (event.target === dialog) dialog.close(); },
    }, h("h2", { id: "ask-title" }, title), h("p", null, words),
    h("form.buttons", { method: "dialog" }, h("button.button", { value: "no", autofocus: true }, "Leave it"),
      h("button.button.danger", { value: "yes" }, act)));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Text to copy, with a button. */
export function copyable(text, label = "Copy") {
  const button = h("button.button.small", {
    type: "button",
    async onclick() {
      try { await navigator.clipboard.writeText(code.textContent); setText(button, "Copied"); }
      catch {
        getSelection().selectAllChildren(code);
        setText(button, "Press Ctrl C");
      }
      setTimeout(() => setText(button, label), 2000);
    },
  }, label);
  const code = h("code", null, text);
  return h("div.copy", null, h("pre", { tabindex: "0" }, code), button);
}

/** For a fleet without a host: the line to paste. */
export function firstAgent() {
  const redis = `{"redis":{"addr":"127.0.0.1","port":6379},"tags":"web"}`;
  return empty("No agent has come yet",
    h("p", null, "Start one on each host. It appears here within a second of its start."),
    copyable(`echo '${redis}' > agent.json && agent start -f agent.json`),
    h("p.muted", null, "The port is that of the dashboard's Redis: its own one stands in the file ", h("code", null, "redis/port"),
      " of the data folder. ", h("code", null, "tags"), " names the host's projects."));
}

export const heading = (title, ...more) => h("div.heading", null, h("h1", null, title), more);

// MARK: runs

/** How a run ended, or where it stands, in words. */
export function ending(run) {
  const { state, exitCode, signal, reason, note } = run;
  const parts = [];
  if (exitCode != null) parts.push(`exit ${exitCode}`);
  if (signal) parts.push(`signal ${signal}`);
  if (reason) parts.push(`${reason}${reasons[reason] ? `: ${reasons[reason]}` : ""}`);
  if (run.overdue) parts.push("past its deadline, and its host is silent");
  if (isOpen(state) && run.stopRequestedAt) parts.push("asked to stop");
  if (run.signalled) parts.push(`${count(run.signalled, "process", "processes")} signalled`);
  if (run.signalled || run.left) parts.push(`${number(run.left)} left`);
  if (note) parts.push(note);
  return visible(parts.join(", "));
}
const reasons = {
  ENOENT: "no such file", EACCES: "not permitted", ENOEXEC: "not a program", ENOTDIR: "not a folder", E2BIG: "too long for the system",
  output_cap: "more output than is kept",
};

export const runLink = run => link(["runs", run.auuid]);

/** A row of a run. `host`: whether to name its host, `what`: whether to show its command. */
export function runRow({ host = true, what = true } = {}) {
  return {
    make: run => h("li.row.run", null,
      h("a.row-link", { href: runLink(run), "data-row": run.auuid, "aria-label": `run on ${run.uuid}` }),
      h("span.c-state"), host ? h("a.c-host", { href: link(["agents", run.uuid]) }, run.uuid) : null,
      what ? h("code.c-command", { title: command(run) }, command(run)) : null,
      h("span.c-end"), h("span.c-took.number"), h("span.c-when")),
    update(row, run) {
      const version = `${run.state}|${run.startedAt}|${run.finishedAt}|${run.stopRequestedAt}|${run.overdue}`;
      if (row.dataset.version === version) return;
      row.dataset.version = version;
      const state = row.querySelector(".c-state");
      if (state.firstChild) remark(state.firstChild, run.state); else state.append(mark(run.state));
      const end = row.querySelector(".c-end");
      setText(end, ending(run));
      end.title = end.textContent;
      fill(row.querySelector(".c-took"), span(run.startedAt, run.finishedAt));
      fill(row.querySelector(".c-when"), time(run.finishedAt ?? run.startedAt ?? run.queuedAt));
    },
  };
}

// MARK: counts

/** A bar that is filled by state, and what each part is. `href(state)` makes the words links. */
export function strip(counts, href) {
  const shown = order.filter(state => counts[state]);
  const total = shown.reduce((sum, state) => sum + counts[state], 0);
  const text = shown.map(state => `${number(counts[state])} ${word(state)}`).join(", ");
  return h("div.strip", null,
    h("div.strip-bar", { role: "img", "aria-label": text || "nothing yet" },
      shown.map(state => h("i", { class: `tone-${tone(state)}`, "data-state": state, style: { "flex-grow": counts[state] / total } }))),
    href ? h("div.strip-words", null, shown.map(state => {
      const words = [icon(state), h("b", null, number(counts[state])), ` ${word(state)}`];
      return h("a.mark", { href: href(state), class: `tone-${tone(state)}`, title: states[state].means }, words);
    })) : null);
}

/** One mark that says how a whole task stands. */
export function taskMark(counts) {
  const present = order.filter(state => counts[state]);
  const total = present.reduce((sum, state) => sum + counts[state], 0);
  if (present.length === 1) return total > 1 ? mark(present[0], `${number(total)} ${word(present[0])}`) : mark(present[0]);
  for (const state of ["failed", "lost", "timedOut", "unknown", "running", "sent", "queued"]) {
    if (counts[state]) return mark(state, `${number(counts[state])} of ${number(total)} ${word(state)}`);
  }
  return mark(present[0] ?? "queued", `${number(counts[present[0]] ?? 0)} of ${number(total)} ${word(present[0] ?? "queued")}`);
}

export const origin = task => ({ plain: "by redis-cli", queue: "from a queue", cron: "by cron" })[task.origin] ?? null;
export const host = uuid => h("a", { href: link(["agents", uuid]) }, uuid);

// MARK: lists in pages

/** A list that grows by pages and is kept fresh at its head. New rows wait behind a line while the reader is further down or in a row.
 *  - load(after): a page `{items, next}`; key(item); row: {make, update}; none(): what to show instead of nothing. */
export function pagedList({ load, key, row, none, name, signal }) {
  const list = h("ol.rows");
  const fresh = h("button.fresh", { type: "button", hidden: true, onclick: () => { held = false; scrollTo(0, 0); show(); } });
  const more = h("button.button.more", { type: "button", hidden: true, onclick: () => grow() }, "Show more");
  const foot = h("div.foot", null, more);
  const root = h("div.list", null, fresh, list, foot);
  let items = [], shown = new Set(), next = null, first = true, held = false, growing = false;

  const isBusy = () => scrollY > 60 || list.contains(document.activeElement);
  function show() {
    const visibleItems = held ? items.filter(item => shown.has(key(item))) : items;
    const waiting = items.length - visibleItems.length;
    shown = new Set(visibleItems.map(key));
    keyed(list, visibleItems, key, row.make, row.update);
    fresh.hidden = waiting === 0;
    if (waiting) setText(fresh, `${number(waiting)} new`);
    more.hidden = next === null;
    foot.querySelector(".empty, .problem")?.remove();
    if (!items.length) foot.prepend(none());
  }
  async function grow() {
    if (growing || next === null) return;
    growing = true;
    try {
      const page = await load(next);
      const known = new Set(items.map(key));
      const added = page.items.filter(item => !known.has(key(item)));
      items.push(...added);
      for (const item of added) shown.add(key(item));
      next = page.next;
      show();
    } catch (error) {
      if (!signal.aborted) fail(error);
    } finally { growing = false; }
  }
  function fail(error) {
    foot.querySelector(".problem")?.remove();
    if (error.status !== 0 || !items.length) foot.prepend(problem(error, () => api.refresh()));
  }
  new IntersectionObserver(entries => { if (entries.some(one => one.isIntersecting)) grow(); }, { rootMargin: "400px" }).observe(more);

  const api = {
    root,
    get items() { return items; },
    /** Asks for the head again; rows further down stay as they are. */
    async refresh() {
      try {
        const page = await load(null);
        if (signal.aborted) return;
        if (first || page.items.length === 0 || page.next === null) { items = page.items; next = page.next; }
        else {
          const head = new Set(page.items.map(key));
          const last = key(page.items.at(-1));
          const from = items.findIndex(item => key(item) === last);
          // Without overlap what was further down may have a hole before it: begin again.
          if (from >= 0) items = page.items.concat(items.slice(from + 1).filter(item => !head.has(key(item))));
          else { items = page.items; next = page.next; }
          if (items.length === page.items.length) next = page.next;
        }
        const hasNew = !first && items.some(item => !shown.has(key(item)));
        held = hasNew && isBusy();
        first = false;
        root.setAttribute("aria-label", name);
        show();
      } catch (error) {
        if (!signal.aborted) fail(error);
      }
    },
  };
  return api;
}
