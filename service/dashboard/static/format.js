// Figures as the server writes them (service/dashboard/formats.py, service/pages/drawing.py).

const NOTHING = "–";
const UNITS = [[1e9, 1e9, " G"], [1e5, 1e6, " M"], [1e3, 1e3, " K"]];

/** @param {unknown} value @returns {value is number} */
const known = (value) => typeof value === "number" && Number.isFinite(value);

/**
 * @param {number | null} value a count of MAdds or parameters
 * @returns {string} with three figures and a unit, e.g. "9.10 G"
 */
export function count(value) {
  if (!known(value)) return NOTHING;
  const size = Math.abs(value);
  const [, scale, unit] = UNITS.find(([least]) => size >= /** @type {number} */ (least)) ?? [0, 1, ""];
  if (scale === 1) return value.toFixed(0);
  const by = /** @type {number} */ (scale);
  const digits = size < by ? 3 : size < 10 * by ? 2 : size < 100 * by ? 1 : 0;
  return `${(value / by).toFixed(digits)}${unit}`;
}

/** @param {number | null} value @param {number} [digits] @returns {string} with its sign, e.g. "+1.25" */
export function signed(value, digits = 2) {
  if (!known(value)) return NOTHING;
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return `${value > 0 ? "+" : "−"}${text}`;
}

/** @param {number | null} share @returns {string} e.g. "45 %"; what is not all is never rounded up to all */
export function percent(share) {
  if (!known(share)) return NOTHING;
  return `${share < 1 ? Math.floor(share * 100 + 1e-9) : Math.round(share * 100)} %`;
}

/** @param {number | null} value a metric or a loss @returns {string} with four figures */
export function figure(value) {
  if (!known(value)) return NOTHING;
  const size = Math.abs(value);
  if (size && (size >= 1e6 || size < 1e-4)) {
    const [mantissa, power] = value.toExponential(2).split("e");
    const places = Math.abs(Number(power)).toString().padStart(2, "0");
    return `${mantissa}e${Number(power) < 0 ? "-" : "+"}${places}`.replaceAll("-", "−");
  }
  const digits = size < 1 ? 4 : size < 10 ? 3 : size < 100 ? 2 : size < 1000 ? 1 : 0;
  return value.toFixed(digits).replace("-", "−");
}

/** @param {number | null} seconds @returns {string} in its two largest units, e.g. "3 min 20 s" */
export function duration(seconds) {
  if (!known(seconds)) return NOTHING;
  const whole = Math.max(0, Math.round(seconds));
  const steps = /** @type {[number, string, number, string][]} */ ([
    [86400, "d", 3600, "h"],
    [3600, "h", 60, "min"],
    [60, "min", 1, "s"],
  ]);
  for (const [size, name, part, partName] of steps) {
    if (whole >= size) {
      const rest = Math.floor((whole % size) / part);
      return rest ? `${Math.floor(whole / size)} ${name} ${rest} ${partName}` : `${Math.floor(whole / size)} ${name}`;
    }
  }
  return `${whole} s`;
}

/** @param {number | null} value a gain @returns {"good" | "bad" | "even"} its class */
export function tone(value) {
  if (!known(value) || Math.abs(value) < 0.005) return "even";
  return value > 0 ? "good" : "bad";
}
