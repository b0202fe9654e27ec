// A new task: for whom, what, and the same as a curl line to learn from.
import { post } from "../api.js";
import { h, fill, setText } from "../dom.js";
import { count, number, shellQuote, visible } from "../format.js";
import { agents, allAgents, byName, byProject, match, needAgents, on, shared } from "../store.js";
import { copyable, heading, problem } from "../parts.js";
import { mark } from "../states.js";
import { go, keep, link } from "../router.js";

const list = text => (text === "" ? null : text.replace(/\n$/, "").split("\n"));
/** `[field, label, help, kind, how its text becomes JSON]`. */
const options = [
  ["args", "Arguments", "One per line. The command is then a program, started without a shell.", "lines", list],
  ["env", "Environment", "NAME=value, one per line.", "lines", text => (text.trim() ? Object.fromEntries(text.split("\n").filter(Boolean).map(line => {
    const at = line.indexOf("=");
    return at < 0 ? [line, ""] : [line.slice(0, at), line.slice(at + 1)];
  })) : null)],
  ["cwd", "Folder", "Where it runs. Without one: the agent's task.path.", "text", text => text || null],
  ["stdin", "Input", "What the command reads.", "lines", text => text || null],
  ["timeout", "Time limit", "Seconds. Negative: none. Without one: the agent's.", "number", text => number0(text)],
  ["expires", "Start within", "Seconds from now. Without one: 30 days.", "number", text => number0(text)],
];
const number0 = text => (text.trim() === "" ? null : Number.isFinite(Number(text)) ? Number(text) : text);

/** What was written here survives a look elsewhere. */
const draft = {};

export function view(root, route, signal) {
  const given = name => route.query.get(name);
  // Another command does not inherit what was left of an earlier one.
  if (given("command") !== null) for (const name of Object.keys(draft)) delete draft[name];
  const target = h("input", { id: "target", type: "text", autocomplete: "off", spellcheck: "false", autocapitalize: "off", required: true, maxlength: "64",
    role: "combobox", "aria-expanded": "false", "aria-controls": "targets", "aria-autocomplete": "list", "aria-describedby": "target-says", value: given("target") ?? draft.target ?? "" });
  const says = h("p.says", { id: "target-says", "aria-live": "polite" });
  const box = h("ul.completions", { id: "targets", role: "listbox", hidden: true });
  const taskname = h("textarea", { id: "taskname", rows: "3", spellcheck: "false", autocapitalize: "off", required: true, "aria-describedby": "taskname-help", value: given("command") ?? draft.taskname ?? "" });
  const fields = new Map(options.map(([name, , , kind]) => [name, h(kind === "lines" ? "textarea" : "input", {
    id: name, spellcheck: "false", rows: kind === "lines" ? "2" : null, type: kind === "lines" ? null : "text", inputmode: kind === "number" ? "decimal" : null,
    "aria-describedby": `${name}-help`, value: given(name) ?? draft[name] ?? "" })]));
  const errors = h("div"), send = h("button.button.primary", { type: "submit" }, "Run"), curl = copyable("", "Copy");
  const field = (name, label, input, ...more) => h("div.field", { "data-field": name }, h("label", { for: name }, label), input, h("p.fault", { role: "alert", hidden: true, id: `${name}-fault` }), more);
  const folded = h("details.options", null, h("summary", null, "Options"),
    h("div.options-grid", null, options.map(([name, label, help]) => field(name, label, fields.get(name), h("p.help", { id: `${name}-help` }, help)))));
  folded.open = options.some(([name]) => fields.get(name).value !== "");
  const form = h("form.new", { novalidate: true },
    h("div.new-form", null,
      field("target", "On", h("div.combo", null, target, box), says),
      field("taskname", "Command", taskname, h("p.help", { id: "taskname-help" }, "A line for /bin/sh, or the name of a file in the agent's script.path. ", h("kbd", null, "Ctrl"), " ", h("kbd", null, "Enter"), " sends it.")),
      folded, errors, h("div.actions", null, send)),
    h("aside", { "aria-label": "The same from a shell" }, h("h2", null, "The same from a shell"), curl,
      h("p.help", null, "Add ", h("code", null, "?wait=30"), " to get the result in the answer.")));
  root.append(heading("New task"), form);

  function body() {
    const task = { taskname: taskname.value };
    for (const [name, , , , read] of options) {
      const value = read(fields.get(name).value);
      if (value !== null) task[name] = value;
    }
    return task;
  }
  const path = () => `/v1/producer/${encodeURIComponent(target.value.trim())}/task`;

  function show() {
    const name = target.value.trim();
    const found = name ? match(name) : null;
    const state = found?.kind === "agent" ? (found.online ? "online" : "offline") : null;
    if (!name) fill(says, shared.complete ? `${count(agents.size, "host")} and ${count(byProject().filter(([one]) => one).length, "project")} to choose from` : " ");
    else if (found?.kind === "agent") fill(says, "one host, ", mark(state), found.online ? null : ": it waits until the host is back");
    else if (found) {
      const away = found.agents - found.online;
      fill(says, h("b", null, count(found.agents, "host")), " in this project", away ? [", ", mark("offline", `${number(away)} offline`), `: ${away === 1 ? "its run waits" : "their runs wait"}`] : ", all online");
    } else fill(says, shared.complete ? mark("unknown", "no host and no project of that name is known here") : "…");
    setText(send, found && found.agents !== 1 ? `Run on ${count(found.agents, "host")}` : "Run");
    const address = name && /^[\w.-]+$/.test(name) ? name : "<host or project>";
    setText(curl.querySelector("code"), `curl -d ${shellQuote(JSON.stringify(body()))} \\\n  ${location.origin}/v1/producer/${address}/task`);
    taskname.rows = Math.min(20, Math.max(3, taskname.value.split("\n").length));
  }

  // MARK: completion

  let choice = -1;
  function complete() {
    const words = target.value.trim().toLowerCase();
    const rank = name => { const at = name.toLowerCase().indexOf(words); return at < 0 ? null : at === 0 ? 0 : 1; };
    const found = [];
    for (const [name, members] of byProject()) {
      if (name !== null && rank(name) !== null) found.push([rank(name), 0, name, `${count(members.length, "host")}, ${number(members.filter(one => one.online).length)} online`]);
    }
    if (words || agents.size <= 8) for (const one of allAgents()) if (rank(one.uuid) !== null) found.push([rank(one.uuid), 1, one.uuid, one.online ? "online" : "offline"]);
    found.sort((a, b) => a[0] - b[0] || a[1] - b[1] || byName(a[2], b[2]));
    const shown = found.slice(0, 8);
    const isDone = shown.length === 1 && shown[0][2] === target.value.trim();
    open(shown.length > 0 && !isDone);
    choice = -1;
    target.removeAttribute("aria-activedescendant");
    fill(box, shown.map(([, kind, name, about], index) => h("li", {
      role: "option", id: `choice-${index}`, "aria-selected": "false",
      onpointerdown(event) { event.preventDefault(); choose(name); },
    }, h("span", null, name), h("span.muted", null, `${kind ? "host" : "project"}, ${about}`))),
    found.length > 8 ? h("li.muted", { "aria-disabled": "true" }, `and ${number(found.length - 8)} more`) : null);
  }
  function open(yes) { box.hidden = !yes; target.setAttribute("aria-expanded", String(yes)); }
  function choose(name) { target.value = name; open(false); changed(); taskname.focus(); }
  function point(index) {
    const all = [...box.querySelectorAll("[role=option]")];
    choice = (index + all.length) % all.length;
    all.forEach((one, at) => one.setAttribute("aria-selected", String(at === choice)));
    target.setAttribute("aria-activedescendant", all[choice].id);
  }
  target.addEventListener("input", complete);
  target.addEventListener("focus", complete);
  target.addEventListener("blur", () => open(false));
  target.addEventListener("keydown", event => {
    if (event.key === "Escape" && !box.hidden) { open(false); event.preventDefault(); return; }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (box.hidden) complete();
      if (box.querySelector("[role=option]")) point(event.key === "ArrowDown" ? choice + 1 : choice < 0 ? -1 : choice - 1);
    } else if ((event.key === "Enter" || event.key === "Tab") && !box.hidden && choice >= 0) {
      event.preventDefault();
      choose(box.children[choice].firstChild.textContent);
    } else if (event.key === "Enter" && !event.ctrlKey) { event.preventDefault(); open(false); taskname.focus(); }
  });

  // MARK: sending

  function changed() {
    Object.assign(draft, { target: target.value, taskname: taskname.value });
    for (const [name, input] of fields) draft[name] = input.value;
    show();
  }
  form.addEventListener("input", event => {
    fault(event.target.id, "");
    changed();
  });
  form.addEventListener("keydown", event => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); form.requestSubmit(); } });

  function fault(name, text) {
    const place = form.querySelector(`[data-field="${CSS.escape(name)}"] .fault`);
    if (!place) return null;
    setText(place, text);
    place.hidden = !text;
    const input = document.getElementById(name);
    if (text) { input.setAttribute("aria-invalid", "true"); input.setAttribute("aria-errormessage", place.id); } else input.removeAttribute("aria-invalid");
    return input;
  }

  form.addEventListener("submit", async event => {
    event.preventDefault();
    open(false);
    errors.replaceChildren();
    for (const name of ["target", "taskname", ...fields.keys()]) fault(name, "");
    if (!target.value.trim()) return fault("target", "Name a host or a project.").focus();
    if (!taskname.value) return fault("taskname", "Say what is to run.").focus();
    send.disabled = true;
    try {
      const task = await post(path(), body());
      for (const name of Object.keys(draft)) delete draft[name];
      go(task.runs.length === 1 ? link(["runs", task.runs[0].auuid]) : link(["tasks", task.task]));
    } catch (error) {
      if (!signal.aborted) showError(error);
    } finally { send.disabled = false; }
  });

  function showError(error) {
    const names = { unknown_target: "target", bad_name: "target", redis_away: "target", not_a_member: "target" };
    const rest = [];
    let first = null;
    for (const one of error.all?.length ? error.all : [error]) {
      const name = (one.field && one.field !== "uuid" && one.field !== "project" ? one.field : null) ?? names[one.code];
      const input = name ? fault(name, visible([one.message, one.hint].filter(Boolean).join("; "))) : null;
      if (fields.has(name)) folded.open = true;
      if (input) first ??= input; else rest.push(one);
    }
    fill(errors, rest.map(one => problem(one)));
    first?.focus();
    if (first === target) open(false);
  }

  on("agents", () => { show(); if (document.activeElement === target && !box.hidden && choice < 0) complete(); }, signal);
  needAgents(signal);
  show();
  if (route.query.size) keep({});
  return { title: "new task", focus: target.value ? taskname : target };
}
