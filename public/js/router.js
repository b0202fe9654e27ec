// The address bar holds the whole view: `#/path/segments?name=value`. The server has no fallback for unknown paths, hence the hash.

/** `{path, query, href}` of an address. */
export function parse(hash = location.hash) {
  const text = hash.replace(/^#\/?/, "");
  const [path, search = ""] = text.split(/\?(.*)/s);
  const decode = part => { try { return decodeURIComponent(part); } catch { return part; } };
  return { path: path.split("/").filter(Boolean).map(decode), query: new URLSearchParams(search), href: `#/${text}` };
}

/** An address: `link(["runs", auuid], {line: 3})`. */
export function link(path, query = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one != null && one !== "") search.append(name, one);
  }
  return `#/${path.map(encodeURIComponent).join("/")}${search.size ? `?${search}` : ""}`;
}

const places = new Map();
let depth = 0, clicked = false, show = () => {}, shown = null;

/** Where the reader was on that address before: for going back. */
function remember() {
  if (!shown) return;
  places.set(shown, { y: scrollY, key: document.activeElement?.closest?.("[data-row]")?.dataset.row });
  if (places.size > 100) places.delete(places.keys().next().value);
}

export function go(href, { replace = false } = {}) {
  if (href === shown) return;
  clicked = true;
  if (replace) { history.replaceState(null, "", href); changed(); } else location.hash = href.slice(1);
}
/** Changes the query of the present view without showing it anew. */
export function keep(query) {
  const here = parse();
  const href = link(here.path, query);
  if (href !== location.hash) history.replaceState(null, "", href);
  shown = href;
}
export function back() { if (depth > 0) history.back(); else go("#/"); }

function changed() {
  if (location.hash && !location.hash.startsWith("#/")) return;
  const route = parse();
  if (route.href === shown) return;
  remember();
  if (shown) depth = Math.max(0, depth + (clicked ? 1 : -1));
  const place = clicked ? null : places.get(route.href);
  clicked = false;
  shown = route.href;
  show(route, place);
}

export function start(showing) {
  show = showing;
  history.scrollRestoration = "manual";
  addEventListener("hashchange", changed);
  document.addEventListener("click", event => {
    const anchor = event.target.closest?.("a[href^='#/']");
    if (anchor && event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)) clicked = true;
  });
  changed();
}
