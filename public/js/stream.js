// Server-sent events over fetch: unlike EventSource it says why a stream was refused, and it can be resumed by another reader.
import { fault } from "./api.js";

const first = 500, longest = 15_000, silence = 25_000;

/** Keeps a stream open until `signal` is aborted or `event` returns true. Reconnects with growing, jittered pauses.
 *  - event(name, data, id): data is parsed JSON.
 *  - state("open" | "away" | "refused", error or milliseconds until the next try): what became of the connection.
 *  - from(): the id behind which to go on, or null. */
export async function follow(url, { event, state = () => {}, from = () => null, signal }) {
  let failures = 0;
  while (!signal.aborted) {
    const attempt = new AbortController();
    const cancel = () => attempt.abort();
    signal.addEventListener("abort", cancel);
    let watchdog;
    const alive = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(cancel, silence);
    };
    try {
      alive();
      const headers = { Accept: "text/event-stream" };
      const id = from();
      if (id != null) headers["Last-Event-ID"] = id;
      const response = await fetch(url, { headers, signal: attempt.signal, cache: "no-store" });
      if (!response.ok) {
        const error = await fault(response);
        if (response.status < 500) return state("refused", error);
        throw error;
      }
      state("open");
      if (await read(response.body, name => { failures = 0; alive(); return name; }, event)) return;
    } catch (error) {
      if (signal.aborted) return;
    } finally {
      clearTimeout(watchdog);
      attempt.abort();
      signal.removeEventListener("abort", cancel);
    }
    if (signal.aborted) return;
    const pause = Math.min(longest, first * 2 ** failures) * (0.5 + Math.random() / 2);
    failures += 1;
    state("away", pause);
    await sleep(pause, signal);
  }
}

let wakers = new Set();
/** Everybody who waits tries again now. */
export function tryNow() { for (const wake of [...wakers]) wake(); }
function sleep(ms, signal) {
  return new Promise(resolve => {
    const done = () => {
      clearTimeout(timer);
      wakers.delete(done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    wakers.add(done);
    signal.addEventListener("abort", done);
  });
}

/** True when `event` said that this was all. */
async function read(body, alive, event) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return false;
    alive();
    text += value;
    let start = 0;
    for (let end; (end = text.indexOf("\n\n", start)) >= 0; start = end + 2) {
      let name = "message", id = null;
      const data = [];
      for (const line of text.slice(start, end).split("\n")) {
        if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
        else if (line.startsWith("event:")) name = line.slice(6).trim();
        else if (line.startsWith("id:")) id = line.slice(3).trim();
      }
      let isLast = false;
      // A mistake in a listener is not the connection's: it is told, and the stream goes on.
      try { isLast = data.length > 0 && event(name, JSON.parse(data.join("\n")), id) === true; } catch (error) { reportError(error); }
      if (isLast) {
        reader.cancel().catch(() => {});
        return true;
      }
    }
    text = text.slice(start);
  }
}
