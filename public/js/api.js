// Every request to the dashboard goes through here; so does the knowledge whether it can be reached.

export class ApiError extends Error {
  /** `status` 0: no answer at all. `all`: every fault, where there are several. */
  constructor(status, { code, message, hint, field }, all = []) {
    super(message);
    Object.assign(this, { status, code, hint: hint ?? "", field: field ?? null, all });
  }
}

let reached = () => {};
/** Told after every request: true where an answer came. */
export function onReach(listener) { reached = listener; }

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    reached(false);
    throw new ApiError(0, { code: "unreachable", message: "The dashboard does not answer.", hint: "The page tries again by itself." });
  }
  reached(true);
  if (response.ok) return response;
  throw await fault(response);
}

/** The API's own words for what went wrong. */
export async function fault(response) {
  try {
    const { error, errors } = await response.json();
    return new ApiError(response.status, error, errors ?? [error]);
  } catch {
    return new ApiError(response.status, { code: "http", message: `The dashboard answered ${response.status} ${response.statusText}.` });
  }
}

export const get = async (path, signal) => (await ask(path, { signal })).json();
export const post = async (path, body) => (await ask(path, { method: "POST", body: JSON.stringify(body) })).json();

/** The first bytes of a run's log. */
export async function sample(auuid, length, signal) {
  const headers = { Accept: "text/plain", Range: `bytes=0-${length - 1}` };
  return new Uint8Array(await (await ask(runPath(auuid, "/log"), { headers, signal })).arrayBuffer());
}

export const runPath = (auuid, rest = "") => `/v1/runs/${encodeURIComponent(auuid)}${rest}`;

/** A query string of what is not empty; an array repeats its name. */
export function query(parameters) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one != null && one !== "") search.append(name, one);
  }
  return search.size ? `?${search}` : "";
}

/** Every page of a list, handed over as it comes. */
export async function pages(path, parameters, take, signal) {
  let after = null;
  do {
    const page = await get(path + query({ ...parameters, limit: 1000, after }), signal);
    take(page.items);
    after = page.next;
  } while (after);
}
