// The states of a run: word, shape and tone. A shape is a path in a 10 by 10 box, so that state is never colour alone.
// When the server's table (RunState.swift) gets a state, it gets a line here.
import { h, svg } from "./dom.js";

const shapes = {
  check: "M1.5 5.5 4 8l4.5-6",
  cross: "M2 2l6 6M8 2 2 8",
  play: "M2.5 1.5v7l6-3.5z",
  dots: "M1.2 5h.1M4.95 5h.1M8.7 5h.1",
  arrow: "M1.5 5h6M5 2l3 3-3 3",
  question: "M3 3.2C3 .6 7.2.8 7 3.2 6.9 4.6 5 4.6 5 6.3M5 8.9V9",
  clock: "M5 1a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM5 3v2.2L6.5 6.3",
  stop: "M2 2h6v6H2z",
  bar: "M5 1a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM2.3 7.7l5.4-5.4",
  hourglass: "M2.5 1h5M2.5 9h5M3 1c0 5 4 3 4 8M7 1c0 5-4 3-4 8",
  minus: "M5 1a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM3 5h4",
  disc: "M5 1.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z",
};
const solid = new Set(["play", "stop"]);

/** In the order of a strip: good news first, then what went wrong, then what is still open. */
export const states = {
  succeeded: { shape: "check", tone: "succeeded", means: "exit code 0" },
  failed: { shape: "cross", tone: "failed", means: "an exit code other than 0, a signal, or it could not be started" },
  timedOut: { word: "timed out", shape: "clock", tone: "failed", means: "ended at its time limit" },
  lost: { shape: "question", tone: "failed", means: "its agent cannot know what became of it" },
  killed: { shape: "stop", tone: "cancelled", means: "ended because somebody asked" },
  cancelled: { shape: "bar", tone: "cancelled", means: "ended before it was started" },
  expired: { shape: "hourglass", tone: "cancelled", means: "never started in time" },
  rejected: { shape: "minus", tone: "cancelled", means: "refused by its agent" },
  unknown: { shape: "question", tone: "unknown", means: "its host is silent; not a verdict", open: true },
  running: { shape: "play", tone: "running", means: "started", open: true },
  sent: { shape: "arrow", tone: "waiting", means: "handed to its agent", open: true },
  queued: { shape: "dots", tone: "waiting", means: "waits here for its agent", open: true },
};
export const order = Object.keys(states);
const presence = {
  online: { shape: "disc", tone: "succeeded", filled: true },
  offline: { shape: "disc", tone: "waiting" },
};

const look = state => states[state] ?? presence[state] ?? { shape: "question", tone: "unknown" };
export const word = state => look(state).word ?? state;
export const isOpen = state => look(state).open === true;
export const tone = state => look(state).tone;

export function icon(state) {
  const { shape, filled } = look(state);
  const root = svg("0 0 10 10", ["path", { d: shapes[shape] }]);
  root.setAttribute("class", `shape${filled || solid.has(shape) ? " solid" : ""}`);
  return root;
}

/** Shape and word. `text` instead of the state's own word. */
export function mark(state, text = word(state)) {
  return h("span.mark", { class: `tone-${tone(state)}`, "data-state": state, title: look(state).means }, icon(state), h("span", null, text));
}
/** Brings a mark up to date in place. */
export function remark(element, state) {
  if (element.dataset.state === state) return;
  element.replaceWith(mark(state));
}
