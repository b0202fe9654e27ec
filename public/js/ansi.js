// Colours and weights that a command printed (ECMA-48 SGR), and nothing else of a terminal: every other sequence is dropped.
// A style is one small integer, so that a million rows can keep theirs: 9 bits of text colour, 9 of background (0: none, n: palette n - 1),
// then bold, dim, italic, underline, inverse, strike. Sequences and their numbers are bounded; what exceeds that is dropped.

export const BOLD = 1 << 18, DIM = 1 << 19, ITALIC = 1 << 20, UNDERLINE = 1 << 21, INVERSE = 1 << 22, STRIKE = 1 << 23;
const longest = 128;

const foreground = (style, color) => (style & ~0x1ff) | color;
const background = (style, color) => (style & ~(0x1ff << 9)) | (color << 9);
export const colorOf = style => style & 0x1ff;
export const backOf = style => (style >> 9) & 0x1ff;

/** The style after an SGR sequence's parameters, as in "1;31". */
export function sgr(style, parameters) {
  const numbers = parameters.split(/[;:]/, 32).map(text => (text === "" ? 0 : Number(text)));
  for (let i = 0; i < numbers.length; i += 1) {
    const n = numbers[i];
    if (n === 0) style = 0;
    else if (n === 1) style |= BOLD;
    else if (n === 2) style |= DIM;
    else if (n === 3) style |= ITALIC;
    else if (n === 4) style |= UNDERLINE;
    else if (n === 7) style |= INVERSE;
    else if (n === 9) style |= STRIKE;
    else if (n === 22) style &= ~(BOLD | DIM);
    else if (n === 23) style &= ~ITALIC;
    else if (n === 24) style &= ~UNDERLINE;
    else if (n === 27) style &= ~INVERSE;
    else if (n === 29) style &= ~STRIKE;
    else if (n >= 30 && n <= 37) style = foreground(style, n - 29);
    else if (n >= 90 && n <= 97) style = foreground(style, n - 81);
    else if (n === 39) style = foreground(style, 0);
    else if (n >= 40 && n <= 47) style = background(style, n - 39);
    else if (n >= 100 && n <= 107) style = background(style, n - 91);
    else if (n === 49) style = background(style, 0);
    else if (n === 38 || n === 48) {
      let color = -1;
      if (numbers[i + 1] === 5) { color = numbers[i + 2]; i += 2; }
      else if (numbers[i + 1] === 2) { color = nearest(numbers[i + 2], numbers[i + 3], numbers[i + 4]); i += 4; }
      if (color >= 0 && color <= 255) style = (n === 38 ? foreground : background)(style, color + 1);
    }
  }
  return style;
}

/** A true colour's neighbour in the palette's 6 by 6 by 6 cube. */
function nearest(r, g, b) {
  const step = value => (value < 48 ? 0 : value < 115 ? 1 : Math.min(5, Math.round((value - 55) / 40)));
  return [r, g, b].every(value => value >= 0 && value <= 255) ? 16 + 36 * step(r) + 6 * step(g) + step(b) : -1;
}

/** Reads bytes and keeps the style, also across pieces: `style` is what holds behind the bytes read so far. */
export class StyleReader {
  style = 0;
  #place = 0; // 0 text, 1 after ESC, 2 in a CSI, 3 in a string, 4 in a string after ESC
  #text = "";
  #length = 0;
  get isInText() { return this.#place === 0; }
  /** A byte that is ESC, or any byte while not `isInText`. */
  take(byte) {
    this.#length += 1;
    switch (this.#place) {
      case 0: this.#place = 1; this.#length = 1; this.#text = ""; break;
      case 1:
        if (byte === 0x5b) this.#place = 2;
        else this.#place = byte === 0x5d || byte === 0x50 || byte === 0x58 || byte === 0x5e || byte === 0x5f ? 3 : 0;
        break;
      case 2:
        if (byte >= 0x40 && byte <= 0x7e) {
          if (byte === 0x6d && /^[\d;:]*$/.test(this.#text)) this.style = sgr(this.style, this.#text);
          this.#place = 0;
        } else if (byte >= 0x20 && byte < 0x40 && this.#length < longest) this.#text += String.fromCharCode(byte);
        else this.#place = 0;
        break;
      default:
        if (byte === 7 || byte === 10 || (this.#place === 4 && byte === 0x5c) || this.#length > longest * 8) this.#place = 0;
        else this.#place = byte === 0x1b ? 4 : 3;
    }
  }
}

// eslint-disable-next-line no-control-regex
const sequence = /\x1b(?:\[([\x20-\x3f]{0,126})([\x40-\x7e])|[\]PX^_][^\x07\x1b\n]{0,1024}(?:\x07|\x1b\\)|[^[\]PX^_])/g;

/** A line's text in pieces `[text, style]`. What a carriage return overwrote is left out, as on a terminal. */
export function pieces(line, style = 0) {
  let parts = [], at = 0;
  const add = text => {
    const from = text.lastIndexOf("\r", text.length - 2);
    if (from >= 0 && from < text.length - 1) { parts = []; text = text.slice(from + 1); }
    if (text) parts.push([text, style]);
  };
  if (!line.includes("\x1b")) { add(line); return parts; }
  sequence.lastIndex = 0;
  for (let found; (found = sequence.exec(line)); at = sequence.lastIndex) {
    if (found.index > at) add(line.slice(at, found.index));
    if (found[2] === "m" && /^[\d;:]*$/.test(found[1])) style = sgr(style, found[1]);
  }
  if (at < line.length) add(line.slice(at));
  return parts;
}

// MARK: the upper palette

let dark = null, table = [];
/** The CSS colour of palette entry 16 to 255, moved until it can be read on the present theme. */
export function css(color, isDark) {
  if (dark !== isDark) { dark = isDark; table = []; }
  return table[color] ??= readable(rgb(color), isDark);
}
export function plainCss(color) { return `rgb(${rgb(color).join(" ")})`; }
export const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const linear = value => ((value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);

const base = [0x000000, 0xcd3131, 0x0d8a4a, 0x9a7500, 0x2b6cd4, 0xb03ab0, 0x0e8296, 0xd0d0d0, 0x666666, 0xf14c4c, 0x23d18b, 0xf5f543, 0x3b8eea, 0xd670d6, 0x29b8db, 0xffffff];
export function rgb(color) {
  if (color < 16) return [base[color] >> 16, (base[color] >> 8) & 255, base[color] & 255];
  if (color >= 232) return Array(3).fill(8 + (color - 232) * 10);
  const n = color - 16, level = value => (value ? 55 + value * 40 : 0);
  return [level(Math.floor(n / 36)), level(Math.floor(n / 6) % 6), level(n % 6)];
}
function readable(color, isDark) {
  const ground = isDark ? 0.008 : 0.93, to = isDark ? 255 : 0;
  for (let i = 0; i < 24; i += 1) {
    const own = luminance(color);
    if ((Math.max(own, ground) + 0.05) / (Math.min(own, ground) + 0.05) >= 4.6) break;
    color = color.map(value => value + (to - value) * 0.12);
  }
  return `rgb(${color.map(Math.round).join(" ")})`;
}
