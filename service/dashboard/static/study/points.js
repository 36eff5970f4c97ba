// Points of a front: hover and keyboard show the card of a network, arrows walk, Enter or a click opens it.

const HOVER_MS = 60;
/** @type {Map<string, string>} cards that were read, by address */
const cards = new Map();
/** @type {SVGAElement[]} by cost, then by quality */
let byCost = [];
/** @type {SVGAElement[]} from the lowest place in the drawing to the highest */
let byHeight = [];
let current = -1;
let shown = "";
let timer = 0;
let wished = "";
/** @type {() => void} */
let afterCard = () => {};

/** @returns {string} the id of the network in the card, "" for none */
export const shownId = () => document.querySelector("#card [data-id]")?.getAttribute("data-id") ?? "";

/** @param {Element} point @returns {string} */
const idOf = (point) => point.id.slice("point-".length);

/** @param {string} id @returns {boolean} whether a network is drawn */
export const hasPoint = (id) => byCost.some((point) => idOf(point) === id);

/**
 * @param {HTMLElement} area
 * @param {() => void} onCard called when another card is shown
 */
export function bindPoints(area, onCard) {
  afterCard = onCard;
  const svg = area.querySelector("svg.study-front");
  const found = /** @type {SVGAElement[]} */ ([...(svg?.querySelectorAll("a[id]") ?? [])]);
  const places = new Map(found.map((point) => [point, middle(point)]));
  const place = (/** @type {SVGAElement} */ point) => places.get(point) ?? [0, 0];
  byCost = [...found].sort((a, b) => place(a)[0] - place(b)[0] || place(b)[1] - place(a)[1]);
  byHeight = [...found].sort((a, b) => place(b)[1] - place(a)[1] || place(a)[0] - place(b)[0]);
  shown = shownId();
  current = Math.max(0, byCost.findIndex((point) => idOf(point) === shown));
  for (const [index, point] of byCost.entries()) {
    point.setAttribute("tabindex", index === current ? "0" : "-1");
    const title = point.querySelector("title");
    if (title) {
      point.setAttribute("aria-label", title.textContent ?? "");
      title.remove(); // the card says it better than a tip of the browser
    }
  }
  svg?.addEventListener("pointerover", onPoint);
  svg?.addEventListener("focusin", onPoint);
  svg?.addEventListener("keydown", (event) => onKey(/** @type {KeyboardEvent} */ (event)));
  let touched = false;
  svg?.addEventListener("pointerdown", (event) => (touched = /** @type {PointerEvent} */ (event).pointerType === "touch"));
  svg?.addEventListener("click", (event) => {
    const point = /** @type {Element} */ (event.target).closest("a");
    if (!touched || !point || idOf(point) === shown) return;
    event.preventDefault(); // a first touch shows the card, a second one opens the network
    showCard(idOf(point));
  });
  area.querySelector("table.networks")?.addEventListener("pointerover", (event) => {
    const row = /** @type {Element} */ (event.target).closest("tr[data-id]");
    if (row) wish(row.getAttribute("data-id") ?? "");
  });
  document.getElementById("walk")?.addEventListener("click", () => byCost[current]?.focus());
  mark(shown);
}

/** @param {SVGAElement} point @returns {[number, number]} its place in the drawing */
function middle(point) {
  const box = point.getBBox();
  return [Math.round(box.x + box.width / 2), Math.round(box.y + box.height / 2)];
}

/** @param {Event} event */
function onPoint(event) {
  const point = /** @type {SVGAElement | null} */ (/** @type {Element} */ (event.target).closest("a[id]"));
  if (!point) return;
  if (event.type === "focusin") {
    byCost[current]?.setAttribute("tabindex", "-1");
    current = byCost.indexOf(point);
    point.setAttribute("tabindex", "0");
    showCard(idOf(point));
  } else {
    wish(idOf(point));
  }
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const point = byCost[current];
  const height = byHeight.indexOf(point);
  const next = {
    ArrowRight: byCost[current + 1],
    ArrowLeft: byCost[current - 1],
    ArrowUp: byHeight[height + 1],
    ArrowDown: byHeight[height - 1],
    Home: byCost[0],
    End: byCost[byCost.length - 1],
  }[event.key];
  if (next === undefined && !event.key.startsWith("Arrow")) return;
  event.preventDefault();
  next?.focus();
}

/** @param {string} id a network that the pointer is on, shown if it stays there */
function wish(id) {
  wished = id;
  window.clearTimeout(timer);
  timer = window.setTimeout(() => wished === id && id !== shown && showCard(id), HOVER_MS);
}

/** @param {string} id the network to show beside the drawing */
export async function showCard(id) {
  shown = id;
  mark(id);
  const address = `${location.pathname}/networks/${encodeURIComponent(id)}`;
  let text = cards.get(address);
  if (text === undefined) {
    try {
      const answer = await fetch(address, { headers: { Accept: "text/html" } });
      if (!answer.ok) return;
      text = await answer.text();
      cards.set(address, text);
    } catch {
      return; // the sign at the top says that the server is away
    }
  }
  if (shown !== id) return;
  const card = new DOMParser().parseFromString(text, "text/html").querySelector(".network-card");
  const title = document.getElementById("card-title");
  if (!card) return;
  document.getElementById("card")?.replaceChildren(document.adoptNode(card));
  if (title) title.textContent = "Network";
  afterCard();
}

/** @param {string} id the network to mark in drawing and table */
function mark(id) {
  for (const marked of document.querySelectorAll("#shown .active")) marked.classList.remove("active");
  document.getElementById(`point-${id}`)?.classList.add("active");
  document.querySelector(`table.networks tr[data-id="${CSS.escape(id)}"]`)?.classList.add("active");
}
