// A run's output as bytes, and where its rows begin. Bytes stay bytes until a row is looked at, so that 100 MB cost about 100 MB and
// a character that two pieces share is whole. A row is a line, or 4 KiB of a longer one.
import { StyleReader } from "./ansi.js";

const chunkSize = 1 << 20, longestRow = 4096;
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** An array of numbers that grows by doubling. */
class Column {
  #type; length = 0; values;
  constructor(type) { this.#type = type; this.values = new type(1024); }
  push(value) {
    if (this.length === this.values.length) {
      const more = new this.#type(this.length * 2);
      more.set(this.values);
      this.values = more;
    }
    this.values[this.length++] = value;
  }
}

export class LogBuffer {
  #chunks = [];
  #starts = new Column(Float64Array);
  #numbers = new Column(Uint32Array);
  #styles = new Column(Uint32Array);
  #reader = new StyleReader();
  #lines = 0;
  /** `[first byte, stream]`, where the stream changes. */
  #streams = [];
  /** Row → bytes that were not kept before it. */
  #gaps = new Map();
  /** Bytes here. */
  length = 0;
  /** The command's own offset behind the last byte: more than `length` where bytes were not kept. */
  offset = 0;

  get rows() {
    const { length, values } = this.#starts;
    return length && values[length - 1] === this.length && !this.#gaps.has(length - 1) ? length - 1 : length;
  }
  get lines() { return this.rows === this.#starts.length ? this.#lines : this.#lines - 1; }

  /** Bytes that begin at the command's `offset`; what is here already is left out. */
  append(bytes, offset = this.offset, stream = "stdout") {
    if (offset < this.offset) bytes = bytes.subarray(Math.min(bytes.length, this.offset - offset));
    if (offset > this.offset) this.#gap(offset - this.offset);
    if (!bytes.length) return;
    this.offset = Math.max(offset, this.offset) + bytes.length;
    if (this.#streams.at(-1)?.[1] !== stream) this.#streams.push([this.length, stream]);
    if (!this.#starts.length) this.#begin(this.length, true);
    this.#index(bytes);
    this.#store(bytes);
  }

  #begin(at, isLine) {
    if (isLine) this.#lines += 1;
    this.#starts.push(at);
    this.#numbers.push(isLine ? this.#lines : 0);
    this.#styles.push(this.#reader.style);
  }

  #gap(size) {
    if (!this.#starts.length || this.#starts.values[this.#starts.length - 1] !== this.length) this.#begin(this.length, false);
    this.#gaps.set(this.#starts.length - 1, size);
    this.#begin(this.length, true);
    this.offset += size;
  }

  #index(bytes) {
    const reader = this.#reader, base = this.length;
    let start = this.#starts.values[this.#starts.length - 1];
    for (let i = 0; i < bytes.length; i += 1) {
      const byte = bytes[i], wasInText = reader.isInText;
      if (byte !== 10 && base + i - start >= longestRow && (byte & 0xc0) !== 0x80 && wasInText) {
        start = base + i;
        this.#begin(start, false);
      }
      if (byte === 0x1b || !wasInText) reader.take(byte);
      if (byte === 10) {
        start = base + i + 1;
        this.#begin(start, true);
      }
    }
  }

  #store(bytes) {
    for (let from = 0; from < bytes.length;) {
      const within = this.length % chunkSize;
      if (within === 0) this.#chunks.push(new Uint8Array(chunkSize));
      const part = bytes.subarray(from, from + chunkSize - within);
      this.#chunks[this.#chunks.length - 1].set(part, within);
      from += part.length;
      this.length += part.length;
    }
  }

  #bytes(from, to) {
    const first = Math.floor(from / chunkSize), last = Math.floor(Math.max(from, to - 1) / chunkSize);
    if (first === last) return this.#chunks[first]?.subarray(from - first * chunkSize, to - first * chunkSize) ?? new Uint8Array();
    const out = new Uint8Array(to - from);
    for (let at = from; at < to;) {
      const chunk = Math.floor(at / chunkSize), within = at - chunk * chunkSize;
      const part = this.#chunks[chunk].subarray(within, Math.min(chunkSize, within + to - at));
      out.set(part, at - from);
      at += part.length;
    }
    return out;
  }

  text(row) {
    const from = this.#starts.values[row];
    let to = row + 1 < this.#starts.length ? this.#starts.values[row + 1] : this.length;
    const bytes = this.#bytes(from, to);
    to = bytes.length;
    if (to && bytes[to - 1] === 10) to -= 1;
    if (to && bytes[to - 1] === 13) to -= 1;
    return decoder.decode(bytes.subarray(0, to));
  }

  /** `{number, style, stream, gap}` of a row; number 0: it goes on with the line before. */
  row(index) {
    const from = this.#starts.values[index];
    let low = 0, high = this.#streams.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#streams[middle][0] <= from) low = middle + 1; else high = middle;
    }
    return {
      number: this.#numbers.values[index], style: this.#styles.values[index], stream: this.#streams[low - 1]?.[1],
      gap: this.#gaps.get(index) ?? 0,
    };
  }

  /** A number that changes when what the row shows changes. */
  version(index) { return index + 1 < this.#starts.length ? 0 : this.length; }

  /** The row on which a line begins, or -1. */
  rowOfLine(line) {
    let low = 0, high = this.rows - 1;
    while (low <= high) {
      let middle = (low + high) >> 1, probe = middle;
      while (probe > low && this.#numbers.values[probe] === 0) probe -= 1;
      const number = this.#numbers.values[probe];
      if (number === line) return probe;
      if (number !== 0 && number < line) low = middle + 1; else high = probe - 1;
    }
    return -1;
  }
}
