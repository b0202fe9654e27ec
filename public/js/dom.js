// The few lines that stand in for a framework. Every string becomes a text node or an attribute, never HTML: what a host says stays text.

/** An element. `tag` may carry classes ("a.row.link"); of the attributes `on…` are listeners, `style` goes through the CSSOM (the policy
 *  forbids style attributes), null and false are left out, true is an empty attribute. Children: nodes, strings, numbers, arrays, null. */
export function h(tag, attributes, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value == null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [property, text] of Object.entries(value)) element.style.setProperty(property, text);
    else if (key === "class") element.className += ` ${value}`;
    else if (key === "value") element.value = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  append(element, children);
  return element;
}

function append(parent, children) {
  for (const child of children) {
    if (child == null || child === false) continue;
    if (Array.isArray(child)) append(parent, child);
    else parent.append(child instanceof Node ? child : String(child));
  }
}

/** Replaces what `parent` holds. */
export function fill(parent, ...children) {
  parent.replaceChildren();
  append(parent, children);
  return parent;
}

/** Sets a text only where it differs, so that a selection over it survives. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function svg(viewBox, ...shapes) {
  const root = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  root.setAttribute("viewBox", viewBox);
  root.setAttribute("aria-hidden", "true");
  for (const [name, attributes] of shapes) {
    const shape = document.createElementNS(root.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    root.append(shape);
  }
  return root;
}

/** Makes `parent` show `items` in order, keeping the element of every key that stays: focus and selection survive.
 *  `make(item)` builds a row, `update(element, item)` brings one up to date (also right after `make`). */
export function keyed(parent, items, keyOf, make, update) {
  const old = new Map();
  for (const element of parent.children) if (element.dataset.key !== undefined) old.set(element.dataset.key, element);
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let element = old.get(key);
    if (element) old.delete(key);
    else {
      element = make(item);
      element.dataset.key = key;
    }
    update?.(element, item);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  for (const element of old.values()) element.remove();
}

/** A function that runs `work` at once, then at most every `ms`, never twice at the same time; the last call is never lost. */
export function paced(ms, work, signal) {
  let last = -Infinity, timer = 0, busy = false, again = false;
  const run = async () => {
    timer = 0;
    if (signal?.aborted) return;
    if (busy) { again = true; return; }
    busy = true;
    last = performance.now();
    try { await work(); } finally {
      busy = false;
      if (again) { again = false; call(); }
    }
  };
  const call = () => { timer ||= setTimeout(run, Math.max(0, last + ms - performance.now())); };
  return call;
}

/** Says something to screen readers. */
export function say(text) { document.getElementById("said").textContent = text; }
