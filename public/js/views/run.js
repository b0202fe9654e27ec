// One run: the log is the page.
import { get, post, runPath } from "../api.js";
import { h, fill, setText, say, paced } from "../dom.js";
import { bytes, command, count, duration, visible } from "../format.js";
import { on } from "../store.js";
import { confirmed, copyable, ending, host, problem, span, time } from "../parts.js";
import { isOpen, mark, word } from "../states.js";
import { follow } from "../stream.js";
import { LogBuffer } from "../logbuffer.js";
import { LogView } from "../logview.js";
import { key } from "../keys.js";
import { keep, link } from "../router.js";

const encoder = new TextEncoder();
const fromBase64 = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));

export function view(root, route, signal) {
  let auuid = route.path[1], wanted = Number(route.query.get("line")) || 0;
  // One attempt of several; 0: the newest, and on to those after it.
  const only = Number(route.query.get("attempt")) || 0;
  const logPath = `/log?follow=1${only ? `&attempt=${only}` : ""}`;
  const head = h("div.run-head"), attempts = h("p.run-attempts", { hidden: true }), wrong = h("div"), note = h("p.run-note", { hidden: true });
  let buffer = new LogBuffer(), shown = only;
  const log = new LogView(buffer, line => link(["runs", route.path[1]], { attempt: only || null, line }));
  signal.addEventListener("abort", () => log.destroy());
  root.append(head, attempts, wrong, tools(), log.root, note);
  let run = null, loading = true, stop = null, isThere = false;

  function tools() {
    const wrap = h("input", { type: "checkbox", id: "wrap", onchange() { log.wrap = wrap.checked; remember(wrap.checked); } });
    wrap.checked = remembered() ?? innerWidth < 700;
    log.wrap = wrap.checked;
    const found = h("span.muted.number", { "aria-live": "polite" });
    let hits = 0;
    const field = h("input", {
      type: "search", placeholder: "Find", "aria-label": "Find in the output", spellcheck: "false",
      oninput() { log.find(field.value, (all, done) => { hits = all; setText(found, field.value ? `${all}${done ? "" : "…"} ${all === 1 ? "line" : "lines"}` : ""); }); },
      onkeydown(event) {
        if (event.key !== "Enter") return;
        event.preventDefault();
        const at = log.next(event.shiftKey ? -1 : 1);
        if (at) setText(found, `${at} of ${hits}`);
      },
    });
    const raw = runPath(auuid, logPath);
    key("w", () => wrap.click(), signal);
    key("f", () => { field.focus(); field.select(); }, signal);
    key("e", () => log.toEnd(), signal);
    return h("div.log-tools", null, h("label", { for: "wrap" }, wrap, "Wrap"), h("span.log-find", null, field, found), h("span.spring"),
      h("span.muted.number.log-size"), h("a", { href: raw, target: "_blank", rel: "noopener" }, "Raw"), h("a", { href: raw, download: `${auuid}.log` }, "Download"));
  }

  function show() {
    const isNew = !head.childElementCount;
    if (isNew) {
      fill(head, h("h1.run-title", null, h("code.wide")), h("p.about", null,
        h("span.run-state"), h("span", null, "on ", host(run.uuid)), h("span.run-end"), h("span.run-took.number"), h("span.run-when"), h("span.run-bytes"), h("span.run-asked"), h("span.spring"),
        h("button.button.small.run-stop", { type: "button", onclick: stopIt }),
        h("a.button.small", { href: link(["tasks", run.task]) }, "Whole task"),
        h("a.button.small", { href: link(["new"], { target: run.uuid, command: run.taskname, args: run.args?.join("\n") }) }, "Again…")));
      const shown = command(run);
      fill(head.querySelector("code"), shown);
      head.querySelector("code").title = shown;
      document.title = `${shown.slice(0, 40)} on ${run.uuid} · Muster`;
      if (run.taskname.includes("\n")) head.append(h("details", null, h("summary", null, "The whole command"), copyable(visible(run.taskname))));
    }
    fill(head.querySelector(".run-state"), mark(run.state));
    setText(head.querySelector(".run-end"), ending({ ...run, stopRequestedAt: null }));
    const open = isOpen(run.state), button = head.querySelector(".run-stop");
    fill(head.querySelector(".run-asked"), open && run.stopRequestedAt ? ["asked to stop ", time(run.stopRequestedAt)] : "");
    button.hidden = !open;
    setText(button, run.stopRequestedAt ? "Kill…" : "Stop…");
    fill(head.querySelector(".run-took"), run.startedAt ? [isOpen(run.state) ? "for " : "took ", span(run.startedAt, run.finishedAt)] : "");
    fill(head.querySelector(".run-when"), run.startedAt ? ["started ", time(run.startedAt)] : ["accepted ", time(run.queuedAt)]);
    showAttempts();
    showSize();
  }

  async function stopIt() {
    const again = run.stopRequestedAt !== null;
    const words = again ? "It was asked to stop already. KILL cannot be caught: nothing it started gets to tidy up."
      : "Everything it started gets TERM, and KILL after its agent's grace. What was not started is cancelled.";
    if (!await confirmed(`${again ? "Kill" : "Stop"} this run on ${run.uuid}?`, words, again ? "Kill it" : "Stop it")) return;
    try {
      run = { ...await post(runPath(auuid, "/kill"), again ? { signal: "KILL" } : {}), attempts: run.attempts };
      wrong.replaceChildren();
      say(`Asked to stop on ${run.uuid}`);
      show();
    } catch (error) {
      if (!signal.aborted) fill(wrong, problem(error));
    }
  }

  /** One line: what there was before, and whose output is below. */
  function showAttempts() {
    attempts.hidden = !run.retries;
    if (!run.retries) return;
    const here = only || shown || run.attempt;
    fill(attempts, h("span", null, `Attempt ${run.attempt} of up to ${run.retries + 1}`), run.nextAttemptAt ? h("span", null, "starts ", time(run.nextAttemptAt)) : null,
      (run.attempts ?? []).slice(0, -1).map(one => h("a", { href: link(["runs", auuid], { attempt: one.attempt }), "aria-current": one.attempt === here ? "true" : null },
        `${one.attempt} `, mark(one.state), ` ${ending(one)}`)),
      only ? h("a", { href: link(["runs", auuid]) }, "The newest") : null);
  }

  function showSize() {
    const here = only || shown, one = run?.attempts?.find(one => one.attempt === here && here !== run.attempt) ?? run;
    const all = one?.outputBytes ?? 0, behind = loading && all - buffer.offset > 200_000;
    const size = Math.max(all, buffer.offset);
    setText(root.querySelector(".log-size"),
      behind ? `${bytes(buffer.offset)} of ${bytes(all)}` : `${count(buffer.lines, "line")}, ${bytes(size)}${one?.droppedBytes ? `, ${bytes(one.droppedBytes)} of it not kept` : ""}`);
    let words = "";
    if (buffer.length === 0 && run) {
      if (only && only !== run.attempt) words = loading ? "" : "This attempt wrote nothing, or its output is no longer kept.";
      else if (run.nextAttemptAt) words = "Waits to be started again. The output appears here as it comes.";
      else if (run.state === "queued") words = "Waits for its agent. The output appears here as it comes.";
      else if (run.state === "sent") words = "Handed to its agent. The output appears here as it comes.";
      else if (run.state === "running") words = "It runs, and has not written anything yet.";
      else if (run.state === "unknown") words = "Its host is silent. What it wrote comes when the host is back.";
      else if (!loading) words = run.outputBytes > 0 ? "The output is no longer kept." : "It wrote nothing.";
    }
    note.hidden = !words;
    setText(note, words);
    log.root.classList.toggle("nothing", Boolean(words));
  }

  function grown() {
    log.grown();
    showSize();
    if (wanted && buffer.lines > wanted && log.toLine(wanted)) wanted = 0;
  }

  function open() {
    if (stop || signal.aborted || document.hidden) return;
    stop = new AbortController();
    signal.addEventListener("abort", () => stop?.abort());
    follow(runPath(auuid, logPath), {
      signal: stop.signal,
      // The id of the last event tells its attempt and its first byte's offset; what comes twice is left out by the buffer.
      from: () => last,
      state(what, error) {
        if (what === "open") wrong.replaceChildren();
        if (what === "refused") { loading = false; fill(wrong, problem(error)); log.root.classList.add("nothing"); }
      },
      event(name, data, id) {
        if (name === "output") {
          turnTo(data.attempt ?? 1);
          buffer.append(data.encoding === "base64" ? fromBase64(data.data) : encoder.encode(data.data), data.offset, data.stream);
          last = id;
          grown();
        } else if (name === "state") {
          const before = run;
          run = { ...data, attempts: data.attempts ?? before?.attempts };
          if (run.retries && before && (before.attempt !== run.attempt || before.state !== run.state)) reload();
          if (before && isOpen(before.state) && !isOpen(run.state)) say(`${word(run.state)} on ${run.uuid}${run.finishedAt ? ` after ${duration(Date.parse(run.finishedAt) - Date.parse(run.startedAt))}` : ""}`);
          show();
        } else if (name === "end") {
          loading = false;
          isThere = true;
          if (wanted) { log.toLine(wanted); wanted = 0; }
          grown();
          return true;
        }
      },
    });
  }
  let last = null;

  /** Each attempt's output is a log of its own. */
  function turnTo(attempt) {
    if (attempt === shown) return;
    if (buffer.offset) log.buffer = buffer = new LogBuffer();
    shown = attempt;
    if (run) showAttempts();
  }

  // The run first: an alias gives its true name, and the header stands before the log is there.
  (async () => {
    try {
      run = await get(runPath(auuid), signal);
      auuid = run.auuid;
      show();
      open();
    } catch (error) {
      if (signal.aborted) return;
      loading = false;
      fill(wrong, problem(error));
      if (error.status === 0) open();
    }
  })();

  // A verdict may be corrected, and what was away may be back.
  const reload = paced(1000, async () => { try { run = await get(runPath(auuid), signal); show(); } catch { /* the bar says why */ } }, signal);
  on("runs", items => { if (isThere && items.some(one => one.auuid === auuid)) reload(); }, signal);
  on("hidden", () => { if (!isThere) { stop?.abort(); stop = null; } }, signal);
  on("seen", () => { if (!isThere) open(); }, signal);
  root.addEventListener("click", event => {
    const number = event.target.closest?.("a.ln");
    if (!number || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const line = Number(number.textContent);
    keep({ attempt: only || null, line });
    log.toLine(line);
  });
  return { title: auuid, focus: log.scroller };
}

const remembered = () => { try { return { yes: true, no: false }[localStorage.getItem("muster.wrap")]; } catch { return undefined; } };
const remember = on => { try { localStorage.setItem("muster.wrap", on ? "yes" : "no"); } catch { /* for this page only */ } };
