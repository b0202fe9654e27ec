// One cell per host on one canvas per project: its fill is its state, its inner bar how many of its slots are busy. Ten thousand hosts are
// ten thousand small rectangles and not one element. Pointer or arrow keys name a cell, Enter or a click opens it.
import { h } from "./dom.js";
import { count } from "./format.js";
import { go, link } from "./router.js";

/** The side of a cell, in pixels, for a fleet of so many. */
export const cellSize = total => (total <= 400 ? 20 : total <= 1500 ? 15 : total <= 4000 ? 12 : 10);

/** What one host is like, in words. */
export function describe(agent) {
  if (!agent.online) return `${agent.uuid}: offline`;
  const parts = [`${agent.uuid}: online`];
  if (agent.health && agent.health !== "healthy") parts.push(agent.health);
  parts.push(`${agent.running ?? 0} of ${agent.concurrency ?? "?"} slots busy`);
  if (agent.load1 != null) parts.push(`load ${agent.load1.toFixed(2)}`);
  return parts.join(", ");
}

export class Cells {
  #agents = []; #size = 20; #columns = 1; #at = -1; #tip; #watcher;

  /** `tip(text, rect)`: shows or, without a text, hides what a cell is. */
  constructor(name, tip) {
    this.#tip = tip;
    this.canvas = h("canvas.cells", { tabindex: "0", role: "application", "aria-roledescription": "hosts" });
    this.name = name;
    const { canvas } = this;
    canvas.addEventListener("pointermove", event => this.#point(this.#index(event)));
    canvas.addEventListener("pointerleave", () => { if (document.activeElement !== canvas) this.#point(-1); });
    canvas.addEventListener("click", event => this.#open(this.#index(event)));
    canvas.addEventListener("focus", () => { if (canvas.matches(":focus-visible")) this.#point(Math.max(0, this.#at)); });
    canvas.addEventListener("blur", () => this.#point(-1));
    canvas.addEventListener("keydown", event => {
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.#columns, ArrowDown: this.#columns }[event.key];
      if (step) {
        const next = this.#at + step;
        if (next >= 0 && next < this.#agents.length) this.#point(next);
      } else if (event.key === "Enter") this.#open(this.#at);
      else return;
      event.preventDefault();
    });
    this.#watcher = new ResizeObserver(() => this.draw());
    this.#watcher.observe(document.getElementById("main"));
  }

  destroy() { this.#watcher.disconnect(); }

  show(agents, size) {
    this.#agents = agents;
    this.#size = size;
    const online = agents.filter(one => one.online).length;
    this.canvas.setAttribute("aria-label", `${this.name}: ${count(agents.length, "host")}, ${online} online. Arrow keys name one.`);
    this.draw();
  }

  #index(event) {
    const column = Math.floor(event.offsetX / this.#size), row = Math.floor(event.offsetY / this.#size);
    const index = row * this.#columns + column;
    return column < this.#columns && index < this.#agents.length ? index : -1;
  }
  #open(index) { if (this.#agents[index]) go(link(["agents", this.#agents[index].uuid])); }

  #point(index) {
    if (index === this.#at) return;
    this.#at = index;
    this.canvas.classList.toggle("over", index >= 0);
    this.draw();
    const agent = this.#agents[index];
    if (!agent) return this.#tip(null);
    const box = this.canvas.getBoundingClientRect(), size = this.#size;
    const left = box.left + (index % this.#columns) * size, top = box.top + Math.floor(index / this.#columns) * size;
    this.#tip(describe(agent), { left, top, size });
  }

  draw() {
    const { canvas } = this, size = this.#size, room = canvas.parentElement?.parentElement?.clientWidth;
    if (!room) return;
    // Wider than high, so that small projects stand beside each other.
    const { length } = this.#agents, wish = Math.max(8, Math.ceil(Math.sqrt(length * (length > 200 ? 14 : 4))));
    this.#columns = Math.max(1, Math.min(Math.floor(room / size), wish));
    const width = this.#columns * size;
    const rows = Math.ceil(this.#agents.length / this.#columns), scale = devicePixelRatio || 1;
    const height = Math.max(1, rows) * size;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const style = getComputedStyle(canvas);
    const color = name => style.getPropertyValue(name).trim();
    // Canvas does not know light-dark(): the used colours stand in ordinary properties.
    const [well, bar, off, ill, cursor] = ["color", "border-top-color", "border-right-color", "border-bottom-color", "outline-color"].map(color);
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const gap = size > 12 ? 3 : 2, side = size - gap;
    const paths = { well: new Path2D(), ill: new Path2D(), off: new Path2D(), bar: new Path2D() };
    this.#agents.forEach((agent, index) => {
      const x = (index % this.#columns) * size, y = Math.floor(index / this.#columns) * size;
      if (!agent.online) return paths.off.rect(x + 0.75, y + 0.75, side - 1.5, side - 1.5);
      const sick = agent.health && agent.health !== "healthy";
      if (sick) {
        // A triangle: told from the others without its colour.
        paths.ill.moveTo(x + side / 2, y);
        paths.ill.lineTo(x + side, y + side);
        paths.ill.lineTo(x, y + side);
        paths.ill.closePath();
        return;
      }
      paths.well.rect(x, y, side, side);
      const busy = Math.min(1, (agent.running ?? 0) / (agent.concurrency || 1));
      if (busy > 0) {
        const long = Math.max(2, (side - 2) * busy);
        paths.bar.rect(x + 1, y + side - 1 - long, side - 2, long);
      }
    });
    context.fillStyle = well;
    context.fill(paths.well);
    context.fillStyle = bar;
    context.fill(paths.bar);
    context.fillStyle = ill;
    context.fill(paths.ill);
    context.strokeStyle = off;
    context.lineWidth = 1.5;
    context.stroke(paths.off);
    if (this.#at >= 0 && this.#at < this.#agents.length) {
      context.strokeStyle = cursor;
      context.lineWidth = 2;
      context.strokeRect((this.#at % this.#columns) * size - 1, Math.floor(this.#at / this.#columns) * size - 1, side + 2, side + 2);
    }
  }
}
