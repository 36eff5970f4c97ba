// Walks through a drawn tree: the station under the pointer or the focus says what it costs, its tasks' strands stand
// out. One station is in the tab order; the arrow keys go to the next ones.

const REST = "Point at a station, or walk with the arrow keys, to read what it costs.";

/** @param {Element} station @returns {number} where its middle stands from the left */
function middle(station) {
  const box = /** @type {SVGGraphicsElement} */ (station).getBBox();
  return box.x + box.width / 2;
}

/** @param {Element} station @returns {number} */
const rowOf = (station) => Number(station.getAttribute("data-row"));

/**
 * @param {SVGSVGElement} drawing
 * @param {HTMLElement} readout
 * @returns {() => void} moves the focus to the station that was last looked at
 */
export function bindTree(drawing, readout) {
  const stations = /** @type {SVGGElement[]} */ ([...drawing.querySelectorAll("[data-row]")]);
  const strands = [...drawing.querySelectorAll(".strand")];
  let current = stations.find((station) => station.classList.contains("node")) ?? stations[0];

  /** @param {Element | null} station */
  function tell(station) {
    drawing.classList.toggle("told", station !== null && !station.classList.contains("stem"));
    const facts = station?.querySelector("title")?.textContent ?? "";
    if (!station) {
      readout.textContent = REST;
      return;
    }
    const cut = facts.indexOf(": ");
    const name = document.createElement("b");
    name.textContent = cut < 0 ? facts : facts.slice(0, cut);
    readout.replaceChildren(name, cut < 0 ? "" : facts.slice(cut));
    const tasks = (station.getAttribute("data-tasks") ?? "").split(" ");
    strands.forEach((strand, task) => strand.classList.toggle("lit", tasks.includes(String(task))));
  }

  /** @param {SVGGElement} station */
  function choose(station) {
    current.setAttribute("tabindex", "-1");
    current = station;
    current.setAttribute("tabindex", "0");
  }

  /** @param {string} key @returns {SVGGElement | undefined} the station that an arrow key leads to */
  function findNext(key) {
    const row = rowOf(current);
    const beside = stations.filter((one) => rowOf(one) === row).sort((a, b) => middle(a) - middle(b));
    const place = beside.indexOf(current);
    if (key === "ArrowLeft") return beside[place - 1];
    if (key === "ArrowRight") return beside[place + 1];
    if (key === "Home") return stations[0];
    if (key === "End") return stations.at(-1);
    const wanted = row + (key === "ArrowDown" ? 1 : -1);
    const x = middle(current);
    const there = stations.filter((one) => rowOf(one) === wanted);
    return there.sort((a, b) => Math.abs(middle(a) - x) - Math.abs(middle(b) - x))[0];
  }

  for (const station of stations) {
    station.setAttribute("tabindex", station === current ? "0" : "-1");
    station.addEventListener("pointerenter", () => tell(station));
    station.addEventListener("focus", () => {
      choose(station);
      tell(station);
    });
  }
  drawing.addEventListener("pointerleave", () => tell(drawing.contains(document.activeElement) ? current : null));
  drawing.addEventListener("focusout", () => tell(null));
  drawing.addEventListener("keydown", (event) => {
    if (!["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
    event.preventDefault();
    findNext(event.key)?.focus();
  });
  return () => current.focus();
}
