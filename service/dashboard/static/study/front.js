// The page of a study. The server draws: a change of the choices fetches the same page under its new address and takes
// over what is shown, so that every number is the server's, and the address always says what is seen.

import { subscribe, onConnection } from "../live.js";
import { savePng } from "./picture.js";
import { bindPoints, hasPoint, showCard, shownId } from "./points.js";

const MAX_PINS = 4;
const LIVE_MS = 300;
const STRANGER_MS = 10_000;
const main = /** @type {HTMLElement} */ (document.getElementById("content"));
const form = /** @type {HTMLFormElement} */ (document.getElementById("choices"));
const field = /** @type {HTMLInputElement} */ (document.getElementById("choice-under"));
const range = /** @type {HTMLInputElement | null} */ (document.getElementById("choice-range"));
/** @type {AbortController | null} */
let running = null;
let timer = 0;
let again = 0;

/** @returns {URLSearchParams} what is chosen now */
const chosen = () => new URLSearchParams(location.search);

/** @returns {string[]} the ids of the pinned networks */
const pins = () => (chosen().get("pins") ?? "").split(",").filter(Boolean);

/**
 * Shows the page of another address without leaving this one.
 * @param {string} address
 * @param {boolean} [isSame] whether only what is new is looked for
 */
async function show(address, isSame = false) {
  running?.abort();
  running = new AbortController();
  if (!isSame) history.replaceState(null, "", address);
  main.dataset.state = "loading";
  try {
    const answer = await fetch(address, { signal: running.signal, headers: { Accept: "text/html" }, cache: "no-store" });
    if (!answer.ok || answer.redirected) {
      location.assign(address);
      return;
    }
    take(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch (error) {
    if (/** @type {Error} */ (error).name === "AbortError") return;
    say("The server does not answer. What you see may be out of date.");
  }
  main.dataset.state = "ready";
}

/** @param {Document} page what the server sent */
function take(page) {
  const focused = document.activeElement?.id ?? "";
  const scroll = document.querySelector("#shown .scroll")?.scrollLeft ?? 0;
  const card = shownId();
  const next = page.getElementById("shown");
  if (!next) return;
  document.getElementById("shown")?.replaceWith(document.adoptNode(next));
  const box = document.querySelector("#shown .scroll");
  if (box) box.scrollLeft = scroll;
  bind();
  if (focused && document.activeElement?.id !== focused) document.getElementById(focused)?.focus({ preventScroll: true });
  if (card && hasPoint(card) && focused.startsWith("point-")) showCard(card);
}

/** @param {string} text what a screen reader should hear, and the eye see */
function say(text) {
  const summary = document.getElementById("summary");
  if (summary) summary.textContent = text;
}

/** Applies the form: its fields, and of the address what has no field. */
function apply() {
  if (!form.reportValidity()) return;
  const query = chosen();
  const sent = new FormData(form);
  for (const name of ["x", "y", "colour", "spread", "search", "under", "feasible"]) {
    const value = String(sent.get(name) ?? "").trim();
    const plain = { x: "madds", y: "delta_m", colour: "search" }[name] ?? "";
    if (value === plain) query.delete(name);
    else query.set(name, value);
  }
  query.delete("page");
  const address = query.size ? `${location.pathname}?${query.toString().replaceAll("%2C", ",")}` : location.pathname;
  void show(address);
}

/** @param {string} id a network to pin, or to let go */
function togglePin(id) {
  const now = pins();
  const next = now.includes(id) ? now.filter((pin) => pin !== id) : [...now, id];
  if (next.length > MAX_PINS) {
    say(`At most ${MAX_PINS} networks can be compared. Let one go first.`);
    markPins();
    return;
  }
  const query = chosen();
  if (next.length) query.set("pins", next.join(","));
  else query.delete("pins");
  const address = query.size ? `${location.pathname}?${query.toString().replaceAll("%2C", ",")}` : location.pathname;
  void show(address);
}

/** Lets boxes and button say what is pinned. */
function markPins() {
  const now = pins();
  for (const box of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("#shown input[name=ids]"))) {
    if (box.type === "checkbox") box.checked = now.includes(box.value);
  }
  const button = document.getElementById("pin");
  const id = shownId();
  if (button && id) {
    button.hidden = false;
    button.textContent = now.includes(id) ? "Let it go" : "Pin to compare";
  }
}

/** Gives what is shown its behaviour; called again whenever it is replaced. */
function bind() {
  const shown = /** @type {HTMLElement} */ (document.getElementById("shown"));
  bindPoints(shown, markPins);
  shown.addEventListener("click", (event) => {
    const link = /** @type {Element} */ (event.target).closest("a.sort, a.page, a.unpin");
    if (!(link instanceof HTMLAnchorElement) || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    void show(link.href);
  });
  shown.addEventListener("change", (event) => {
    const box = /** @type {HTMLInputElement} */ (event.target);
    if (box.name === "ids") togglePin(box.value);
  });
  document.getElementById("pin")?.addEventListener("click", () => togglePin(shownId()));
  document.getElementById("pins")?.addEventListener("submit", (event) => {
    event.preventDefault();
    if (pins().length < 2) say("Pin two to four networks first: tick them in the table, or press p on a point.");
    else location.assign(`/compare?ids=${pins().join(",")}`);
  });
  const picture = document.getElementById("save-png");
  picture?.addEventListener("click", () => {
    const drawing = shown.querySelector("svg.study-front");
    if (drawing instanceof SVGSVGElement) void savePng(drawing, "front.png");
  });
  markPins();
}

/** @param {number} value @returns {string} a limit as people write it: four figures, rounded up, and a unit */
function write(value) {
  const step = 10 ** (Math.floor(Math.log10(value)) - 3);
  const whole = Math.ceil(value / step) * step;
  const [scale, unit] = whole >= 1e9 ? [1e9, "G"] : whole >= 1e6 ? [1e6, "M"] : whole >= 1e3 ? [1e3, "K"] : [1, ""];
  return `${Number((whole / scale).toPrecision(4))}${unit}`;
}

/** @param {string} text @returns {number} the limit that was typed; NaN for none */
function read(text) {
  const match = /^\s*([0-9.]+)\s*([KMG]?)\s*$/i.exec(text);
  return match ? Number(match[1]) * ({ K: 1e3, M: 1e6, G: 1e9 }[match[2].toUpperCase()] ?? 1) : NaN;
}

/** Puts the knob of the slider where the field says; at its end there is no limit. */
function placeKnob() {
  if (!range) return;
  const [low, high] = [Number(range.dataset.low), Number(range.dataset.high)];
  const limit = read(field.value);
  const share = Number.isNaN(limit) ? 1 : Math.log(limit / low) / Math.log(high / low);
  range.value = String(Math.round(Math.min(1, Math.max(0, share)) * Number(range.max)));
  range.setAttribute("aria-valuetext", field.value.trim() || "no limit");
}

/** Reads the knob into the field. */
function readKnob() {
  if (!range) return;
  const [low, high] = [Number(range.dataset.low), Number(range.dataset.high)];
  const share = Number(range.value) / Number(range.max);
  field.value = share >= 1 ? "" : write(low * (high / low) ** share);
  range.setAttribute("aria-valuetext", field.value || "no limit");
  window.clearTimeout(timer);
  timer = window.setTimeout(apply, 120);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  apply();
});
form.addEventListener("change", (event) => {
  if (event.target === range) return;
  if (event.target === field) placeKnob();
  if (/** @type {HTMLElement} */ (event.target).id === "choice-x") {
    field.value = "";
    location.assign(withoutLimit());
    return;
  }
  apply();
});
range?.addEventListener("input", readKnob);

/** @returns {string} the address under another axis of cost, for which the limit means nothing */
function withoutLimit() {
  const query = chosen();
  query.delete("under");
  query.set("x", String(new FormData(form).get("x")));
  return `${location.pathname}?${query.toString().replaceAll("%2C", ",")}`;
}

/** @param {number} wait milliseconds; looks for what is new, once for many events */
function lookAgain(wait) {
  if (again) return;
  again = window.setTimeout(() => {
    again = 0;
    void show(location.href, true);
  }, wait);
}

/** @param {string} job @returns {boolean} whether it is a job of this study that was not done when last looked */
const isOurs = (job) => (document.getElementById("shown")?.dataset.unfinished ?? "").split(" ").includes(job);

subscribe("trial", ({ data }) => data.state === "SUCCEEDED" && isOurs(data.job_id) && lookAgain(LIVE_MS));
subscribe("state", ({ data }) => lookAgain(isOurs(data.job_id) ? LIVE_MS : STRANGER_MS)); // it may be new here
subscribe("reset", () => lookAgain(LIVE_MS));
onConnection((connected, first) => {
  if (connected && !first) lookAgain(LIVE_MS);
});
placeKnob();
bind();
main.dataset.state = "ready";
