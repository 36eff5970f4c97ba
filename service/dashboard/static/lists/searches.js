// The list of searches, live: rows whose job an event names are read again from the server and put in place, cell by
// cell, so that focus stays. After a lost connection all rows are. Searches that are not on the page are announced.

import { onConnection, subscribe } from "../live.js";

const PAUSE_MS = 400;
const body = document.getElementById("rows");
const news = document.getElementById("news");
/** @type {Set<string>} */
const waiting = new Set();
/** @type {Set<string>} */
const unseen = new Set();
let timer = 0;
let busy = false;

/** @returns {HTMLTableRowElement[]} */
const rows = () => [...(/** @type {NodeListOf<HTMLTableRowElement>} */ (body?.querySelectorAll("tr[data-job-row]") ?? []))];

/** @param {HTMLTableRowElement} row @param {HTMLTableRowElement | null} fresh puts the newer cells in place */
function replace(row, fresh) {
  row.classList.toggle("gone", fresh === null);
  if (!fresh || Number(fresh.dataset.version) < Number(row.dataset.version)) return;
  row.dataset.version = fresh.dataset.version;
  const cells = /** @type {NodeListOf<HTMLElement>} */ (row.querySelectorAll("[data-cell]"));
  for (const cell of cells) {
    const other = fresh.querySelector(`[data-cell="${cell.dataset.cell}"]`);
    if (!other || other.innerHTML === cell.innerHTML) continue;
    if (cell.dataset.cell === "state") {
      row.classList.remove("changed");
      void row.offsetWidth; // lets the animation begin again
      row.classList.add("changed");
    }
    const bar = cell.querySelector("progress");
    const newBar = other.querySelector("progress");
    if (bar && newBar) {
      bar.value = newBar.value;
      bar.dataset.state = newBar.dataset.state;
      bar.textContent = newBar.textContent;
      const [text, newText] = [cell.querySelector("small"), other.querySelector("small")];
      if (text && newText) text.textContent = newText.textContent;
    } else {
      cell.replaceChildren(...other.childNodes);
    }
  }
}

/** Reads the rows that wait. */
async function refresh() {
  timer = 0;
  if (busy || waiting.size === 0) return;
  busy = true;
  const ids = [...waiting];
  waiting.clear();
  try {
    const answer = await fetch(`/searches/rows?ids=${ids.join(",")}`, { cache: "no-store", redirect: "error" });
    if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = new Map([...page.querySelectorAll("tr")].map((row) => [row.dataset.jobRow, row]));
    for (const row of rows()) {
      const id = row.dataset.jobRow ?? "";
      if (ids.includes(id)) replace(row, found.get(id) ?? null);
    }
    announce(ids.filter((id) => found.has(id)));
  } catch {
    for (const id of ids) waiting.add(id); // the server is away or about to go: the next connection brings them
  }
  busy = false;
  if (waiting.size) plan(PAUSE_MS * 4);
}

/** @param {string[]} ids searches that are there but not on this page */
function announce(ids) {
  const shown = new Set(rows().map((row) => row.dataset.jobRow));
  for (const id of ids) if (!shown.has(id)) unseen.add(id);
  const place = news?.querySelector("span");
  if (!news || !place || unseen.size === 0) return;
  place.textContent = unseen.size === 1 ? "1 new search" : `${unseen.size} new searches`;
  news.hidden = false;
}

/** @param {number} [pause] */
function plan(pause = PAUSE_MS) {
  if (!timer) timer = window.setTimeout(refresh, pause);
}

/** @param {{kind: string, data: any}} event */
function note(event) {
  const id = String(event.data.job_id ?? "");
  const isNew = event.kind === "state" && event.data.state === "QUEUED" && id.startsWith("srch_");
  if (!isNew && !rows().some((row) => row.dataset.jobRow === id)) return;
  waiting.add(id);
  plan(event.kind === "state" ? 50 : PAUSE_MS);
}

/** Reads all rows of the page again. */
function readAll() {
  for (const row of rows()) waiting.add(row.dataset.jobRow ?? "");
  plan(50);
}

for (const kind of ["state", "trial", "progress"]) subscribe(kind, note);
subscribe("reset", readAll);
// Also at the first connection: something may have happened since the page was made.
onConnection((connected) => connected && readAll());

document.getElementById("filters")?.addEventListener("formdata", (event) => {
  for (const [name, value] of [...event.formData]) {
    if (value === "" || (name === "sort" && value === "-created_at")) event.formData.delete(name);
  }
});

for (const box of document.querySelectorAll(".copy")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(box.querySelector("code")?.textContent ?? "");
    button.textContent = "Copied";
    window.setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  box.append(button);
}

const main = document.querySelector("main");
if (main) main.dataset.state = "ready";
