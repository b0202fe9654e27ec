// The page's composition root: starts what is shared, and shows one view at a time.
// When adding a view, also: a line in `views`, its module in js/views, and a case in Tests/PageTests.
import { fill } from "./dom.js";
import { problem } from "./parts.js";
import * as router from "./router.js";
import * as shell from "./shell.js";
import * as store from "./store.js";
import * as keys from "./keys.js";

const views = {
  "": () => import("./views/overview.js"),
  agents: () => import("./views/agents.js"),
  "agents/": () => import("./views/agent.js"),
  tasks: () => import("./views/tasks.js"),
  "tasks/": () => import("./views/task.js"),
  runs: () => import("./views/runs.js"),
  "runs/": () => import("./views/run.js"),
  projects: () => import("./views/projects.js"),
  new: () => import("./views/new.js"),
  search: () => import("./views/search.js"),
};

let present = new AbortController();
const main = document.getElementById("main");

/** Each view is `view(root, route, signal)`: it fills `root`, stops when `signal` is aborted, and may return `{title, ready, focus}`. */
async function show(route, place) {
  present.abort();
  const { signal } = present = new AbortController();
  shell.here(route);
  const [name = "", ...rest] = route.path;
  const load = views[rest.length ? `${name}/` : name];
  const root = document.createElement("div");
  root.className = `view view-${rest.length ? name.replace(/s$/, "") : name || "overview"}`;
  try {
    if (!load) throw Object.assign(new Error(`There is no view “${route.href}”.`), { hint: "The overview is at #/." });
    const module = await load();
    if (signal.aborted) return;
    const { title, ready, focus } = module.view(root, route, signal) ?? {};
    document.title = title ? `${title} · Muster` : "Muster";
    main.replaceChildren(root);
    if (place) {
      await ready;
      if (signal.aborted) return;
      scrollTo(0, place.y);
      const row = place.key && [...root.querySelectorAll("[data-row]")].find(one => one.dataset.row === place.key);
      row?.focus({ preventScroll: true });
    } else {
      scrollTo(0, 0);
      if (focus) focus.focus(); else if (document.activeElement !== document.getElementById("search-input")) main.focus({ preventScroll: true });
    }
  } catch (error) {
    if (signal.aborted) return;
    main.replaceChildren(fill(root, problem(error, () => show(route, place))));
  }
}

keys.start();
shell.start();
store.start();
router.start(show);
