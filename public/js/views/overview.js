// Whether the fleet is well, at one look: every host, what runs now, what failed last, what the last hour was like.
import { get, query } from "../api.js";
import { Cells, cellSize, describe } from "../cells.js";
import { h, fill, setText, keyed, paced } from "../dom.js";
import { count, number, clock } from "../format.js";
import { agents, byProject, needAgents, on, shared } from "../store.js";
import { firstAgent, problem, runRow } from "../parts.js";
import { mark, icon } from "../states.js";
import { link } from "../router.js";

const named = 60;
let kept = { running: null, failed: null, hour: null };

export function view(root, route, signal) {
  const fleet = h("section.fleet", { "aria-label": "Hosts" });
  const running = section("Running now", link(["runs"], { state: "running" }), "Nothing runs.");
  const failed = section("Failed last", link(["runs"], { state: ["failed", "timedOut", "lost"] }), "Nothing has failed.");
  const spark = h("div.spark");
  const pace = h("section.panel", { "aria-label": "The last hour" }, h("h2", null, h("a", { href: "#/tasks" }, "Runs per minute, last hour")), spark);
  root.append(fleet, h("div.side", null, running.root, failed.root, pace));

  const tip = h("div.tip", { role: "status", hidden: true });
  root.append(tip);
  const showTip = (text, at) => {
    tip.hidden = !text;
    if (!text) return;
    setText(tip, text);
    const half = tip.offsetWidth / 2;
    const x = Math.min(innerWidth - half - 8, Math.max(half + 8, at.left + at.size / 2));
    tip.style.left = `${x}px`;
    tip.style.top = `${at.top > 60 ? at.top - tip.offsetHeight - 8 : at.top + at.size + 8}px`;
  };
  const cells = new Map();
  signal.addEventListener("abort", () => { for (const one of cells.values()) one.destroy(); });
  const drawFleet = () => showFleet(fleet, cells, showTip);
  on("agents", paced(200, drawFleet, signal), signal);
  on("health", drawFleet, signal);
  addEventListener("themechange", () => { for (const one of cells.values()) one.draw(); }, { signal });
  needAgents(signal);
  if (agents.size) drawFleet();

  const show = () => {
    running.show(kept.running);
    failed.show(kept.failed);
    if (kept.hour) showHour(spark, kept.hour);
  };
  show();
  const runs = paced(1000, async () => {
    try {
      const [now, bad] = await Promise.all([
        get(`/v1/runs${query({ state: "running", limit: 8 })}`, signal), get(`/v1/runs${query({ state: ["failed", "timedOut", "lost"], limit: 8 })}`, signal)]);
      kept.running = now.items;
      kept.failed = bad.items;
      show();
    } catch (error) { if (!signal.aborted && !kept.running) running.fail(error); }
  }, signal);
  const hour = paced(15_000, async () => {
    try {
      const since = new Date(Date.now() - 3_600_000).toISOString();
      const { items, next } = await get(`/v1/tasks${query({ since, limit: 1000, runs: 0 })}`, signal);
      kept.hour = { items, whole: next === null };
      show();
    } catch { /* the lists beside it say what is wrong */ }
  }, signal);
  runs();
  hour();
  on("runs", () => { runs(); hour(); }, signal);
  on("again", () => { runs(); hour(); }, signal);
  const timer = setInterval(hour, 60_000);
  signal.addEventListener("abort", () => clearInterval(timer));
  return { title: "" };
}

function section(title, href, none) {
  const list = h("ol.rows.compact");
  const note = h("p.muted");
  const row = runRow();
  return {
    root: h("section.panel", { "aria-label": title }, h("h2", null, h("a", { href }, title)), list, note),
    show(items) {
      if (!items) return;
      keyed(list, items, run => run.auuid, row.make, row.update);
      note.replaceChildren();
      note.hidden = items.length > 0;
      setText(note, none);
    },
    fail(error) { fill(note, problem(error)); },
  };
}

function showFleet(fleet, cells, tip) {
  if (!agents.size) {
    if (shared.agentsError) return fill(fleet, problem(shared.agentsError));
    if (shared.complete) fill(fleet, firstAgent());
    return;
  }
  if (fleet.querySelector(".empty, .problem")) fleet.replaceChildren();
  const size = cellSize(agents.size), small = agents.size <= named;
  keyed(fleet, byProject(true), ([name]) => name ?? "", ([name]) => {
    const heading = h("h2", null, name === null ? "no project" : h("a", { href: link(["agents"], { project: name }) }, name), " ", h("span.muted"));
    const box = h("section.group", null, heading);
    return box;
  }, (box, [name, members]) => {
    const there = members.filter(one => one.online).length;
    const away = members.length - there;
    fill(box.querySelector(".muted"), count(members.length, "host"), away ? [", ", mark("offline", `${number(away)} offline`)] : null);
    let tiles = box.querySelector(".tiles");
    if (small) {
      box.querySelector("canvas")?.remove();
      if (!tiles) box.append(tiles = h("ol.tiles"));
      keyed(tiles, members, one => one.uuid, makeTile, showTile);
    } else {
      tiles?.remove();
      const key = name ?? "";
      if (!cells.has(key)) cells.set(key, new Cells(name ?? "no project", tip));
      const one = cells.get(key);
      if (!one.canvas.isConnected) box.append(one.canvas);
      one.show(members, size);
    }
  });
}

const makeTile = agent => h("li.tile", null,
  h("a", { href: link(["agents", agent.uuid]), "data-row": agent.uuid }, h("span.tile-mark"), h("span.tile-name", null, agent.uuid), h("span.tile-busy", null, h("i"))));
function showTile(tile, agent) {
  const ill = agent.online && agent.health && agent.health !== "healthy";
  const state = agent.online ? (ill ? "unknown" : agent.running ? "running" : "online") : "offline";
  if (tile.dataset.state !== state) {
    tile.dataset.state = state;
    const sign = state === "running" || state === "unknown" ? icon(state) : mark(state).firstChild;
    fill(tile.querySelector(".tile-mark"), sign);
  }
  const busy = Math.min(1, (agent.running ?? 0) / (agent.concurrency || 1));
  tile.querySelector(".tile-busy i").style.width = `${busy * 100}%`;
  tile.firstChild.title = describe(agent);
}

/** Runs by the minute in which they were accepted. */
function showHour(box, { items, whole }) {
  const minutes = new Array(60).fill(0);
  const now = Math.floor(Date.now() / 60_000);
  for (const task of items) {
    const age = now - Math.floor(Date.parse(task.createdAt) / 60_000);
    if (age >= 0 && age < 60) minutes[59 - age] += Object.values(task.counts).reduce((sum, one) => sum + one, 0);
  }
  const most = Math.max(...minutes), total = minutes.reduce((sum, one) => sum + one, 0);
  const oldest = items.length ? clock(items.at(-1).createdAt) : "";
  fill(box,
    h("div.spark-bars", { role: "img", "aria-label": `${count(total, "run")} in the last hour, at most ${number(most)} in one minute` },
      minutes.map((value, index) => h("i", { title: `${clock((now - 59 + index) * 60_000)}: ${count(value, "run")}`, style: { height: value ? `${Math.max(6, (value / most) * 100)}%` : "1px" } }))),
    h("p.muted", null, `${count(total, "run")}, at most ${number(most)} in one minute${whole ? "" : `; counted from ${oldest} on`}`));
}
