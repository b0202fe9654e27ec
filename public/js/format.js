// Numbers, times and names as people read them.

const units = ["B", "kB", "MB", "GB", "TB"];
export function bytes(count) {
  let value = count, unit = 0;
  while (value >= 999.5 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

const grouped = new Intl.NumberFormat("en", { useGrouping: true });
export const number = value => grouped.format(value);
export const count = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;

/** "180 ms", "4.2 s", "2 m 14 s", "3 h 5 m", "6 d 2 h". */
export function duration(ms) {
  if (!(ms >= 0)) return "";
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  const whole = Math.round(s);
  if (whole < 60) return `${whole} s`;
  const two = (big, bigUnit, small, smallUnit) => `${big} ${bigUnit}${small ? ` ${small} ${smallUnit}` : ""}`;
  if (whole < 3600) return two(Math.floor(whole / 60), "m", whole % 60, "s");
  if (whole < 86400) return two(Math.floor(whole / 3600), "h", Math.floor(whole / 60) % 60, "m");
  return two(Math.floor(whole / 86400), "d", Math.floor(whole / 3600) % 24, "h");
}

export function ago(date, now = Date.now()) {
  const s = (now - date) / 1000;
  if (s < -5) return `in ${duration(-s * 1000)}`;
  if (s < 5) return "now";
  if (s < 60) return `${Math.floor(s)} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} m ago`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ago`;
  if (s < 86400 * 30) return `${Math.floor(s / 86400)} d ago`;
  return new Date(date).toLocaleDateString("en-CA");
}

/** Exact, in the reader's zone. */
export function exact(date) {
  const d = new Date(date);
  const pad = (n, w = 2) => String(n).padStart(w, "0");
  const zone = -d.getTimezoneOffset();
  const offset = `${zone < 0 ? "−" : "+"}${pad(Math.floor(Math.abs(zone) / 60))}:${pad(Math.abs(zone) % 60)}`;
  return `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())} ${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}.${pad(d.getMilliseconds(), 3)} ${offset}`;
}
export const clock = date => new Date(date).toTimeString().slice(0, 5);

const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
/** Makes control and direction characters visible: a name must not be able to look like another one. Tabs and line ends stay. */
export function visible(text) {
  return text.replace(hidden, c => {
    const hex = c.charCodeAt(0).toString(16).toUpperCase();
    return hex.length > 2 ? `⟨U+${hex}⟩` : `⟨${hex.padStart(2, "0")}⟩`;
  });
}
/** On one line. */
export const oneLine = text => visible(text).replace(/\s*\n\s*/g, " ⏎ ").replace(/\t/g, " ");

/** What a task runs, on one line. */
export const command = task => oneLine(task.args ? [task.taskname, ...task.args].map(quoteLight).join(" ") : task.taskname);
const quoteLight = word => (/^[\w@%+=:,./-]+$/.test(word) ? word : shellQuote(word));
export const shellQuote = text => `'${text.replaceAll("'", "'\\''")}'`;
