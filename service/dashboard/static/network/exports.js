// Asks for exports and follows them; when one ends, the downloads are read again as the server writes them.

import { ApiProblem, call } from "../api.js";

const POLL_MS = 700;
const MAX_POLL_MS = 5000;
const ENDED = ["SUCCEEDED", "FAILED", "CANCELLED"];
const following = new Set();

/** @param {string} text */
function say(text) {
  const status = document.getElementById("export-status");
  if (status) status.textContent = text;
}

/** Puts the downloads as they are now in the place of those shown, and keeps the focus near where it was. */
async function refresh() {
  const answer = await fetch(location.pathname, { cache: "no-store" });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("downloads");
  const shown = document.getElementById("downloads");
  if (!fresh || !shown) return;
  const row = shown.contains(document.activeElement) ? document.activeElement?.closest("tr") : null;
  const format = /** @type {HTMLElement | null | undefined} */ (row)?.dataset.format;
  const had = document.activeElement?.id;
  shown.replaceWith(document.importNode(fresh, true));
  bindExports();
  const again = `#downloads tr[data-format="${format}"] :is(a, button)`;
  if (format) /** @type {HTMLElement | null} */ (document.querySelector(again))?.focus({ preventScroll: true });
  else if (had) document.getElementById(had)?.focus({ preventScroll: true });
}

/** @param {HTMLElement} box the progress of an export */
async function follow(box) {
  const id = box.dataset.follow ?? "";
  if (following.has(id)) return;
  following.add(id);
  let wait = POLL_MS;
  for (;;) {
    await new Promise((resolve) => window.setTimeout(resolve, wait));
    if (!document.hidden) wait = POLL_MS;
    try {
      const job = await call(`/api/v1/exports/${id}`);
      const shown = document.querySelector(`[data-follow="${id}"]`);
      const bar = shown?.querySelector("progress");
      if (bar) bar.value = job.progress;
      const words = shown?.querySelector(".export-words");
      if (words) words.textContent = job.state === "QUEUED" ? "waits for a worker" : "is being written";
      if (!ENDED.includes(job.state)) continue;
      following.delete(id);
      await refresh();
      say(job.state === "SUCCEEDED" ? `The ${job.spec.format} file is ready.` : `The export ${job.state.toLowerCase()}.`);
      return;
    } catch (problem) {
      if (problem instanceof ApiProblem && problem.status < 500 && problem.status !== 429) {
        following.delete(id);
        return;
      }
      wait = Math.min(MAX_POLL_MS, wait * 2); // the server is away for a moment
    }
  }
}

/** @param {SubmitEvent} event */
async function ask(event) {
  event.preventDefault();
  const form = /** @type {HTMLFormElement} */ (event.currentTarget);
  const format = String(new FormData(form).get("format"));
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));
  if (button.getAttribute("aria-disabled") === "true") return; // it was asked for a moment ago
  button.setAttribute("aria-disabled", "true");
  const network = document.getElementById("downloads")?.dataset.network ?? "";
  try {
    await call(`/api/v1/architectures/${network}/exports`, { method: "POST", body: { format } });
    say(`The ${format} file is being written.`);
    await refresh();
  } catch (problem) {
    button.removeAttribute("aria-disabled");
    const notice = document.createElement("span");
    notice.className = "error";
    const id = problem instanceof ApiProblem && problem.requestId ? ` (request ${problem.requestId})` : "";
    notice.textContent = ` ${problem instanceof ApiProblem ? problem.message : "The server cannot be reached."}${id}`;
    form.querySelector(".error")?.remove();
    form.append(notice);
  }
}

/** Copies the lines that load the ONNX file. */
async function copy() {
  const button = document.getElementById("copy-snippet");
  const lines = document.getElementById("snippet");
  if (!button || !lines) return;
  try {
    await navigator.clipboard.writeText(lines.textContent ?? "");
    button.textContent = "Copied";
  } catch {
    window.getSelection()?.selectAllChildren(lines);
    button.textContent = "Selected";
  }
  window.setTimeout(() => (button.textContent = "Copy"), 1600);
}

/** Takes over the forms, the progress and the button of the downloads. */
export function bindExports() {
  for (const form of document.querySelectorAll("#downloads form.ask")) {
    form.addEventListener("submit", (event) => void ask(/** @type {SubmitEvent} */ (event)));
  }
  for (const box of document.querySelectorAll("[data-follow]")) void follow(/** @type {HTMLElement} */ (box));
  document.getElementById("copy-snippet")?.addEventListener("click", () => void copy());
}
