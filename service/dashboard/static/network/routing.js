// Moves through a search: the bars of every layer show the probabilities of one moment, the line on the strips says
// which. The moment stands in the address.

/** @typedef {[epoch: number, step: number, temperature: number]} Moment */

const BAR_HEIGHT = 18;
const PLAY_MS = 120;

/** @param {HTMLElement} box @returns {(moment: number) => void} draws a moment */
function bindBars(box) {
  const bytes = Uint8Array.from(atob(box.dataset.percents ?? ""), (char) => char.charCodeAt(0));
  const tasks = /** @type {string[]} */ (JSON.parse(box.dataset.tasks ?? "[]"));
  const copies = Number(box.dataset.copies);
  const layers = [...box.querySelectorAll(".routing-layer")].map((layer) => ({
    name: layer.getAttribute("data-layer") ?? "",
    title: /** @type {Element} */ (layer.querySelector("title")),
    bars: [...layer.querySelectorAll(".bars")],
  }));
  const places = /** @type {Element} */ (box.querySelector("[data-slot]"));
  const [slot, first, pitch] = ["slot", "first", "pitch"].map((name) => Number(places.getAttribute(`data-${name}`)));
  return (moment) => {
    layers.forEach(({ name, title, bars }, l) => {
      const words = bars.map((bar, t) => {
        const start = ((moment * layers.length + l) * tasks.length + t) * copies;
        const row = [...bytes.subarray(start, start + copies)];
        const path = row.map((percent, k) => {
          const x = (first + t * pitch + k * slot).toFixed(1);
          return percent ? `M${x} 0v-${((percent * BAR_HEIGHT) / 100).toFixed(1)}` : "";
        });
        bar.setAttribute("d", path.join(""));
        const pick = row.indexOf(Math.max(...row));
        return `${tasks[t]} copy ${pick + 1} (${row[pick]} %)`;
      });
      title.textContent = `${name}: ${words.join(", ")}`;
    });
  };
}

/** @param {Moment[]} moments @param {number} moment @returns {string} */
function describe(moments, moment) {
  const [epoch, step, temperature] = moments[moment];
  const last = moment === moments.length - 1;
  return `epoch ${epoch}${last ? ", the end" : `, step ${step}`}, temperature ${temperature.toFixed(2)}`;
}

/**
 * @param {HTMLElement} box holds the drawing and its figures
 * @param {HTMLInputElement} range
 * @param {HTMLElement} words
 * @param {HTMLButtonElement} play
 */
export function bindRouting(box, range, words, play) {
  const moments = /** @type {Moment[]} */ (JSON.parse(box.dataset.moments ?? "[]"));
  const draw = bindBars(box);
  const line = /** @type {Element} */ (box.querySelector(".moment"));
  const [left, width] = [Number(line.getAttribute("data-left")), Number(line.getAttribute("data-width"))];
  const last = moments.length - 1;
  let timer = 0;

  function show() {
    const moment = Number(range.value);
    draw(moment);
    const x = (left + (width * (moment + 1)) / moments.length).toFixed(1);
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    words.textContent = describe(moments, moment);
    range.setAttribute("aria-valuetext", words.textContent);
  }

  function remember() {
    const address = new URL(location.href);
    const moment = Number(range.value);
    if (moment === last) address.searchParams.delete("epoch");
    else address.searchParams.set("epoch", String(moments[moment][0]));
    history.replaceState(history.state, "", address);
  }

  function stop() {
    window.clearInterval(timer);
    timer = 0;
    play.textContent = "▶";
    play.setAttribute("aria-label", "Play the search from its start");
    remember();
  }

  range.addEventListener("input", () => {
    if (timer) stop();
    show();
  });
  range.addEventListener("change", remember);
  play.addEventListener("click", () => {
    if (timer) {
      stop();
      return;
    }
    if (Number(range.value) === last) range.value = "0";
    play.textContent = "❚❚";
    play.setAttribute("aria-label", "Pause");
    show();
    timer = window.setInterval(() => {
      range.value = String(Number(range.value) + 1);
      show();
      if (Number(range.value) === last) stop();
    }, PLAY_MS);
  });

  const epoch = new URLSearchParams(location.search).get("epoch");
  if (epoch !== null) {
    const found = moments.findIndex(([at]) => at >= Number(epoch));
    range.value = String(found < 0 ? last : found);
  }
  show();
}
