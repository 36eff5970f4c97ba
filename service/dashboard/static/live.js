// What happens now: one EventSource per tab, shared by all modules of the page, and the sign that says whether it lives.
//
// <body data-job="srch_..." data-after="17"> follows one job from its 17th event on (data-jobs names its collection,
// "searches" unless said); <body data-stream="/api/v1/..."> follows any other stream.

const RETRY_MS = 2000;
const PROBE = "/api/v1/tasks"; // any cheap address that needs the session
const KINDS = ["state", "trial", "progress", "metric", "log", "front", "reset"];

/** @typedef {{kind: string, seq: number, data: any}} LiveEvent */
/** @type {Map<string, Set<(event: LiveEvent) => void>>} */
const handlers = new Map();
/** @type {Set<(connected: boolean, first: boolean) => void>} */
const watchers = new Set();
const sign = document.getElementById("live");
let last = Number(document.body.dataset.after ?? 0);
let connections = 0;
let ended = false;
/** @type {EventSource | null} */
let source = null;

/**
 * Calls a handler for each event of a kind ("state", "trial", "progress", "metric", "log", "front"; "*" for all).
 * @param {string} kind
 * @param {(event: LiveEvent) => void} handler
 * @returns {() => void} ends it
 */
export function subscribe(kind, handler) {
  const own = handlers.get(kind) ?? new Set();
  handlers.set(kind, own.add(handler));
  start();
  return () => own.delete(handler);
}

/**
 * Calls a handler when the connection stands or is lost; `first` tells the first connection from those after a loss,
 * upon which pages read again what they may have missed.
 * @param {(connected: boolean, first: boolean) => void} handler
 */
export function onConnection(handler) {
  watchers.add(handler);
  start();
}

/** @returns {string} the address of the stream, "" where the page has none */
function address() {
  const { job, jobs = "searches", stream = "" } = document.body.dataset;
  return job ? `/api/v1/${jobs}/${encodeURIComponent(job)}/events?after=${last}` : stream;
}

/** @param {"live" | "reconnecting" | "ended" | "signed-out"} state */
function show(state) {
  if (!sign || sign.dataset.live === state) return;
  sign.hidden = false;
  sign.dataset.live = state;
  const words = { live: "live", reconnecting: "reconnecting…", ended: "ended", "signed-out": "signed out" };
  sign.textContent = words[state];
}

/** @param {MessageEvent} message */
function hand(message) {
  const seq = Number(message.lastEventId || 0);
  if (document.body.dataset.job && seq) {
    if (seq <= last) return;
    last = seq;
  }
  const event = { kind: message.type, seq, data: JSON.parse(message.data || "null") };
  if (document.body.dataset.job && event.kind === "state") {
    ended = ["SUCCEEDED", "FAILED", "CANCELLED"].includes(event.data.state);
  }
  for (const handler of [...(handlers.get(event.kind) ?? []), ...(handlers.get("*") ?? [])]) handler(event);
}

/** Opens the stream again, unless the session is over: then only signing in helps. */
async function retry() {
  try {
    const answer = await fetch(PROBE, { cache: "no-store" });
    if (answer.status === 401) {
      show("signed-out");
      return;
    }
  } catch {
    // the server is away
  }
  start();
}

/** Opens the stream unless it is open. */
function start() {
  if (source || !address()) return;
  source = new EventSource(address());
  source.addEventListener("open", () => {
    connections += 1;
    show("live");
    for (const watcher of watchers) watcher(true, connections === 1);
  });
  source.addEventListener("error", () => {
    const over = source?.readyState === EventSource.CLOSED;
    if (ended) {
      source?.close();
      show("ended");
      return;
    }
    show("reconnecting");
    for (const watcher of watchers) watcher(false, connections === 0);
    if (!over) return; // the browser tries again by itself
    source?.close();
    source = null;
    window.setTimeout(retry, RETRY_MS);
  });
  for (const kind of KINDS) source.addEventListener(kind, hand);
}
