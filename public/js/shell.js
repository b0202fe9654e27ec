// What stands around every view: counters, bars that say what is wrong, search field, theme.
import { h, fill, setText } from "./dom.js";
import { number, clock, duration, visible } from "./format.js";
import { icon } from "./states.js";
import { on, shared } from "./store.js";
import { tryNow } from "./stream.js";
import { go, link, parse } from "./router.js";
import { showKeys } from "./keys.js";

const day = () => new Date(Math.floor(Date.now() / 60_000) * 60_000 - 86_400_000).toISOString().replace(".000", "");
const counters = [
  ["online", "online", "online", () => link(["agents"], { state: "online" })],
  ["offline", "offline", "offline", () => link(["agents"], { state: "offline" })],
  ["running", "running", "running", () => link(["runs"], { state: "running" })],
  ["waiting", "waiting", "queued", () => link(["runs"], { state: ["queued", "sent"] })],
  ["failed", "failed 24 h", "failed", () => link(["runs"], { state: ["failed", "timedOut", "lost"], since: day() })],
  ["unknown", "unknown", "unknown", () => link(["runs"], { state: "unknown" })],
];

function showCounters() {
  const box = document.getElementById("counters");
  if (!box.childElementCount) {
    for (const [name, text, state, href] of counters) {
      box.append(h("a", {
        href: href(), "data-count": name, class: `counter-${name}`, "data-zero": true,
        // The window of 24 hours moves on.
        onclick(event) { event.currentTarget.href = href(); },
      }, icon(state), h("b", null, "–"), h("span", null, text)));
    }
  }
  if (!shared.counters) return;
  for (const element of box.children) {
    const value = shared.counters[element.dataset.count] ?? 0;
    setText(element.querySelector("b"), number(value));
    element.toggleAttribute("data-zero", value === 0);
  }
}

/** The bars under the header: each says what is wrong and what still works. */
function showBars() {
  const { link: connection, health } = shared;
  const bars = [];
  document.body.classList.toggle("stale", !connection.up);
  if (!connection.up) {
    const left = connection.next ? Math.max(0, connection.next - Date.now()) : 0;
    bars.push(["bad", `Dashboard unreachable since ${clock(connection.lost)}. What you see is from then.`,
      h("button.button.small", { type: "button", onclick: tryNow }, left > 900 ? `Try now (next in ${duration(left)})` : "Trying…")]);
  } else if (health) {
    if (health.store !== "healthy") bars.push(["bad", `No task is accepted: ${health.store}. History can be read.`]);
    const away = health.redis !== "connected";
    if (away) bars.push(["warn", `Redis is away: ${health.redis}. Tasks for known hosts are accepted and wait; history can be read; what runs goes on.`]);
    for (const warning of health.warnings) if (!away || warning !== health.redis) bars.push(["warn", warning]);
  }
  const box = document.getElementById("bars");
  const text = JSON.stringify(bars.map(bar => bar.slice(0, 2)));
  if (box.dataset.text === text) {
    const button = box.querySelector("button");
    if (button && bars[0][2]) setText(button, bars[0][2].textContent);
    return;
  }
  box.dataset.text = text;
  fill(box, bars.map(([kind, words, action]) => h(`div.notice.${kind}`, null, icon(kind === "bad" ? "failed" : "unknown"), h("span", null, visible(words)), action)));
}

function theme() {
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const show = () => {
    const dark = (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
    const words = dark ? "Light theme" : "Dark theme";
    button.setAttribute("aria-label", words);
    button.title = words;
    setText(button, dark ? "☀\uFE0E" : "☾");
    dispatchEvent(new Event("themechange"));
  };
  button.addEventListener("click", () => {
    const is = root.dataset.theme ?? (system.matches ? "dark" : "light");
    const next = is === "dark" ? "light" : "dark";
    // The system's own theme needs no memory: the page follows it again.
    if (next === (system.matches ? "dark" : "light")) delete root.dataset.theme; else root.dataset.theme = next;
    try {
      if (root.dataset.theme) localStorage.setItem("muster.theme", next); else localStorage.removeItem("muster.theme");
    } catch { /* for this page only */ }
    show();
  });
  system.addEventListener("change", show);
  show();
}

function search() {
  const field = document.getElementById("search-input");
  const open = () => {
    const words = field.value.trim();
    if (words) go(link(["search"], { q: words }), { replace: parse().path[0] === "search" });
  };
  let timer = 0;
  field.addEventListener("input", () => {
    clearTimeout(timer);
    if (parse().path[0] === "search") timer = setTimeout(open, 150);
  });
  document.getElementById("search").addEventListener("submit", event => {
    event.preventDefault();
    open();
    field.blur();
  });
}

/** Marks where the reader is. */
export function here(route) {
  const name = route.path[0] ?? "overview";
  const section = { runs: "tasks" }[name] ?? name;
  for (const anchor of document.querySelectorAll("[data-nav]")) {
    if (anchor.dataset.nav === section) anchor.setAttribute("aria-current", "page"); else anchor.removeAttribute("aria-current");
  }
  const field = document.getElementById("search-input");
  if (document.activeElement !== field) field.value = name === "search" ? route.query.get("q") ?? "" : "";
  for (const element of document.querySelectorAll("#counters a")) {
    if (element.getAttribute("href") === location.hash) element.setAttribute("aria-current", "page"); else element.removeAttribute("aria-current");
  }
}

export function start() {
  document.getElementById("help").addEventListener("click", showKeys);
  document.getElementById("skip").addEventListener("click", event => { event.preventDefault(); document.getElementById("main").focus(); });
  theme();
  search();
  showCounters();
  on("counters", showCounters);
  on("health", showBars);
  on("link", showBars);
  setInterval(() => { if (!shared.link.up) showBars(); }, 1000);
}
