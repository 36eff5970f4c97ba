// The form of a search: checked by the server as one types, faults at their fields; and lines to copy.

const PAUSE_MS = 250;
const main = /** @type {HTMLElement} */ (document.getElementById("content"));
const form = /** @type {HTMLFormElement} */ (document.getElementById("submit-form"));
const dataset = /** @type {HTMLSelectElement} */ (form.elements.namedItem("dataset"));
let timer = 0;
/** @type {AbortController | null} */
let asking = null;

/** Shows the tasks of the dataset that is chosen. */
function showTasks() {
  for (const group of /** @type {NodeListOf<HTMLElement>} */ (form.querySelectorAll("[data-dataset]"))) {
    group.hidden = group.dataset.dataset !== dataset.value;
  }
}

/** Asks the server what it thinks of the form as it stands, once typing pauses. */
function checkSoon() {
  window.clearTimeout(timer);
  main.dataset.check = "waiting";
  timer = window.setTimeout(check, PAUSE_MS);
}

// Read as an attribute: `form.dataset` is the control of that name.
async function check() {
  asking?.abort();
  asking = new AbortController();
  const body = new URLSearchParams(/** @type {any} */ (new FormData(form)));
  try {
    const answer = await fetch(form.getAttribute("data-check") ?? "", { method: "POST", body, signal: asking.signal });
    if (answer.redirected) location.reload(); // the session is over
    if (!answer.ok) return;
    show(new DOMParser().parseFromString(await answer.text(), "text/html"));
    main.dataset.check = "done";
  } catch {
    // a newer question took its place, or the server is away: the form still submits, and is checked then
  }
}

/** @param {Document} found what the server thinks of the form */
function show(found) {
  for (const part of /** @type {NodeListOf<HTMLElement>} */ (found.querySelectorAll("[data-part]"))) {
    const place = form.querySelector(`[data-part="${part.dataset.part}"]`);
    if (place && place.innerHTML !== part.innerHTML) place.replaceChildren(...part.childNodes);
  }
  for (const told of /** @type {NodeListOf<HTMLElement>} */ (found.querySelectorAll("[data-error]"))) {
    showError(told.dataset.error ?? "", told.textContent ?? "");
  }
}

/** @param {string} name of a control @param {string} message what is wrong with it, "" for nothing */
function showError(name, message) {
  const id = name.replaceAll(".", "-");
  const place = document.getElementById(`error-${id}`);
  if (!place) return;
  if (place.textContent !== message) place.textContent = message;
  place.hidden = !message;
  const field = /** @type {HTMLElement | null} */ (document.getElementById(id));
  if (!field || field instanceof HTMLFieldSetElement) return;
  if (message) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}

/** @param {HTMLElement} button copies the text beside it */
async function copy(button) {
  const content = document.getElementById(button.dataset.copy ?? "")?.textContent ?? "";
  try {
    await navigator.clipboard.writeText(content);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select and copy it"; // without HTTPS a browser may forbid it
  }
  window.setTimeout(() => (button.textContent = "Copy"), 1500);
}

const address = new URL(location.href);
if (address.pathname === "/submit" && !address.searchParams.has("key")) {
  address.searchParams.set("key", /** @type {HTMLInputElement} */ (form.elements.namedItem("nonce")).value);
  history.replaceState(null, "", address); // going back to this page and sending it again makes no second search
}
showTasks();
dataset.addEventListener("change", showTasks);
form.addEventListener("input", checkSoon);
form.addEventListener("change", checkSoon);
form.addEventListener("click", (event) => {
  const button = /** @type {HTMLElement} */ (event.target).closest("[data-copy]");
  if (button) copy(/** @type {HTMLElement} */ (button));
});
document.getElementById("refused")?.focus();
main.dataset.state = "ready";
