// Keeps what a page says of times ("5 min ago") true while it stays open.

const UNITS = /** @type {[number, string][]} */ ([[86400, "d"], [3600, "h"], [60, "min"]]);

/** @param {Date} moment @param {number} nowMs @returns {string} as the server writes it */
export function ago(moment, nowMs) {
  const seconds = (nowMs - moment.getTime()) / 1000;
  const unit = UNITS.find(([size]) => seconds >= size);
  return unit ? `${Math.floor(seconds / unit[0])} ${unit[1]} ago` : "just now";
}

/** Writes all times of the page anew. */
export function refreshTimes() {
  for (const element of /** @type {NodeListOf<HTMLTimeElement>} */ (document.querySelectorAll("time[datetime]"))) {
    const text = ago(new Date(element.dateTime), Date.now());
    if (element.textContent !== text) element.textContent = text;
  }
}

window.setInterval(refreshTimes, 20_000);
