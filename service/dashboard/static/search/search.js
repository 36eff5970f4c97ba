// The page of a job, live: when something happened, the parts that may show it are asked for again and put in place.

import { onConnection, subscribe } from "../live.js";
import { LogTail } from "./log_tail.js";

const PAUSE_MS = 150; // events come in bursts
/** @type {Record<string, number>} how long to wait at least before a part is asked for again */
const LEAST_MS = { curves: 1500, attempts: 1500, trials: 700, summary: 500, head: 0, trouble: 0, history: 0, facts: 0 };
const SHOWN_BY = {
  state: ["head", "trouble", "summary", "trials", "history", "attempts", "facts"],
  trial: ["summary", "trials", "attempts"],
  progress: ["summary", "trials", "attempts"],
  metric: ["curves"],
  front: ["summary", "trials"],
  reset: ["head", "trouble", "summary", "trials", "curves", "history", "attempts", "facts"],
};
const main = /** @type {HTMLElement} */ (document.getElementById("content"));
const page = /** @type {HTMLElement} */ (document.getElementById("job"));

/** @type {Set<string>} parts that wait to be asked for again; below, when each was last */
const waiting = new Set();
/** @type {Map<string, number>} */
const askedAt = new Map();
/** @type {Map<string, string>} */
const shown = new Map();
let timer = 0;
let asking = false;

/** @param {string[]} names */
function refresh(names) {
  for (const name of names) waiting.add(name);
  if (!timer && !asking) timer = window.setTimeout(ask, PAUSE_MS);
}

/** Asks for the parts that wait and whose least pause is over, and puts them in place. */
async function ask() {
  timer = 0;
  const now = performance.now();
  const due = [...waiting].filter((name) => now - (askedAt.get(name) ?? -Infinity) >= (LEAST_MS[name] ?? 0));
  if (due.length) {
    asking = true;
    for (const name of due) {
      waiting.delete(name);
      askedAt.set(name, now);
    }
    try {
      await load(due);
    } catch {
      for (const name of due) waiting.add(name); // the server is away: again when it is back
      asking = false;
      return;
    }
    asking = false;
  }
  if (waiting.size) timer = window.setTimeout(ask, due.length ? PAUSE_MS : 300);
}

/** @param {string[]} names @returns {Promise<void>} */
async function load(names) {
  const query = new URLSearchParams({ names: names.join(",") });
  const trial = new URLSearchParams(location.search).get("trial");
  if (trial) query.set("trial", trial);
  const answer = await fetch(`${page.dataset.parts}?${query}`, { headers: { Accept: "text/html" }, cache: "no-store" });
  if (answer.redirected) location.reload(); // the session is over
  if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
  const found = new DOMParser().parseFromString(await answer.text(), "text/html");
  log.showState(found.body.dataset.jobState ?? "");
  for (const part of found.querySelectorAll("[data-part]")) place(/** @type {HTMLElement} */ (part));
}

/** @param {HTMLElement} part puts it where the older one stands, unless nothing changed; focus and scrolling stay */
function place(part) {
  const name = part.dataset.part ?? "";
  const old = /** @type {HTMLElement | null} */ (page.querySelector(`[data-part="${name}"]`));
  if (!old || shown.get(name) === part.innerHTML || old.querySelector("select:focus")) return;
  shown.set(name, part.innerHTML);
  const focused = document.activeElement && old.contains(document.activeElement) ? document.activeElement : null;
  const boxes = [...old.querySelectorAll(".scroll, .table-box")].map((box) => box.scrollLeft);
  const opened = [...old.querySelectorAll("details")].map((details) => details.open);
  old.replaceChildren(...part.childNodes);
  old.querySelectorAll(".scroll, .table-box").forEach((box, index) => (box.scrollLeft = boxes[index] ?? 0));
  old.querySelectorAll("details").forEach((details, index) => (details.open = opened[index] ?? details.open));
  if (focused) (/** @type {HTMLElement | null} */ (findAgain(old, focused)) ?? main).focus({ preventScroll: true });
}

/** @param {HTMLElement} part @param {Element} focused @returns {Element | null} what stands for it in the new part */
function findAgain(part, focused) {
  if (focused.id) return part.querySelector(`#${CSS.escape(focused.id)}`);
  const href = focused.getAttribute("href");
  return href ? part.querySelector(`[href="${CSS.escape(href)}"]`) : part.querySelector("[tabindex]");
}

/** Asks before an action, in a dialog whose form says what will happen. */
function openDialogs() {
  document.addEventListener("submit", (event) => {
    const form = /** @type {HTMLFormElement} */ (event.target);
    const name = /** @type {HTMLButtonElement | null} */ (event.submitter)?.value;
    if (!form.matches("[data-actions]") || !name) return;
    const dialog = /** @type {HTMLDialogElement | null} */ (document.getElementById(`dialog-${name}`));
    if (!dialog) return;
    event.preventDefault();
    dialog.showModal();
  });
  for (const button of document.querySelectorAll("dialog [data-close]")) {
    button.addEventListener("click", () => button.closest("dialog")?.close());
  }
}

/** Draws the curves of the trial that is chosen; the address keeps the choice. */
function chooseCurves() {
  page.addEventListener("change", (event) => {
    const select = /** @type {HTMLSelectElement} */ (event.target);
    if (select.id !== "curves-of") return;
    const address = new URL(location.href);
    if (select.value) address.searchParams.set("trial", select.value);
    else address.searchParams.delete("trial");
    history.replaceState(null, "", address);
    askedAt.delete("curves");
    select.blur();
    load(["curves"]).then(() => document.getElementById("curves-of")?.focus(), () => refresh(["curves"]));
  });
}

const log = new LogTail(
  /** @type {HTMLElement} */ (document.getElementById("log")),
  /** @type {HTMLButtonElement} */ (document.getElementById("log-follow")),
  JSON.parse(document.getElementById("trial-names")?.textContent ?? "{}"),
);
openDialogs();
chooseCurves();
for (const [kind, names] of Object.entries(SHOWN_BY)) subscribe(kind, () => refresh(names));
subscribe("log", (event) => log.add(event.data));
onConnection((connected, first) => {
  if (connected && !first) refresh(SHOWN_BY.reset);
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !document.body.dataset.job) refresh(["head", "trouble"]); // someone may have resumed it
});
main.dataset.state = "ready";
