// A drawing of the page as a PNG, in the colours it has on the page. The server draws; the browser only paints it.

const SCALE = 2;

/** @param {SVGSVGElement} drawing @returns {string} the drawing as a file of its own, colours put in */
function standalone(drawing) {
  const copy = /** @type {SVGSVGElement} */ (drawing.cloneNode(true));
  const { width, height } = drawing.viewBox.baseVal;
  const style = getComputedStyle(document.documentElement);
  copy.setAttribute("width", String(width));
  copy.setAttribute("height", String(height));
  const ground = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of [["width", "100%"], ["height", "100%"], ["fill", "var(--surface, #fff)"]]) {
    ground.setAttribute(name, value);
  }
  copy.prepend(ground);
  const text = new XMLSerializer().serializeToString(copy);
  return text.replaceAll(/var\(--([a-z0-9-]+),\s*([^)]+)\)/g, (_, name, fallback) => {
    return style.getPropertyValue(`--${name}`).trim() || fallback;
  });
}

/** @param {SVGSVGElement} drawing @returns {Promise<Blob | null>} it as a PNG of twice its size */
async function paint(drawing) {
  const { width, height } = drawing.viewBox.baseVal;
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(standalone(drawing))}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = width * SCALE;
  canvas.height = height * SCALE;
  canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/**
 * Saves a drawing as a PNG.
 * @param {SVGSVGElement} drawing
 * @param {string} name of the file
 */
export async function savePng(drawing, name) {
  const blob = await paint(drawing);
  if (!blob) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
