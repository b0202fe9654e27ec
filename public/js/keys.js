// Everything by keyboard. Single letters act only outside of text fields; `g` waits a moment for its second letter.
import { h, fill } from "./dom.js";
import { go, back } from "./router.js";

const table = [
  ["/", "search"], ["j  k", "next, previous row"], ["Enter", "open it"], ["Esc", "leave the field, close, go back"], ["n", "new task"],
  ["g o", "overview"], ["g a", "agents"], ["g t", "tasks"], ["g p", "projects"], ["e", "end of the log, and follow"],
  ["f", "find in the log"], ["w", "wrap long lines"], ["Ctrl Enter", "send the task"], ["?", "this list"],
];
const goes = { o: "#/", a: "#/agents", t: "#/tasks", p: "#/projects" };
const own = new Map();

/** A view's own key, until `signal` is aborted. */
export function key(name, action, signal) {
  own.set(name, action);
  signal.addEventListener("abort", () => { if (own.get(name) === action) own.delete(name); });
}

/** Moves the focus among what is marked as a row. */
function move(step) {
  const rows = [...document.querySelectorAll("main [data-row]")].filter(row => row.offsetParent !== null);
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement.closest?.("[data-row]"));
  const next = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + step))];
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

export function showKeys() {
  const dialog = document.getElementById("keys");
  if (dialog.open) return dialog.close();
  fill(dialog,
    h("h2", { id: "keys-title" }, "Keys"),
    h("dl.keys", null, table.map(([name, what]) => [
      h("dt", null, name.split(/\s+/).map(one => h("kbd", null, one))), h("dd", null, what)])),
    h("form", { method: "dialog" }, h("button.button", null, "Close")));
  dialog.showModal();
}

export function start() {
  let prefix = 0;
  const dialog = document.getElementById("keys");
  dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
  document.addEventListener("keydown", event => {
    if (event.defaultPrevented || event.isComposing) return;
    const writing = event.target.matches?.("input:not([type=checkbox]), textarea, select");
    // Any open dialog has the keys to itself: Esc closes it.
    const asks = document.querySelector("dialog[open]");
    if (event.key === "Escape") {
      if (asks) return;
      if (writing) return event.target.blur();
      return back();
    }
    if (writing || event.ctrlKey || event.metaKey || event.altKey || (asks && !(asks === dialog && event.key === "?"))) return;
    let action = null;
    if (prefix && performance.now() - prefix < 1500 && goes[event.key]) action = () => go(goes[event.key]);
    prefix = 0;
    action ??= own.get(event.key) ?? {
      g: () => { prefix = performance.now(); },
      j: () => move(1), k: () => move(-1), n: () => go("#/new"), "?": showKeys,
      "/": () => { const field = document.getElementById("search-input"); field.focus(); field.select(); },
    }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
