// Shows a LogBuffer: only the rows that are seen are in the page. Follows the end until the reader scrolls up.
//
// The scrollbar's place tells the *anchor*: at fraction r of the way, row r·n stands at fraction r of the window. For rows of one height
// that is exactly ordinary scrolling; it also holds for wrapped rows, whose heights are known only once they are seen, and for logs that
// are taller than a browser's tallest element.
import { h, setText } from "./dom.js";
import { visible, number, bytes } from "./format.js";
import { pieces, colorOf, backOf, css, plainCss, rgb, luminance, BOLD, DIM, ITALIC, UNDERLINE, INVERSE, STRIKE } from "./ansi.js";

const rowHeight = 20, tallest = 8_000_000;
const flags = [[BOLD, "bold"], [DIM, "dim"], [ITALIC, "italic"], [UNDERLINE, "underline"], [STRIKE, "strike"]];

export class LogView {
  following = true;
  #buffer; #lineLink; #elements = new Map(); #frame = 0; #lastTop = 0; #lastHeight = 0; #seenRows = 0; #wrap = false; #dark = false; #columns = 80;
  #marked = 0; #hits = []; #hit = -1; #words = ""; #searching = 0; #watcher; #retheme;

  /** `lineLink(number)`: a line's address. */
  constructor(buffer, lineLink) {
    this.#buffer = buffer;
    this.#lineLink = lineLink;
    this.rows = h("div.log-rows");
    this.space = h("div.log-space", null, this.rows);
    this.scroller = h("div.log-scroll", { tabindex: "0", role: "region", "aria-label": "Output", onscroll: () => this.#scrolled() }, this.space);
    this.jump = h("button.log-jump", { type: "button", hidden: true, onclick: () => this.toEnd() });
    this.root = h("div.log", null, this.scroller, this.jump);
    this.#watcher = new ResizeObserver(() => { this.#measure(); this.#redraw(); if (this.following) this.#end(); });
    this.#watcher.observe(this.scroller);
    this.#retheme = () => { this.#elements.forEach(one => one.remove()); this.#elements.clear(); this.#redraw(); };
    addEventListener("themechange", this.#retheme);
  }

  destroy() {
    this.#watcher.disconnect();
    removeEventListener("themechange", this.#retheme);
    cancelAnimationFrame(this.#frame);
    this.#searching += 1;
  }

  /** Another log takes this one's place. */
  set buffer(buffer) {
    this.#buffer = buffer;
    this.#marked = 0;
    this.#hits = [];
    this.#hit = -1;
    this.#seenRows = 0;
    this.following = true;
    this.#retheme();
  }

  /** The buffer has grown. */
  grown() { this.#redraw(); }

  set wrap(on) {
    const row = this.#top();
    this.#wrap = on;
    this.root.classList.toggle("wraps", on);
    this.#elements.forEach(one => one.remove());
    this.#elements.clear();
    this.#draw();
    if (this.following) this.#end(); else this.#toRow(row, 0);
  }
  get wrap() { return this.#wrap; }

  toEnd() {
    this.following = true;
    this.#end();
    this.#draw();
    this.scroller.focus({ preventScroll: true });
  }

  /** Marks a line and shows it in the middle. */
  toLine(line) {
    const row = this.#buffer.rowOfLine(line);
    if (row < 0) return false;
    this.#draw();
    this.#marked = line;
    this.following = false;
    this.#toRow(row, 0.4);
    for (const [index, element] of this.#elements) element.classList.toggle("marked", this.#buffer.row(index).number === line);
    return true;
  }

  // MARK: find

  /** Looks for a text, ignoring case; `found(count, done)` is told as it goes on. */
  async find(words, found) {
    const search = ++this.#searching;
    this.#words = words.toLowerCase();
    this.#hits = [];
    this.#hit = -1;
    this.#retheme();
    if (!words) return found(0, true);
    let slice = performance.now();
    for (let row = 0; row < this.#buffer.rows; row += 1) {
      const text = this.#buffer.text(row);
      if (text.toLowerCase().includes(this.#words) || (text.includes("\x1b") && this.#plain(row).toLowerCase().includes(this.#words))) this.#hits.push(row);
      if ((row & 255) === 0 && performance.now() - slice > 12) {
        found(this.#hits.length, false);
        await new Promise(resolve => setTimeout(resolve));
        if (search !== this.#searching) return;
        slice = performance.now();
      }
    }
    found(this.#hits.length, true);
  }
  #plain(row) { return pieces(this.#buffer.text(row)).map(([text]) => text).join(""); }

  /** Goes to the next hit; its place among all, from 1. */
  next(step) {
    if (!this.#hits.length) return 0;
    if (this.#hit < 0) {
      const top = this.#top();
      const at = this.#hits.findIndex(row => row >= top);
      this.#hit = at < 0 ? 0 : at;
    } else this.#hit = (this.#hit + step + this.#hits.length) % this.#hits.length;
    this.following = false;
    this.#toRow(this.#hits[this.#hit], 0.4);
    this.#retheme();
    this.#draw();
    return this.#hit + 1;
  }

  // MARK: scrolling

  #most() { return Math.max(0, this.scroller.scrollHeight - this.scroller.clientHeight); }
  #end() {
    this.scroller.scrollTop = this.#most();
    this.#lastTop = this.scroller.scrollTop;
    this.#lastHeight = this.scroller.clientHeight;
  }
  #isAtEnd() { return this.#most() - this.scroller.scrollTop < rowHeight * 1.5; }

  #scrolled() {
    const { scrollTop, clientHeight } = this.scroller;
    // Growth and a window of another size move the end without the reader's doing: only going up stops the following.
    if (this.#isAtEnd()) this.following = true;
    else if (scrollTop < this.#lastTop - 1 && clientHeight === this.#lastHeight) this.following = false;
    this.#lastTop = scrollTop;
    this.#lastHeight = clientHeight;
    this.#redraw();
  }

  /** Puts a row at a fraction of the window. */
  #toRow(row, fraction) {
    const { clientHeight } = this.scroller, rows = Math.max(1, this.#buffer.rows);
    if (this.#isNatural()) {
      this.#draw();
      const element = this.#elements.get(row);
      if (element) this.scroller.scrollTop = element.offsetTop - fraction * clientHeight;
    } else {
      // The anchor at which `row` stands at the wanted place, if rows around it have one height.
      const anchor = (row + 0.5 - (fraction * clientHeight) / rowHeight) / (1 - clientHeight / rowHeight / rows);
      this.scroller.scrollTop = (Math.max(0, anchor) / rows) * this.#most();
      this.#draw();
      const element = this.#elements.get(row);
      const box = this.scroller.getBoundingClientRect();
      if (element && this.#wrap) this.scroller.scrollTop += (element.getBoundingClientRect().top - box.top - fraction * clientHeight) * 0.8;
    }
    this.#lastTop = this.scroller.scrollTop;
    this.#draw();
  }

  /** The first row that is seen. */
  #top() {
    const box = this.scroller.getBoundingClientRect();
    let top = Infinity;
    for (const [index, element] of this.#elements) if (element.getBoundingClientRect().bottom > box.top + 1) top = Math.min(top, index);
    return top === Infinity ? 0 : top;
  }

  // MARK: drawing

  #measure() {
    const probe = h("span.log-probe", null, "0".repeat(100));
    this.rows.append(probe);
    const width = probe.getBoundingClientRect().width / 100 || 8;
    probe.remove();
    this.#columns = Math.max(10, Math.floor((this.scroller.clientWidth - 72) / width));
  }
  #redraw() { this.#frame ||= requestAnimationFrame(() => { this.#frame = 0; this.#draw(); }); }

  /** Few wrapped rows are simply all in the page. */
  #isNatural() { return this.#wrap && this.#buffer.rows <= 300; }

  #height() {
    const rows = this.#buffer.rows;
    return Math.min(tallest, rowHeight * (this.#wrap ? rows + Math.ceil(this.#buffer.length / this.#columns) : rows));
  }

  #draw() {
    const { scroller, space } = this, rows = this.#buffer.rows;
    this.#dark = isDark();
    const natural = this.#isNatural();
    this.root.classList.toggle("natural", natural);
    const height = natural ? "auto" : `${this.#height()}px`;
    if (space.style.height !== height) {
      const held = !this.following && (this.#wrap || this.#height() >= tallest) && !natural ? this.#placeFor(rows) : null;
      space.style.height = height;
      if (held !== null) { scroller.scrollTop = held * this.#most(); this.#lastTop = scroller.scrollTop; }
    }
    if (this.following && !natural) this.#end();
    const view = scroller.clientHeight, most = this.#most(), top = scroller.scrollTop;
    const ratio = most > 0 ? Math.min(1, top / most) : 0;
    const place = ratio * rows, anchor = Math.max(0, Math.min(rows - 1, Math.floor(place)));
    const reach = Math.ceil(view / rowHeight) + 6;
    const from = natural ? 0 : Math.max(0, anchor - reach), to = natural ? rows : Math.min(rows, anchor + reach + 1);
    this.#show(from, to);
    if (natural) this.rows.style.transform = "";
    else if (this.#wrap) {
      const element = this.#elements.get(anchor);
      const y = element ? top + ratio * view - (element.offsetTop + (place - anchor) * element.offsetHeight) : 0;
      this.rows.style.transform = `translateY(${y}px)`;
    } else {
      const y = top + ratio * view - (place - from) * rowHeight;
      this.rows.style.transform = `translateY(${Math.round(y)}px)`;
    }
    if (this.following && natural) this.#end();
    this.#tellNew();
  }

  /** The fraction at which what is seen now stays where it is when there will be `rows`. */
  #placeFor(rows) {
    const box = this.scroller.getBoundingClientRect(), step = box.height / rows;
    for (const [index, element] of this.#elements) {
      const { top, height } = element.getBoundingClientRect();
      const within = (index * step - (top - box.top)) / (height - step);
      if (within >= 0 && within < 1) return (index + within) / rows;
    }
    return null;
  }

  #show(from, to) {
    for (const [index, element] of this.#elements) {
      if (index < from || index >= to) { element.remove(); this.#elements.delete(index); }
    }
    let place = this.rows.firstElementChild;
    for (let index = from; index < to; index += 1) {
      let element = this.#elements.get(index);
      const version = String(this.#buffer.version(index));
      if (element && element.dataset.version !== version) {
        const fresh = this.#make(index, version);
        if (place === element) place = fresh;
        element.replaceWith(fresh);
        this.#elements.set(index, element = fresh);
      }
      if (!element) {
        element = this.#make(index, version);
        this.#elements.set(index, element);
        this.rows.insertBefore(element, place);
      } else place = element.nextElementSibling;
    }
  }

  #make(index, version) {
    const { number: line, style, stream, gap } = this.#buffer.row(index);
    const element = h("div.log-row", { "data-version": version, class: `${stream === "stderr" ? "err" : ""} ${line && line === this.#marked ? "marked" : ""} ${this.#hits[this.#hit] === index ? "hit" : ""}` });
    if (gap) {
      element.classList.add("gap");
      element.append(h("span.ln"), h("span.lt", null, `… ${bytes(gap)} in the middle were not kept …`));
      return element;
    }
    element.append(line ? h("a.ln", { href: this.#lineLink(line), tabindex: "-1", "aria-label": `line ${line}${stream === "stderr" ? ", stderr" : ""}` }, String(line)) : h("span.ln"));
    const text = h("span.lt");
    for (const [piece, look] of pieces(this.#buffer.text(index), style)) this.#add(text, visible(piece), look);
    element.append(text);
    return element;
  }

  #add(parent, text, style) {
    const styled = style ? this.#styled(style) : null;
    const target = styled ?? parent;
    if (!this.#words) target.append(text);
    else {
      const lower = text.toLowerCase();
      let at = 0;
      for (let found; (found = lower.indexOf(this.#words, at)) >= 0; at = found + this.#words.length) {
        target.append(text.slice(at, found), h("mark", null, text.slice(found, found + this.#words.length)));
      }
      target.append(text.slice(at));
    }
    if (styled) parent.append(styled);
  }

  #styled(style) {
    let front = colorOf(style), back = backOf(style);
    const element = h("span", { class: flags.filter(([bit]) => style & bit).map(([, name]) => name).join(" ") });
    if (style & INVERSE) {
      if (!front && !back) { element.classList.add("inverse"); return element; }
      [front, back] = [back, front];
      if (!back) element.classList.add("inverse-back");
    }
    if (back) {
      element.style.backgroundColor = plainCss(back - 1);
      element.style.color = front ? plainCss(front - 1) : luminance(rgb(back - 1)) > 0.18 ? "#000" : "#fff";
    } else if (front > 16) element.style.color = css(front - 1, this.#dark);
    else if (front) element.classList.add(`f${front - 1}`);
    return element;
  }

  #tellNew() {
    const { rows } = this.#buffer;
    if (this.following || !rows) this.#seenRows = rows;
    const fresh = rows - this.#seenRows;
    this.jump.hidden = this.following || this.#isAtEnd();
    const text = fresh > 0 ? `Jump to the end (${number(fresh)} new ${fresh === 1 ? "line" : "lines"})` : "Jump to the end";
    setText(this.jump, text);
  }
}

function isDark() {
  return (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
}
