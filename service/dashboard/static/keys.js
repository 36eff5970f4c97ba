// Keyboard shortcuts. An element declares its own: data-key="f" (or "g s", one after the other) and data-key-label.
// Pressing the key clicks a link or a button, and focuses a field. `?` lists what there is on this page.

const PAUSE_MS = 1200;
const dialog = /** @type {HTMLDialogElement} */ (document.getElementById("keys"));
let pending = "";
let timer = 0;

/** @returns {HTMLElement[]} the visible elements that have a shortcut */
function elements() {
  const found = /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-key]"));
  return [...found].filter((element) => element.checkVisibility() && !(/** @type {any} */ (element).disabled));
}

/** @param {EventTarget | null} target @returns {boolean} whether keys belong to what is being typed */
function isTyping(target) {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return !["checkbox", "radio", "button", "submit"].includes(target.type);
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement || target.isContentEditable;
}

/** @param {HTMLElement} element */
function activate(element) {
  if (element.matches("input:not([type=checkbox], [type=radio]), select, textarea")) element.focus();
  else element.click();
}

/** @param {string} keys @param {string} label @returns {HTMLElement[]} one line of the list */
function line(keys, label) {
  const term = document.createElement("dt");
  for (const key of keys.split(" ")) {
    const cap = document.createElement("kbd");
    cap.textContent = key;
    term.append(cap, " ");
  }
  const text = document.createElement("dd");
  text.textContent = label;
  return [term, text];
}

/** Opens the list of the shortcuts of this page. */
export function openShortcuts() {
  const seen = new Map(elements().map((element) => [element.dataset.key ?? "", element]));
  const lines = [...seen].flatMap(([key, element]) =>
    line(key, element.dataset.keyLabel ?? element.getAttribute("aria-label") ?? element.textContent?.trim() ?? ""),
  );
  dialog.querySelector(".keys-list")?.replaceChildren(...lines, ...line("?", "Show this list"), ...line("Esc", "Close it"));
  dialog.showModal();
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyping(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "?") {
    event.preventDefault();
    openShortcuts();
    return;
  }
  if (event.key.length !== 1) return;
  const all = elements();
  const typed = pending ? `${pending} ${event.key}` : event.key;
  const match = all.find((element) => element.dataset.key === typed);
  pending = "";
  window.clearTimeout(timer);
  if (match) {
    event.preventDefault();
    activate(match);
  } else if (all.some((element) => element.dataset.key?.startsWith(`${event.key} `))) {
    pending = event.key;
    timer = window.setTimeout(() => (pending = ""), PAUSE_MS);
  }
}

document.addEventListener("keydown", onKey);
document.getElementById("keys-open")?.addEventListener("click", openShortcuts);
